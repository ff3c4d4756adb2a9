"""Uncertainty of scores: intervals, and the paired test of two models, over whole dialogues.

The turns of one dialogue depend on each other, so they are drawn together. docs/statistics.md
says which method serves which metric, and how often its intervals hold the true value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from kosent_hub.metrics.kosent_score.measure import Fold, Measure, ratio

DRAWS = 2_000  # of the bootstrap
TRIALS = 10_000  # of the paired test
EXACT = 13  # up to this many dialogues that differ, all 2 ** EXACT trials are made
FEWEST = 10  # dialogues that an interval needs
CELLS = 200_000  # draws x dialogues in memory at a time
TAIL = 0.025
NORMAL = NormalDist().inv_cdf(1 - TAIL)

Interval = list[float]

# What a record says of how intervals and p values were made.
METHOD: dict[str, Any] = {
    "intervals": "studentized bootstrap of dialogues; Wilson for shares, Clopper-Pearson for "
    "independent cases",
    "draws": DRAWS,
    "fewest_dialogues": FEWEST,
    "test": "paired approximate randomisation of dialogues, two-sided",
    "trials": TRIALS,
    "adjustment": "Holm, half of the weight for the primary metric",
}


@dataclass(frozen=True)
class Difference:
    """A metric of one model minus that of another, on the same samples.

    `p_value` is two-sided and stands on `trials` exchanges of the models' replies. `value`, `ci95`
    and `p_value` are None where they could not be measured.
    """

    value: float | None
    ci95: Interval | None
    p_value: float | None
    trials: int


def intervals(
    measures: Mapping[str, Measure], dialogues: Sequence[Any], seed: int
) -> dict[str, Interval | None]:
    """95 % interval of each measure; None where none can be trusted.

    Independent cases get the exact one of Clopper and Pearson; shares that of Wilson for as many
    cases as the spread between dialogues leaves; all else a studentized bootstrap of dialogues.
    """
    places = dialogue_places(dialogues)
    found: dict[str, Interval | None] = dict.fromkeys(measures)
    drawn: dict[str, Statistic] = {}
    for name, measure in measures.items():
        if not math.isfinite(measure.value):
            continue
        if measure.independent:
            found[name] = clopper_pearson(int(measure.rows[:, 0].sum()), len(measure.rows))
        elif places.max() + 1 < FEWEST:
            continue
        elif _is_share(measure):
            found[name] = _wilson(measure, dialogue_sums(measure, places))
        else:
            drawn[name] = Statistic(dialogue_sums(measure, places), measure.fold, *_range(measure))
    return found | _bootstrap(drawn, seed)


def compare(
    ours: Mapping[str, Measure],
    theirs: Mapping[str, Measure],
    dialogues: Sequence[Any],
    seed: int,
) -> dict[str, Difference]:
    """Each measure minus the other model's, with its interval and how likely it is by chance.

    The interval is the studentized bootstrap of the paired difference: each draw of dialogues
    counts for both models. The p value is that of approximate randomisation: in each trial every
    dialogue's replies change sides with probability one half (Noreen 1989). All ways to change
    sides are tried where at most `EXACT` dialogues differ; else the smallest p value is
    1 / (trials + 1).
    """
    places = dialogue_places(dialogues)
    pairs = {
        name: (dialogue_sums(measure, places), dialogue_sums(theirs[name], places))
        for name, measure in ours.items()
        if math.isfinite(measure.value) and math.isfinite(theirs[name].value)
    }
    drawn = {}
    for name, (mine, other) in pairs.items():
        (low, high), (their_low, their_high) = _range(ours[name]), _range(theirs[name])
        drawn[name] = Statistic(
            np.hstack([mine, other]),
            _minus(ours[name].fold, theirs[name].fold, mine.shape[1]),
            low - their_high,
            high - their_low,
            symmetric=True,
        )
    enough = places.size and places.max() + 1 >= FEWEST
    bounds = _bootstrap(drawn, seed) if enough else dict.fromkeys(drawn)
    tests = _randomised({name: ours[name].fold for name in pairs}, pairs, seed)
    return {
        name: Difference(measure.value - theirs[name].value, bounds[name], *tests[name])
        if name in pairs
        else Difference(None, None, None, 0)
        for name, measure in ours.items()
    }


def holm(p_values: Mapping[str, float], primary: str | None = None) -> dict[str, float]:
    """p values adjusted for how many there are, so that 5 % is the chance of any false finding.

    Holm's method (1979). A `primary` metric that was named beforehand has half of the weight, all
    others share the other half; it then costs the primary a factor of two at most.
    """
    weights = dict.fromkeys(p_values, 1.0)
    if primary is not None and primary in p_values:
        # As much as all others together.
        weights[primary] = max(1.0, len(p_values) - 1.0)
    adjusted: dict[str, float] = {}
    left, reached = sum(weights.values()), 0.0
    for name in sorted(p_values, key=lambda name: p_values[name] / weights[name]):
        reached = max(reached, min(1.0, p_values[name] * left / weights[name]))
        adjusted[name] = reached
        left -= weights[name]
    return {name: adjusted[name] for name in p_values}


@dataclass(frozen=True)
class Statistic:
    """A score of dialogues' sums (n, k), and between what it must lie.

    A `symmetric` one errs as much to both sides, as a difference of two like models does.
    """

    sums: np.ndarray
    fold: Fold
    lowest: float
    highest: float
    symmetric: bool = False


def dialogue_places(dialogues: Sequence[Any]) -> np.ndarray:
    """The number of each sample's dialogue, from 0."""
    return np.unique(np.asarray(dialogues), return_inverse=True)[1]


