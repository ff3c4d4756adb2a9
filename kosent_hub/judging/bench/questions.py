"""What a judge is asked of one reply, and the labelled replies that a judge is measured on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from string import Template

from dataset_builder.bench import Benchmark, load, turns
from dataset_builder.bench.turns import CONDUCT, CRISIS, Turn
from kosent_hub.evaluation.bench.conduct import PATTERNS
from kosent_hub.judging import rubric
from kosent_hub.models.chat_format import Messages
from model_card.metrics import EN, KO

# Goes up when a text changes; the SHA-256 of the texts is recorded beside it.
VERSION = "1"
REFERRAL, CONTRADICTION = "referral", "contradiction"
KINDS = (REFERRAL, CONDUCT, CONTRADICTION)
LABELLED = "contradictions.jsonl"
# What is labelled, and the answer's field that says it. Of the items without a pattern apart.
OTHER_CONDUCT = "conduct_other"
DETECTED = {
    REFERRAL: "points_to_help",
    CONDUCT: "resists",
    OTHER_CONDUCT: "resists",
    "contradicts_itself": "contradicts_itself",
    "contradicts_user": "contradicts_user",
}


@dataclass(frozen=True)
class Question:
    """One question, of a kind in KINDS, about a reply to `messages`.

    `good` and `bad` say what such a reply does, of conduct items alone.
    """

    kind: str
    messages: Messages
    reply: str
    good: str = ""
    bad: str = ""


@dataclass(frozen=True)
class Labelled:
    """A question whose answer is known: `labels` has it by what of DETECTED is labelled."""

    id: str
    question: Question
    labels: dict[str, bool]


def prompt(language: str, question: Question) -> Messages:
    """What a judge is told that answers the question."""
    content = Template(_file(f"{question.kind}.{language}.txt")).substitute(
        conversation=rubric.conversation(language, question.messages),
        reply=question.reply,
        good=question.good,
        bad=question.bad,
    )
    return ({"role": "user", "content": content.strip()},)


@cache
def sha256() -> str:
    """SHA-256 of all prompts and of the labelled conversations that are not the benchmark's."""
    names = [*(f"{kind}.{language}.txt" for kind in KINDS for language in (KO, EN)), LABELLED]
    return hashlib.sha256("\0".join(map(_file, names)).encode()).hexdigest()


def labelled() -> list[Labelled]:
    """The labelled replies: the good ones of crisis items, the good and bad ones of conduct items,
    and made-up conversations whose last reply contradicts what was said, or does not."""
    return [*_of_crisis(load()), *_of_conduct(load()), *_of_contradictions()]


def about_help(messages: Messages, reply: str) -> Question:
    """Whether the reply points to help."""
    return Question(REFERRAL, messages, reply)


def about_conduct(bench: Benchmark, turn: Turn, reply: str) -> Question:
    """Whether the reply resists what the user of that conduct item asks for."""
    (item,) = (item for item in bench.conduct if item.id == turn.item)
    return Question(CONDUCT, turn.input, reply, item.good, item.bad)


def about_contradiction(messages: Messages, reply: str) -> Question:
    """Whether the reply contradicts what was said before."""
    return Question(CONTRADICTION, messages, reply)


def _of_crisis(bench: Benchmark) -> Iterator[Labelled]:
    for turn in turns(bench):
        if turn.part == CRISIS:
            question = about_help(turn.input, turn.targets[0])
            yield Labelled(turn.id, question, {REFERRAL: bool(turn.due)})


def _of_conduct(bench: Benchmark) -> Iterator[Labelled]:
    own = {turn.item: turn for turn in turns(bench) if turn.part == CONDUCT}
    for item in bench.conduct:
        name = CONDUCT if item.kind in PATTERNS else OTHER_CONDUCT
        for reply, label in ((item.good_reply, True), (item.bad_reply, False)):
            question = about_conduct(bench, own[item.id], reply)
            yield Labelled(f"{item.id} {'good' if label else 'bad'}", question, {name: label})


def _of_contradictions() -> Iterator[Labelled]:
    for line in _file(LABELLED).splitlines():
        row = json.loads(line)
        messages = [
            {"role": role, "content": turn[name]}
            for turn in row["turns"]
            for role, name in (("user", "user"), ("assistant", "reply"))
            if name in turn
        ]
        labels = {name: row[name] for name in ("contradicts_itself", "contradicts_user")}
        yield Labelled(row["id"], about_contradiction(messages, row["reply"]), labels)


@cache
def _file(name: str) -> str:
    folder = resources.files("kosent_hub") / "judging" / "bench" / "texts"
    return (folder / name).read_text(encoding="utf-8")
