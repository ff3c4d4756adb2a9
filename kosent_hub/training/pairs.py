"""Preference pairs -> the samples of a DPO training: two replies to one prompt, token by token."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from kosent_hub.models.chat_format import IGNORED, ChatFormat, Messages, UnusableDialogue, plain
from kosent_hub.models.data.chat_dataset import report_dropped, training_rows
from kosent_hub.models.inspection import Inspected, inspect_last
from kosent_hub.training.samples import Counts, Encoded

if TYPE_CHECKING:
    from trl import ScriptArguments

Pair = Mapping[str, Messages]

CHOSEN, REJECTED = "chosen", "rejected"
COLUMNS = ("prompt", CHOSEN, REJECTED)
_IDS = pa.schema({f"{name}_ids": pa.list_(pa.int32()) for name in COLUMNS})


def load(
    script: ScriptArguments,
    revision: str | None,
    validation: bool,
    config_flag: str = "--dataset_config",
) -> dict[str, Sequence[Pair]]:
    """The pairs of the training split and, if `validation` and there, of that split."""
    found = training_rows(script, revision, validation, config_flag, COLUMNS)
    return {split: list(rows) for split, rows in found.items()}


def dialogues(pairs: Sequence[Pair]) -> list[Messages]:
    """Each pair's prompt with its chosen reply, for records; what cannot be joined is left out."""
    return [
        [*pair["prompt"], *pair[CHOSEN]]
        for pair in pairs
        if all(isinstance(pair[name], Sequence) for name in ("prompt", CHOSEN))
    ]


def encode(
    form: ChatFormat,
    pairs: Sequence[Pair],
    max_length: int | None,
    *,
    split: str,
    max_dropped: float,
) -> Encoded:
    """The pairs' ids: `prompt_ids`, and `chosen_ids` and `rejected_ids` with their ends of turn.

    A pair with a reply that does not fit into `max_length` is dropped whole. Raises KoSentError if
    the chat format cannot write more than the share `max_dropped` of the pairs.
    """
    from datasets import Dataset

    kept: list[list[list[int]]] = []
    unusable: list[tuple[int, str]] = []
    longest, dropped = 0, 0
    for row, pair in enumerate(pairs):
        try:
            prompt, chosen = _split(form, pair, CHOSEN)
            prompt_again, rejected = _split(form, pair, REJECTED)
            if prompt != prompt_again:
                raise UnusableDialogue("the chat template writes two prompts for the two replies")
        except UnusableDialogue as error:
            unusable.append((row, error.what))
            continue
        length = len(prompt) + max(len(chosen), len(rejected))
        longest = max(longest, length)
        if max_length is not None and length > max_length:
            dropped += 1
        else:
            kept.append([prompt, chosen, rejected])
    report_dropped(split, unusable, len(pairs), max_dropped)
    columns = dict(zip(_IDS.names, ([row[i] for row in kept] for i in range(3)), strict=True))
    learned = sum(len(chosen) + len(rejected) for _, chosen, rejected in kept)
    counts = Counts(
        dialogues=len(pairs) - len(unusable),
        samples=len(kept),
        tokens=learned + sum(2 * len(prompt) for prompt, _, _ in kept),
        learned=learned,
        longest=longest,
        shortened=0,
        dropped=dropped,
        unusable=len(unusable),
    )
    return Encoded(Dataset(pa.table(columns, _IDS)), counts)


def inspect(form: ChatFormat, title: str, pair: Pair) -> Iterator[Inspected]:
    """Both halves of a pair; raises UnusableDialogue for one that cannot be written."""
    for name in (CHOSEN, REJECTED):
        yield inspect_last(form, f"{title}, {name}", _messages(pair, name))


def _messages(pair: Pair, name: str) -> list[dict[str, str]]:
    """The prompt and one of the replies, which is one message."""
    prompt, reply = plain(pair["prompt"]), plain(pair[name])
    if [message["role"] for message in reply] != ["assistant"]:
        raise UnusableDialogue(f"`{name}` is not one reply by the assistant")
    return [*prompt, *reply]


def _split(form: ChatFormat, pair: Pair, name: str) -> tuple[list[int], list[int]]:
    """The ids of the prompt, and those of the reply with what ends it."""
    sample = form.samples(_messages(pair, name))[-1]
    last = itertools.takewhile(lambda label: label != IGNORED, reversed(sample["labels"]))
    begin = len(sample["labels"]) - sum(1 for _ in last)
    return sample["input_ids"][:begin], sample["input_ids"][begin:]