def dialogue_sums(measure: Measure, places: np.ndarray) -> np.ndarray:
    """The measure's rows summed by dialogue, (dialogues, k)."""
    sums = np.zeros((places.max() + 1, measure.rows.shape[1]))
    np.add.at(sums, places, measure.rows)
    return sums


def _is_part(measure: Measure) -> bool:
    """Whether the first of the sums is a part of the second, so that the score is 0 to 1."""
    if measure.fold is not ratio:
        return False
    part, whole = measure.rows.T
    return bool(((part >= 0) & (part <= whole)).all())


def _is_share(measure: Measure) -> bool:
    """Whether the measure is a count of cases among others."""
    return _is_part(measure) and bool((measure.rows == np.rint(measure.rows)).all())


def _range(measure: Measure) -> tuple[float, float]:
    """The least and the largest score that there can be."""
    lowest = 0.0 if (measure.rows >= 0).all() else -math.inf
    return lowest, 1.0 if _is_part(measure) else math.inf


def _minus(ours: Fold, theirs: Fold, width: int) -> Fold:
    """The difference of two scores as a fold of both their columns."""
    return lambda totals: ours(totals[..., :width]) - theirs(totals[..., width:])


def clopper_pearson(hits: int, cases: int) -> Interval | None:
    """Exact 95 % interval of a share of independent cases (Clopper and Pearson 1934).

    None of no case.
    """
    if not cases:
        return None
    low = _root(lambda share: 1 - _binomial(hits - 1, cases, share) - TAIL) if hits else 0.0
    high = _root(lambda share: TAIL - _binomial(hits, cases, share)) if hits < cases else 1.0
    return [low, high]


def _binomial(hits: int, cases: int, share: float) -> float:
    """Chance of at most so many hits."""
    return math.fsum(
        math.exp(
            math.lgamma(cases + 1)
            - math.lgamma(k + 1)
            - math.lgamma(cases - k + 1)
            + k * math.log(share)
            + (cases - k) * math.log1p(-share)
        )
        for k in range(hits + 1)
    )


def _root(rising: Callable[[float], float]) -> float:
    """Where a rising function of 0 to 1 crosses 0."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return (low + high) / 2


def _wilson(measure: Measure, sums: np.ndarray) -> Interval:
    """Wilson's interval (1927) of a share, for the effective number of its cases.

    Dialogues are drawn, not cases: the effective number is that of independent cases whose share
    would vary as much (Korn and Graubard 1998), with their correction for few dialogues. Where
    dialogues do not vary at all, each counts as one case.
    """
    count = len(sums)
    hits, cases = sums.sum(axis=0)
    share = hits / cases
    spread = np.square((sums[:, 0] - share * sums[:, 1]) / cases).sum() * count / (count - 1)
    effective = float(count)
    if spread > 0 and 0 < share < 1:
        effective = share * (1 - share) / spread * (NORMAL / _student(count - 1)) ** 2
        if measure.rows[:, 1].max() > 1:
            # A sample may hold a few hits or many: how many is known only from those with any.
            rare = min((sums[:, 0] > 0).sum(), (sums[:, 0] < sums[:, 1]).sum())
            effective *= rare / (rare + 2)
        effective = min(effective, cases)
    weight = NORMAL**2 / effective
    middle = (share + weight / 2) / (1 + weight)
    half = math.sqrt(weight * (share * (1 - share) + weight / 4)) / (1 + weight)
    return [max(0.0, float(middle - half)), min(1.0, float(middle + half))]


def _student(freedom: int) -> float:
    """The 97.5 % quantile of Student's t, to 0.1 % from 9 degrees of freedom on (Fisher 1926)."""
    z = NORMAL
    return (
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    )


def _bootstrap(statistics: Mapping[str, Statistic], seed: int) -> dict[str, Interval | None]:
    """Studentized bootstrap intervals (Efron and Tibshirani 1993, 12.5), all on the same draws.

    None where nothing varies, where a bound is not finite (too few dialogues make the score what
    it is), or where more than 1 % of the draws have nothing to measure.
    """
    if not statistics:
        return {}
    scores: dict[str, list[np.ndarray]] = {name: [] for name in statistics}
    errors: dict[str, list[np.ndarray]] = {name: [] for name in statistics}
    count = len(next(iter(statistics.values())).sums)
    rng = np.random.default_rng(seed)
    for size in chunks(DRAWS, count):
        draws = rng.multinomial(count, np.full(count, 1 / count), size=size).astype(np.float64)
        for name, statistic in statistics.items():
            score, error = _score_and_error(statistic, draws)
            scores[name].append(score)
            errors[name].append(error)
    return {
        name: _studentized(statistic, np.concatenate(scores[name]), np.concatenate(errors[name]))
        for name, statistic in statistics.items()
    }


