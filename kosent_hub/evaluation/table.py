"""Results as the table that is printed: both models, time taken, improvement in per cent."""

from __future__ import annotations

from collections.abc import Sequence

from model_card.metrics import EN, metric_label
from model_card.records import Metric, Results, Speed
from model_card.render.labels import reference_label
from model_card.render.numbers import decimals, duration, fixed


def table(results: Results) -> str:
    """The table as plain text, a line per metric."""
    data = results.dataset
    head = [
        "",
        *(["baseline"] if results.baseline else []),
        "model",
        "95 % interval",
        *(["change", "p"] if results.baseline else []),
        *(reference_label(name, EN).text.lower() for name in results.references),
    ]
    rows = [head, *(_metric_row(results, name) for name in results.metrics)]
    rows += _speed_rows(results)
    titles = [
        f"{data.id}, {data.split}: {data.samples} samples of {data.dialogues} dialogues",
        f"model: {results.model.id}",
        *([f"baseline: {results.baseline.model.id}"] if results.baseline else []),
    ]
    return "\n".join([*titles, "", *_aligned(rows)])


def _metric_row(results: Results, name: str) -> list[str]:
    metric = results.metrics[name]
    baseline = results.baseline
    shown = [metric.value]
    if baseline and name in baseline.metrics:
        shown.append(baseline.metrics[name].value)
    places = decimals(*shown)
    row = [f"{metric_label(name, EN).text} ({metric.unit})"]
    if baseline:
        theirs = baseline.metrics.get(name)
        row.append(fixed(theirs.value, places) if theirs else "")
    row += [fixed(metric.value, places), _interval(metric, places)]
    if baseline:
        change = baseline.comparison.get(name)
        row.append(_percent(change.relative) if change else "")
        row.append("" if change is None or change.p_value is None else f"{change.p_value:.3f}")
    values = [reference.get(name) for reference in results.references.values()]
    return row + ["" if value is None else fixed(value, places) for value in values]


def _speed_rows(results: Results) -> list[list[str]]:
    speeds: list[Speed | None] = [results.speed]
    if results.baseline:
        speeds.insert(0, results.baseline.speed)
    known = [[s] if s else [] for s in speeds]
    return [
        ["Time taken", *(duration(s[0].seconds, EN) if s else "" for s in known)],
        ["Samples a second", *(f"{s[0].samples_per_second:.2f}" if s else "" for s in known)],
    ]


def _interval(metric: Metric, places: int) -> str:
    if metric.ci95 is None:
        return ""
    low, high = metric.ci95
    return f"{fixed(low, places)} to {fixed(high, places)}"


def _percent(relative: float | None) -> str:
    return "" if relative is None else fixed(100 * relative, 2, sign=True) + " %"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """The rows as lines: first column to the left, the others to the right."""
    columns = max(len(row) for row in rows)
    full = [[*row, *[""] * (columns - len(row))] for row in rows]
    widths = [max(len(row[i]) for row in full) for i in range(columns)]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in full
    ]
