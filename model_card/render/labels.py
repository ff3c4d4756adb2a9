"""Names and one-line explanations of metrics and emotions, and how numbers are written."""

from __future__ import annotations

import math

from model_card.metrics import EN, KO, Label

LANGUAGES = (KO, EN)

# name: Korean label, what it says; English label, what it says.
REFERENCES = {
    "shuffled": (
        "뒤섞은 답변",
        "다른 대화의 실제 답변을 붙였을 때",
        "Shuffled replies",
        "true replies of other conversations",
    ),
    "copy_user": (
        "따라 말하기",
        "사용자의 말을 그대로 되풀이했을 때",
        "Copying the user",
        "the user's own words repeated",
    ),
}

EMOTIONS_EN = {
    "기쁨": "Joy",
    "당황": "Embarrassment",
    "분노": "Anger",
    "불안": "Anxiety",
    "상처": "Hurt",
    "슬픔": "Sadness",
}


def reference_label(name: str, language: str) -> Label:
    """The reference point's name in that language."""
    if name not in REFERENCES:
        return Label(name)
    ko, ko_meaning, en, en_meaning = REFERENCES[name]
    return Label(ko, ko_meaning) if language == KO else Label(en, en_meaning)


def emotion_label(name: str, language: str) -> str:
    """The major emotion's name in that language."""
    return name if language == KO else EMOTIONS_EN.get(name, name)


def decimals(*values: float) -> int:
    """How many decimals numbers of this size are shown with, so that a row is of one kind."""
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    return 1 if largest >= 100 else 2 if largest >= 1 else 3 if largest >= 0.1 else 4


def fixed(value: float, places: int, *, sign: bool = False) -> str:
    """`value` with that many decimals, thousands separated, a true minus sign; – for no number."""
    if not math.isfinite(value):
        return "–"
    text = f"{value:{'+' if sign else ''},.{places}f}"
    return text.replace("-", "−")


def count(value: float) -> str:
    """A whole number with thousands separated."""
    return f"{value:,.0f}"


def short(value: float) -> str:
    """Three significant digits."""
    return f"{value:.3g}" if math.isfinite(value) else "–"


def percent(value: float, *, sign: bool = False) -> str:
    """0.213 as 21.3%."""
    return fixed(100 * value, 1, sign=sign) + "%" if math.isfinite(value) else "–"


def duration(seconds: float, language: str) -> str:
    """Hours and minutes, minutes and seconds, or seconds."""
    hour, minute, second = ("시간", "분", "초") if language == KO else (" h", " min", " s")
    if seconds < 10:
        return f"{seconds:.1f}{second}"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{second}"
    if whole < 3600:
        rest = f" {whole % 60}{second}" if whole % 60 and whole < 600 else ""
        return f"{whole // 60}{minute}{rest}"
    minutes = round(whole / 60)
    rest = f" {minutes % 60}{minute}" if minutes % 60 else ""
    return f"{minutes // 60:,}{hour}{rest}"
