"""Ranks of several models on the same samples, and in how many dialogues one is the better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kosent_hub.metrics.kosent_score.measure import Measure
from kosent_hub.metrics.resampling import (
    DRAWS,
    FEWEST,
    TAIL,
    chunks,
    dialogue_places,
    dialogue_sums,
)


@dataclass(frozen=True)
class Rank:
    """1 and how many models are better; `ci95` is None where none can be trusted."""

    rank: int
    ci95: list[int] | None


@dataclass(frozen=True)
class Wins:
    """The dialogues in which the first model is better, neither is, and the second one is."""

    first: int
    ties: int
    second: int


def ranks(
    measures: Mapping[str, Sequence[Measure]],
    higher_is_better: Mapping[str, bool],
    dialogues: Sequence[Any],
    seed: int,
) -> dict[str, list[Rank]]:
    """Each model's rank in each metric, with 95 % percentile intervals over draws of dialogues.

    `measures` has the models' measures of each metric, all of them with a value. In a draw, equal
    models share all the ranks that they take, so that the interval of equal models is all of these.
    """
    places = dialogue_places(dialogues)
    sums = {
        name: [dialogue_sums(measure, places) for measure in found]
        for name, found in measures.items()
    }
    count = int(places.max()) + 1
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in measures}
    rng = np.random.default_rng(seed)
    for size in chunks(DRAWS, count) if count >= FEWEST else ():
        draws = rng.multinomial(count, np.full(count, 1 / count), size=size).astype(np.float64)
        for name, found in measures.items():
            totals = zip(found, sums[name], strict=True)
            drawn[name].append(
                np.stack([m.fold(draws @ of_dialogues) for m, of_dialogues in totals])
            )
    ranked = {}
    for name, found in measures.items():
        sign = 1 if higher_is_better[name] else -1
        best, _ = _places_taken(sign * np.asarray([[m.value] for m in found]))
        bounds = _bounds([sign * scores for scores in drawn[name]], len(found))
        ranked[name] = [Rank(int(b), ci95) for (b,), ci95 in zip(best, bounds, strict=True)]
    return ranked


def wins(first: Measure, second: Measure, higher_is_better: bool, dialogues: Sequence[Any]) -> Wins:
    """In how many dialogues either model is better; those that were not measured do not count."""
    places = dialogue_places(dialogues)
    ours, theirs = (m.fold(dialogue_sums(m, places)) for m in (first, second))
    ahead, behind = int((ours > theirs).sum()), int((ours < theirs).sum())
    ties = int((ours == theirs).sum())
    return Wins(ahead, ties, behind) if higher_is_better else Wins(behind, ties, ahead)


def _bounds(drawn: Sequence[np.ndarray], models: int) -> list[list[int] | None]:
    """The interval of each model's rank over all draws of scores, (models, draws), higher first."""
    if not drawn:
        return [None] * models
    scores = np.concatenate(drawn, axis=1)
    measured = np.isfinite(scores).all(axis=0)
    if measured.mean() < 0.99:
        return [None] * models
    best, worst = _places_taken(scores[:, measured])
    low = np.quantile(best, TAIL, axis=1, method="inverted_cdf")
    high = np.quantile(worst, 1 - TAIL, axis=1, method="inverted_cdf")
    return [[int(a), int(b)] for a, b in zip(low, high, strict=True)]


def _places_taken(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first and the last rank that each model takes, of scores (models, draws)."""
    best = np.stack([1 + (scores > own).sum(axis=0) for own in scores])
    worst = np.stack([(scores >= own).sum(axis=0) for own in scores])
    return best, worst
