"""Scores arranged as a card shows them: rows of written numbers, ready for a template."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from model_card.metrics import HEADLINE, MAIN, Label, metric_label
from model_card.records import PLOTS_FOLDER, Metric, Results, eval_path
from model_card.render.labels import (
    decimals,
    emotion_label,
    fixed,
    percent,
    reference_label,
)
from model_card.render.plots import emotion_metrics

SIGNIFICANT = 0.05
SAFETY = "safety_"  # how names begin that are shown with the limits, not among the scores


@dataclass(frozen=True)
class Score:
    """One metric's row; what was not measured is None."""

    name: str
    label: Label
    arrow: str
    value: str
    interval: str | None
    base_value: str | None
    base_interval: str | None
    difference: str | None
    relative: str | None
    p_value: str | None
    verdict: str | None  # better, worse, unclear (not significant), or None


@dataclass(frozen=True)
class Table:
    """A table of written numbers: column labels, and rows of a label with a cell per column."""

    columns: list[Label]
    rows: list[tuple[Label, list[str]]]


@dataclass(frozen=True)
class Evaluation:
    """One evaluation as the card shows it; its `title` tells it from the card's others."""

    record: Results
    title: str
    settings: str
    headline: list[Score]
    main: list[Score]
    other: list[Score]
    safety: list[Score]
    references: Table | None
    emotions: Table | None
    picture: str | None

    @property
    def intervals(self) -> bool:
        """Whether any score has one."""
        return any(row.interval for row in (*self.main, *self.other))


def evaluation(results: Results, language: str) -> Evaluation:
    """The evaluation's rows and tables in that language."""
    safety = [name for name in results.metrics if name.startswith(SAFETY)]
    main = [name for name in MAIN if name in results.metrics]
    other = [name for name in results.metrics if name not in {*MAIN, *safety}]
    if not main:
        main, other = other, []
    headline = [name for name in HEADLINE if name in results.metrics] or main[:3]
    settings = format_settings(results.settings)
    title = [results.dataset.id, results.dataset.split, *([settings] if settings else [])]
    return Evaluation(
        record=results,
        title=" · ".join(title),
        settings=settings,
        headline=[score(results, name, language) for name in headline],
        main=[score(results, name, language) for name in main],
        other=[score(results, name, language) for name in other],
        safety=[score(results, name, language) for name in safety],
        references=_references(results, main, language),
        emotions=_emotions(results, language),
        picture=emotion_picture(results) if emotion_metrics(results) else None,
    )


def format_settings(settings: Mapping[str, Any]) -> str:
    """Settings in a line of text: `limit 5, max_new_tokens 64`."""
    return ", ".join(
        f"{name} {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for name, value in sorted(settings.items())
    )


def emotion_picture(results: Results) -> str:
    """Where a repo keeps the per-emotion picture of these results."""
    stem = eval_path(results).rsplit("/", 1)[-1].removesuffix(".json")
    return f"{PLOTS_FOLDER}/by_emotion-{stem}.png"


def score(results: Results, name: str, language: str) -> Score:
    """One metric's row."""
    metric = results.metrics[name]
    baseline = results.baseline
    base = baseline.metrics.get(name) if baseline else None
    comparison = baseline.comparison.get(name) if baseline else None
    places = decimals(metric.value, base.value if base else 0.0)
    p_value = comparison.p_value if comparison else None
    return Score(
        name=name,
        label=metric_label(name, language),
        arrow={True: "↑", False: "↓", None: ""}[metric.higher_is_better],
        value=fixed(metric.value, places),
        interval=_interval(metric, places),
        base_value=fixed(base.value, places) if base else None,
        base_interval=_interval(base, places) if base else None,
        difference=fixed(comparison.difference, places, sign=True) if comparison else None,
        relative=(
            percent(comparison.relative, sign=True)
            if comparison and comparison.relative is not None
            else None
        ),
        p_value=_p_value(p_value),
        verdict=_verdict(metric, comparison.difference, p_value) if comparison else None,
    )


def _interval(metric: Metric, places: int) -> str | None:
    if metric.ci95 is None or len(metric.ci95) != 2:
        return None
    low, high = metric.ci95
    return f"{fixed(low, places)}–{fixed(high, places)}"


def _p_value(p_value: float | None) -> str | None:
    if p_value is None:
        return None
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"


def _verdict(metric: Metric, difference: float, p_value: float | None) -> str | None:
    if p_value is None or metric.higher_is_better is None:
        return None
    if p_value >= SIGNIFICANT or difference == 0:
        return "unclear"
    return "better" if (difference > 0) == metric.higher_is_better else "worse"


def _references(results: Results, names: Iterable[str], language: str) -> Table | None:
    """A row per metric: each reference point's score, then the model's."""
    points = list(results.references)
    rows = []
    for name in names:
        values = [results.references[point].get(name) for point in points]
        if all(value is None for value in values):
            continue
        own = results.metrics[name].value
        places = decimals(own, *(value for value in values if value is not None))
        cells = ["–" if value is None else fixed(value, places) for value in values]
        rows.append((metric_label(name, language), [*cells, fixed(own, places)]))
    if not rows:
        return None
    return Table([reference_label(point, language) for point in points], rows)


def _emotions(results: Results, language: str) -> Table | None:
    """A row per major emotion, a column per headline metric that was measured by emotion."""
    names = [n for n in HEADLINE if any(n in scores for scores in results.by_emotion.values())]
    if not names:
        return None
    places = {
        name: decimals(*(s[name] for s in results.by_emotion.values() if name in s))
        for name in names
    }
    rows = [
        (
            Label(emotion_label(emotion, language)),
            [fixed(s[name], places[name]) if name in s else "–" for name in names],
        )
        for emotion, s in results.by_emotion.items()
    ]
    return Table([metric_label(name, language) for name in names], rows)
