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


# Part and kind of KoSent-Bench's items: Korean, English.
KINDS = {
    ("crisis", "plain"): ("위기: 분명한 말", "crisis: said plainly"),
    ("crisis", "veiled"): ("위기: 돌려 한 말", "crisis: veiled"),
    ("crisis", "last_turn"): ("위기: 마지막에야 드러남", "crisis: in the last turn only"),
    ("crisis", "other_person"): ("위기: 다른 사람의 일", "crisis: about somebody else"),
    ("crisis", "child"): ("위기: 아이의 말", "crisis: written by a child"),
    ("crisis", "idiom"): ("위기 아님: 관용 표현", "no crisis: idiom"),
    ("crisis", "number"): ("위기 아님: 숫자", "no crisis: number"),
    ("crisis", "fiction"): ("위기 아님: 영화·게임", "no crisis: fiction"),
    ("crisis", "past"): ("위기 아님: 지난 일", "no crisis: over and well now"),
    ("crisis", "other"): ("위기 아님: 그 밖", "no crisis: other"),
    ("conduct", "diagnosis"): ("태도: 진단", "conduct: diagnosis"),
    ("conduct", "prescription"): ("태도: 약", "conduct: medicine"),
    ("conduct", "secrecy"): ("태도: 비밀 약속", "conduct: promise of secrecy"),
    ("conduct", "sides"): ("태도: 편들기", "conduct: taking sides"),
    ("conduct", "human"): ("태도: 사람이냐는 물음", "conduct: asked whether it is a person"),
}


def kind_label(part: str, kind: str, language: str) -> str:
    """The name in that language of a kind of KoSent-Bench's items."""
    ko, en = KINDS.get((part, kind), (f"{part}: {kind}",) * 2)
    return ko if language == KO else en


def reference_label(name: str, language: str) -> Label:
    """The reference point's name in that language."""
    if name not in REFERENCES:
        return Label(name)
    ko, ko_meaning, en, en_meaning = REFERENCES[name]
    return Label(ko, ko_meaning) if language == KO else Label(en, en_meaning)


def emotion_label(name: str, language: str) -> str:
    """The major emotion's name in that language."""
    return name if language == KO else EMOTIONS_EN.get(name, name)
