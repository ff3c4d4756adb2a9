"""The form of replies: variety, length, repetition, script, politeness."""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .measure import Measure, Reference, alternatives, mean_of, nfc, of_several, quotient, ratio
from .overlap import OVERLAP, morphemes
from .repetition import SIGNATURE, repeats

# Some places of these ranges are no letter yet.
HANGUL = re.compile("(?=\\w)[\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff]")
# A character decoded from half a byte sequence is a foreign letter too: it is what a reader sees.
LETTER = re.compile("[^\\W\\d_]|\ufffd")
# Up to this many texts are analysed one by one, without threads.
FEW = 100
POLITE_ENDINGS = ("요", "죠", "니다", "니까", "시오", "ᆸ시다")
# The order of n-grams that each counts; no sample has a share of these metrics.
DISTINCT = {"distinct_1": 1, "distinct_2": 2}
# The number of n-grams at which variety is told, where all compared sets have as many.
STANDARD = 10_000
# A sentence ends in marks, emoticons (ㅎㅎ, ㅠㅠ, ^^) or emoji with white space or Hangul after
# them, or at a line break. Closing marks belong to it, but `."` before Hangul is a quotation's end
# and no sentence's; the number in front of a list's entry (1. or 1) ends none.
_MARKS = "[.!?…~。！？♡♥^\u3131-\u3163\u2600-\u27bf\ufe0f\U0001f300-\U0001faff]"
SENTENCE_END = re.compile(
    r"(?<!\S)\d{1,2}[.)](?!\S)"
    rf"""|(?P<end>(?<!{_MARKS}){_MARKS}++(?:["'”’)\]」』》]*(?!\S)|(?=[가-힣]))|\n)"""
)


@dataclass(frozen=True)
class Distinct:
    """Variety of several sets of replies at the same number of n-grams, `at`.

    `values` are the sets' in their order, NaN for a set without n-grams.
    """

    values: list[float]
    at: int
    signature: str


def measure_texts(
    predictions: Sequence[str],
    references: Sequence[Reference],
    truncated: Sequence[bool] | None = None,
) -> dict[str, Measure]:
    """Every metric that needs no more than the replies, the true ones and which were cut.

    `truncated` says of each reply whether it was cut at the limit of new tokens; without it all
    replies count as whole, and there is no `truncated_rate`.
    """
    overlap = {name: score(predictions, references) for name, score in OVERLAP.items()}
    form = {
        "length_ratio": length_ratio(predictions, references),
        "empty_rate": empty_rate(predictions),
        "repetition_rate": repetition_rate(predictions, truncated),
        "hangul_ratio": hangul_ratio(predictions, truncated),
        "polite_ratio": polite_ratio(predictions, truncated),
    }
    if truncated is not None:
        form["truncated_rate"] = truncated_rate(truncated)
    return overlap | form


def distinct(predictions: Sequence[str], order: int) -> float:
    """Variety of one set of replies, as `distinct_at` gives it."""
    return distinct_at([predictions], order).values[0]


def distinct_at(sets: Sequence[Sequence[str]], order: int) -> Distinct:
    """Different morpheme n-grams divided by all of them (Li et al. 2016), at one number of them.

    That share falls with the number of n-grams, so it is told of equally many in all `sets`:
    `STANDARD`, or as many as the smallest set has. Of a larger set it is the mean over all draws
    of so many of its n-grams, which is known without drawing (rarefaction, Hurlbert 1971).
    """
    counts = [_grams(predictions, order) for predictions in sets]
    at = min([STANDARD, *(count.total() for count in counts if count)]) if any(counts) else 0
    return Distinct(
        values=[_different(count, at) / at if count else math.nan for count in counts],
        at=at,
        signature=f"morpheme {order}-grams|mean over draws of {at}",
    )


def length_ratio(predictions: Sequence[str], references: Sequence[Reference]) -> Measure:
    """Characters of the replies divided by those of the true replies, spaces left out; of several
    true replies their mean counts."""
    theirs = [float(np.mean(_lengths(several))) for several in alternatives(references)]
    rows = np.column_stack([_lengths(nfc(predictions)), theirs])
    said = f"characters without spaces|sum/sum{of_several(references, 'mean')}"
    return Measure(rows, quotient, said)


