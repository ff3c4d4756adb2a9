"""Dataset -> samples: one per assistant turn, with the true history before it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kosent_hub.models.chat_format import ChatFormat, Messages, UnusableDialogue, plain
from kosent_hub.models.data.chat_dataset import (
    MAX_DROPPED,
    corpus,
    read_splits,
    report_dropped,
)
from kosent_hub.models.repos.repo import resolve
from model_card.publishing.errors import KoSentError
from model_card.records import EvaluatedDataset

if TYPE_CHECKING:
    from kosent_hub.metrics import Reference


@dataclass(frozen=True)
class Sample:
    """A prompt that ends with a user's turn, and the reply that followed it in the dataset.

    `row` is the dialogue's place in the split. It tells dialogues apart: their ids may repeat.
    `others` are further true replies, as good as `target`.
    """

    id: str
    dialogue_id: str
    row: int
    messages: Messages
    target: str
    emotion: str | None = None
    others: tuple[str, ...] = ()

    @property
    def reference(self) -> Reference:
        """What the reply is compared with: the true reply, or with `others` all of them."""
        return (self.target, *self.others) if self.others else self.target

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
    config: str | None = None,
    revision: str | None = None,
    limit: int | None = None,
    forms: Sequence[ChatFormat] = (),
    max_dropped: float = MAX_DROPPED,
) -> tuple[list[Sample], EvaluatedDataset, Any]:
    """The split's samples in its own order, the first `limit` of them; what they are; and the rows
    of the training split, None if there is none beside this one.

    `dataset` is a dataset folder or a Hub id, `config` a configuration of it. A sample's id is
    `<dialogue_id>#<turn>`, turns counted from 1. A dialogue that has other contents than text, or
    that one of `forms` refuses as a prompt, is left out. Raises KoSentError when the split or the
    messages are missing, or when more than the share `max_dropped` of the dialogues is left out.
    """
    repo = resolve(dataset, revision, "dataset")
    splits = read_splits(
        dataset, split, "--split", optional=["train"], config=config, revision=repo.revision
    )
    rows = splits.pop(split)
    samples, dialogues, dropped = of_rows(rows, split, limit, forms, max_dropped)
    if not samples:
        raise KoSentError(dataset, f"split {split!r} has no assistant turn", "nothing to evaluate")
    record = EvaluatedDataset(
        repo.id,
        split,
        dialogues,
        len(samples),
        revision=repo.revision,
        local=repo.local,
        dropped=dropped,
        all_samples=_count(rows),
        sha256=_sha256(samples),
        source=corpus(dataset, None) if repo.local else None,
    )
    return samples, record, splits.get("train")


def of_rows(
    rows: Iterable[dict[str, Any]],
    split: str,
    limit: int | None,
    forms: Sequence[ChatFormat],
    max_dropped: float,
) -> tuple[list[Sample], int, int]:
    """The dialogues' first `limit` samples, of how many dialogues they are, and how many were left
    out."""
    samples: list[Sample] = []
    dropped: list[tuple[int, str]] = []
    dialogues = 0
    for number, row in enumerate(rows):
        if limit is not None and len(samples) >= limit:
            break
        dialogues += 1
        try:
            samples.extend(_of_dialogue(row, number, forms))
        except UnusableDialogue as error:
            dropped.append((number, error.what))
    report_dropped(split, dropped, dialogues, max_dropped)
    return samples[:limit], dialogues - len(dropped), len(dropped)


def _count(rows: Any) -> int:
    """A whole split's number of samples: its assistant turns but for those that begin dialogues."""
    count = 0
    for chunk in rows.data.column("messages").chunks:
        # A list of either size: polars writes large ones.
        roles = type(chunk).from_arrays(chunk.offsets, chunk.values.field("role"))
        count += sum((dialogue or [])[1:].count("assistant") for dialogue in roles.to_pylist())
    return count


def _sha256(samples: Sequence[Sample]) -> str:
    """SHA-256 of the samples' messages and true replies, as JSON, a line each."""
    digest = hashlib.sha256()
    for sample in samples:
        digest.update(json.dumps(sample.dialogue, ensure_ascii=False).encode() + b"\n")
    return digest.hexdigest()


def _of_dialogue(row: dict[str, Any], number: int, forms: Sequence[ChatFormat]) -> list[Sample]:
    messages = plain(row["messages"])
    named = row.get("dialogue_id")
    dialogue_id = str(number if named is None else named)
    turns = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    for form in forms:
        for i in turns:
            if i > 0:
                form.prompt_text(messages[:i])
    return [
        Sample(
            f"{dialogue_id}#{turn}",
            dialogue_id,
            number,
            messages[:i],
            messages[i]["content"],
            row.get("emotion_major"),
        )
        for turn, i in enumerate(turns, start=1)
        if i > 0
    ]
