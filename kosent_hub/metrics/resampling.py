"""Uncertainty of scores: bootstrap intervals and a paired test, both over whole dialogues.

The turns of one dialogue depend on each other, so they are drawn together (Efron 1979 for the
bootstrap; approximate randomisation as in Noreen 1989 and Riezler and Maxwell 2005).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from kosent_hub.metrics.kosent_score.measure import Measure

RESAMPLES = 1000
CHUNK = 100  # resamples that are computed at a time


def intervals(
    measures: Mapping[str, Measure], dialogues: Sequence[str], seed: int
) -> dict[str, list[float]]:
    """95 % percentile interval of each measure over `RESAMPLES` draws of dialogues."""
    sums, cuts = _dialogue_rows(measures, dialogues)
    rng = np.random.default_rng(seed)
    count = len(sums)
    scores: dict[str, list[float]] = {name: [] for name in measures}
    for start in range(0, RESAMPLES, CHUNK):
        size = min(CHUNK, RESAMPLES - start)
        draws = rng.multinomial(count, np.full(count, 1 / count), size=size)
        _score(measures, draws @ sums, cuts, scores)
    return {name: np.quantile(found, [0.025, 0.975]).tolist() for name, found in scores.items()}


def p_values(
    measures: Mapping[str, Measure],
    baseline: Mapping[str, Measure],
    dialogues: Sequence[str],
    seed: int,
) -> dict[str, float]:
    """Chance of a difference at least this large if the two models were exchangeable.

    Two-sided: in each of `RESAMPLES` trials every dialogue's replies change sides with
    probability one half. The smallest value it can give is 1 / (RESAMPLES + 1).
    """
    ours, cuts = _dialogue_rows(measures, dialogues)
    theirs, _ = _dialogue_rows(baseline, dialogues)
    rng = np.random.default_rng(seed)
    swapped: dict[str, list[float]] = {name: [] for name in measures}
    kept: dict[str, list[float]] = {name: [] for name in measures}
    for start in range(0, RESAMPLES, CHUNK):
        size = min(CHUNK, RESAMPLES - start)
        moved = rng.integers(0, 2, size=(size, len(ours))) @ (theirs - ours)
        _score(measures, ours.sum(axis=0) + moved, cuts, swapped)
        _score(measures, theirs.sum(axis=0) - moved, cuts, kept)
    result = {}
    for name, measure in measures.items():
        observed = abs(measure.value - baseline[name].value)
        differences = np.abs(np.subtract(swapped[name], kept[name]))
        # A difference that is equal but for the order of additions counts as equal.
        extreme = int((differences >= observed - 1e-9).sum())
        result[name] = (extreme + 1) / (RESAMPLES + 1)
    return result


def _dialogue_rows(
    measures: Mapping[str, Measure], dialogues: Sequence[str]
) -> tuple[np.ndarray, list[slice]]:
    """Rows summed by dialogue, (dialogues, columns of all measures), and each measure's columns."""
    _, places = np.unique(np.asarray(dialogues), return_inverse=True)
    rows = np.hstack([measure.rows for measure in measures.values()]).astype(np.float64)
    sums = np.zeros((places.max() + 1, rows.shape[1]))
    np.add.at(sums, places, rows)
    ends = np.cumsum([measure.rows.shape[1] for measure in measures.values()])
    widths = [measure.rows.shape[1] for measure in measures.values()]
    return sums, [slice(end - width, end) for end, width in zip(ends, widths, strict=True)]


def _score(
    measures: Mapping[str, Measure],
    totals: np.ndarray,
    cuts: Sequence[slice],
    into: dict[str, list[float]],
) -> None:
    for (name, measure), cut in zip(measures.items(), cuts, strict=True):
        into[name].extend(measure.fold(totals[:, cut]))
