"""The form of replies: variety, length, repetition, script, politeness."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from .measure import Measure, Score, mean_of, nfc, ratio
from .overlap import morphemes

HANGUL = re.compile("[\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff]")
# A character decoded from half a byte sequence is a foreign letter too: it is what a reader sees.
LETTER = re.compile("[^\\W\\d_]|\ufffd")
REPEATED_LENGTH, REPEATED_TIMES = 6, 3
# Up to this many texts are analysed one by one, without threads.
FEW = 100
POLITE_ENDINGS = ("요", "죠", "니다", "니까", "시오", "ᆸ시다")


def distinct(predictions: Sequence[str], order: int) -> float:
    """Different morpheme n-grams divided by all of them, over all replies (Li et al. 2016).

    It falls as replies are added, so compare it only between equally many samples.
    """
    seen: set[tuple[str, ...]] = set()
    total = 0
    for text in nfc(predictions):
        tokens = morphemes(text)
        grams = list(zip(*(tokens[i:] for i in range(order)), strict=False))
        seen.update(grams)
        total += len(grams)
    return len(seen) / total if total else 0.0


def length_ratio(predictions: Sequence[str], references: Sequence[str]) -> Measure:
    """Characters of the replies divided by those of the true replies, spaces left out."""
    rows = np.column_stack([_lengths(nfc(predictions)), _lengths(nfc(references))])
    return Measure(rows, ratio, "characters without spaces|sum/sum")


def empty_rate(predictions: Sequence[str]) -> Measure:
    """Share of replies that are empty or all white space."""
    return mean_of([not text.strip() for text in predictions], "blank replies")


def repetition_rate(predictions: Sequence[str]) -> Measure:
    """Share of replies that contain the same six characters three times or more."""
    return mean_of(
        [_repeats(text) for text in nfc(predictions)],
        f"{REPEATED_LENGTH} characters {REPEATED_TIMES} times, spaces left out",
    )


def hangul_ratio(predictions: Sequence[str]) -> Measure:
    """Hangul letters divided by all letters of all replies; broken characters count as foreign."""
    texts = nfc(predictions)
    hangul = [len(HANGUL.findall(text)) for text in texts]
    letters = [len(LETTER.findall(text)) for text in texts]
    return Measure(np.column_stack([hangul, letters]), ratio, "hangul/letters|sum/sum")


def polite_ratio(predictions: Sequence[str]) -> Measure:
    """Sentences that end politely (존댓말) divided by those with a final ending, over all replies.

    Polite are final endings in -요, -죠, -ㅂ니다, -ㅂ니까, -ㅂ시오, -ㅂ시다 and the particle 요
    after any ending, as kiwipiepy tags them. Sentences without a final ending (a lone noun) count
    on neither side.
    """
    import kiwipiepy

    rows = [_polite(tokens) for tokens in _tokenized(nfc(predictions))]
    return Measure(
        np.asarray(rows, dtype=np.float64).reshape(-1, 2),
        ratio,
        f"polite/final endings|kiwipiepy:{kiwipiepy.__version__}|sum/sum",
    )


def _lengths(texts: Iterable[str]) -> list[int]:
    return [len("".join(text.split())) for text in texts]


def _repeats(text: str) -> bool:
    packed = "".join(text.split())
    counts: dict[str, int] = {}
    for i in range(len(packed) - REPEATED_LENGTH + 1):
        part = packed[i : i + REPEATED_LENGTH]
        counts[part] = counts.get(part, 0) + 1
    return max(counts.values(), default=0) >= REPEATED_TIMES


@functools.cache
def kiwi() -> Any:
    """The morphological analyser, which takes seconds to load and is shared."""
    from kiwipiepy import Kiwi

    return Kiwi()


def _tokenized(texts: Sequence[str]) -> Iterable[Sequence[Any]]:
    """The tokens of each text; few are analysed without kiwipiepy's threads, which a fork loses."""
    tokenize = kiwi().tokenize
    return tokenize(texts) if len(texts) > FEW else map(tokenize, texts)


def _polite(tokens: Sequence[Any]) -> tuple[int, int]:
    """Polite and all final endings of one analysed reply; 요/JX right after an ending is part."""
    polite = total = 0
    for token, following in itertools.pairwise([*tokens, None]):
        if token.tag != "EF":
            continue
        total += 1
        particle = following is not None and following.tag == "JX" and following.form == "요"
        polite += particle or token.form.endswith(POLITE_ENDINGS)
    return polite, total


def _without_references(score: Callable[[Sequence[str]], Measure]) -> Score:
    """The metric as a function of replies and true replies, of which it needs only the replies."""
    return lambda predictions, references: score(predictions)


FORM: dict[str, Score] = {
    "length_ratio": length_ratio,
    "empty_rate": _without_references(empty_rate),
    "repetition_rate": _without_references(repetition_rate),
    "hangul_ratio": _without_references(hangul_ratio),
    "polite_ratio": _without_references(polite_ratio),
}
# The order of n-grams that each counts; no sample has a share of these metrics.
DISTINCT = {"distinct_1": 1, "distinct_2": 2}
