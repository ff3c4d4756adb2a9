"""Verdicts of models and people -> the record: beliefs first, then preferences."""

from __future__ import annotations

import datetime
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from kosent_hub import metrics
from kosent_hub.judging import agreement, rubric
from kosent_hub.judging.people.queue import queue
from kosent_hub.judging.reading import Pair, Stored
from kosent_hub.judging.strengths import PRIOR, strengths
from kosent_hub.judging.verdicts import FIRST, SECOND, TIE, Judged, Votes, about, combined
from kosent_hub.metrics import Measure
from kosent_hub.models.machine.versions import versions
from model_card.records import (
    Agreement,
    EvaluatedModel,
    Judgements,
    ModelJudge,
    People,
    Preferences,
    Share,
    WinRate,
    finite,
    is_believable,
)

# Of a model's id or its base's, the words that name its family.
FAMILIES = (
    *("claude", "deepseek", "exaone", "gemini", "gemma", "glm", "gpt", "hyperclova", "kanana"),
    *("llama", "midm", "mistral", "mixtral", "olmo", "phi", "qwen", "smollm", "solar"),
)
SIGNATURE = "judge"

# What a judge says of each pair on which it says anything.
Verdicts = Mapping[Pair, int]


def measure(
    stored: Stored, judged: Sequence[Judged], votes: Sequence[Votes], seed: int
) -> Judgements:
    """The record of what these models and people have said of the stored replies."""
    names = _names(judged)
    by_model = {name: _verdicts(each) for name, each in zip(names, judged, strict=True)}
    judges = [_judge(stored, name, each, seed) for name, each in zip(names, judged, strict=True)]
    by_person, again = _people(stored, votes)
    majority_of_people = majority(by_person)
    people = None
    if by_person:
        people = People(
            raters={each.rater: len(each.votes) for each in votes},
            self_agreement=independent_share(again),
            preferences=_preferences(stored, majority_of_people, seed),
        )
    trusted = [by_model[judge.name] for judge in judges if judge.believable]
    return Judgements(
        dataset=stored.dataset,
        models=dict(zip(stored.names, stored.models, strict=True)),
        rubric=about(stored).rubric,
        replies_sha256=stored.sha256,
        judges=judges,
        people=people,
        majority=_preferences(stored, majority(trusted), seed) if len(trusted) > 1 else None,
        agreement=_agreement(by_person, majority_of_people, by_model, seed),
        resampling={
            "intervals": "studentized bootstrap of dialogues; Wilson for shares, Clopper-Pearson "
            "for independent cases; percentiles over draws of dialogues for strengths, and over "
            "draws of pairs for alpha and kappa",
            "draws": metrics.METHOD["draws"],
            "agreement_draws": agreement.DRAWS,
            "strengths": f"Bradley-Terry, ties half a win, a prior of {2 * PRIOR:g} tie a pair",
            "seed": seed,
        },
        versions=versions("numpy"),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )


def believed(stored: Stored, judged: Sequence[Judged], votes: Sequence[Votes]) -> dict[Pair, int]:
    """The verdict on each pair: the people's majority, else that of the believable models."""
    models = [
        _verdicts(each)
        for each in judged
        if is_believable(independent_share(list(_right(each).values())))
    ]
    return majority(models) | majority(_people(stored, votes)[0])


def majority(judges: Iterable[Verdicts]) -> dict[Pair, int]:
    """The verdict that most judges give of each pair; a tie where no verdict has most."""
    said: dict[Pair, Counter[int]] = {}
    for verdicts in judges:
        for pair, verdict in verdicts.items():
            said.setdefault(pair, Counter())[verdict] += 1
    found = {}
    for pair, counts in said.items():
        (verdict, most), *others = counts.most_common()
        found[pair] = TIE if others and others[0][1] == most else verdict
    return found


def _names(judged: Sequence[Judged]) -> list[str]:
    """A name for each judgement: its judge's, with language and place where one judged twice."""
    names = [each.judge for each in judged]
    return [
        f"{each.judge} ({each.settings['language']}, {i + 1})"
        if names.count(each.judge) > 1
        else each.judge
        for i, each in enumerate(judged)
    ]


def _verdicts(judged: Judged) -> dict[Pair, int]:
    both = ((pair, combined(ahead, behind)) for pair, ahead, behind in judged.verdicts())
    return {pair: verdict for pair, verdict in both if verdict is not None}


def _judge(stored: Stored, name: str, judged: Judged, seed: int) -> ModelJudge:
    right = _right(judged)
    kinds = {check.id: check.kind for check in rubric.check_set()}
    by_kind: dict[str, list[bool]] = {}
    for check_id, found in right.items():
        by_kind.setdefault(kinds[check_id], []).append(found)
    return ModelJudge(
        name=name,
        model=judged.model,
        settings=judged.settings,
        counts=judged.counts,
        check=independent_share(list(right.values())),
        by_kind={kind: independent_share(found) for kind, found in by_kind.items()},
        biases=_biases(stored, judged, seed),
        same_family=[
            other
            for other, model in zip(stored.names, stored.models, strict=True)
            if _families(judged.model) & _families(model)
        ],
        preferences=_preferences(stored, _verdicts(judged), seed),
        ratings=_ratings(stored, judged, seed),
    )


def _right(judged: Judged) -> dict[str, bool]:
    """Whether the judge was right on each pair of the check set, in both orders."""
    ties = {check.id for check in rubric.check_set() if check.better == check.worse}
    columns = (judged.check[column] for column in ("id", "ahead", "behind"))
    return {
        check_id: ahead == behind == (TIE if check_id in ties else FIRST)
        for check_id, ahead, behind in zip(*columns, strict=True)
    }


