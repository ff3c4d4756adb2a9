"""What a chat says to people in its own name, in both languages."""

from __future__ import annotations

from kosent_hub.evaluation.safety.crisis import crisis_line

LANGUAGES = ("ko", "en")
NOTICE = {
    "ko": "지금 이야기하는 상대는 사람이 아니라 인공지능(AI)입니다. AI의 답은 틀릴 수 있습니다.",
    "en": "You are talking to an artificial intelligence (AI), not to a person. It can be wrong.",
}
STAYS = {
    "ko": "쓴 글은 저장하지 않으면 어디에도 남지 않고, 이 컴퓨터 밖으로 나가지 않습니다.",
    "en": "Nothing that you write is kept unless you save it, and none of it leaves this computer.",
}
SENT = {
    "ko": "쓴 글은 {} 서버로 보내집니다. 그 서버가 무엇을 남기는지는 알 수 없습니다.",
    "en": "What you write is sent to the server {}. What it keeps is not known here.",
}


def notice(language: str, sent_to: str | None) -> str:
    """That one talks to an AI, as Article 31 of Korea's AI Basic Act asks, and where texts go."""
    place = STAYS[language] if sent_to is None else SENT[language].format(sent_to)
    return f"{NOTICE[language]} {place}"


def notices(sent_to: str | None) -> str:
    """The notice in all languages, a line each."""
    return "\n".join(notice(language, sent_to) for language in LANGUAGES)


def crisis_lines() -> str:
    """The crisis line in all languages, a line each."""
    return "\n".join(crisis_line(language) for language in LANGUAGES)
