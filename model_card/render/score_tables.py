"""Scores as a card shows them: rows of written numbers, and the Markdown tables made of these.

The tables' own words (column names, verdicts) are the template's: `words` holds them by key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from model_card.metrics import (
    HEADLINE,
    MAIN,
    SAFETY,
    Label,
    is_of_parts,
    metric_label,
    shown,
)
from model_card.publishing.markdown import Markdown, code, escape
from model_card.records import PLOTS_FOLDER, Comparison, Metric, Results, Value, eval_path
from model_card.render.labels import emotion_label, kind_label, reference_label
from model_card.render.numbers import count, decimals, fixed, format_settings, p_text, percent
from model_card.render.plots import emotion_metrics

SIGNIFICANT = 0.05
# What stands for a number that was not measured.
MISSING = "–"

Words = Mapping[str, str]


@dataclass(frozen=True)
class Score:
    """One metric's row; what was not measured is None. `cases` are those of a share."""

    name: str
    label: Label
    arrow: str
    value: str
    interval: str | None
    base_value: str | None
    base_interval: str | None
    difference: str | None
    difference_interval: str | None
    relative: str | None
    p_value: str | None
    verdict: str | None  # better, worse, unclear (not significant), or None
    cases: str | None


@dataclass(frozen=True)
class Table:
    """A table of written numbers: column labels, and rows of a label with a cell per column."""

    columns: list[Label]
    rows: Sequence[tuple[Label, Sequence[Markdown | str]]]


@dataclass(frozen=True)
class Evaluation:
    """One evaluation as the card shows it.

    `title` is what distinguishes it from the card's other evaluations; `baseline_is_base` says
    whether its baseline is the model's own base model.
    """

    record: Results
    title: str
    settings: str
    headline: list[Score]
    main: list[Score]
    other: list[Score]
    safety: list[Score]
    references: Table | None
    emotions: Table | None
    kinds: Table | None
    picture: str | None
    baseline_is_base: bool
    primary: str | None

    @property
    def intervals(self) -> bool:
        """Whether any score has one."""
        return any(row.interval for row in (*self.main, *self.other))

    @property
    def adjusted(self) -> bool:
        """Whether verdicts go by p values of all metrics together."""
        baseline = self.record.baseline
        found = baseline.comparison.values() if baseline else ()
        return any(comparison.p_adjusted is not None for comparison in found)

    @property
    def not_compared(self) -> list[str]:
        """The names of scores that both models have and that have no difference."""
        rows = (*self.main, *self.other)
        measured = [r for r in rows if r.base_value not in (None, MISSING) and r.value != MISSING]
        return [row.label.text for row in measured if row.difference is None]


def evaluation(results: Results, base_model: str | None, language: str) -> Evaluation:
    """The evaluation's rows and tables in that language; `base_model` is the id of the base."""
    # Shown with the model's limits, not among its scores.
    safety = [name for name in results.metrics if name.startswith(SAFETY)]
    main = [name for name in MAIN if name in results.metrics]
    if results.dataset.is_bench:
        # What it was made to measure, and the overlap with its references below.
        main = [*(name for name in results.metrics if is_of_parts(name)), *main]
    other = [name for name in results.metrics if name not in {*MAIN, *safety} and shown(name)]
    if not main:
        main, other = other, []
    headline = [name for name in HEADLINE if name in results.metrics] or main[:3]
    if results.dataset.is_bench:
        headline += [name for name in (*safety, "conduct_resisted") if name in results.metrics]
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
        kinds=_kinds(results, language),
        picture=emotion_picture(results) if emotion_metrics(results) else None,
        baseline_is_base=results.baseline is not None and results.baseline.model.id == base_model,
        primary=metric_label(results.primary, language).text if results.primary else None,
    )


def emotion_picture(results: Results) -> str:
    """The path in a repo of the per-emotion picture of these results."""
    stem = eval_path(results).rsplit("/", 1)[-1].removesuffix(".json")
    return f"{PLOTS_FOLDER}/by_emotion-{stem}.png"


def score(results: Results, name: str, language: str) -> Score:
    """One metric's row."""
    metric = results.metrics[name]
    baseline = results.baseline
    base = baseline.metrics.get(name) if baseline else None
    comparison = baseline.comparison.get(name) if baseline else None
    places = decimals(metric.value, base.value if base else None)
    p_value = shown_p_value(comparison) if comparison else None
    return Score(
        name=name,
        label=metric_label(name, language),
        arrow={True: "↑", False: "↓", None: ""}[metric.higher_is_better],
        value=fixed(metric.value, places),
        interval=_interval(metric, places),
        base_value=fixed(base.value, places) if base else None,
        base_interval=_interval(base, places) if base else None,
        difference=fixed(comparison.difference, places, sign=True) if comparison else None,
        difference_interval=_bounds(comparison.ci95, places) if comparison else None,
        relative=(
            percent(comparison.relative, sign=True)
            if comparison and comparison.relative is not None and metric.unit != "cosine"
            else None
        ),
        p_value=None if p_value is None else _p(p_value),
        verdict=_verdict(metric, comparison.difference, p_value) if comparison else None,
        cases=count(metric.n) if metric.unit == "share" and metric.n is not None else None,
    )


