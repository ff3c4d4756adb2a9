"""How much a text is like labelled ones: naive Bayes on pieces of two to six characters.

Of Hangul the characters are the letters of decomposed text (NFD): two to six are a syllable to
three, with the stem of a verb apart from its ending.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable

# Occurrences added to each piece (Lidstone), so that one seen on one side only decides nothing.
ADDED = 0.5
NOT_WORDS = re.compile(r"[^\w·]+")


def weights(examples: Iterable[tuple[bool, str]]) -> dict[str, float]:
    """The log odds of each piece that two examples or more have: above 0 speaks for True."""
    having: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    for label, text in examples:
        having[label].update(_pieces(text))
    yes, no = having[True], having[False]
    # Shares of all pieces, not of texts: how long the texts are then decides nothing.
    size = math.log((no.total() + ADDED) / (yes.total() + ADDED))
    return {
        piece: size + math.log((yes[piece] + ADDED) / (no[piece] + ADDED))
        for piece in yes.keys() | no.keys()
        if yes[piece] + no[piece] > 1
    }


def likeness(text: str, weights: dict[str, float]) -> float:
    """How much more a text is like those labelled True than like the others, about -10 to 10.

    The sum of the weights of its pieces, divided by the square root of their number: pieces overlap
    and repeat each other.
    """
    known = [weights[piece] for piece in _pieces(text) if piece in weights]
    return sum(known) / math.sqrt(len(known) + 1)


def _pieces(text: str) -> set[str]:
    text = f" {NOT_WORDS.sub(' ', text)} "
    return {text[i : i + n] for n in range(2, 7) for i in range(len(text) - n + 1)}