def empty_rate(predictions: Sequence[str]) -> Measure:
    """Share of replies that are empty or all white space."""
    return mean_of([not text.strip() for text in predictions], "blank replies")


def truncated_rate(truncated: Sequence[bool]) -> Measure:
    """Share of replies that were cut at the limit of new tokens."""
    return mean_of(truncated, "replies cut at the limit of new tokens")


def repetition_rate(predictions: Sequence[str], truncated: Sequence[bool] | None = None) -> Measure:
    """Share of replies that go round in circles, as `repetition.repeats` finds them.

    Of a cut reply the finished sentences are looked at and the last, unfinished one, each alone; a
    reply that has nothing but an unfinished sentence, and no loop in it, is no case.
    """
    rows = []
    for text, cut in _with_cuts(predictions, truncated):
        whole, rest = finished(text, cut)
        found = repeats(whole) or repeats(rest)
        rows.append((found, found or bool(whole) or not cut))
    return Measure(_pairs(rows), ratio, SIGNATURE)


def hangul_ratio(predictions: Sequence[str], truncated: Sequence[bool] | None = None) -> Measure:
    """Hangul letters divided by all letters of all replies; broken characters count as foreign.

    Not those at the end of a cut reply: the limit of new tokens fell inside a syllable.
    """
    texts = [
        text.rstrip("\ufffd") if cut else text for text, cut in _with_cuts(predictions, truncated)
    ]
    rows = [(len(HANGUL.findall(text)), len(LETTER.findall(text))) for text in texts]
    return Measure(_pairs(rows), ratio, "hangul/letters|sum/sum")


def polite_ratio(predictions: Sequence[str], truncated: Sequence[bool] | None = None) -> Measure:
    """Sentences that end politely (존댓말) divided by those with a final ending, over all replies.

    Polite are final endings in -요, -죠, -ㅂ니다, -ㅂ니까, -ㅂ시오, -ㅂ시다 and the particle 요
    after any ending, as kiwipiepy tags them. Sentences without a final ending (a lone noun) count
    on neither side, nor does the unfinished last sentence of a cut reply.
    """
    import kiwipiepy

    texts = [finished(text, cut)[0] for text, cut in _with_cuts(predictions, truncated)]
    rows = [_polite(tokens) for tokens in _tokenized(texts)]
    return Measure(
        _pairs(rows), ratio, f"polite/final endings|kiwipiepy:{kiwipiepy.__version__}|sum/sum"
    )


def finished(text: str, cut: bool) -> tuple[str, str]:
    """The reply up to its last finished sentence, and the rest.

    All of a reply that was not `cut` is finished. A cut one loses nothing where it was cut right
    after a sentence's end.
    """
    if not cut:
        return text, ""
    ends = [match.end() for match in SENTENCE_END.finditer(text) if match["end"]]
    last = ends[-1] if ends else 0
    return text[:last].strip(), text[last:].strip()


def _with_cuts(
    texts: Sequence[str], truncated: Sequence[bool] | None
) -> Iterable[tuple[str, bool]]:
    cuts = [False] * len(texts) if truncated is None else truncated
    return zip(nfc(texts), cuts, strict=True)


def _pairs(rows: Sequence[tuple[float, float]]) -> np.ndarray:
    """Two numbers a sample as an array, (samples, 2), also of no sample."""
    return np.asarray(rows, dtype=np.float64).reshape(-1, 2)


def _grams(texts: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    counts: Counter[tuple[str, ...]] = Counter()
    for text in nfc(texts):
        tokens = morphemes(text)
        counts.update(zip(*(tokens[i:] for i in range(order)), strict=False))
    return counts


def _different(counts: Counter[tuple[str, ...]], size: int) -> float:
    """Expected number of different n-grams in a draw of `size` of them without replacement."""
    total = counts.total()
    return sum(
        kinds * (1 - math.exp(_log_choose(total - count, size) - _log_choose(total, size)))
        for count, kinds in Counter(counts.values()).items()
    )


def _log_choose(n: int, k: int) -> float:
    if k > n:
        return -math.inf
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _lengths(texts: Iterable[str]) -> list[int]:
    return [len("".join(text.split())) for text in texts]


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