def table(header: Sequence[object], rows: Iterable[Sequence[object]], align: str = "") -> Markdown:
    """A Markdown table; `align` has an l or r per column, left where it ends."""
    rules = ["--:" if sign == "r" else ":--" for sign in align.ljust(len(header), "l")]
    lines = [header, [Markdown(rule) for rule in rules[: len(header)]], *rows]
    return Markdown("\n".join("| " + " | ".join(escape(c) for c in line) + " |" for line in lines))


def pairs(rows: Iterable[tuple[object, object]], words: Words) -> Markdown:
    """A two-column table of facts, those without a value left out."""
    return table([words["item"], words["value"]], [row for row in rows if row[1] != ""])


def overview_table(evaluations: Sequence[Evaluation], words: Words) -> Markdown:
    """A row per evaluation, a column per figure that is in any evaluation's headline."""
    labels = {row.name: row.label.text for e in evaluations for row in e.headline}
    lines = []
    for e in evaluations:
        values = {row.name: row.value for row in e.headline}
        cells = [values.get(name, "–") for name in labels]
        lines.append([e.title, count(e.record.dataset.samples), *cells])
    header = [words["evaluation"], words["samples"], *labels.values()]
    return table(header, lines, "l" + "r" * (len(header) - 1))


def baseline_table(evaluations: Sequence[Evaluation], words: Words) -> Markdown | None:
    """The baselines of evaluations on the same samples side by side, and the model below them.

    None unless there are two that differ in the model or in what it was told.
    """
    groups: dict[object, list[Evaluation]] = {}
    for e in evaluations:
        data = e.record.dataset
        if e.record.baseline is not None and data.sha256 is not None:
            groups.setdefault((data.sha256, data.split), []).append(e)
    for group in groups.values():
        rows: dict[str, dict[str, str | None]] = {
            _told(e, words): {r.name: r.base_value for r in e.headline} for e in group
        }
        if len(rows) < 2:
            continue
        own: dict[str, str | None] = {row.name: row.value for row in group[0].headline}
        labels = {row.name: row.label.text for row in group[0].headline}
        lines = [
            [name, *(values.get(metric) or MISSING for metric in labels)]
            for name, values in (rows | {words["this"]: own}).items()
        ]
        header = [words["compared"], *labels.values()]
        return table(header, lines, "l" + "r" * len(labels))
    return None


def _told(evaluation: Evaluation, words: Words) -> str:
    """The baseline's id, and what it was told that the model was not."""
    ours, baseline = evaluation.record.protocol, evaluation.record.baseline
    assert baseline is not None
    theirs = baseline.protocol or ours
    told = [words["examples"].format(theirs.few_shot)] if theirs.few_shot else []
    told += [words["own_system"]] if theirs.system_prompt != ours.system_prompt else []
    return ", ".join([baseline.model.id, *told])


def headline_table(evaluation: Evaluation, words: Words) -> Markdown:
    """The headline figures, against the baseline if there is one."""
    return _scores(evaluation, evaluation.headline, words, verdicts=False)


def score_table(evaluation: Evaluation, rows: list[Score], words: Words) -> Markdown:
    """A row per metric with intervals, difference, relative change and verdict."""
    return _scores(evaluation, rows, words, verdicts=True)


def meaning_list(evaluation: Evaluation, rows: list[Score]) -> Markdown:
    """What each metric says, and the signature it was computed under; a list fits any screen."""
    lines = []
    for row in rows:
        signature = code(evaluation.record.metrics[row.name].signature, in_table=False)
        meaning = f": {escape(row.label.meaning)}" if row.label.meaning else ""
        lines.append(f"- **{escape(row.label.text)}**{meaning}<br>{signature}")
    return Markdown("\n".join(lines))


def reference_table(references: Table, words: Words) -> Markdown:
    """The reference points beside the model."""
    header = [words["metric"], *(column.text for column in references.columns), words["this"]]
    return table(
        header,
        [[label.text, *cells] for label, cells in references.rows],
        "l" + "r" * (len(header) - 1),
    )


def emotion_table(emotions: Table, words: Words) -> Markdown:
    """Scores per major emotion."""
    return table(
        [words["emotion"], *(column.text for column in emotions.columns)],
        [[label.text, *cells] for label, cells in emotions.rows],
        "l" + "r" * len(emotions.columns),
    )


def kind_table(kinds: Table, words: Words) -> Markdown:
    """Scores per kind of KoSent-Bench's items."""
    header = [words["kind"], words["metric"], words["this"]]
    return table(header, [[label.text, *cells] for label, cells in kinds.rows], "llr")


