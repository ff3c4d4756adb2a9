"""A comparison as tables of written numbers, and these as plain text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from kosent_hub.evaluation.comparing.record import ModelComparison, Pair
from kosent_hub.evaluation.table import aligned
from kosent_hub.metrics.ranking import Rank
from model_card.metrics import EN, HEADLINE, metric_label
from model_card.records import Metric
from model_card.render.numbers import decimals, fixed, p_text
from model_card.render.score_tables import MISSING, SIGNIFICANT

BEST = "*"


@dataclass(frozen=True)
class Table:
    """Written cells below a head; the first column is of words, the others are of numbers."""

    title: str
    head: list[str]
    rows: list[list[str]]


def text(comparison: ModelComparison) -> str:
    """The comparison as plain text for a terminal."""
    lines = [title(comparison), *(f"{letter}  {name}" for letter, name in legend(comparison))]
    for table in tables(comparison):
        lines += ["", *aligned([[table.title, *table.head], *table.rows])]
    return "\n".join([*lines, "", *notes(comparison)])


def title(comparison: ModelComparison) -> str:
    """What the models were compared on."""
    data = comparison.dataset
    of = f" of {data.all_samples:,}" if data.all_samples not in (None, data.samples) else ""
    return (
        f"{len(comparison.models)} models on {data.id}, {data.split}: "
        f"{data.samples:,}{of} samples of {data.dialogues:,} dialogues"
    )


def legend(comparison: ModelComparison) -> list[tuple[str, str]]:
    """The letter that stands for each model, and the model's name."""
    return [
        (ascii_uppercase[i % 26] + (str(i // 26) if i >= 26 else ""), model.name)
        for i, model in enumerate(comparison.models)
    ]


def headline(comparison: ModelComparison) -> list[str]:
    """The metrics that are ranked and drawn: the primary one, and those of a card's head."""
    found = [name for name in HEADLINE if name in comparison.models[0].ranks]
    return list(dict.fromkeys([comparison.primary, *found]))


def tables(comparison: ModelComparison) -> list[Table]:
    """Values, ranks, and the primary metric pair by pair."""
    letters = [letter for letter, _ in legend(comparison)]
    metrics = {name: None for model in comparison.models for name in model.metrics}
    primary = metric_label(comparison.primary, EN).text
    return [
        Table("metric", letters, [_values(comparison, name) for name in metrics]),
        Table("rank", letters, [_ranks(comparison, name) for name in headline(comparison)]),
        Table(
            f"{primary}, pair by pair",
            ["difference", "95 % interval", "p", "wins", "ties", "losses"],
            _pairs(comparison),
        ),
    ]


def notes(comparison: ModelComparison) -> list[str]:
    """What the tables do not say by themselves."""
    primary = metric_label(comparison.primary, EN).text
    found = [
        f"primary metric: {primary}; its p values are adjusted by Holm's method over all pairs",
        "rank: 1 is the best; 95 % interval over draws of dialogues",
        "wins, ties, losses: dialogues in which the first model is better, neither is, the other",
    ]
    if comparison.clearly_best:
        found.insert(
            1,
            f"{BEST} better than each other model: adjusted p < {SIGNIFICANT} (of metrics other "
            "than the primary one over all pairs and metrics)",
        )
    if comparison.left_out:
        names = ", ".join(metric_label(name, EN).text for name in comparison.left_out)
        found.append(f"left out, because tokenizers differ: {names}")
    for what, values in (
        ("backends", [model.backend for model in comparison.models]),
        ("number formats", [model.model.dtype for model in comparison.models]),
    ):
        if len(set(values)) > 1:
            letters = [letter for letter, _ in legend(comparison)]
            told = ", ".join(f"{a} {b}" for a, b in zip(letters, values, strict=True))
            found.append(f"{what} differ: {told}")
    return found


def _values(comparison: ModelComparison, name: str) -> list[str]:
    found = [model.metrics.get(name) for model in comparison.models]
    places = decimals(*(metric.value for metric in found if metric))
    known = next(metric for metric in found if metric)
    arrow = {True: " ↑", False: " ↓", None: ""}[known.higher_is_better]
    best = comparison.clearly_best.get(name)
    cells = [
        (BEST if model.name == best else "") + _value(metric, places)
        for model, metric in zip(comparison.models, found, strict=True)
    ]
    return [f"{metric_label(name, EN).text} ({known.unit}){arrow}", *cells]


def _value(metric: Metric | None, places: int) -> str:
    if metric is None:
        return MISSING
    return f"{fixed(metric.value, places)}{_in_brackets(_span(metric.ci95, places))}"


def _ranks(comparison: ModelComparison, name: str) -> list[str]:
    cells = [_rank(model.ranks[name]) for model in comparison.models]
    return [metric_label(name, EN).text, *cells]


def _rank(found: Rank) -> str:
    return f"{found.rank}{_in_brackets(_span(found.ci95, 0))}"


def _pairs(comparison: ModelComparison) -> list[list[str]]:
    letters = {name: letter for letter, name in legend(comparison)}
    differences = [pair.tests[comparison.primary].difference for pair in comparison.pairs]
    places = decimals(*differences)
    return [
        [
            f"{letters[pair.first]} − {letters[pair.second]}",
            *_pair(pair, comparison.primary, places),
        ]
        for pair in comparison.pairs
    ]


def _pair(pair: Pair, primary: str, places: int) -> list[str]:
    test, wins = pair.tests[primary], pair.wins
    counts = [f"{count:,}" for count in (wins.first, wins.ties, wins.second)]
    return [
        fixed(test.difference, places, sign=True),
        _span(test.ci95, places, sign=True),
        "" if test.p_adjusted is None else p_text(test.p_adjusted),
        *counts,
    ]


def _span(bounds: Sequence[float] | None, places: int, *, sign: bool = False) -> str:
    return "" if bounds is None else " to ".join(fixed(b, places, sign=sign) for b in bounds)


def _in_brackets(text: str) -> str:
    return f" ({text})" if text else ""
