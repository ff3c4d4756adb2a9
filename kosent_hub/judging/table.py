"""Judgements as the text that is printed: whether to believe them, then what they say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kosent_hub.evaluation.table import aligned
from kosent_hub.judging.rubric import MECHANISMS
from model_card.records import BELIEVABLE, Agreement, Judgements, ModelJudge, Preferences, Share
from model_card.render.numbers import fixed

KINDS = {
    "scolding": "comfort against scolding",
    "off_topic": "relevant against off-topic",
    "no_referral": "referral against none",
    "same": "the same reply twice",
}
BIASES = {
    "order_consistency": "same verdict in both orders",
    "first_chosen": "chose the reply shown first",
    "longer_chosen": "chose the longer reply",
}


def table(found: Judgements) -> str:
    """The report as plain text. A judge that is not to be believed is named in its first lines."""
    data = found.dataset
    lines = [
        f"do not use {judge.name} as a judge: {_value(judge.check)} of the check set right, "
        f"under {BELIEVABLE}"
        for judge in found.judges
        if not judge.believable
    ]
    lines += [
        f"{data.id}, {data.split}: replies of {', '.join(found.models)}",
        f"rubric: version {found.rubric.version}, SHA-256 {found.rubric.sha256[:12]}",
    ]
    for judge in found.judges:
        lines += ["", *_judge(judge)]
    if found.people is not None:
        people = found.people
        votes = ", ".join(f"{rater[:6]} {count:,}" for rater, count in people.raters.items())
        head = [
            [f"{len(people.raters)} people", "", ""],
            ["votes", votes, ""],
            ["the same vote on a pair that came again", *share_cells(people.self_agreement)],
        ]
        lines += ["", *aligned(head), *_preferences(people.preferences)]
    if found.agreement:
        lines += [
            "",
            *aligned([["agreement", "", "95 % interval", "same", "pairs"], *_rows(found)]),
        ]
    if found.majority is not None:
        lines += ["", "majority of the models that may be believed", *_preferences(found.majority)]
    return "\n".join([*lines, "", *_notes(found)])


def _judge(judge: ModelJudge) -> Iterator[str]:
    counts = judge.counts
    rows = [[f"judge: {judge.name}", "share", "95 % interval", "cases"]]
    rows.append(["check set right", *share_cells(judge.check)])
    rows += [[f"  {KINDS.get(name, name)}", *share_cells(s)] for name, s in judge.by_kind.items()]
    rows += [[BIASES.get(name, name), *share_cells(share)] for name, share in judge.biases.items()]
    yield from aligned(rows)
    yield (
        f"pairs {counts['pairs']:,}, of these equal replies {counts['same_replies']:,} (ties, not "
        f"asked), failures {counts['failures']:,}; answers {counts.get('answers', 0):,}, asked "
        f"again {counts.get('retried', 0):,}; ratings {counts['ratings']:,}, failures "
        f"{counts['rating_failures']:,}"
    )
    if judge.same_family:
        yield (
            f"of one family with {', '.join(judge.same_family)}: judges are known to prefer their "
            "own family's replies"
        )
    yield from _preferences(judge.preferences)
    if judge.ratings:
        yield from _ratings(judge.ratings)


def _preferences(found: Preferences) -> Iterator[str]:
    rows = [["preferred", "win rate", "95 % interval", "wins", "ties", "losses"]]
    for rate in found.win_rates:
        counts = [f"{count:,}" for count in (rate.wins, rate.ties, rate.losses)]
        name = f"{rate.first} to {rate.second}"
        rows.append([name, fixed(rate.value, 3), _span(rate.ci95), *counts])
    yield from aligned(rows)
    if found.strengths:
        ranked = sorted(found.strengths.items(), key=lambda item: -(item[1].value or 0))
        head = ["strength (Bradley-Terry, logits)", "", "95 % interval"]
        yield from aligned(
            [head, *([name, fixed(v.value, 2, sign=True), _span(v.ci95, 2)] for name, v in ranked)]
        )


def _ratings(ratings: Mapping[str, Mapping[str, Share]]) -> Iterator[str]:
    rows = [["rubric: mean points 0-2, shares", *(n for name in ratings for n in (name, ""))]]
    for rating in next(iter(ratings.values())):
        shares = [own[rating] for own in ratings.values()]
        unit = "points" if rating in MECHANISMS else "share"
        cells = [cell for share in shares for cell in (_value(share), _span(share.ci95))]
        rows.append([f"{rating} ({unit})", *cells])
    yield from aligned(rows)


def _rows(found: Judgements) -> Iterator[list[str]]:
    for each in found.agreement:
        same = "" if each.same is None else fixed(each.same, 2)
        yield [agreement_name(each), fixed(each.value, 2), _span(each.ci95, 2), same, f"{each.n:,}"]


def agreement_name(found: Agreement) -> str:
    """Who agrees with whom, by which measure."""
    if found.judge is None:
        return "people among themselves (Krippendorff's alpha)"
    return f"people and {found.judge} (Cohen's kappa)"


def _notes(found: Judgements) -> Iterator[str]:
    if not found.judges and found.people is None:
        yield "nobody has judged these replies yet"
        return
    yield "win rate: wins and half of the ties, over all pairs; a tie also where orders disagree"
    yield "chose the reply shown first: 0.5 where the place does not matter; failures count nowhere"
    if found.judges and found.people is None:
        yield "no person has voted, so nobody knows how far these judges agree with people"


def share_cells(share: Share) -> list[str]:
    """A share's value, interval and number of cases as cells of a table."""
    return [_value(share), _span(share.ci95), f"{share.n:,}"]


def _value(share: Share) -> str:
    return fixed(share.value, 2)


def _span(bounds: list[float] | None, places: int = 2) -> str:
    return "" if bounds is None else " to ".join(fixed(bound, places) for bound in bounds)
