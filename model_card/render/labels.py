"""Names of metrics, reference points and emotions, in both languages, and what they mean."""

from __future__ import annotations

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
    "constant": (
        "늘 같은 답변",
        "학습 데이터에서 가장 흔한 답변을 언제나 했을 때",
        "One reply to all",
        "the most usual reply of the training data, whatever was said",
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
