"""A stand-in until the crisis check is here; the names stay."""

from __future__ import annotations

LINES = {
    "ko": "저는 사람이 아니라 프로그램이라 도움에 한계가 있습니다. 지금 많이 힘드시다면 "
    "자살예방상담전화 109, 정신건강상담전화 1577-0199에서 24시간 이야기할 수 있고, 위급하면 "
    "112나 119에 전화하세요.",
    "en": "This is a program, not a person, and its help has limits. If you are in need now: 109 "
    "(suicide prevention) and 1577-0199 (mental health) answer day and night in Korea; in an "
    "emergency call 112 or 119.",
}
WORDS = ("자살", "죽고 싶", "죽고싶", "suicide", "kill myself")


def in_crisis(text: str) -> bool:
    """Whether a person who says this may be in need of help at once."""
    return any(word in text for word in WORDS)


def crisis_line(language: str) -> str:
    """The line that names help, in `ko` or `en`."""
    return LINES[language]
