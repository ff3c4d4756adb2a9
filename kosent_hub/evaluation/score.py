"""Replies -> scores: metrics with intervals, by emotion, against a baseline and two references."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from kosent_hub import metrics
from kosent_hub.evaluation.backends import Fit
from kosent_hub.evaluation.samples import Sample
from kosent_hub.evaluation.sentence_encoder import Embedder
from kosent_hub.metrics import Measure
from model_card.records import Comparison, Metric

Measures = dict[str, Measure]

CHUNK = 512


def measure_all(
    columns: Mapping[str, Sequence[str]], references: Sequence[str], embedder: Embedder | None
) -> dict[str, Measures]:
    """The measures of each column of texts; the cosine among them if there is an `embedder`.

    A chunk of samples at a time: vectors and counts of all of them need not be in memory.
    """
    parts: dict[str, list[Measures]] = {name: [] for name in columns}
    for start in range(0, len(references), CHUNK):
        part = slice(start, start + CHUNK)
        truth = references[part]
        true_vectors = _vectors(truth, embedder) if embedder else None
        for name, texts in columns.items():
            cosines = None
            if embedder and true_vectors is not None:
                values = np.einsum("ij,ij->i", _vectors(texts[part], embedder), true_vectors)
                cosines = metrics.mean_of(
                    values.tolist(), unit="cosine", signature=embedder.signature
                )
            parts[name].append(measure(texts[part], truth, cosines))
        metrics.forget_texts()
    return {
        name: {metric: _joined([part[metric] for part in found]) for metric in found[0]}
        for name, found in parts.items()
    }


def _vectors(texts: Sequence[str], embedder: Embedder) -> np.ndarray:
    return metrics.unit_vectors(embedder.encode(metrics.nfc(texts)))


def _joined(parts: Sequence[Measure]) -> Measure:
    """One measure of what several are of a part each."""
    return replace(parts[0], rows=np.concatenate([part.rows for part in parts]))


def measure(
    predictions: Sequence[str], references: Sequence[str], cosines: Measure | None = None
) -> Measures:
    """Every metric of the replies that can be taken apart by sample."""
    found = {
        "bleu": metrics.bleu(predictions, references),
        "chrf": metrics.chrf(predictions, references),
        "sentence_bleu": metrics.sentence_bleu(predictions, references),
        "rouge_l": metrics.rouge_l(predictions, references),
    }
    if cosines is not None:
        found["cosine_similarity"] = cosines
    return found | {
        "length_ratio": metrics.length_ratio(predictions, references),
        "empty_rate": metrics.empty_rate(predictions),
        "repetition_rate": metrics.repetition_rate(predictions),
        "hangul_ratio": metrics.hangul_ratio(predictions),
        "polite_ratio": metrics.polite_ratio(predictions),
    }


def measure_fits(fits: Sequence[Fit]) -> Measures:
    """Perplexity and token accuracy of the true replies, each with its end of turn."""
    tokens = [fit.tokens for fit in fits]
    nll = np.column_stack([[fit.nll for fit in fits], tokens])
    correct = np.column_stack([[fit.correct for fit in fits], tokens])
    signature = "true replies and their end of turn|true history|sum/sum"
    return {
        "perplexity": Measure(
            nll, lambda total: math.exp(total[0] / total[1]), "per token", signature, False
        ),
        "token_accuracy": Measure(
            correct, lambda total: float(total[0] / total[1]), "0-1", signature
        ),
    }


def shuffled(references: Sequence[str], seed: int) -> list[str]:
    """The references with every one at the place of another."""
    order = np.random.default_rng(seed).permutation(len(references))
    texts = list(references)
    for place, source in zip(order, np.roll(order, 1), strict=True):
        texts[place] = references[source]
    return texts


def scored(measures: Measures, groups: Sequence[str], seed: int) -> dict[str, Metric]:
    """The measures' values, with intervals from draws of whole groups of samples."""
    bounds = metrics.intervals(measures, groups, seed)
    return {
        name: Metric(
            measure.value, measure.higher_is_better, measure.unit, measure.signature, bounds[name]
        )
        for name, measure in measures.items()
    }


def variety(replies: Sequence[str]) -> dict[str, Metric]:
    """Distinct-1 and distinct-2, which no sample has a share of."""
    return {
        f"distinct_{order}": Metric(
            metrics.distinct(replies, order),
            True,
            "share",
            f"morpheme {order}-grams|over {len(replies)} replies",
        )
        for order in (1, 2)
    }


def by_emotion(measures: Measures, samples: Sequence[Sample]) -> dict[str, dict[str, float]]:
    """The measures over the samples of each major emotion, where the dataset names it."""
    emotions = np.asarray([sample.emotion or "" for sample in samples])
    return {
        emotion: {
            name: measure.fold(measure.rows[emotions == emotion].sum(axis=0))
            for name, measure in measures.items()
        }
        for emotion in sorted({*emotions.tolist()} - {""})
    }


def compare(
    ours: Mapping[str, Metric], theirs: Mapping[str, Metric], p_values: Mapping[str, float]
) -> dict[str, Comparison]:
    """Each metric minus the baseline's, relative to it, and how likely by chance."""
    return {
        name: Comparison(
            difference=metric.value - theirs[name].value,
            relative=_relative(metric.value, theirs[name].value),
            p_value=p_values.get(name),
        )
        for name, metric in ours.items()
        if name in theirs
    }


def _relative(ours: float, theirs: float) -> float | None:
    return (ours - theirs) / abs(theirs) if theirs else None
