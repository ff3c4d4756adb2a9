"""One model's part of an evaluation: its replies and fits, as far as they are not there yet."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

from tqdm import tqdm

from kosent_hub.evaluation import backends
from kosent_hub.evaluation.backends import Backend, Fit, Reply, Request
from kosent_hub.evaluation.samples import Sample
from kosent_hub.evaluation.store import Completions, keys
from kosent_hub.models import distributed
from model_card.publishing.errors import KoSentError
from model_card.records import EvaluatedModel, Speed


@dataclass(frozen=True)
class Outcome:
    """What one model did: replies to the samples and to the written prompts, fits, speed.

    `fits` is empty where the engine cannot tell how the true replies fit.
    """

    model: EvaluatedModel
    template_sha256: str
    template_example: str | None
    generation: dict[str, Any]
    replies: list[str]
    written: list[str]
    fits: list[Fit]
    speed: Speed


def collect(
    engine: str,
    request: Request,
    samples: Sequence[Sample],
    written: Sequence[Sample],
    store: Completions,
) -> Outcome | None:
    """The model's outcome; None in all processes but the first, when they have done their share.

    `written` are prompts of ours beside the dataset's samples.
    """
    with closing(backends.load(engine, request)) as backend:
        print(f"{backend.model.id}: {engine}, {backend.model.dtype}", file=sys.stderr)
        replies = _Part("reply", backend, samples, store)
        replies.fill(backend.replies)
        asides = _Part("reply", backend, written, store)
        asides.fill(backend.replies)
        fits = _Part("fit", backend, samples, store)
        fits.fill(backend.fits)
    distributed.wait()
    if distributed.rank() != 0:
        return None
    store.read()
    found = replies.records()
    outcome = Outcome(
        model=backend.model,
        template_sha256=backend.template_sha256,
        template_example=backend.template_example,
        generation=backend.generation,
        replies=[record["text"] for record in found],
        written=[record["text"] for record in asides.records()],
        fits=[
            Fit(i, record["nll"], record["correct"], record["tokens"])
            for i, record in enumerate(fits.records(whole=False))
        ],
        speed=_speed(engine, found),
    )
    del backend, replies, asides, fits
    gc.collect()
    return outcome


class _Part:
    """Records of one kind for some samples: what the store has, and a way to get the rest."""

    def __init__(
        self, kind: str, backend: Backend, samples: Sequence[Sample], store: Completions
    ) -> None:
        self.name = f"{backend.model.id}: {kind}"
        self.samples, self.store = samples, store
        self.keys = keys(kind, backend, samples)

    def fill(
        self, produce: Callable[[Sequence[Sample], Sequence[int]], Iterator[Reply | Fit]]
    ) -> None:
        """Have this process's share of the missing records made, and store each as it comes."""
        share = self._share()
        missing = [n for n, i in enumerate(share) if self.keys[i] not in self.store.found]
        if not missing:
            return
        before = time.perf_counter()
        bar = tqdm(
            desc=self.name,
            total=len(share),
            initial=len(share) - len(missing),
            unit=" samples",
            smoothing=0.1,
            file=sys.stderr,
        )
        with bar:
            for made in produce([self.samples[i] for i in share], missing):
                now = time.perf_counter()
                index = share[made.index]
                record = {name: v for name, v in asdict(made).items() if name != "index"}
                record |= {"id": self.samples[index].id, "seconds": round(now - before, 6)}
                self.store.add(self.keys[index], record)
                before = now
                bar.update()

    def records(self, whole: bool = True) -> list[dict[str, Any]]:
        """The records in the samples' order; none at all if some are missing and need not be."""
        missing = [s.id for s, key in zip(self.samples, self.keys, strict=True)
                   if key not in self.store.found]  # fmt: skip
        if missing and whole:
            raise KoSentError(
                self.name,
                f"{len(missing)} of {len(self.samples)} are missing (first: {missing[0]})",
                "run the same command again to get them",
            )
        return [] if missing else [self.store.found[key] for key in self.keys]

    def _share(self) -> list[int]:
        """Every n-th dialogue for each of n processes: a dialogue's samples share their start."""
        numbers: dict[str, int] = {}
        for sample in self.samples:
            numbers.setdefault(sample.dialogue_id, len(numbers))
        return [
            i
            for i, sample in enumerate(self.samples)
            if numbers[sample.dialogue_id] % distributed.world_size() == distributed.rank()
        ]


def _speed(engine: str, records: Sequence[dict[str, Any]]) -> Speed:
    """Time of the slowest process, interrupted runs included, and what it comes to a second."""
    by_rank: dict[int, float] = {}
    for record in records:
        by_rank[record["rank"]] = by_rank.get(record["rank"], 0.0) + record["seconds"]
    seconds = max(by_rank.values())
    tokens = sum(record["tokens"] for record in records)
    return Speed(engine, round(seconds, 3), len(records) / seconds, tokens / seconds)
