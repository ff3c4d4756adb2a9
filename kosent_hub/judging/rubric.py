"""The rubric, the prompts made of it, how a judge's answers are read, and the check set."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from string import Template
from typing import Any

from kosent_hub.models.chat_format import Messages
from model_card.metrics import EN, KO

# Goes up when a text changes; the SHA-256 of the texts is recorded beside it.
VERSION = "1"
PROMPTS = (
    "rubric.ko.md",
    "rubric.en.md",
    *(f"{p}.{n}.txt" for p in ("pair", "reply") for n in ("ko", "en")),
)
# EPITOME's mechanisms (Sharma et al. 2020), 0 to 2 points each, and what goes wrong.
MECHANISMS = ("emotional_reaction", "interpretation", "exploration")
PROBLEMS = (
    *("moralising", "unasked_advice", "sycophancy", "formulaic", "invented_facts", "danger"),
)
POINTS = (0, 1, 2)
FIRST, SECOND, TIE = "A", "B", "tie"
CHOICES = (FIRST, SECOND, TIE)
SPEAKERS = {
    KO: {"user": "사용자", "assistant": "챗봇"},
    EN: {"user": "User", "assistant": "Chatbot"},
}
AGAIN = {
    KO: "요청한 모양의 JSON이 아닙니다. 다른 글 없이 그 모양의 JSON만 다시 쓰세요.",
    EN: "That is not JSON of the form asked for. Write only JSON of that form, nothing else.",
}
# How much of an answer that could not be read is shown to the judge again, in characters.
SHOWN_AGAIN = 500

# What a server that can constrain its output is asked for, by kind of answer.
SCHEMAS: dict[str, dict[str, Any]] = {
    "pair": {"winner": {"type": "string", "enum": list(CHOICES)}},
    "reply": {
        **{name: {"type": "integer", "enum": list(POINTS)} for name in MECHANISMS},
        **{name: {"type": "boolean"} for name in PROBLEMS},
    },
    # Of KoSent-Bench's items (`judging.bench`).
    "referral": {"points_to_help": {"type": "boolean"}},
    "conduct": {"resists": {"type": "boolean"}},
    "contradiction": {
        "contradicts_itself": {"type": "boolean"},
        "contradicts_user": {"type": "boolean"},
    },
}


def text(language: str) -> str:
    """The rubric in that language, as Markdown."""
    return _file(f"rubric.{language}.md")


@cache
def sha256() -> str:
    """SHA-256 of the rubric and the prompts in both languages."""
    return hashlib.sha256("\0".join(map(_file, PROMPTS)).encode()).hexdigest()


def response_format(kind: str) -> dict[str, Any]:
    """OpenAI's `response_format` for answers of that kind."""
    fields = SCHEMAS[kind]
    schema = {
        "type": "object",
        "properties": fields,
        "required": list(fields),
        "additionalProperties": False,
    }
    return {
        "type": "json_schema",
        "json_schema": {"name": kind, "strict": True, "schema": schema},
    }


def pair_prompt(language: str, messages: Messages, a: str, b: str) -> Messages:
    """What a judge is told that chooses between two replies to the dialogue's last turn."""
    return _prompt("pair", language, messages, a=a, b=b)


def reply_prompt(language: str, messages: Messages, reply: str) -> Messages:
    """What a judge is told that rates one reply to the dialogue's last turn."""
    return _prompt("reply", language, messages, reply=reply)


def again(language: str, prompt: Messages, answer: str) -> Messages:
    """The prompt of the second and last try, after an answer that could not be read."""
    return (
        *prompt,
        {"role": "assistant", "content": answer[:SHOWN_AGAIN] or "-"},
        {"role": "user", "content": AGAIN[language]},
    )


def read_choice(answer: str) -> str | None:
    """The choice in an answer, one of CHOICES; None where the answer is not exactly that JSON."""
    found = _read(answer, SCHEMAS["pair"])
    return None if found is None else found["winner"]


def read_ratings(answer: str) -> dict[str, int] | None:
    """The ratings in an answer, problems as 0 or 1; None where it is not exactly that JSON."""
    return read_answer("reply", answer)


def read_answer(kind: str, answer: str) -> dict[str, int] | None:
    """The numbers in an answer of that kind, true as 1; None where it is not exactly that JSON."""
    found = _read(answer, SCHEMAS[kind])
    return None if found is None else {name: int(value) for name, value in found.items()}


def conversation(language: str, messages: Messages) -> str:
    """The dialogue as text, a turn per line, without its system message."""
    speakers = SPEAKERS[language]
    return "\n".join(
        f"{speakers[message['role']]}: {message['content']}"
        for message in messages
        if message["role"] in speakers
    )


@dataclass(frozen=True)
class CheckPair:
    """A synthetic pair with an obvious answer; `better` and `worse` are equal where it is a tie."""

    id: str
    kind: str
    user: str
    better: str
    worse: str

    @property
    def messages(self) -> Messages:
        """The dialogue that both reply to."""
        return ({"role": "user", "content": self.user},)


@cache
def check_set() -> tuple[CheckPair, ...]:
    """The check set: comfort against scolding, relevant against off-topic, referral against none,
    and the same reply twice."""
    return tuple(CheckPair(**json.loads(line)) for line in _file("check_set.jsonl").splitlines())


def _prompt(kind: str, language: str, messages: Messages, **replies: str) -> Messages:
    content = Template(_file(f"{kind}.{language}.txt")).substitute(
        rubric=text(language).strip(), conversation=conversation(language, messages), **replies
    )
    return ({"role": "user", "content": content.strip()},)


def _read(answer: str, fields: dict[str, Any]) -> dict[str, Any] | None:
    """The object that the answer is, checked; a code fence around all of it does not count."""
    body = answer.strip()
    if body.startswith("```") and body.endswith("```"):
        body = body.removeprefix("```").removesuffix("```").removeprefix("json").strip()
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.keys() != fields.keys():
        return None
    return found if all(_is_of(found[name], kind) for name, kind in fields.items()) else None


def _is_of(value: Any, kind: dict[str, Any]) -> bool:
    """Whether a value is of a field's schema. True is no 1."""
    types = {"string": str, "integer": int, "boolean": bool}
    return type(value) is types[kind["type"]] and value in kind.get("enum", [value])


@cache
def _file(name: str) -> str:
    return (resources.files("kosent_hub") / "judging" / "texts" / name).read_text(encoding="utf-8")
