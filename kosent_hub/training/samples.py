"""Dialogues -> the samples of a training split: encoded on all cores, cut, counted."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from tqdm import tqdm

from kosent_hub.models.chat_format import IGNORED, ChatFormat, Messages, Sample, UnusableDialogue
from kosent_hub.models.data.chat_dataset import report_dropped
from kosent_hub.models.machine import device, distributed

if TYPE_CHECKING:
    from datasets import Dataset

# Dialogues that a process encodes at a time. For fewer than FEW, a second process costs more than
# it saves.
CHUNK, FEW = 256, 2000
_COLUMNS = pa.schema({"input_ids": pa.list_(pa.int32()), "labels": pa.list_(pa.int32())})


@dataclass(frozen=True)
class Counts:
    """Counts of a split: dialogues and their samples, tokens, tokens with a loss, the longest
    sample before any is cut, and what was left out: samples that `max_length` `shortened` or
    `dropped`, and `unusable` dialogues."""

    dialogues: int
    samples: int
    tokens: int
    learned: int
    longest: int
    shortened: int
    dropped: int
    unusable: int


@dataclass(frozen=True)
class Encoded:
    """The samples of a split, with columns `input_ids` and `labels` (`pairs.encode` has others),
    and their counts."""

    samples: Dataset
    counts: Counts

    @property
    def sha256(self) -> str:
        """Hex SHA-256 of the samples' ids and labels, for comparing data."""
        seen = hashlib.sha256()
        for column in self.samples.column_names:
            for chunk in self.samples.data.column(column).chunks:
                seen.update(pc.list_value_length(chunk).to_numpy())
                seen.update(chunk.flatten().to_numpy())
        return seen.hexdigest()


def density(tokenizer: Any, dialogues: Sequence[Messages], most: int = 2000) -> dict[str, float]:
    """Tokens per character and per UTF-8 byte of the messages, the chat template's marks apart.

    At most `most` dialogues are read, spread over all of them.
    """
    step = max(1, len(dialogues) // most)
    texts = [m["content"] for at in range(0, len(dialogues), step) for m in dialogues[at]]
    texts = [text for text in texts if isinstance(text, str)]
    tokens = sum(len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"])
    characters = sum(map(len, texts))
    size = sum(len(text.encode("utf-8", "replace")) for text in texts)
    return {
        "tokens_per_character": round(tokens / max(1, characters), 3),
        "tokens_per_byte": round(tokens / max(1, size), 3),
    }


@dataclass(frozen=True)
class _Part:
    """A chunk's samples and counts; `unusable` are its rows that were left out, and why."""

    dialogues: int
    table: pa.Table
    longest: int
    shortened: int
    dropped: int
    unusable: list[tuple[int, str]]


def encode(
    form: ChatFormat,
    dialogues: Sequence[Messages],
    max_length: int | None,
    *,
    split: str,
    max_dropped: float,
) -> Encoded:
    """The samples of a split's dialogues, each cut after the last reply within `max_length`.

    A sample whose first reply does not fit is dropped: half a reply would teach the model to break
    off. A dialogue that the chat format cannot write is left out. Raises KoSentError if more than
    the share `max_dropped` of the dialogues is.
    """
    from datasets import Dataset

    places = [slice(at, at + CHUNK) for at in range(0, len(dialogues), CHUNK)]
    parts: list[_Part] = []
    unusable: list[tuple[int, str]] = []
    done = 0
    with tqdm(
        total=len(dialogues),
        desc=f"{split}: encode",
        unit=" dialogues",
        disable=len(dialogues) < FEW or distributed.rank() != 0,
        file=sys.stderr,
    ) as bar:
        for part in _parts(_Job(form, dialogues, max_length), places):
            parts.append(part)
            unusable += [(done + row, why) for row, why in part.unusable]
            done += part.dialogues
            bar.update(part.dialogues)
    report_dropped(split, unusable, len(dialogues), max_dropped)
    table = pa.concat_tables([_COLUMNS.empty_table(), *(part.table for part in parts)])
    labels = table.column("labels").combine_chunks().flatten()
    counts = Counts(
        dialogues=len(dialogues) - len(unusable),
        samples=len(table),
        tokens=len(labels),
        learned=pc.sum(pc.not_equal(labels, IGNORED)).as_py() or 0,
        longest=max((part.longest for part in parts), default=0),
        shortened=sum(part.shortened for part in parts),
        dropped=sum(part.dropped for part in parts),
        unusable=len(unusable),
    )
    return Encoded(Dataset(table), counts)


@dataclass(frozen=True)
class _Job:
    form: ChatFormat
    dialogues: Sequence[Messages]
    max_length: int | None

    def part(self, place: slice) -> _Part:
        """The samples of the dialogues there."""
        kept: list[Sample] = []
        unusable, longest, shortened, dropped = [], 0, 0, 0
        chunk = self.dialogues[place]
        for row, messages in enumerate(chunk):
            try:
                samples = self.form.samples(messages)
            except UnusableDialogue as error:
                unusable.append((row, error.what))
                continue
            for sample in samples:
                length = len(sample["input_ids"])
                longest = max(longest, length)
                if self.max_length is not None and length > self.max_length:
                    stop = _last_end(sample["labels"], self.max_length)
                    shortened, dropped = shortened + (stop > 0), dropped + (stop == 0)
                    sample = {name: ids[:stop] for name, ids in sample.items()}
                if sample["input_ids"]:
                    kept.append(sample)
        table = pa.table(
            {name: [sample[name] for sample in kept] for name in _COLUMNS.names}, _COLUMNS
        )
        return _Part(len(chunk), table, longest, shortened, dropped, unusable)


def _last_end(labels: Sequence[int], limit: int) -> int:
    """Where the last reply within `limit` tokens ends, 0 if none does."""
    for stop in range(limit, 0, -1):
        if labels[stop - 1] != IGNORED and labels[stop] == IGNORED:
            return stop
    return 0


def _parts(job: _Job, places: Sequence[slice]) -> Iterator[_Part]:
    """The parts in these places, in order, from all cores that this process has."""
    cores = device.cores() // distributed.local_world_size() if sys.platform == "linux" else 1
    processes = min(max(1, cores), len(places))
    if processes < 2 or len(job.dialogues) < FEW:
        yield from map(job.part, places)
        return
    # A fork has the job as it is.
    with ProcessPoolExecutor(
        processes, get_context("fork"), initializer=_begin, initargs=(job,)
    ) as pool:
        yield from pool.map(_part, places)


_job: _Job


def _begin(job: _Job) -> None:
    global _job
    _job = job
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


def _part(place: slice) -> _Part:
    return _job.part(place)
