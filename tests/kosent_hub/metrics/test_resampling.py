"""Intervals and the paired test; how often intervals are right is tests/benchmarks' question."""

import itertools
import math

import numpy as np
import pytest

from kosent_hub import metrics
from kosent_hub.metrics import Measure, ratio


def ids(count):
    return [str(i) for i in range(count)]


def mean(values, independent=False):
    return {"x": metrics.mean_of(values, "", independent)}


def interval(values, dialogues=None, seed=0, independent=False):
    dialogues = dialogues or ids(len(values))
    return metrics.intervals(mean(values, independent), dialogues, seed)["x"]


def difference(ours, theirs, dialogues=None, seed=0):
    return metrics.compare(mean(ours), mean(theirs), dialogues or ids(len(ours)), seed)["x"]


def normal(count, seed=0):
    return np.random.default_rng(seed).normal(size=count)


def test_an_interval_is_as_wide_as_the_standard_error_says():
    values = normal(400)
    low, high = interval(values)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.97 * values.std() / 20, rel=0.1)
    assert interval(values) == [low, high]


def test_an_interval_of_few_dialogues_is_wider_than_a_large_samples():
    values = normal(12)
    low, high = interval(values)
    # Student's t with 11 degrees of freedom has its limit at 2.20 standard errors, not 1.96.
    assert 2 * 2.05 < (high - low) / (values.std(ddof=1) / math.sqrt(12)) < 2 * 2.8