def _scores(evaluation: Evaluation, rows: list[Score], words: Words, *, verdicts: bool) -> Markdown:
    compared = evaluation.record.baseline is not None
    verdicts = verdicts and any(row.verdict for row in rows)
    base = words["base" if evaluation.baseline_is_base else "compared"]
    header = [words["metric"]]
    header += [base, words["this"], words["difference"]] if compared else [words["this"]]
    header += [words["verdict"]] if verdicts else []
    lines = []
    for row in rows:
        name = escape(row.label.text) if row.label.text != row.name else code(row.name)
        cases = f"<br><sub>n = {row.cases}</sub>" if row.cases else ""
        cells: list[object] = [Markdown(f"{name} {row.arrow}".strip() + cases)]
        if compared:
            cells.append(two_lines(row.base_value or "–", row.base_interval))
        cells.append(two_lines(row.value, row.interval, strong=True))
        if compared:
            small = [text for text in (row.relative, row.difference_interval) if text]
            change = two_lines(row.difference or "–", " ".join(small) or None)
            if not verdicts and row.verdict in ("worse", "unclear"):
                # A head without a verdict column still says what is no gain.
                change = Markdown(f"{change}<br><sub>{escape(words[row.verdict])}</sub>")
            cells.append(change)
        if verdicts:
            text = words[row.verdict] if row.verdict else "–"
            cells.append(two_lines(text, row.p_value))
        lines.append(cells)
    return table(header, lines, "lrrr" if compared else "lr")


def two_lines(text: str, below: str | None, *, strong: bool = False) -> Markdown:
    """The cell of a table with small print below, if there is any."""
    first = escape(text)
    if strong:
        first = f"**{first}**"
    return Markdown(f"{first}<br><sub>{escape(below)}</sub>" if below else first)


def _interval(metric: Metric, places: int) -> str | None:
    return span(metric.ci95, places)


def span(bounds: Sequence[float] | None, places: int) -> str | None:
    """An interval as small print; None for none."""
    if bounds is None or len(bounds) != 2:
        return None
    low, high = bounds
    return f"{fixed(low, places)}–{fixed(high, places)}"


def _bounds(bounds: Sequence[float] | None, places: int) -> str | None:
    """An interval whose ends have signs."""
    if bounds is None or len(bounds) != 2:
        return None
    low, high = (fixed(bound, places, sign=True) for bound in bounds)
    return f"[{low}, {high}]"


def shown_p_value(comparison: Comparison) -> float | None:
    """The p value of all metrics together, by which verdicts go; a metric without a direction has
    none. In records of schema 1, which have no trials, it is that of the metric alone."""
    return comparison.p_value if comparison.trials is None else comparison.p_adjusted


def _p(p_value: float) -> str:
    text = p_text(p_value)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def _verdict(metric: Metric, difference: float | None, p_value: float | None) -> str | None:
    if p_value is None or difference is None or metric.higher_is_better is None:
        return None
    if p_value >= SIGNIFICANT or difference == 0:
        return "unclear"
    return "better" if (difference > 0) == metric.higher_is_better else "worse"


def _references(results: Results, names: Iterable[str], language: str) -> Table | None:
    """A row per metric: each reference point's score, then the model's."""
    points = list(results.references)
    rows = []
    for name in names:
        found = [results.references[point].metrics.get(name) for point in points]
        if all(value is None or value.value is None for value in found):
            continue
        own = results.metrics[name].value
        places = decimals(own, *(value.value for value in found if value))
        cells = [_with_span(value, value.range if value else None, places) for value in found]
        rows.append((metric_label(name, language), [*cells, fixed(own, places)]))
    if not rows:
        return None
    return Table([reference_label(point, language) for point in points], rows)


def _emotions(results: Results, language: str) -> Table | None:
    """A row per major emotion, a column per headline metric that was measured by emotion."""
    groups = results.by_emotion
    names = [n for n in HEADLINE if any(n in group.metrics for group in groups.values())]
    if not names:
        return None
    places = {
        n: decimals(*(g.metrics[n].value for g in groups.values() if n in g.metrics)) for n in names
    }
    rows = []
    for emotion, group in groups.items():
        size = "" if group.samples is None else f" (n = {count(group.samples)})"
        values = [(group.metrics.get(name), places[name]) for name in names]
        cells = [_with_span(value, value.ci95 if value else None, at) for value, at in values]
        rows.append((Label(emotion_label(emotion, language) + size), cells))
    return Table([metric_label(name, language) for name in names], rows)


def _kinds(results: Results, language: str) -> Table | None:
    """A row per kind of KoSent-Bench's items: its metric and the score."""
    rows = []
    for part, groups in results.by_kind.items():
        for kind, group in groups.items():
            size = "" if group.samples is None else f" (n = {count(group.samples)})"
            for name, value in group.metrics.items():
                cells = [
                    metric_label(name, language).text,
                    _with_span(value, value.ci95, decimals(value.value)),
                ]
                rows.append((Label(kind_label(part, kind, language) + size), cells))
    return Table([], rows) if rows else None


def _with_span(value: Value | None, bounds: Sequence[float] | None, places: int) -> Markdown:
    """A value with its interval or range below."""
    return two_lines(fixed(value.value if value else None, places), span(bounds, places))
