"""Whether a reply goes round in circles, as models do and people do not."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np

# Characters, spaces left out, that repeat what stands right before them: at the third time, and
# at the second.
THRICE, TWICE = 16, 30
# A character is stale if it is part of `PART` characters that stand here for the third time within
# `NEAR`; fresh ones make up for stale ones, one each, and `STALE` too many are a loop.
PART, NEAR, STALE = 6, 100, 30
SIGNATURE = (
    f"back to back {THRICE} characters (3 times) or {TWICE} (twice)"
    f"|or {STALE} more stale than fresh ({PART} characters, 3 times within {NEAR})"
    "|without spaces, counters, laughter"
)
COUNTER = re.compile(r"(?<!\d)\d{1,3}(?!\d)")
# Laughter, tears, emoji and punctuation: what people repeat, up to `DECORATION` characters.
DECORATIVE = re.compile(r"(?:[\u3131-\u3163\W_])+")
DECORATION, KEPT = 99, 3


def repeats(text: str) -> bool:
    """Whether a stretch of the text is a loop: the same again and again, or nearly the same.

    A loop says the same three times or more in a row, or the same long passage twice; or it is a
    stretch made mostly of parts said twice before, close by, with new words in a frame. How much
    a text must repeat does not depend on its length.
    """
    packed = _packed(text)
    parts = [packed[i : i + PART] for i in range(len(packed))]
    last: dict[str, int] = {}
    periods = set()
    for i, part in enumerate(parts):
        if part in last:
            periods.add(i - last[part])
        last[part] = i
    return _back_to_back(packed, periods) or _stale(parts)


def _packed(text: str) -> str:
    packed = COUNTER.sub("", "".join(unicodedata.normalize("NFC", text).split()))
    return DECORATIVE.sub(lambda run: run[0] if len(run[0]) > DECORATION else run[0][:KEPT], packed)


def _back_to_back(packed: str, periods: Iterable[int]) -> bool:
    codes = np.frombuffer(packed.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    for period in periods:
        # Runs of characters equal to those one period before lie between the unequal ones.
        unequal = np.flatnonzero(codes[period:] != codes[:-period])
        edges = np.concatenate([[-1], unequal, [len(codes) - period]])
        run = int(np.diff(edges).max()) - 1
        if run >= max(THRICE, 2 * period) or run >= max(TWICE, period):
            return True
    return False


def _stale(parts: Sequence[str]) -> bool:
    places: dict[str, list[int]] = {}
    stale_until = excess = 0
    for i, part in enumerate(parts):
        before = places.setdefault(part, [])
        if len(before) > 1 and i - before[-2] <= NEAR:
            stale_until = i + PART
        before.append(i)
        excess = max(0, excess + (1 if i < stale_until else -1))
        if excess >= STALE:
            return True
    return False
