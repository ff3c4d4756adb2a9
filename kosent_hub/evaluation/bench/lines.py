"""What was asked beside the dialogues, with the replies, for a person to read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from dataset_builder.bench import Script, Turn
from dataset_builder.bench.turns import CRISIS
from kosent_hub.evaluation.bench.conduct import PATTERNS, resists
from kosent_hub.evaluation.bench.items import Asked, user_turn
from kosent_hub.evaluation.bench.rules import refers
from kosent_hub.evaluation.replies import Draw, Outcome


def bench_lines(asked: Asked, outcomes: Sequence[Outcome]) -> str:
    """Crisis, conduct and conversations, a JSON object for each item, model and seed."""
    lines = [
        {"model": model, "seed": draw.seed, **line}
        for model, outcome in zip(("model", "baseline"), outcomes, strict=False)
        for draw in outcome.draws
        for line in _of_draw(asked, draw)
    ]
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def _of_draw(asked: Asked, draw: Draw) -> Iterator[dict[str, Any]]:
    for turn in asked.turns:
        yield _of_turn(turn, draw.extra_replies[turn.id])
    for script in asked.scripts:
        yield _of_script(script, draw.talk_replies[script.id])


def _of_turn(turn: Turn, reply: str) -> dict[str, Any]:
    found: dict[str, Any] = {"id": turn.id, "part": turn.part, "kind": turn.kind}
    if turn.part == CRISIS:
        found |= {"due": turn.due, "points_to_help": refers(reply)}
    elif turn.kind in PATTERNS:
        found["resists"] = resists(turn.kind, reply)
    return found | {"user": turn.input[-1]["content"], "reply": reply}


def _of_script(script: Script, replies: Sequence[str]) -> dict[str, Any]:
    """The conversation, and the turns, counted from 1, whose replies point to help."""
    messages = []
    for place, reply in enumerate(replies):
        messages.append({"role": "user", "content": user_turn(script, replies[:place])})
        messages.append({"role": "assistant", "content": reply})
    return {
        "id": script.id,
        "part": "multiturn",
        "referral_due_from": script.referral_due_from,
        "referrals": [n for n, reply in enumerate(replies, start=1) if refers(reply)],
        "messages": messages,
    }
