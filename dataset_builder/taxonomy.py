"""The corpus's codes and names: emotions, situations, ages, genders, diseases.

Labels come with spaces lost or added and in a few older spellings; each is brought to one name.
"""

from __future__ import annotations

import re

MAJORS = {"E1": "분노", "E2": "슬픔", "E3": "불안", "E4": "상처", "E5": "당황", "E6": "기쁨"}
ENGLISH = {
    "분노": "anger",
    "슬픔": "sadness",
    "불안": "anxiety",
    "상처": "hurt",
    "당황": "embarrassment",
    "기쁨": "joy",
}

# E10 is the major emotion itself, E11 to E19 its minor ones.
_MINORS = {
    "E1": "툴툴대는|좌절한|짜증내는|방어적인|악의적인|안달하는|구역질 나는|노여워하는|성가신",
    "E2": "실망한|비통한|후회되는|우울한|마비된|염세적인|눈물이 나는|낙담한|환멸을 느끼는",
    "E3": "두려운|스트레스 받는|취약한|혼란스러운|당혹스러운|회의적인|걱정스러운|조심스러운|초조한",
    "E4": "질투하는|배신당한|고립된|충격 받은|가난한, 불우한|희생된|억울한|괴로워하는|버려진",
    "E5": "고립된|남의 시선을 의식하는|외로운|열등감|죄책감의|부끄러운|혐오스러운|한심한"
    "|혼란스러운",
    "E6": "감사하는|신뢰하는|편안한|만족스러운|흥분|느긋|안도|신이 난|자신하는",
}

# Code -> (major, minor). Two minor names belong to two majors each, so the pair is the key.
EMOTIONS: dict[str, tuple[str, str]] = {
    f"{prefix}{number}": (major, minor)
    for prefix, major in MAJORS.items()
    for number, minor in enumerate([major, *_MINORS[prefix].split("|")])
}

SITUATIONS = {
    "S01": "가족관계",
    "S02": "학업 및 진로",
    "S03": "학교폭력/따돌림",
    "S04": "대인관계",
    "S05": "연애,결혼,출산",
    "S06": "진로,취업,직장",
    "S07": "대인관계(부부, 자녀)",
    "S08": "재정,은퇴,노후준비",
    "S09": "건강",
    "S10": "직장, 업무 스트레스",
    "S11": "건강,죽음",
    "S12": "대인관계(노년)",
    "S13": "재정",
}
DISEASES = {"D01": "만성질환 유", "D02": "만성질환 무"}
AGES = {"A01": "청소년", "A02": "청년", "A03": "중년", "A04": "노년"}
GENDERS = {"G01": "남성", "G02": "여성"}

# Spellings of some editions; those that differ in spaces only need no line here.
VARIANTS = {
    "minor": {"실망함": "실망한", "사랑하는": "신뢰하는"},
    "disease": {"해당없음": "만성질환 무"},
}

_SPACES = re.compile(r"\s+")


def _squeezed(label: str) -> str:
    return _SPACES.sub("", label)


_KNOWN: dict[str, dict[str, str]] = {
    "major": {_squeezed(name): name for name in MAJORS.values()},
    "minor": {_squeezed(minor): minor for _, minor in EMOTIONS.values()},
    "situation": {_squeezed(name): name for name in SITUATIONS.values()},
    "disease": {_squeezed(name): name for name in DISEASES.values()},
    "age": {_squeezed(name): name for name in AGES.values()},
    "gender": {_squeezed(name): name for name in GENDERS.values()},
}
for _kind, _variants in VARIANTS.items():
    _KNOWN[_kind].update({_squeezed(variant): name for variant, name in _variants.items()})

_CODES = {pair: code for code, pair in EMOTIONS.items()}


def canonical(kind: str, label: str) -> str | None:
    """The corpus's own name for a label of this kind, None if it is not in the taxonomy."""
    return _KNOWN[kind].get(_squeezed(label))


def emotion_code(major: str, minor: str) -> str | None:
    """`E31` for 불안 and 두려운, `E30` for 불안 twice; None if the two do not belong together."""
    return _CODES.get((major, minor))


def names(code: str) -> tuple[str, ...] | None:
    """The names of a code of the JSON edition: major and minor for an emotion, else one name."""
    if code in EMOTIONS:
        return EMOTIONS[code]
    for table in (SITUATIONS, DISEASES, AGES, GENDERS):
        if code in table:
            return (table[code],)
    return None
