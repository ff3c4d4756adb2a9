"""KoSent's metrics on strings as an `evaluate` module: the same functions, the same numbers."""

import datasets
import evaluate

from .form import (
    distinct,
    empty_rate,
    hangul_ratio,
    length_ratio,
    polite_ratio,
    repetition_rate,
)
from .measure import Measure
from .overlap import bleu, chrf, rouge_l, sentence_bleu

DESCRIPTION = """
Scores of Korean chat replies against the true ones: sacreBLEU on mecab-ko morphemes, chrF++,
whitespace sentence BLEU, ROUGE-L on morphemes, and the replies' form: variety, length, blanks,
repetition, share of Hangul, share of polite endings.
"""
INPUTS = """
Args:
    predictions (list of str): the replies.
    references (list of str): the true replies, one each.
Returns:
    dict of str to float: the scores; with `signatures=True` also `signatures`, how each was made.
"""


class KosentScore(evaluate.Metric):
    """The metrics of kosent-eval that need nothing but strings."""

    def _info(self) -> evaluate.MetricInfo:
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation="",
            inputs_description=INPUTS,
            features=datasets.Features({"predictions": text, "references": text}),
        )

    def _compute(
        self, predictions: list[str], references: list[str], signatures: bool = False
    ) -> dict[str, object]:
        measures: dict[str, Measure] = {
            "bleu": bleu(predictions, references),
            "chrf": chrf(predictions, references),
            "sentence_bleu": sentence_bleu(predictions, references),
            "rouge_l": rouge_l(predictions, references),
            "length_ratio": length_ratio(predictions, references),
            "empty_rate": empty_rate(predictions),
            "repetition_rate": repetition_rate(predictions),
            "hangul_ratio": hangul_ratio(predictions),
            "polite_ratio": polite_ratio(predictions),
        }
        scores: dict[str, object] = {name: measure.value for name, measure in measures.items()}
        scores |= {f"distinct_{order}": distinct(predictions, order) for order in (1, 2)}
        if signatures:
            scores["signatures"] = {name: m.signature for name, m in measures.items()}
        return scores
