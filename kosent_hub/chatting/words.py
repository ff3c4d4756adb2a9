"""What a chat says to people in its own name, in both languages."""

from __future__ import annotations

from kosent_hub.evaluation.safety.crisis import crisis_line

LANGUAGES = ("ko", "en")
NAMES = {"ko": "한국어", "en": "English"}
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
# Where the page is a Space of the Hub.
IN_SPACE = {
    "ko": (
        "쓴 글은 이 Space를 실행하는 Hugging Face의 서버로 보내져 답을 만드는 데 쓰입니다. 이 "
        "프로그램은 글을 파일로 남기지 않으며, 대화는 프로그램이 다시 시작되면 사라집니다."
    ),
    "en": (
        "What you write is sent to the server of Hugging Face that runs this Space, to make the "
        "replies. This program writes none of it to a file, and forgets it when it restarts."
    ),
}


# What stands on the page.
LABELS = {
    "ko": {
        "language": "언어",
        "empty": "하고 싶은 이야기를 아래에 적어 주세요.",
        "said": "하고 싶은 말",
        "placeholder": "여기에 쓰고 Enter를 누르세요. 줄을 바꾸려면 Shift+Enter",
        "send": "보내기",
        "stop": "멈추기",
        "again": "다시 답하기",
        "new": "새 대화",
        "save": "저장",
        "settings": "설정",
        "system": "시스템 메시지",
        "temperature": "온도 (0이면 늘 같은 답)",
        "length": "답의 최대 길이 (토큰)",
        "beside": "다른 모델의 답과 나란히 보기",
    },
    "en": {
        "language": "Language",
        "empty": "Write below what you would like to talk about.",
        "said": "Your message",
        "placeholder": "Write here and press Enter. Shift+Enter begins a new line",
        "send": "Send",
        "stop": "Stop",
        "again": "Reply again",
        "new": "New conversation",
        "save": "Save",
        "settings": "Settings",
        "system": "System message",
        "temperature": "Temperature (0: always the same reply)",
        "length": "Longest reply (tokens)",
        "beside": "Show the other model's reply beside it",
    },
}


def places(sent_to: str | None) -> dict[str, str]:
    """Where the texts go, in each language: None for nowhere."""
    return STAYS if sent_to is None else {k: text.format(sent_to) for k, text in SENT.items()}


def notices(sent_to: str | None) -> str:
    """That one talks to an AI, as Article 31 of Korea's AI Basic Act asks, and where texts go."""
    return "\n".join(f"{NOTICE[language]} {places(sent_to)[language]}" for language in LANGUAGES)


def crisis_lines() -> str:
    """The crisis line in all languages, a line each."""
    return "\n".join(crisis_line(language) for language in LANGUAGES)
