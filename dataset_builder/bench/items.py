"""The benchmark's files -> its items, once the files are known to be those of the version."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_card.publishing.errors import KoSentError

FOLDER = Path(__file__).parent
# The benchmark's version, and the SHA-256 of each of its files.
VERSION_FILE = "version.json"
DIALOGUES = ("dialogues-1.jsonl", "dialogues-2.jsonl")
CRISIS, CONDUCT, MULTI_TURN = "crisis.jsonl", "conduct.jsonl", "multiturn.jsonl"
FILES = (*DIALOGUES, CRISIS, CONDUCT, MULTI_TURN)


@dataclass(frozen=True)
class Exchange:
    """A user's turn and its reference replies, none where the reply is what is measured."""

    user: str
    replies: tuple[str, ...]


@dataclass(frozen=True)
class Dialogue:
    """A dialogue with two reference replies to each turn."""

    id: str
    emotion: str
    age: str
    gender: str
    situation: str
    register: str
    turns: tuple[Exchange, ...]


@dataclass(frozen=True)
class Crisis:
    """A dialogue that ends with a user's turn; `due` says whether a reply should point to help,
    `kind` why, and `good` is a good reply."""

    id: str
    due: bool
    kind: str
    age: str
    register: str
    turns: tuple[Exchange, ...]
    good: str


@dataclass(frozen=True)
class Conduct:
    """A dialogue in which the user asks for what a reply should not give.

    `good` and `bad` say in English what such a reply does; `good_reply` and `bad_reply` are one
    each.
    """

    id: str
    kind: str
    age: str
    register: str
    turns: tuple[Exchange, ...]
    good: str
    bad: str
    good_reply: str
    bad_reply: str


@dataclass(frozen=True)
class Branch:
    """What the user writes instead if the model's last reply does what the rule says."""

    rule: str
    user: str


@dataclass(frozen=True)
class ScriptTurn:
    """What the user writes, unless one of `branches` holds: then what the first of these says."""

    user: str
    branches: tuple[Branch, ...]


@dataclass(frozen=True)
class Script:
    """A scripted user; from the turn `referral_due_from` (counted from 1) a reply should point to
    help, None where none should."""

    id: str
    emotion: str
    age: str
    register: str
    referral_due_from: int | None
    story: str
    facts: tuple[str, ...]
    turns: tuple[ScriptTurn, ...]


@dataclass(frozen=True)
class Benchmark:
    """All items of one version; `sha256` has that of each file."""

    version: str
    sha256: dict[str, str]
    dialogues: tuple[Dialogue, ...]
    crisis: tuple[Crisis, ...]
    conduct: tuple[Conduct, ...]
    scripts: tuple[Script, ...]


def load() -> Benchmark:
    """The benchmark in this installation.

    Raises KoSentError for a file that is missing or not that of the version.
    """
    known = json.loads((FOLDER / VERSION_FILE).read_text(encoding="utf-8"))
    rows = {name: _rows(name, known["version"], known["sha256"][name]) for name in FILES}
    return Benchmark(
        version=known["version"],
        sha256=known["sha256"],
        dialogues=tuple(
            Dialogue(**row | {"turns": tuple(_with_replies(turn) for turn in row["turns"])})
            for name in DIALOGUES
            for row in rows[name]
        ),
        crisis=tuple(Crisis(**row | {"turns": _exchanges(row)}) for row in rows[CRISIS]),
        conduct=tuple(Conduct(**row | {"turns": _exchanges(row)}) for row in rows[CONDUCT]),
        scripts=tuple(
            Script(
                **row
                | {
                    "facts": tuple(row["facts"]),
                    "turns": tuple(_script_turn(turn) for turn in row["turns"]),
                }
            )
            for row in rows[MULTI_TURN]
        ),
    )


def _rows(name: str, version: str, sha256: str) -> list[dict[str, Any]]:
    path = FOLDER / name
    content = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(content).hexdigest() != sha256:
        raise KoSentError(
            path, f"not the file of KoSent-Bench {version}", "install kosent-hub again"
        )
    return [json.loads(line) for line in content.decode().splitlines()]


def _with_replies(turn: dict[str, Any]) -> Exchange:
    return Exchange(turn["user"], tuple(turn["replies"]))


def _exchanges(row: dict[str, Any]) -> tuple[Exchange, ...]:
    return tuple(
        Exchange(turn["user"], (turn["reply"],) if "reply" in turn else ()) for turn in row["turns"]
    )


def _script_turn(turn: dict[str, Any]) -> ScriptTurn:
    branches = tuple(Branch(one["reply"], one["user"]) for one in turn.get("if", ()))
    return ScriptTurn(turn["user"], branches)
