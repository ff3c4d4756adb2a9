"""Prompts of ours, no corpus text, that show whether a model written another way is the same."""

from __future__ import annotations

from array import array

from kosent_hub.models.chat_format import EXAMPLE, ChatFormat

SENTENCES = (
    "오늘은 조금 지친 하루였어.",
    "면접에서 또 떨어졌어. 이제 자신이 없어.",
    "드디어 취직했어! 너무 기뻐.",
    "친한 친구가 멀리 이사를 간대.",
    "요즘 잠이 잘 안 와.",
    "아버지가 수술을 받으셔서 걱정이야.",
    "시험을 망쳤는데 부모님께 말을 못 하겠어.",
    "동생이랑 크게 싸웠어.",
    "회사에서 나만 따돌리는 것 같아.",
    "오랫동안 키우던 강아지가 떠났어.",
    "처음으로 내 집을 샀어!",
    "남자친구가 헤어지자고 했어.",
    "나이가 드니 몸이 예전 같지 않네.",
    "월급이 또 밀렸어. 화가 나.",
    "혼자 있으면 자꾸 눈물이 나.",
    "딸이 대학에 합격했어요.",
    "사람들 앞에서 발표하는 게 무서워.",
    "손주가 태어나서 정말 행복해요.",
    "빌려준 돈을 못 받고 있어.",
    "내일이 첫 출근이라 떨려.",
)


def probe_prompts(form: ChatFormat, count: int) -> list[array[int]]:
    """Token ids of `count` prompts, at most 20, under the usual system message."""
    return [
        array("i", form.prompt([EXAMPLE[0], {"role": "user", "content": sentence}]))
        for sentence in SENTENCES[:count]
    ]
