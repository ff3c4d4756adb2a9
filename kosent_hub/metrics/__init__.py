"""Scores of replies: pure functions on strings and arrays, without torch.

How a metric is called and read is one row of `model_card.metrics.METRICS`.
"""

from kosent_hub.metrics.kosent_score.form import (
    DISTINCT,
    distinct,
    distinct_at,
    empty_rate,
    hangul_ratio,
    length_ratio,
    measure_texts,
    polite_ratio,
    repetition_rate,
    truncated_rate,
)
from kosent_hub.metrics.kosent_score.measure import (
    Measure,
    Reference,
    mean_of,
    nfc,
    quotient,
    ratio,
)
from kosent_hub.metrics.kosent_score.overlap import (
    bleu,
    chrf,
    clear_cache,
    rouge_l,
    sentence_bleu,
    sentence_bleu_method4,
    sentence_bleu_unsmoothed,
)
from kosent_hub.metrics.meaning import cosine_similarity
from kosent_hub.metrics.resampling import (
    METHOD,
    Difference,
    clopper_pearson,
    compare,
    holm,
    intervals,
)

__all__ = [
    "DISTINCT",
    "METHOD",
    "Difference",
    "Measure",
    "Reference",
    "bleu",
    "chrf",
    "clear_cache",
    "clopper_pearson",
    "compare",
    "cosine_similarity",
    "distinct",
    "distinct_at",
    "empty_rate",
    "hangul_ratio",
    "holm",
    "intervals",
    "length_ratio",
    "mean_of",
    "measure_texts",
    "nfc",
    "polite_ratio",
    "quotient",
    "ratio",
    "repetition_rate",
    "rouge_l",
    "sentence_bleu",
    "sentence_bleu_method4",
    "sentence_bleu_unsmoothed",
    "truncated_rate",
]
