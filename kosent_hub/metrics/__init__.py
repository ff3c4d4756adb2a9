"""Scores of replies: pure functions on strings and arrays, without torch."""

from kosent_hub.metrics.kosent_score.form import (
    distinct,
    empty_rate,
    hangul_ratio,
    length_ratio,
    polite_ratio,
    repetition_rate,
)
from kosent_hub.metrics.kosent_score.measure import Measure, mean_of, nfc
from kosent_hub.metrics.kosent_score.overlap import bleu, chrf, forget_texts, rouge_l, sentence_bleu
from kosent_hub.metrics.meaning import cosine_similarity, unit_vectors
from kosent_hub.metrics.resampling import intervals, p_values

__all__ = [
    "Measure",
    "bleu",
    "chrf",
    "cosine_similarity",
    "distinct",
    "empty_rate",
    "forget_texts",
    "hangul_ratio",
    "intervals",
    "length_ratio",
    "mean_of",
    "nfc",
    "p_values",
    "polite_ratio",
    "repetition_rate",
    "rouge_l",
    "sentence_bleu",
    "unit_vectors",
]