def _studentized(statistic: Statistic, scores: np.ndarray, errors: np.ndarray) -> Interval | None:
    ((value,), (error,)) = _score_and_error(statistic, np.ones((1, len(statistic.sums))))
    measured = np.isfinite(scores) & np.isfinite(errors)
    if not error > 0 or measured.mean() < 0.99:
        return None
    distances, errors = scores[measured] - value, errors[measured]
    exact = np.where(distances == 0, 0.0, np.copysign(np.inf, distances))
    # An error that is 0 but for the order of additions is 0.
    units = np.divide(distances, errors, out=exact, where=errors > 1e-9 * error)
    # The quantiles are drawn values: between two of them there may be infinity.
    if statistic.symmetric:
        last = np.quantile(np.abs(units), 1 - 2 * TAIL, method="inverted_cdf")
        first = -last
    else:
        first, last = np.quantile(units, [TAIL, 1 - TAIL], method="inverted_cdf")
    if not np.isfinite([first, last]).all():
        return None
    return [
        max(statistic.lowest, float(value - last * error)),
        min(statistic.highest, float(value - first * error)),
    ]


def _score_and_error(statistic: Statistic, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The score of each draw (draws x dialogues), and its standard error by the delta method."""
    totals = draws @ statistic.sums
    # Central differences: one more and one less of each column, (draws, 2, k, k).
    steps = 1e-4 * np.abs(totals)
    moves = np.eye(totals.shape[1]) * steps[:, None, :]
    up, down = (statistic.fold(totals[:, None, :] + move) for move in (moves, -moves))
    slopes = np.divide(up - down, 2 * steps, out=np.zeros_like(totals), where=steps > 0)
    influence = slopes @ statistic.sums.T
    squares = np.einsum("ij,ij,ij->i", draws, influence, influence)
    mean = (slopes * totals).sum(axis=1) / draws.shape[1]
    return statistic.fold(totals), np.sqrt(np.maximum(0, squares - draws.shape[1] * mean**2))


def _randomised(
    folds: Mapping[str, Fold], pairs: Mapping[str, tuple[np.ndarray, np.ndarray]], seed: int
) -> dict[str, tuple[float, int]]:
    """The p value of each pair of dialogues' sums, and on how many trials it stands."""
    found: dict[str, tuple[float, int]] = {}
    many: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for name, (ours, theirs) in pairs.items():
        moves = theirs - ours
        moves = moves[moves.any(axis=1)]
        if len(moves) <= EXACT:
            sides = (np.arange(2 ** len(moves))[:, None] >> np.arange(len(moves))) & 1
            extreme = _extreme(folds[name], ours.sum(axis=0), theirs.sum(axis=0), sides @ moves)
            found[name] = extreme / len(sides), len(sides)
        else:
            many[name] = ours, theirs
    if many:
        found |= _sampled(folds, many, seed)
    return found


def _sampled(
    folds: Mapping[str, Fold], pairs: Mapping[str, tuple[np.ndarray, np.ndarray]], seed: int
) -> dict[str, tuple[float, int]]:
    """`_randomised` by `TRIALS` random trials, the same for all pairs."""
    moves = np.hstack([theirs - ours for ours, theirs in pairs.values()])
    ends = np.cumsum([ours.shape[1] for ours, _ in pairs.values()])
    extremes = dict.fromkeys(pairs, 1)
    rng = np.random.default_rng(seed)
    for size in chunks(TRIALS, len(moves)):
        sides = rng.integers(0, 2, size=(size, len(moves)), dtype=np.int8)
        moved = np.split(sides.astype(np.float64) @ moves, ends[:-1], axis=1)
        for (name, (ours, theirs)), part in zip(pairs.items(), moved, strict=True):
            extremes[name] += _extreme(folds[name], ours.sum(axis=0), theirs.sum(axis=0), part)
    return {name: (count / (TRIALS + 1), TRIALS) for name, count in extremes.items()}


def _extreme(fold: Fold, ours: np.ndarray, theirs: np.ndarray, moved: np.ndarray) -> int:
    """In how many trials, which move so much from one side to the other, both differ as much."""
    values = fold(np.stack([ours, theirs]))
    differences = np.abs(fold(ours + moved) - fold(theirs - moved))
    # A difference that is equal but for the order of additions counts as equal, and so does one
    # that cannot be measured: neither is evidence.
    least = abs(values[0] - values[1]) - 1e-9 * np.abs(values).max()
    return int((~(differences < least)).sum())


def chunks(total: int, count: int) -> Iterator[int]:
    """Sizes of the parts in which `total` draws of `count` dialogues are made."""
    size = max(1, CELLS // count)
    for start in range(0, total, size):
        yield min(size, total - start)