def test_fewer_than_ten_dialogues_get_no_interval():
    assert interval(normal(90), [str(i // 10) for i in range(90)]) is None
    assert interval(normal(100), [str(i // 10) for i in range(100)]) is not None
    found = difference(normal(90), normal(90, 1), [str(i // 10) for i in range(90)])
    assert found.ci95 is None and found.p_value is not None


@pytest.mark.parametrize("values", [normal(60), np.arange(60) % 3 == 0], ids=["mean", "share"])
def test_dialogues_are_drawn_whole(values):
    alone = interval(values)
    # The same turns, three times each: they say no more than once.
    repeated = interval(np.repeat(values, 3), [name for name in ids(60) for _ in range(3)])
    assert repeated == pytest.approx(alone, rel=0.05, abs=0.02)
    taken_for_more = interval(np.repeat(values, 3))
    assert np.ptp(taken_for_more) < 0.7 * np.ptp(alone)


def test_a_share_without_variation_has_an_interval_of_its_dialogues():
    low, high = interval([0.0] * 90, [str(i // 3) for i in range(90)])
    assert low == 0
    # Wilson's bound for 0 of 30, near the rule of three's 3 / 30
    assert high == pytest.approx(1.96**2 / (30 + 1.96**2), rel=1e-3)
    low, high = interval([1.0] * 30)
    assert (round(low, 3), high) == (0.886, 1)


def test_a_share_of_independent_cases_is_wilsons():
    share = np.arange(400) % 5 == 0
    # 80 of 400: (0.2 + z²/800 ± z sqrt(0.2 * 0.8 / 400 + z²/640,000)) / (1 + z²/400)
    assert interval(share) == pytest.approx([0.1637, 0.2420], abs=0.001)


def test_a_share_of_letters_is_within_0_and_1():
    rng = np.random.default_rng(0)
    letters = rng.integers(8, 60, 40)
    hangul = letters - np.where(np.arange(40) % 13 == 0, letters // 3, 0)
    measures = {"x": Measure(np.column_stack([hangul, letters]), ratio, "")}
    low, high = metrics.intervals(measures, ids(40), seed=0)["x"]
    assert 0 <= low < measures["x"].value < high <= 1


# (hits, cases, low, high) of scipy 1.17: binomtest(hits, cases).proportion_ci()
EXACT = [
    (0, 1, 0, 0.975),
    (0, 30, 0, 0.11570330822),
    (3, 20, 0.03207093718, 0.37892682655),
    (17, 40, 0.27042903127, 0.59109941957),
    (40, 40, 0.025 ** (1 / 40), 1),
]


@pytest.mark.parametrize(("hits", "cases", "low", "high"), EXACT)
def test_independent_cases_have_the_exact_interval(hits, cases, low, high):
    values = np.arange(cases) < hits
    assert interval(values, independent=True) == pytest.approx([low, high], abs=1e-9)


def test_the_exact_interval_covers_at_least_95_percent():
    cases = 40
    bounds = [interval(np.arange(cases) < k, independent=True) for k in range(cases + 1)]
    for share in np.linspace(0.005, 0.995, 100):
        chances = [
            math.comb(cases, k) * share**k * (1 - share) ** (cases - k) for k in range(cases + 1)
        ]
        held = [low <= share <= high for low, high in bounds]
        assert np.dot(chances, held) >= 0.95


def test_what_is_not_measured_has_no_interval_and_no_verdict():
    good, bad = normal(20), normal(20, 1)
    bad[3] = np.nan
    assert interval(bad) is None
    for ours, theirs in ((good, bad), (bad, good), (bad, bad)):
        assert difference(ours, theirs) == metrics.Difference(None, None, None, 0)
    nothing = {"x": Measure(np.zeros((20, 2)), ratio, "")}
    assert metrics.intervals(nothing, ids(20), 0) == {"x": None}
    assert metrics.compare(nothing, mean(good), ids(20), 0)["x"].p_value is None


def test_a_score_that_one_dialogue_makes_has_no_interval():
    # Where this dialogue is not drawn, nothing of the score is left.
    assert interval([0.5] + [0.0] * 29) is None
    assert interval([0.3] * 30) is None


def test_the_same_replies_do_not_differ():
    values = normal(20)
    assert difference(values, values) == metrics.Difference(0, None, 1.0, 1)


def test_the_interval_of_a_difference_is_paired():
    hard = 10 * normal(50)
    found = difference(hard + 1 + 0.1 * normal(50, 1), hard)
    low, high = found.ci95
    assert low < found.value < high
    assert high - low < 0.1
    assert found.p_value == 1 / (metrics.resampling.TRIALS + 1)


def test_few_differences_are_tried_in_every_way():
    ours, theirs = np.zeros(30), np.zeros(30)
    ours[:8] = [3, 1, 4, 1, 5, 9, -2, -6]
    found = difference(ours, theirs)
    sums = [abs(np.dot(s, ours[:8])) for s in itertools.product((1, -1), repeat=8)]
    assert found.p_value == np.mean(np.array(sums) >= 15)
    assert found.trials == 2**8
    # One dialogue can only change sides or not: no evidence at all.
    assert difference([1.0] * 20, [0.0] * 20, ["a"] * 20).p_value == 1


# 20 differences in whole numbers, and the exact p value of their sum.
NEAR = [
    ([1, 7, 8, 10, -5, 6, -3, -1, -1, 4, 4, 3, -8, 12, 10, -1, 4, -6, 5, 11], 0.0387),
    ([-6, 4, 4, -4, 12, -2, 2, 11, 4, -3, 9, 13, 2, 12, -6, -2, -7, -1, 11, 9], 0.0613),
]


def exact_p(differences):
    """By counting how many sign patterns have each sum."""
    counts = {0: 1}
    for step in differences:
        totals = {total + change for total in counts for change in (step, -step)}
        counts = {t: counts.get(t - step, 0) + counts.get(t + step, 0) for t in totals}
    extreme = sum(n for total, n in counts.items() if abs(total) >= abs(sum(differences)))
    return extreme / 2 ** len(differences)


@pytest.mark.parametrize(("differences", "exact"), NEAR, ids=["significant", "not significant"])
def test_the_verdict_is_the_same_for_every_seed(differences, exact):
    assert exact_p(differences) == pytest.approx(exact, abs=1e-4)
    found = [difference(differences, [0.0] * 20, seed=seed).p_value for seed in range(30)]
    assert len(set(found)) > 1
    assert {p < 0.05 for p in found} == {exact < 0.05}


def test_p_values_of_equal_models_are_spread_evenly():
    rng = np.random.default_rng(0)
    both = [
        {str(i): metrics.mean_of(rng.normal(size=60), "") for i in range(100)} for _ in range(2)
    ]
    found = np.array([d.p_value for d in metrics.compare(*both, ids(60), 0).values()])
    assert 0.4 < found.mean() < 0.6
    assert 0.01 < (found < 0.1).mean() < 0.2


def test_holm_adjusts_as_by_hand():
    raw = {"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}
    # 4 x 0.005, 3 x 0.01, 2 x 0.03, and 0.04 no less than the one before it
    assert metrics.holm(raw, None) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})
    assert list(metrics.holm(raw, None)) == list(raw)
    assert metrics.holm({"a": 0.6, "b": 0.9}, None) == {"a": 1, "b": 1}
    assert metrics.holm({}, None) == {}


def test_a_primary_metric_has_half_of_the_weight():
    raw = {"a": 0.02, "b": 0.02, "c": 0.001}
    # Weights 1/2, 1/4, 1/4: c 0.001 x 4; then a 0.02 x 3/4 x 2; then b alone
    assert metrics.holm(raw, "a") == pytest.approx({"a": 0.03, "b": 0.03, "c": 0.004})
    assert metrics.holm({"a": 0.02}, "a") == {"a": 0.02}
    # One that was not measured gives its weight to the others.
    assert metrics.holm(raw, "z") == metrics.holm(raw, None)
