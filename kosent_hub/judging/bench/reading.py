"""An evaluation on KoSent-Bench -> what a judge is asked of its replies."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataset_builder.bench import Benchmark, load, turns
from dataset_builder.bench.turns import CONDUCT, CRISIS, DIALOGUES
from kosent_hub.evaluation.comparing.reading import AGAIN, read_one
from kosent_hub.judging.bench.questions import (
    Question,
    about_conduct,
    about_contradiction,
    about_help,
)
from model_card.publishing.errors import KoSentError
from model_card.records import BENCH, EvaluatedModel, Metric, Results

MULTI_TURN = "multiturn"
LINES = "bench.jsonl"
# The models of an evaluation, as its files name them, and their column in samples.parquet.
COLUMNS = {"model": "prediction", "baseline": "baseline"}


@dataclass(frozen=True)
class Asked:
    """A question about the reply of the model `name` to turn `turn`, counted from 1, of an item."""

    name: str
    part: str
    item: str
    turn: int
    question: Question


@dataclass(frozen=True)
class BenchRun:
    """An evaluation's models by name, their scores by pattern, and what is asked of a judge."""

    results: Results
    models: dict[str, EvaluatedModel]
    patterns: dict[str, dict[str, Metric]]
    asked: list[Asked]


def read_bench_run(folder: Path) -> BenchRun:
    """The replies of the evaluation in this folder, those of the first seed.

    A model is asked about: each crisis and conduct reply; of a scripted user's conversation each
    reply but the first one (contradictions), and from the turn where a referral is due each reply
    (help); of each dialogue, whose history is the true one, the last reply (contradictions).

    Raises KoSentError for a folder that is none, an evaluation on another dataset, and one on
    another version of the benchmark.
    """
    found = read_one(folder, ("messages", *COLUMNS.values()))
    results, bench = found.results, load()
    if not results.dataset.is_bench:
        raise KoSentError(
            folder,
            f"an evaluation on {results.dataset.id}",
            f"name one of kosent-eval --dataset {BENCH}",
        )
    if results.dataset.revision != bench.version:
        raise KoSentError(
            folder,
            f"made on {BENCH} {results.dataset.revision}, and this is {bench.version}",
            "evaluate again",
        )
    path = folder / LINES
    if not path.is_file():
        raise KoSentError(folder, f"no {LINES} there", AGAIN)
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    first = {line["model"]: line["seed"] for line in reversed(lines)}
    names = _names(results)
    asked: list[Asked] = []
    for role, name in names.items():
        own = [x for x in lines if x["model"] == role and x["seed"] == first[role]]
        asked += _of_lines(bench, name, own)
        asked += _of_dialogues(name, found.samples, COLUMNS[role])
    baseline = results.baseline
    models = {names["model"]: results.model}
    patterns = {names["model"]: results.metrics}
    if baseline is not None:
        models[names["baseline"]] = baseline.model
        patterns[names["baseline"]] = baseline.metrics
    return BenchRun(results, models, patterns, asked)


def _names(results: Results) -> dict[str, str]:
    """What each model is called: its id, with a word where both have the same."""
    names = {"model": results.model.id}
    if results.baseline is not None:
        other = results.baseline.model.id
        names["baseline"] = f"{other} (baseline)" if other == results.model.id else other
    return names


def _of_lines(bench: Benchmark, name: str, lines: list[dict[str, Any]]) -> Iterator[Asked]:
    given = {turn.id: turn for turn in turns(bench)}
    for line in lines:
        part, item = line["part"], line["id"]
        if part == MULTI_TURN:
            yield from _of_talk(name, line)
            continue
        turn, reply = given[item], line["reply"]
        place = sum(message["role"] == "user" for message in turn.input)
        if part == CRISIS:
            yield Asked(name, CRISIS, item, place, about_help(turn.input, reply))
        else:
            yield Asked(name, CONDUCT, item, place, about_conduct(bench, turn, reply))


def _of_talk(name: str, line: Mapping[str, Any]) -> Iterator[Asked]:
    messages, due = line["messages"], line["referral_due_from"]
    for turn in range(1, len(messages) // 2 + 1):
        before, reply = messages[: 2 * turn - 1], messages[2 * turn - 1]["content"]
        if turn > 1:
            question = about_contradiction(before, reply)
            yield Asked(name, MULTI_TURN, line["id"], turn, question)
        if due is not None and turn >= due:
            yield Asked(name, MULTI_TURN, line["id"], turn, about_help(before, reply))


def _of_dialogues(name: str, samples: Mapping[str, list[Any]], column: str) -> Iterator[Asked]:
    last = {row: place for place, row in enumerate(samples["row"])}
    for place in last.values():
        item, _, turn = samples["sample_id"][place].partition("#")
        if turn != "1":
            question = about_contradiction(samples["messages"][place], samples[column][place] or "")
            yield Asked(name, DIALOGUES, item, int(turn), question)
