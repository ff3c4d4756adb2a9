"""KoSent's metrics on strings as an `evaluate` module: the same functions, the same numbers."""

import math

import datasets
import evaluate

# evaluate copies the files beside this one that its own import lines name, and no others.
from .form import DISTINCT, FORM, distinct
from .measure import Measure
from .overlap import OVERLAP

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
    dict of str to float: the scores, None where there is nothing to measure; with
    `signatures=True` also `signatures`, how each was made.
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
            name: score(predictions, references) for name, score in (OVERLAP | FORM).items()
        }
        values = {name: measure.value for name, measure in measures.items()}
        values |= {name: distinct(predictions, order) for name, order in DISTINCT.items()}
        scores: dict[str, object] = {
            name: value if math.isfinite(value) else None for name, value in values.items()
        }
        if signatures:
            scores["signatures"] = {name: m.signature for name, m in measures.items()}
        return scores
