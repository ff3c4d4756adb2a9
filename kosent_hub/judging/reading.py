"""Output folders of kosent-eval -> the replies to be judged, pair by pair."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from kosent_hub.evaluation.comparing.reading import AGAIN, names, read, read_one
from kosent_hub.metrics import nfc
from kosent_hub.models.chat_format import Messages
from model_card.publishing.errors import KoSentError
from model_card.records import EvaluatedDataset, EvaluatedModel

COLUMNS = ("messages", "baseline")


@dataclass(frozen=True)
class Pair:
    """Two models' replies to one sample, all three by their places."""

    sample: int
    first: int
    second: int


@dataclass(frozen=True)
class Stored:
    """The replies of several models to the same samples, as evaluations have stored them.

    `samples` are in an order of their own that every judge meets, so that any limit leaves the same
    samples to all: `ids`, `rows` (of the dialogues), `messages`, and `replies` by model have it.
    """

    folders: tuple[Path, ...]
    dataset: EvaluatedDataset
    names: tuple[str, ...]
    models: tuple[EvaluatedModel, ...]
    ids: list[str]
    rows: list[int]
    messages: list[Messages]
    replies: tuple[list[str], ...]

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the models' names, the samples and all replies, so that a judgement of other
        replies is known."""
        digest = hashlib.sha256(json.dumps([self.dataset.sha256, self.names]).encode())
        for each in zip(self.ids, *self.replies, strict=True):
            digest.update(json.dumps(each, ensure_ascii=False).encode() + b"\n")
        return digest.hexdigest()

    def limited(self, limit: int | None) -> Iterator[int]:
        """The places of the samples that are judged, the first `limit` of them."""
        return iter(range(len(self.ids) if limit is None else min(limit, len(self.ids))))

    def pairs(self, limit: int | None = None) -> Iterator[Pair]:
        """Each two models' replies to each of the first `limit` samples."""
        for sample in self.limited(limit):
            for first, second in itertools.combinations(range(len(self.names)), 2):
                yield Pair(sample, first, second)

    def texts(self, pair: Pair) -> tuple[str, str]:
        """The two replies of a pair."""
        return self.replies[pair.first][pair.sample], self.replies[pair.second][pair.sample]


def read_stored(folders: Sequence[str | Path]) -> Stored:
    """The replies in these output folders of kosent-eval: of one folder those of its model and its
    baseline, of several those of each folder's model.

    Raises KoSentError for a folder that is none, for one without a baseline, and where samples or
    settings differ.
    """
    # The same folders are the same comparison in whatever order they are named.
    paths = sorted((Path(folder) for folder in folders), key=lambda path: path.resolve())
    if not paths:
        raise KoSentError(None, "no folder", "name an output folder of kosent-eval")
    if len(paths) == 1:
        found = [read_one(paths[0], COLUMNS)]
        results = found[0].results
        if results.baseline is None:
            raise KoSentError(
                paths[0],
                "holds one model's replies, and two are needed",
                "name a second folder, or evaluate with --baseline ID",
            )
        models = [results.model, results.baseline.model]
        labels = [models[0].id, models[1].id]
        if labels[0] == labels[1]:
            labels[1] += " (baseline)"
        wanted = ["messages", "prediction", "baseline"]
    else:
        found = read(paths, COLUMNS)
        models, labels = [each.results.model for each in found], names(found)
        wanted = ["messages", "prediction"]
    for path, each in zip(paths, found, strict=True):
        for name in wanted:
            if name not in each.samples:
                raise KoSentError(path / "samples.parquet", f"no column {name!r}", AGAIN)
    samples = found[0].samples
    replies = [each.samples["prediction"] for each in found]
    replies += [samples["baseline"]] if len(paths) == 1 else []
    order = sorted(range(len(samples["row"])), key=lambda i: _place(samples, i))
    return Stored(
        folders=tuple(paths),
        dataset=found[0].results.dataset,
        names=tuple(labels),
        models=tuple(models),
        ids=[samples["sample_id"][i] for i in order],
        rows=[samples["row"][i] for i in order],
        messages=[samples["messages"][i] for i in order],
        replies=tuple(nfc([texts[i] or "" for i in order]) for texts in replies),
    )


def _place(samples: dict[str, Any], i: int) -> tuple[str, int]:
    """By what the samples are ordered: at random, but always the same."""
    key = f"{samples['row'][i]} {samples['sample_id'][i]}"
    return hashlib.sha256(key.encode()).hexdigest(), i
