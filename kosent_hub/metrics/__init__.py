"""Scores of replies: pure functions on strings and arrays, without torch.

How a metric is called and read is one row of `model_card.metrics.METRICS`.
"""

from kosent_hub.metrics.kosent_score.form import (
    DISTINCT,
    FORM,
    distinct,
    empty_rate,
    hangul_ratio,
    length_ratio,
    polite_ratio,
    repetition_rate,
)
from kosent_hub.metrics.kosent_score.measure import Measure, mean_of, nfc, ratio
from kosent_hub.metrics.kosent_score.overlap import (
    OVERLAP,
    bleu,
    chrf,
    clear_cache,
    rouge_l,
    sentence_bleu,
)
from kosent_hub.metrics.meaning import cosine_similarity
from kosent_hub.metrics.resampling import Difference, compare, holm, intervals

# Every metric that needs nothing but the replies and the true ones.
TEXT_METRICS = OVERLAP | FORM

__all__ = [
    "DISTINCT",
    "TEXT_METRICS",
    "Difference",
    "Measure",
    "bleu",
    "chrf",
    "clear_cache",
    "compare",
    "cosine_similarity",
    "distinct",
    "empty_rate",
    "hangul_ratio",
    "holm",
    "intervals",
    "length_ratio",
    "mean_of",
    "nfc",
    "polite_ratio",
    "ratio",
    "repetition_rate",
    "rouge_l",
    "sentence_bleu",
]
