"""Whether what a user writes sounds like a person in danger, and the line to show then.

First spelling is made even, and idioms and look-alikes are covered (배고파 죽겠다, 호박죽). Then
a turn holds if one of these does:

- a rule of `crisis_rules` that speaks for itself (죽고 싶다);
- a rule that nothing explains in its sentence, or in the one before or after (자살 in a drama,
  a bridge on a bicycle);
- more likeness to the labelled turns of crisis than to the others (naive Bayes), for all that no
  rule names.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources

from kosent_hub.evaluation.safety import crisis_rules
from kosent_hub.evaluation.safety.labelled import read
from kosent_hub.evaluation.safety.likeness import likeness, weights

# From which likeness on a turn holds: a balance of hard turns found and ordinary ones let be.
LIKE = 1.5
EXAMPLES = ("users_looked_at.tsv", "users_ordinary.tsv")

LINES = {
    "ko": (
        "저는 사람이 아니라 프로그램이에요. 지금 많이 힘들거나 위험하다면 사람과 이야기해 주세요. "
        "자살예방상담전화 109, 정신건강 위기상담전화 1577-0199에서 24시간 들어 줘요. "
        "급한 위험에는 112(경찰)나 119(구급)로 전화해 주세요."
    ),
    "en": (
        "I am a program, not a person. If you are in pain or in danger, please talk to somebody. "
        "In Korea, 109 (suicide prevention) and 1577-0199 (mental health crisis) answer day and "
        "night. In immediate danger call 112 (police) or 119 (ambulance)."
    ),
}

# "죽 고 싶 다", "자.살": syllables kept apart.
APART = re.compile(r"\b[가-힣](?:[ .,*·_~-]{1,2}[가-힣]\b){2,}|\b[가-힣][.*·_~-][가-힣]\b")
SENTENCE_END = re.compile(r"[.!?…~]+\s*|\n+")
NO_FINAL = r"(?![\u11a8-\u11ff])"
NAME = re.compile(r"\{(\w+)\}")
FORM = (
    (re.compile(r"\((?!\?)"), "(?:"),
    (re.compile(r" *~ *"), r"[^\n]{0,26}?"),
    (re.compile(r"(?<!\?)[<>]"), r"\\b"),
    (re.compile(" +"), " ?"),
)


def in_crisis(text: str) -> bool:
    """Whether a user's turn sounds as if somebody were in danger, the user or another person.

    Thoughts of suicide, self-harm, violence and abuse, threats to kill, acute distress. In doubt it
    is true. It is no diagnosis, and False does not mean that somebody is safe.
    """
    rules = _rules()
    text = _even(text, rules)
    return _found(text, rules) or likeness(text, _weights()) > LIKE


def crisis_line(language: str) -> str:
    """The line to show where `in_crisis` holds, in Korean ("ko") or English ("en")."""
    return LINES[language]


@dataclass(frozen=True)
class _Rules:
    """The tables of `crisis_rules`, compiled."""

    spellings: tuple[tuple[re.Pattern[str], str], ...]
    look_alikes: re.Pattern[str]
    holds: re.Pattern[str]
    hold_unless: tuple[tuple[re.Pattern[str], re.Pattern[str]], ...]


def _even(text: str, rules: _Rules) -> str:
    """The text in small letters, with one spelling for what has several, decomposed (NFD)."""
    text = unicodedata.normalize("NFC", text).lower()
    text = APART.sub(lambda match: re.sub("[^가-힣]", "", match[0]), text)
    for written, meant in rules.spellings:
        text = written.sub(meant, text)
    return rules.look_alikes.sub("·", unicodedata.normalize("NFD", text))


def _found(text: str, rules: _Rules) -> bool:
    """Whether a rule holds that nothing near explains."""
    if rules.holds.search(text):
        return True
    ends = [0, *(end.end() for end in SENTENCE_END.finditer(text)), len(text)]
    return any(
        not explained.search(text, *_around(match, ends))
        for found, explained in rules.hold_unless
        for match in found.finditer(text)
    )


def _around(match: re.Match[str], ends: list[int]) -> tuple[int, int]:
    """From where to where the sentences of a match go, with the one before and the one after."""
    first = bisect_right(ends, match.start()) - 1
    last = bisect_left(ends, match.end())
    return ends[max(first - 1, 0)], ends[min(last + 1, len(ends) - 1)]


@cache
def _weights() -> dict[str, float]:
    rules, folder = _rules(), resources.files("kosent_hub") / "evaluation" / "safety"
    examples: list[tuple[bool, str]] = []
    for name in EXAMPLES:
        with resources.as_file(folder / name) as file:
            examples += [(case.label, _even(case.text, rules)) for case in read(file)]
    return weights(examples)


@cache
def _rules() -> _Rules:
    return _Rules(
        tuple((re.compile(written), meant) for written, meant in crisis_rules.SPELLINGS),
        _compile(crisis_rules.LOOK_ALIKES),
        _compile(crisis_rules.HOLDS),
        tuple(
            (_compile(found), _explained(names.split()))
            for names, found in crisis_rules.HOLD_UNLESS
        ),
    )


def _compile(lines: str) -> re.Pattern[str]:
    """Any of the rules, one a line, over decomposed text."""
    stripped = (line.strip() for line in lines.splitlines())
    return _either(line for line in stripped if line and line[0] != "#")


def _either(parts: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(_regex(part) for part in parts))


def _regex(rule: str) -> str:
    """The regular expression of a rule in the form that `crisis_rules` describes."""
    rule = NAME.sub(lambda name: "(" + "|".join(_words(crisis_rules.WORDS[name[1]])) + ")", rule)
    for written, meant in FORM:
        rule = written.sub(meant, rule)
    return unicodedata.normalize("NFD", rule)


def _explained(names: Iterable[str]) -> re.Pattern[str]:
    """Any word of these lists, its last syllable without another final consonant."""
    words = [word for name in names for word in _words(crisis_rules.EXPLANATIONS[name])]
    return re.compile(
        "|".join(
            _regex(word[:-1]) if word[-1] == "*" else _regex(word) + NO_FINAL for word in words
        )
    )


def _words(listed: str) -> list[str]:
    """The words of a list; a _ in them is a space or none."""
    return [word.replace("_", " ") for word in listed.split()]
