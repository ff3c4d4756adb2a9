"""Judgements as a card shows them: who judged and how far to believe it, then win rates, ratings.

The tables' own words are the template's: `words` holds them by key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from model_card.metrics import metric_label
from model_card.publishing.markdown import Markdown, code, escape
from model_card.records import (
    PLOTS_FOLDER,
    Agreement,
    BenchJudgement,
    Judgements,
    ModelJudge,
    Preferences,
    Share,
    judgements_path,
)
from model_card.render.numbers import count, fixed
from model_card.render.score_tables import MISSING, span, table, two_lines

Words = Mapping[str, str]
BIASES = ("order_consistency", "first_chosen", "longer_chosen")


@dataclass(frozen=True)
class Judgement:
    """One record of judgements, and what of it a card shows.

    `picture` is the path of its plot, None without a win rate to draw. `shown` are those whose
    preferences are shown, by name, and `refused` the judges whose are not; "people" and "majority"
    stand for these.
    """

    record: Judgements
    title: str
    picture: str | None
    alpha: Agreement | None
    shown: dict[str, Preferences] = field(default_factory=dict)
    refused: list[ModelJudge] = field(default_factory=list)


def judgement(record: Judgements) -> Judgement:
    """What a card shows of a record: no win rate of a judge that failed the check set."""
    shown = preferences(record)
    return Judgement(
        record=record,
        title=f"{record.dataset.id} · {record.dataset.split}",
        picture=judgement_picture(record) if _is_drawn(shown) else None,
        alpha=next((found for found in record.agreement if found.judge is None), None),
        shown=shown,
        refused=[judge for judge in record.judges if not judge.believable],
    )


def preferences(record: Judgements) -> dict[str, Preferences]:
    """The preferences that may be shown: of people, of believable judges, and of their majority."""
    found = {} if record.people is None else {"people": record.people.preferences}
    found |= {judge.name: judge.preferences for judge in record.judges if judge.believable}
    return found if record.majority is None else found | {"majority": record.majority}


def judgement_picture(record: Judgements) -> str:
    """The path in a repo of the plot of a record's win rates."""
    stem = judgements_path(record).rsplit("/", 1)[-1].removesuffix(".json")
    return f"{PLOTS_FOLDER}/judgements-{stem}.png"


def judges_table(found: Judgement, words: Words) -> Markdown:
    """A row per model that judged: its pairs, the check set, its biases, agreement with people."""
    kappas = {each.judge: each for each in found.record.agreement}
    header = [words[name] for name in ("judge", "judged_pairs", "check", *BIASES, "kappa")]
    rows = []
    for judge in found.record.judges:
        kappa = kappas.get(judge.name)
        cells = [_cell(judge.check), *(_cell(judge.biases.get(name)) for name in BIASES)]
        agreed = two_lines(fixed(kappa.value, 2), span(kappa.ci95, 2)) if kappa else MISSING
        asked = judge.counts.get("pairs", 0) - judge.counts.get("failures", 0)
        rows.append([code(judge.name), count(asked), *cells, agreed])
    return table(header, rows, "l" + "r" * (len(header) - 1))


def win_table(found: Judgement, words: Words) -> Markdown:
    """A row per judge and two models: the win rate, and wins, ties and losses."""
    header = [words[name] for name in ("judge", "preferred", "win_rate", "counts")]
    rows = []
    for name, shown in found.shown.items():
        label = words[name] if name in ("people", "majority") else code(name)
        for rate in shown.win_rates:
            who = Markdown(f"{code(rate.first)} : {code(rate.second)}")
            counted = " / ".join(count(each) for each in (rate.wins, rate.ties, rate.losses))
            value = two_lines(fixed(rate.value, 2), span(rate.ci95, 2), strong=True)
            rows.append([label, who, value, counted])
    return table(header, rows, "llrr")


def strength_table(found: Judgement, words: Words) -> Markdown | None:
    """A row per judge, a column per model; None for two models alone."""
    rows = []
    for name, shown in found.shown.items():
        label = words[name] if name in ("people", "majority") else code(name)
        values = [shown.strengths.get(model) for model in found.record.models]
        if any(values):
            cells = [
                two_lines(fixed(value.value, 2, sign=True), span(value.ci95, 2)) if value else ""
                for value in values
            ]
            rows.append([label, *cells])
    header = [words["judge"], *(code(model) for model in found.record.models)]
    return table(header, rows, "l" + "r" * (len(header) - 1)) if rows else None


def rating_table(judge: ModelJudge, labels: Mapping[str, str], words: Words) -> Markdown:
    """A row per rating of the rubric, a column per model."""
    header = [words["rating"], *(code(name) for name in judge.ratings)]
    rows = [
        [label, *(_cell(own.get(name)) for own in judge.ratings.values())]
        for name, label in labels.items()
    ]
    return table(header, rows, "l" + "r" * (len(header) - 1))


def bench_table(found: BenchJudgement, words: Words, language: str) -> Markdown:
    """A row per score on KoSent-Bench: precision and recall of the judge, then by model, the
    baseline first, the score by pattern and by the judge; not by a judge that failed there."""
    models = list(reversed(found.scores.values()))
    header = [words[name] for name in ("metric", "precision", "recall")]
    for who in ("compared", "this")[-len(models) :]:
        header += [words[by].format(words[who]) for by in ("by_pattern", "by_judge")]
    rows = []
    for name, own in models[-1].items():
        told = found.labelled.get(own.question)
        label = escape(words.get(name) or metric_label(name, language).text)
        cells = [_cell(told.precision if told else None), _cell(told.recall if told else None)]
        for both in (scores.get(name) for scores in models):
            cells.append(_cell(both.pattern if both else None))
            cells.append(_cell(both.judge if both and told and told.believable else None))
        rows.append([Markdown(f"{label}<br><sub>n = {count(own.judge.n)}</sub>"), *cells])
    return table(header, rows, "l" + "r" * (len(header) - 1))


def _is_drawn(shown: Mapping[str, Preferences]) -> bool:
    return any(rate.value is not None for p in shown.values() for rate in p.win_rates)


def _cell(share: Share | None) -> Markdown:
    if share is None:
        return Markdown(MISSING)
    return two_lines(fixed(share.value, 2), span(share.ci95, 2))
