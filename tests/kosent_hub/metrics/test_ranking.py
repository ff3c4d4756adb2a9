"""Ranks and wins of measures whose answers are known."""

import numpy as np
import pytest

from kosent_hub.metrics import mean_of
from kosent_hub.metrics.ranking import Rank, Wins, ranks, wins


def measures(*columns):
    return [mean_of(column, "test") for column in columns]


def rank(found, higher_is_better=True, dialogues=None, seed=0):
    dialogues = range(len(found[0].rows)) if dialogues is None else dialogues
    return ranks({"m": found}, {"m": higher_is_better}, dialogues, seed)["m"]


def test_models_that_are_close_share_ranks_and_others_do_not():
    noise = np.random.default_rng(1)
    own = noise.normal(size=40)
    close = own + noise.normal(scale=0.3, size=40)
    found = rank(measures(own, own + 3, close))
    assert found[1] == Rank(1, [1, 1])
    assert {found[0].rank, found[2].rank} == {2, 3}
    assert found[0].ci95 == found[2].ci95 == [2, 3]
    assert [r.rank for r in rank(measures(own, own + 3, close), False)][1] == 3


def test_intervals_are_percentiles_over_draws_of_dialogues():
    values = np.random.default_rng(2).normal(size=(6, 60))
    dialogues = np.arange(60) // 3
    found = np.asarray([r.ci95 for r in rank(measures(*values), dialogues=dialogues)]).T
    draws = np.random.default_rng(7).integers(0, 20, size=(20_000, 20))
    drawn = values.reshape(6, 20, 3).sum(axis=2)[:, draws].sum(axis=2)
    order = 6 - np.argsort(np.argsort(drawn, axis=0), axis=0)
    wide, narrow = (
        np.quantile(order, [tail, 1 - tail], axis=1, method="inverted_cdf")
        for tail in (0.015, 0.04)
    )
    assert (wide[0] <= found[0]).all()
    assert (found[0] <= narrow[0]).all()
    assert (narrow[1] <= found[1]).all()
    assert (found[1] <= wide[1]).all()
    assert (narrow != [[1], [6]]).any(), "some intervals are no trivial ones"


def test_equal_models_share_all_their_ranks():
    found = rank(measures([0.0] * 12, [1.0] * 12, [1.0] * 12))
    assert found == [Rank(3, [3, 3]), Rank(1, [1, 2]), Rank(1, [1, 2])]


@pytest.mark.parametrize("count", [9, 10])
def test_fewer_than_ten_dialogues_have_no_interval(count):
    (first, _) = rank(measures([1.0] * count, [0.0] * count))
    assert first == Rank(1, None if count < 10 else [1, 1])


def test_wins_are_counted_by_dialogue():
    first, second = measures([1, 0, 1, 1, 0, 0], [0, 1, 1, 1, 0, 1])
    assert wins(first, second, True, [0, 0, 1, 1, 2, 2]) == Wins(0, 2, 1)
    assert wins(first, second, True, range(6)) == Wins(1, 3, 2)
    assert wins(first, second, False, range(6)) == Wins(2, 3, 1)
