"""Replies to a fixed set of prompts, written for this project, base and tuned side by side.

`kosent/conversations.json` is a JSON list of these records. No corpus text is ever among them.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass

from model_card.publishing.errors import KoSentError

CONVERSATIONS_PATH = "kosent/conversations.json"

PROMPTS = (
    "오늘 발표하다가 목소리가 너무 떨려서 중간에 멈춰 버렸어. 다들 나만 쳐다보는 것 같았어.",
    "삼 년 넘게 준비한 시험에 또 떨어졌어요. 이제는 뭘 해야 할지 모르겠어요.",
    "제일 친한 친구가 내 얘기를 다른 애들한테 하고 다녔대. 어떻게 그럴 수가 있지?",
    "요즘 아버지 기억력이 부쩍 나빠지셔서 걱정이에요. 병원에 가 보자고 해도 화만 내세요.",
    "드디어 취업했어! 부모님께 제일 먼저 전화드렸는데 엄마가 우시더라.",
    "팀장님이 회의 때마다 내 의견만 무시하셔. 참다 보니까 이제는 출근하는 게 싫어.",
    "퇴직하고 나니 하루가 너무 길어요. 전화 한 통 오는 데가 없네요.",
    "아기가 처음으로 혼자 걸었어요. 찍어 둔 영상을 몇 번이나 다시 봤는지 몰라요.",
)


@dataclass(frozen=True)
class Conversation:
    """One prompt, the tuned model's reply to it, and the base model's if it was asked.

    A reply is `cut` that did not end by itself.
    """

    prompt: str
    tuned_reply: str
    base_reply: str | None = None
    system_prompt: str | None = None
    tuned_cut: bool = False
    base_cut: bool = False


FLAGS = ("tuned_cut", "base_cut")


def dumps(conversations: Sequence[Conversation]) -> str:
    """The conversations as JSON text: two-space indent, Hangul unescaped, newline at the end."""
    records = [dataclasses.asdict(conversation) for conversation in conversations]
    return json.dumps(records, ensure_ascii=False, indent=2) + "\n"


def loads(text: str, where: str) -> list[Conversation]:
    """The conversations in JSON text; raises KoSentError naming `where` and what is wrong."""
    try:
        records = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise KoSentError(where, f"not JSON ({error})", "write it again") from None
    if not isinstance(records, list):
        raise KoSentError(where, f"expected a list, found {type(records).__name__}")
    return [_conversation(record, f"{where}[{index}]") for index, record in enumerate(records)]


def _conversation(record: object, where: str) -> Conversation:
    names = [field.name for field in dataclasses.fields(Conversation)]
    if not isinstance(record, dict) or not {"prompt", "tuned_reply"} <= record.keys():
        raise KoSentError(where, "expected an object with prompt and tuned_reply")
    unknown = sorted(record.keys() - set(names))
    if unknown:
        raise KoSentError(where, f"unknown field {unknown[0]!r}", f"expected {', '.join(names)}")
    wrong = [
        name
        for name, value in record.items()
        if not isinstance(value, bool if name in FLAGS else str | None)
    ]
    if wrong or record["prompt"] is None or record["tuned_reply"] is None:
        name = (wrong or ["prompt, tuned_reply"])[0]
        raise KoSentError(where, f"{name} must be {'true or false' if name in FLAGS else 'text'}")
    return Conversation(**record)
