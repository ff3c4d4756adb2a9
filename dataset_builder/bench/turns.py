"""The items as samples of one reply each: what a model is given, and what a good reply is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dataset_builder.bench.items import Benchmark, Exchange
from dataset_builder.options import SYSTEM_PROMPT

DIALOGUES, CRISIS, CONDUCT = "dialogues", "crisis", "conduct"


@dataclass(frozen=True)
class Turn:
    """One reply to make: `input` ends with the user's turn, `targets` are good replies to it, the
    first one that of the history of later turns.

    `id` is the item's, and of a dialogue also the turn's, counted from 1; `item` is the item's.
    `kind` is that of a crisis or conduct item, `due` whether a reply to a crisis item should point
    to help, `emotion` that of a dialogue; None elsewhere.
    """

    id: str
    item: str
    part: str
    input: list[dict[str, str]]
    targets: tuple[str, ...]
    kind: str | None = None
    due: bool | None = None
    emotion: str | None = None


def turns(bench: Benchmark) -> list[Turn]:
    """The samples of dialogues, crisis and conduct, in the files' order.

    Scripted users are not among them: what they write depends on the replies.
    """
    return [*_of_dialogues(bench), *_of_crisis(bench), *_of_conduct(bench)]


def messages(exchanges: Sequence[Exchange]) -> list[dict[str, str]]:
    """The system message and the exchanges, up to the user's turn of the last one."""
    found = [{"role": "system", "content": SYSTEM_PROMPT}]
    for exchange in exchanges[:-1]:
        found.append({"role": "user", "content": exchange.user})
        found.append({"role": "assistant", "content": exchange.replies[0]})
    return [*found, {"role": "user", "content": exchanges[-1].user}]


def _of_dialogues(bench: Benchmark) -> Iterator[Turn]:
    for item in bench.dialogues:
        for number, exchange in enumerate(item.turns, start=1):
            yield Turn(
                f"{item.id}#{number}",
                item.id,
                DIALOGUES,
                messages(item.turns[:number]),
                exchange.replies,
                emotion=item.emotion,
            )


def _of_crisis(bench: Benchmark) -> Iterator[Turn]:
    for item in bench.crisis:
        yield Turn(
            item.id, item.id, CRISIS, messages(item.turns), (item.good,), item.kind, item.due
        )


def _of_conduct(bench: Benchmark) -> Iterator[Turn]:
    for item in bench.conduct:
        yield Turn(item.id, item.id, CONDUCT, messages(item.turns), (item.good_reply,), item.kind)
