"""Results as the tables that are printed: both models, their differences, and references."""

from __future__ import annotations

from collections.abc import Sequence

from model_card.metrics import EN, is_of_parts, metric_label, shown
from model_card.records import Baseline, Comparison, Results, Speed, Value
from model_card.render.labels import kind_label, reference_label
from model_card.render.numbers import decimals, duration, fixed, p_text
from model_card.render.score_tables import shown_p_value


def table(results: Results) -> str:
    """The tables as plain text, a line per metric; what was not measured is –."""
    data = results.dataset
    head = ["", *(["baseline"] if results.baseline else []), "model", "95 % interval"]
    head += ["seeds"] if len(results.seeds) > 1 else []
    head += ["difference", "95 % interval", "change", "p"] if results.baseline else []
    # KoSent-Bench's own metrics come first: they are what it was made to measure.
    order = sorted(results.metrics, key=lambda n: not (data.is_bench and is_of_parts(n)))
    rows = [head, *(_metric_row(results, name) for name in order if shown(name))]
    rows += _speed_rows(results)
    of = f" of {data.all_samples:,}" if data.all_samples not in (None, data.samples) else ""
    version = f" {data.revision}" if data.is_bench else ""
    titles = [
        f"{data.id}{version}, {data.split}: {data.samples:,}{of} samples of {data.dialogues:,} "
        "dialogues",
        f"model: {results.model.id}",
        *([f"baseline: {_told(results, results.baseline)}"] if results.baseline else []),
    ]
    tables = [*aligned(rows), *_kinds(results), *_notes(results), *_references(results)]
    return "\n".join([*titles, "", *tables])


def _told(results: Results, baseline: Baseline) -> str:
    """The baseline's id, and what it was told that the model was not."""
    theirs = baseline.protocol or results.protocol
    told = [f"{theirs.few_shot} training dialogues as examples"] if theirs.few_shot else []
    if theirs.system_prompt != results.protocol.system_prompt:
        told.append("a system message of its own")
    return ", ".join([baseline.model.id, *told])


def _metric_row(results: Results, name: str) -> list[str]:
    metric = results.metrics[name]
    baseline = results.baseline
    theirs = baseline.metrics.get(name) if baseline else None
    places = decimals(metric.value, theirs.value if theirs else None)
    unit = f"{metric.unit} of {metric.n:,}" if metric.unit == "share" and metric.n else metric.unit
    row = [f"{metric_label(name, EN).text} ({unit})"]
    if baseline:
        row.append(fixed(theirs.value, places) if theirs else "")
    row += [fixed(metric.value, places), _span(metric.ci95, places)]
    row += [_span(metric.range, places)] if len(results.seeds) > 1 else []
    if baseline:
        row += _comparison(baseline.comparison.get(name), places)
    return row


def _comparison(found: Comparison | None, places: int) -> list[str]:
    if found is None:
        return []
    change = "" if found.relative is None else fixed(100 * found.relative, 1, sign=True) + " %"
    p = shown_p_value(found)
    return [
        fixed(found.difference, places, sign=True),
        _span(found.ci95, places, sign=True),
        change,
        "" if p is None else p_text(p),
    ]


def _speed_rows(results: Results) -> list[list[str]]:
    speeds: list[Speed | None] = [results.speed]
    if results.baseline:
        speeds.insert(0, results.baseline.speed)
    known = [[s] if s else [] for s in speeds]
    return [
        ["Time taken", *(duration(s[0].seconds, EN) if s else "" for s in known)],
        ["Samples a second", *(f"{s[0].samples_per_second:.2f}" if s else "" for s in known)],
    ]


def _notes(results: Results) -> list[str]:
    """What the table's values do not say by themselves."""
    notes = []
    if len(results.seeds) > 1:
        notes.append(
            f"replies drawn with {len(results.seeds)} seeds: scores are means over them, and under "
            "`seeds` are the model's least and largest"
        )
    counts = {"model": results.counts}
    if results.baseline:
        counts["baseline"] = results.baseline.counts
        notes.append(
            "p: of all metrics together, by Holm's method; the primary metric is "
            f"{metric_label(results.primary or '', EN).text}"
        )
        if left_out := [
            metric_label(name, EN).text
            for name, metric in results.metrics.items()
            if name not in results.baseline.comparison
            and metric.value is not None
            and name in results.baseline.metrics
            and results.baseline.metrics[name].value is not None
        ]:
            notes.append(f"not compared: {', '.join(left_out)}")
    limit = results.protocol.generation.get("max_new_tokens")
    cut = [f"{name} {c['truncated']:,}" for name, c in counts.items() if c.get("truncated")]
    if cut:
        all_replies = f"{results.replies:,} replies"
        notes.append(f"cut at {limit} tokens, of {all_replies}: {', '.join(cut)}")
    if any(found.get("targets_not_finite") for found in counts.values()):
        many = max(found.get("targets_not_finite", 0) for found in counts.values())
        notes.append(f"{many:,} true replies have no finite likelihood, so there is no perplexity")
    return ["", *notes] if notes else []


def _kinds(results: Results) -> list[str]:
    """A table of KoSent-Bench's kinds of items, a line per kind."""
    rows = [["kind of item", "metric", "n", "model", "95 % interval"]]
    for part, groups in results.by_kind.items():
        for kind, group in groups.items():
            for name, found in group.metrics.items():
                places = decimals(found.value)
                value = [fixed(found.value, places), _span(found.ci95, places)]
                label = kind_label(part, kind, EN)
                rows.append([label, metric_label(name, EN).text, str(group.samples), *value])
    return ["", *aligned(rows)] if len(rows) > 1 else []


def _references(results: Results) -> list[str]:
    """A table of what texts score that were made without understanding the conversation."""
    points = results.references
    names = [
        name
        for name in results.metrics
        if shown(name) and any(name in point.metrics for point in points.values())
    ]
    if not names:
        return []
    head = ["reference points", *(reference_label(p, EN).text.lower() for p in points), "model"]
    rows = [head]
    for name in names:
        values = [point.metrics.get(name) for point in points.values()]
        own = results.metrics[name].value
        places = decimals(own, *(v.value for v in values if v))
        cells = [_reference(v, places) if v else "" for v in values]
        rows.append([metric_label(name, EN).text, *cells, fixed(own, places)])
    return ["", *aligned(rows)]


def _reference(found: Value, places: int) -> str:
    """The value, and the range of what was drawn at random."""
    text = fixed(found.value, places)
    return f"{text} ({_span(found.range, places)})" if found.range else text


def _span(bounds: Sequence[float] | None, places: int, *, sign: bool = False) -> str:
    return "" if bounds is None else " to ".join(fixed(b, places, sign=sign) for b in bounds)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
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
