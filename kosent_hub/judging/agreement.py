"""How far judges agree beyond chance, with intervals from draws of pairs.

Written here for all draws at once: scikit-learn has kappa (a test compares with it) but no alpha,
and the package `krippendorff` is under the GPL, which this project's users need not accept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from kosent_hub.metrics.resampling import FEWEST, TAIL
from model_card.records import Agreement, finite

DRAWS = 1_000


def alpha(verdicts: Sequence[Mapping[str, int]], seed: int) -> Agreement:
    """Krippendorff's alpha for nominal data (Krippendorff 2011) among people.

    `verdicts` has, for each pair, the verdict of each rater who saw it; a pair that one rater alone
    saw counts for nothing. `same` is the share of equal verdicts among all two raters of a pair.
    """
    values = sorted({verdict for by in verdicts for verdict in by.values()})
    counts = np.asarray(
        [[list(by.values()).count(value) for value in values] for by in verdicts if len(by) > 1],
        dtype=np.float64,
    ).reshape(-1, len(values))
    everything = np.ones((1, len(counts)))
    raters = counts.sum(axis=1)
    two = (raters * (raters - 1)).sum()
    same = float((counts * (counts - 1)).sum() / two) if two else None
    found = float(_alphas(counts, everything)[0])
    bounds = _bounds(lambda draws: _alphas(counts, draws), len(counts), seed)
    return Agreement("alpha", finite(found), len(counts), same, bounds)


def _alphas(counts: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Alpha of each draw, (draws, pairs) -> (draws,), from how many chose what, (pairs, values)."""
    raters = counts.sum(axis=1)
    # Of each pair the ratings' disagreement, every rating with the others of that pair.
    apart = (raters**2 - (counts**2).sum(axis=1)) / np.maximum(raters - 1, 1)
    values = draws @ counts
    total = values.sum(axis=1)
    expected = (total**2 - (values**2).sum(axis=1)) / np.maximum(total - 1, 1)
    observed = draws @ apart
    ratio = np.divide(observed, expected, out=np.full(len(draws), np.nan), where=expected > 0)
    return 1 - ratio


def kappa(people: Sequence[int], model: Sequence[int], judge: str, seed: int) -> Agreement:
    """Cohen's kappa (Cohen 1960) of the people's verdicts and a model's on the same pairs."""
    if not people:
        return Agreement("kappa", None, 0, None, None, judge)
    values = sorted({*people, *model})
    ours, theirs = (
        np.asarray([[each == value for value in values] for each in found], dtype=np.float64)
        for found in (people, model)
    )
    found = float(_kappas(ours, theirs, np.ones((1, len(people))))[0])
    bounds = _bounds(lambda draws: _kappas(ours, theirs, draws), len(people), seed)
    same = float((ours * theirs).sum() / len(people))
    return Agreement("kappa", finite(found), len(people), same, bounds, judge)


def _kappas(ours: np.ndarray, theirs: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Kappa of each draw, (draws, pairs) -> (draws,), from who chose what, (pairs, values)."""
    pairs = draws.sum(axis=1)
    observed = draws @ (ours * theirs).sum(axis=1) / pairs
    expected = ((draws @ ours) * (draws @ theirs)).sum(axis=1) / pairs**2
    left = 1 - expected
    return np.divide(observed - expected, left, out=np.full(len(draws), np.nan), where=left > 1e-12)


def _bounds(
    statistic: Callable[[np.ndarray], np.ndarray], pairs: int, seed: int
) -> list[float] | None:
    """Percentile interval over draws of pairs; None of few pairs, or where draws have no value."""
    if pairs < FEWEST:
        return None
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(pairs, np.full(pairs, 1 / pairs), size=DRAWS).astype(np.float64)
    found = statistic(draws)
    found = found[np.isfinite(found)]
    if len(found) < 0.99 * DRAWS:
        return None
    return [float(bound) for bound in np.quantile(found, [TAIL, 1 - TAIL])]
