"""Dataset -> samples: one per assistant turn, with the true history before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kosent_hub.models.chat_dataset import MAX_DROPPED, read_splits, report_dropped
from kosent_hub.models.chat_format import ChatFormat, Messages, UnusableDialogue, plain
from kosent_hub.models.repo import resolve
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
    def dialogue(self) -> list[dict[str, Any]]:
        """The messages with the true reply."""
        return [*map(dict, self.messages), {"role": "assistant", "content": self.target}]

    @property
    def user(self) -> str:
        """The user's last message."""
        return self.messages[-1]["content"]


def load_samples(
    dataset: str,
    split: str,
    *,
    revision: str | None = None,
    limit: int | None = None,
    forms: Sequence[ChatFormat] = (),
    max_dropped: float = MAX_DROPPED,
) -> tuple[list[Sample], EvaluatedDataset]:
    """The split's samples in its own order, the first `limit` of them, and what they are.

    `dataset` is a dataset folder or a Hub id. A sample's id is `<dialogue_id>#<turn>`, turns
    counted from 1. A dialogue that has other contents than text, or that one of `forms` refuses as
    a prompt, is left out. Raises KoSentError when the split or the messages are missing, or when
    more than the share `max_dropped` of the dialogues is left out.
    """
    repo = resolve(dataset, revision, "dataset")
    rows = read_splits(dataset, split, "--split", revision=repo.revision)[split]
    samples: list[Sample] = []
    dropped: list[tuple[int, str]] = []
    dialogues = 0
    for number, row in enumerate(rows):
        if limit is not None and len(samples) >= limit:
            break
        dialogues += 1
        try:
            samples.extend(_of_dialogue(row, str(number), forms))
        except UnusableDialogue as error:
            dropped.append((number, error.what))
    report_dropped(split, dropped, dialogues, max_dropped)
    if not samples:
        raise KoSentError(dataset, f"split {split!r} has no assistant turn", "nothing to evaluate")
    samples = samples[:limit]
    record = EvaluatedDataset(
        repo.id,
        split,
        dialogues - len(dropped),
        len(samples),
        revision=repo.revision,
        local=repo.local,
        dropped=len(dropped),
    )
    return samples, record


def _of_dialogue(row: dict[str, Any], number: str, forms: Sequence[ChatFormat]) -> list[Sample]:
    messages = plain(row["messages"])
    dialogue_id = str(row.get("dialogue_id") or number)
    turns = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    for form in forms:
        for i in turns:
            if i > 0:
                form.prompt_text(messages[:i])
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
