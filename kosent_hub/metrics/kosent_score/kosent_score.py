"""KoSent's metrics on strings as an `evaluate` module: the same functions, the same numbers."""

import math

import datasets
import evaluate

# ruff: noqa: F401
# evaluate copies the files beside this one that its own import lines name, and no others.
from .form import DISTINCT, distinct_at, measure_texts
from .measure import Measure
from .overlap import OVERLAP
from .repetition import repeats

DESCRIPTION = """
Scores of Korean chat replies against the true ones: sacreBLEU on mecab-ko morphemes, chrF++,
whitespace sentence BLEU with three smoothings, ROUGE-L on morphemes, and the replies' form:
variety, length, blanks, cuts, repetition, share of Hangul, share of polite endings.
"""
INPUTS = """
Args:
    predictions (list of str): the replies.
    references (list of str): the true replies, one each.
    truncated (list of bool, optional): which replies were cut at the limit of new tokens. Their
        unfinished last sentences are left out of repetition and politeness.
    signatures (bool): whether to return also how each score was made.
Returns:
    dict of str to float: the scores, None where there was nothing to measure; `truncated_rate` is
    among them only with `truncated`. With `signatures=True` also `signatures`, a dict.
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
        self,
        predictions: list[str],
        references: list[str],
        truncated: list[bool] | None = None,
        signatures: bool = False,
    ) -> dict[str, object]:
        measures: dict[str, Measure] = measure_texts(predictions, references, truncated)
        variety = {name: distinct_at([predictions], order) for name, order in DISTINCT.items()}
        values = {name: m.value for name, m in measures.items()}
        values |= {name: found.values[0] for name, found in variety.items()}
        scores: dict[str, object] = {n: v if math.isfinite(v) else None for n, v in values.items()}
        if signatures:
            scores["signatures"] = {n: m.signature for n, m in (measures | variety).items()}
        return scores
