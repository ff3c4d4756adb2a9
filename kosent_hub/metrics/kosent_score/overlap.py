"""Overlap of replies with the true ones: BLEU, chrF++, sentence BLEU, ROUGE-L.

A reference is one true reply or several. Of several, an n-gram counts as often as in the one that
has it most, for BLEU (sacreBLEU) and sentence BLEU (NLTK), and the length is that of the one whose
length is nearest; chrF++ (sacreBLEU) and ROUGE-L take the one that scores best.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sacrebleu.metrics import BLEU, CHRF

from .measure import Measure, Reference, Score, alternatives, divided, mean_of, nfc, of_several

# What stands for no match in sentence BLEU: NLTK's values of the methods 1 and 4.
EPSILON, METHOD4 = 0.1, 5
# Matches of the orders 1 to 4, and the reply's words -> what counts as matches.
Smoothing = Callable[[Sequence[int], int], list[float]]


def bleu(predictions: Sequence[str], references: Sequence[Reference]) -> Measure:
    """Corpus BLEU, 0-100, as sacreBLEU computes it on mecab-ko morphemes."""
    metric = _bleu()
    # sacreBLEU's own per-segment counts (lengths, matches and totals by order): summing them
    # is what its corpus score does, and its bootstrap too.
    counts = metric._extract_corpus_statistics(nfc(predictions), _streams(references))
    return Measure(np.asarray(counts), bleu_of, str(metric.get_signature()))


def chrf(predictions: Sequence[str], references: Sequence[Reference]) -> Measure:
    """Corpus chrF++ (word order 2), 0-100, as sacreBLEU computes it."""
    metric = CHRF(word_order=2)
    counts = metric._extract_corpus_statistics(nfc(predictions), _streams(references))
    return Measure(np.asarray(counts), chrf_of, str(metric.get_signature()))


def bleu_of(counts: np.ndarray) -> np.ndarray:
    """Corpus BLEU from sacreBLEU's counts, (..., 10) -> (...).

    The counts are the lengths of replies and true replies, the matches of orders 1 to 4, and the
    replies' n-grams of these orders. An order without a match is smoothed as in NIST's mteval.
    """
    ours, theirs, matches, grams = np.split(counts.astype(np.float64), [1, 2, 6], axis=-1)
    missed = (matches == 0) & (grams > 0)
    smoothed = np.where(missed, 0.5 ** np.cumsum(missed, axis=-1), matches)
    precisions = divided(smoothed, grams, 0.0)
    # An order without n-grams makes the score 0, as no match at all does.
    scored = (precisions > 0).all(axis=-1) & (matches > 0).any(axis=-1)
    logs = np.log(precisions, out=np.zeros_like(precisions), where=precisions > 0)
    shorter = np.where(ours < theirs, 1 - divided(theirs, ours, np.inf), 0)[..., 0]
    return np.where(scored, 100 * np.exp(shorter + logs.mean(axis=-1)), 0.0)


def chrf_of(counts: np.ndarray) -> np.ndarray:
    """Corpus chrF++ from sacreBLEU's counts, (..., 24) -> (...).

    The counts are those of the reply, of the true reply and of the matches for each of the eight
    orders. Precision and recall are means over the orders that both texts have; recall counts
    twice as much as precision.
    """
    triples = counts.reshape(*counts.shape[:-1], -1, 3).astype(np.float64)
    ours, theirs, matches = np.moveaxis(triples, -1, 0)
    both = (ours > 0) & (theirs > 0)
    orders = both.sum(axis=-1)
    precision, recall = (
        divided(np.where(both, divided(matches, side, 0.0), 0.0).sum(axis=-1), orders, 0.0)
        for side in (ours, theirs)
    )
    return 100 * divided(5 * precision * recall, 4 * precision + recall, 0.0)


def sentence_bleu(predictions: Sequence[str], references: Sequence[Reference]) -> Measure:
    """Mean sentence BLEU-4 on whitespace words, 0-1.

    Orders without a match count `EPSILON` (method 1 of Chen and Cherry 2014, as in NLTK). The
    smoothing of KoSentLlama's 0.0075 -> 0.0173 is unknown: this or one of the two below, none of
    which can be taken for the same.
    """
    return _sentence_bleus(predictions, references, _floor, f"floor[{EPSILON}]")


def sentence_bleu_unsmoothed(
    predictions: Sequence[str], references: Sequence[Reference]
) -> Measure:
    """`sentence_bleu` without smoothing: 0 for a reply that lacks a match of any order.

    Old releases of NLTK left such orders out instead.
    """
    return _sentence_bleus(predictions, references, _unsmoothed, "none")


def sentence_bleu_method4(predictions: Sequence[str], references: Sequence[Reference]) -> Measure:
    """`sentence_bleu` with NLTK's method 4: ever less for each order without a match.

    The k-th such order counts ln(words of the reply) / (5 * 2^k); of a reply of one word they are
    left out (Chen and Cherry 2014, with NLTK's constant).
    """
    return _sentence_bleus(predictions, references, _method4, f"method4[{METHOD4}]")


def rouge_l(predictions: Sequence[str], references: Sequence[Reference]) -> Measure:
    """Mean ROUGE-L F1 on mecab-ko morphemes, 0-1 (Lin 2004).

    The usual packages keep only ASCII words, which scores identical Korean as 0.
    """
    pairs = zip(nfc(predictions), alternatives(references), strict=True)
    return mean_of(
        [max(_rouge_l(morphemes(p), morphemes(r)) for r in several) for p, several in pairs],
        signature=f"f1|tok:{_bleu().tokenizer.signature()}|average:mean{of_several(references)}",
    )


def morphemes(text: str) -> list[str]:
    """The text's morphemes, cut as BLEU cuts them."""
    return _bleu().tokenizer(text).split()


def clear_cache() -> None:
    """Empty the tokenizer's cache of its last 65,536 texts."""
    type(_bleu().tokenizer).__call__.cache_clear()  # type: ignore[attr-defined]


@functools.cache
def _bleu() -> BLEU:
    return BLEU(tokenize="ko-mecab")


def _streams(references: Sequence[Reference]) -> list[list[Any]]:
    """The first true reply of each sample, the second of each, and so on, as sacreBLEU wants them;
    None stands for one that a sample does not have."""
    return [list(stream) for stream in itertools.zip_longest(*alternatives(references))] or [[]]


def _sentence_bleus(
    predictions: Sequence[str], references: Sequence[Reference], smooth: Smoothing, name: str
) -> Measure:
    pairs = zip(nfc(predictions), alternatives(references), strict=True)
    return mean_of(
        [_sentence_bleu(p.split(), [r.split() for r in several], smooth) for p, several in pairs],
        signature=f"sentence|order:4|tok:whitespace|smooth:{name}|average:mean"
        + of_several(references),
    )


def _sentence_bleu(hypothesis: list[str], references: list[list[str]], smooth: Smoothing) -> float:
    if not any(set(hypothesis) & set(reference) for reference in references):
        return 0.0
    matches, totals = [], []
    for order in range(1, 5):
        ours = _ngrams(hypothesis, order)
        theirs = functools.reduce(operator.or_, (_ngrams(r, order) for r in references))
        matches.append(sum(min(count, theirs[gram]) for gram, count in ours.items()))
        totals.append(max(1, ours.total()))
    smoothed = smooth(matches, len(hypothesis))
    product = math.prod(m / total for m, total in zip(smoothed, totals, strict=True))
    words = len(hypothesis)
    nearest = min((len(r) for r in references), key=lambda length: (abs(length - words), length))
    penalty = math.exp(1 - nearest / words) if words < nearest else 1.0
    return penalty * product ** (1 / 4)


def _floor(matches: Sequence[int], words: int) -> list[float]:
    return [count or EPSILON for count in matches]


def _unsmoothed(matches: Sequence[int], words: int) -> list[float]:
    return list(matches)


def _method4(matches: Sequence[int], words: int) -> list[float]:
    if words == 1:
        return [1.0] * len(matches)
    smoothed: list[float] = []
    missed = 0
    for count in matches:
        missed += not count
        smoothed.append(count or math.log(words) / (METHOD4 * 2**missed))
    return smoothed


def _ngrams(tokens: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(tokens[i:] for i in range(order)), strict=False))


def _rouge_l(hypothesis: list[str], reference: list[str]) -> float:
    common = _common_subsequence(hypothesis, reference)
    return 2 * common / (len(hypothesis) + len(reference)) if common else 0.0


def _common_subsequence(a: list[str], b: list[str]) -> int:
    """Length of the longest common subsequence, by bit-parallel dynamic programming.

    One machine word per row (Hyyro 2004): bit i of `row` is 0 where matching more of `b`
    lengthened the subsequence that ends at `a[i]`.
    """
    places: dict[str, int] = {}
    for i, token in enumerate(a):
        places[token] = places.get(token, 0) | 1 << i
    full = (1 << len(a)) - 1
    row = full
    for token in b:
        matched = row & places.get(token, 0)
        row = (row + matched | row - matched) & full
    return len(a) - row.bit_count()


OVERLAP: dict[str, Score] = {
    "bleu": bleu,
    "chrf": chrf,
    "sentence_bleu": sentence_bleu,
    "sentence_bleu_unsmoothed": sentence_bleu_unsmoothed,
    "sentence_bleu_method4": sentence_bleu_method4,
    "rouge_l": rouge_l,
}