def _biases(stored: Stored, judged: Judged, seed: int) -> dict[str, Share]:
    """Order consistency, how often the reply shown first is chosen, how often the longer one."""
    consistent: list[tuple[int, bool]] = []
    first: list[tuple[int, bool]] = []
    longer: list[tuple[int, bool]] = []
    for pair, ahead, behind in judged.verdicts():
        one, other = stored.texts(pair)
        if one == other:
            continue  # nobody was asked
        row = stored.rows[pair.sample]
        if ahead is not None and behind is not None:
            consistent.append((row, ahead == behind))
        first += [(row, ahead == FIRST)] if ahead else []
        first += [(row, behind == SECOND)] if behind else []
        verdict = combined(ahead, behind)
        if verdict and len(one) != len(other):
            longer.append((row, (len(one) > len(other)) == (verdict == FIRST)))
    return {
        "order_consistency": mean_share(consistent, seed),
        "first_chosen": mean_share(first, seed),
        "longer_chosen": mean_share(longer, seed),
    }


def _ratings(stored: Stored, judged: Judged, seed: int) -> dict[str, dict[str, Share]]:
    """By model the mean points of each mechanism, and the share of replies with each problem."""
    columns, found = judged.ratings, {}
    for place, name in enumerate(stored.names):
        own = [i for i, model in enumerate(columns["model"]) if model == place]
        found[name] = {
            rating: mean_share(
                [
                    (stored.rows[columns["sample"][i]], columns[rating][i])
                    for i in own
                    if columns[rating][i] is not None
                ],
                seed,
            )
            for rating in rubric.SCHEMAS["reply"]
        }
    return found


def _preferences(stored: Stored, verdicts: Verdicts, seed: int) -> Preferences:
    """Win rates of each two models, and the strengths of more than two."""
    by_pair: dict[tuple[int, int], list[tuple[int, float]]] = {}
    for pair, verdict in verdicts.items():
        found = by_pair.setdefault((pair.first, pair.second), [])
        found.append((stored.rows[pair.sample], (verdict + 1) / 2))
    rates = []
    for (first, second), scores in sorted(by_pair.items()):
        share = mean_share(scores, seed)
        counts = Counter(score for _, score in scores)
        rates.append(
            WinRate(
                first=stored.names[first],
                second=stored.names[second],
                value=share.value,
                wins=counts[1.0],
                ties=counts[0.5],
                losses=counts[0.0],
                ci95=share.ci95,
            )
        )
    if len(stored.names) < 3 or not verdicts:
        return Preferences(rates)
    pairs = list(verdicts)
    values = strengths(
        np.asarray([(verdicts[pair] + 1) / 2 for pair in pairs]),
        np.asarray([pair.first for pair in pairs]),
        np.asarray([pair.second for pair in pairs]),
        [stored.rows[pair.sample] for pair in pairs],
        len(stored.names),
        seed,
    )
    return Preferences(rates, dict(zip(stored.names, values, strict=True)))


def _people(stored: Stored, votes: Sequence[Votes]) -> tuple[list[dict[Pair, int]], list[bool]]:
    """Each person's verdicts, the first on each pair, and of pairs that came again whether the
    verdict was the same."""
    people, again = [], []
    for each in votes:
        found: dict[Pair, int] = {}
        # A queue may be longer than what was voted on so far.
        for shown, vote in zip(queue(stored, each.limit, each.queue), each.votes, strict=False):
            verdict = shown.verdict(vote)
            if shown.repeated:
                again.append(found[shown.pair] == verdict)
            else:
                found[shown.pair] = verdict
        people.append(found)
    return people, again


def _agreement(
    by_person: Sequence[Verdicts],
    people: Verdicts,
    by_model: Mapping[str, Verdicts],
    seed: int,
) -> list[Agreement]:
    """Alpha among people where there are several, and kappa of their majority and each model."""
    found = []
    if len(by_person) > 1:
        seen = [
            {str(i): own[pair] for i, own in enumerate(by_person) if pair in own} for pair in people
        ]
        found.append(agreement.alpha(seen, seed))
    if by_person:
        for name, verdicts in by_model.items():
            both = [pair for pair in people if pair in verdicts]
            ours, theirs = [people[pair] for pair in both], [verdicts[pair] for pair in both]
            found.append(agreement.kappa(ours, theirs, name, seed))
    return found


def mean_share(cases: Sequence[tuple[int, float]], seed: int) -> Share:
    """The mean of numbers, each with its dialogue, and an interval from draws of dialogues."""
    if not cases:
        return Share(None, 0)
    measured = metrics.mean_of([float(value) for _, value in cases], SIGNATURE)
    return _measured(measured, [row for row, _ in cases], seed)


def independent_share(cases: Sequence[bool]) -> Share:
    """The share of cases that do not depend on each other, with its exact interval."""
    if not cases:
        return Share(None, 0)
    measured = metrics.mean_of([float(case) for case in cases], SIGNATURE, independent=True)
    return _measured(measured, range(len(cases)), 0)


def _measured(measured: Measure, rows: Sequence[int], seed: int) -> Share:
    bounds = metrics.intervals({SIGNATURE: measured}, rows, seed)[SIGNATURE]
    return Share(finite(measured.value), len(measured.rows), bounds)


def _families(model: EvaluatedModel) -> set[str]:
    """The families that a model's id, or its base's, names; its own id counts as one."""
    names = " ".join([model.id, model.base_model or ""]).lower()
    found = set(re.findall(rf"(?<![a-z])({'|'.join(FAMILIES)})", names))
    return {*found, model.id} | ({model.base_model} if model.base_model else set())
