"""The pairs that one person meets, in an order of their own, without a model's name."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass

from kosent_hub.judging.reading import Pair, Stored
from kosent_hub.judging.verdicts import FIRST, SECOND, TIE

LEFT, RIGHT, NEITHER = "1", "2", "0"
KEYS = (LEFT, RIGHT, NEITHER)
# After so many pairs one of them comes again, its sides exchanged; the last few are not taken.
BETWEEN, LAST = 10, 3


@dataclass(frozen=True)
class Shown:
    """A pair as it is shown: `flipped` puts the second model's reply to the left."""

    pair: Pair
    flipped: bool
    repeated: bool = False

    def verdict(self, vote: str) -> int:
        """What a key pressed says of the pair."""
        if vote == NEITHER:
            return TIE
        return FIRST if (vote == LEFT) != self.flipped else SECOND

    def texts(self, stored: Stored) -> tuple[str, str]:
        """The reply to the left and that to the right."""
        first, second = stored.texts(self.pair)
        return (second, first) if self.flipped else (first, second)


def queue(stored: Stored, limit: int | None, name: str) -> Iterator[Shown]:
    """What is shown, as drawn from `name`; a larger limit only adds to its end.

    Of every two pairs one is shown the other way round. Pairs of equal replies are left out.
    """
    drawn = random.Random(f"kosent-judge {name}")
    pairs = (p for p in stored.pairs(limit) if len(set(stored.texts(p))) == 2)
    flips: list[bool] = []
    while block := list(itertools.islice(pairs, BETWEEN)):
        shown = []
        for pair in block:
            if not flips:
                flip = drawn.random() < 0.5
                flips = [flip, not flip]
            shown.append(Shown(pair, flips.pop()))
        yield from shown
        if len(block) == BETWEEN:
            # Of Python's random numbers, only these are the same in every release.
            again = shown[int(drawn.random() * (BETWEEN - LAST))]
            yield Shown(again.pair, not again.flipped, repeated=True)
