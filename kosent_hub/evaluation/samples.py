"""Dataset -> samples: one per assistant turn, with the true history before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kosent_hub.models.chat_dataset import read_splits
from kosent_hub.models.repo import resolve
from kosent_hub.models.tokenizer import Messages
from model_card.publishing.errors import KoSentError
from model_card.records import EvaluatedDataset


@dataclass(frozen=True)
class Sample:
    """A prompt that ends with a user's turn, and the reply that followed it in the dataset."""

    id: str
    dialogue_id: str
    messages: Messages
    target: str
    emotion: str | None = None

    @property
    def user(self) -> str:
        """The user's last message."""
        return self.messages[-1]["content"]


def load_samples(
    dataset: str, split: str, *, revision: str | None = None, limit: int | None = None
) -> tuple[list[Sample], EvaluatedDataset]:
    """The split's samples in its own order, the first `limit` of them, and what they are.

    `dataset` is a dataset folder or a Hub id. A sample's id is `<dialogue_id>#<turn>`, turns
    counted from 1. Raises KoSentError when the split or the messages are missing.
    """
    repo = resolve(dataset, revision, "dataset")
    rows = read_splits(dataset, split, "--split", revision=repo.revision)[split]
    samples: list[Sample] = []
    dialogues = 0
    for number, row in enumerate(rows):
        if limit is not None and len(samples) >= limit:
            break
        dialogues += 1
        samples.extend(_of_dialogue(row, f"{dataset}, {split}, row {number}", str(number)))
    if not samples:
        raise KoSentError(dataset, f"split {split!r} has no assistant turn", "nothing to evaluate")
    samples = samples[:limit]
    record = EvaluatedDataset(
        repo.id, split, dialogues, len(samples), revision=repo.revision, local=repo.local
    )
    return samples, record


def _of_dialogue(row: dict[str, Any], where: str, number: str) -> list[Sample]:
    messages = row["messages"]
    for message in messages:
        if not isinstance(message.get("content"), str) or not isinstance(message.get("role"), str):
            raise KoSentError(where, "a message without role or content", "build the data again")
    dialogue_id = str(row.get("dialogue_id") or number)
    turns = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    return [
        Sample(
            f"{dialogue_id}#{turn}",
            dialogue_id,
            messages[:i],
            messages[i]["content"],
            row.get("emotion_major"),
        )
        for turn, i in enumerate(turns, start=1)
        if i > 0
    ]
