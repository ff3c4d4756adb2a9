"""Bradley and Terry's strengths of several models, from who beat whom."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kosent_hub.metrics.resampling import DRAWS, FEWEST, TAIL, chunks, dialogue_places
from model_card.records import Value

# A virtual tie of each two models, so that one that wins always has a strength too.
PRIOR = 0.5
STEPS = 200


def strengths(
    scores: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    rows: Sequence[int],
    models: int,
    seed: int,
) -> list[Value]:
    """Each model's strength in logits, all together 0 on average, with its 95 % interval.

    `scores` (n) are 1 where the first model of a pair is preferred, 0 where the second is, 0.5 for
    a tie; `first` and `second` (n) are the models' places. Ties count as half a win of both
    (Hunter 2004 gives the iteration). Intervals are percentiles over draws of dialogues, `rows`.
    """
    places = dialogue_places(rows)
    count = int(places.max()) + 1
    wins = np.zeros((count, models, models))
    np.add.at(wins, (places, first, second), scores)
    np.add.at(wins, (places, second, first), 1 - scores)
    flat = wins.reshape(count, -1)
    found = _fit(flat.sum(axis=0)[None].reshape(1, models, models))[0]
    if count < FEWEST:
        return [Value(float(value)) for value in found]
    rng, drawn = np.random.default_rng(seed), []
    for size in chunks(DRAWS, count):
        draws = rng.multinomial(count, np.full(count, 1 / count), size=size)
        drawn.append(_fit((draws @ flat).reshape(size, models, models)))
    low, high = np.quantile(np.concatenate(drawn), [TAIL, 1 - TAIL], axis=0)
    return [
        Value(float(value), [float(a), float(b)])
        for value, a, b in zip(found, low, high, strict=True)
    ]


def _fit(wins: np.ndarray) -> np.ndarray:
    """Logits by model, (draws, models), of wins (draws, models, models)."""
    wins = wins + PRIOR * (1 - np.eye(wins.shape[-1]))
    won, met = wins.sum(axis=2), wins + wins.swapaxes(1, 2)
    strength = np.ones(won.shape)
    for _ in range(STEPS):
        strength = won / (met / (strength[:, :, None] + strength[:, None, :])).sum(axis=2)
        strength /= np.exp(np.log(strength).mean(axis=1, keepdims=True))
    return np.log(strength)
