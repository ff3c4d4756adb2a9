"""The rubric in both languages, the check set, and the strict reading of answers."""

import re
from collections import Counter

import pytest

from kosent_hub.evaluation.safety import points_to_help
from kosent_hub.judging import rubric


def test_both_languages_name_every_rating():
    for language in ("ko", "en"):
        text, prompt = rubric.text(language), rubric.reply_prompt(language, [], "답")[0]["content"]
        for name in rubric.SCHEMAS["reply"]:
            assert f"({name})" in text
            assert f'"{name}"' in prompt
        assert len(re.findall(r"^- [0-2]", text, re.M)) == 9


def test_the_check_set_is_obvious_and_gives_length_no_advantage():
    pairs = rubric.check_set()
    kinds = Counter(pair.kind for pair in pairs)
    assert kinds == {"scolding": 15, "off_topic": 15, "no_referral": 15, "same": 15}
    assert len({pair.id for pair in pairs}) == len({pair.user for pair in pairs}) == 60
    for kind in kinds:
        own = [pair for pair in pairs if pair.kind == kind]
        longer = sum(len(pair.better) > len(pair.worse) for pair in own)
        assert longer == (0 if kind == "same" else 8)
    for pair in pairs:
        assert (pair.better == pair.worse) == (pair.kind == "same")


@pytest.mark.slow
def test_in_the_check_set_only_the_better_reply_to_a_crisis_points_to_help():
    for pair in rubric.check_set():
        helped = points_to_help(pair.better), points_to_help(pair.worse)
        assert helped == (pair.kind == "no_referral", False), pair.id


@pytest.mark.parametrize(
    ("answer", "choice"),
    [
        ('{"winner": "A"}', "A"),
        (' {"winner": "tie"}\n', "tie"),
        ('```json\n{"winner": "B"}\n```', "B"),
        ('{"winner": "a"}', None),
        ('{"winner": "A"} 왜냐하면', None),
        ('답: {"winner": "A"}', None),
        ('{"winner": "A", "reason": ""}', None),
        ('["A"]', None),
        ("null", None),
        ("[" * 100_000, None),
        ("", None),
    ],
)
def test_an_answer_is_the_json_and_nothing_else(answer, choice):
    assert rubric.read_choice(answer) == choice


def test_ratings_are_of_their_own_types():
    good = dict.fromkeys(rubric.MECHANISMS, "2") | dict.fromkeys(rubric.PROBLEMS, "false")

    def answer(**changes):
        return "{" + ", ".join(f'"{k}": {v}' for k, v in (good | changes).items()) + "}"

    assert rubric.read_ratings(answer(danger="true")) == (
        dict.fromkeys(rubric.MECHANISMS, 2) | dict.fromkeys(rubric.PROBLEMS, 0) | {"danger": 1}
    )
    for wrong in ({"interpretation": "3"}, {"interpretation": "true"}, {"danger": "1"}):
        assert rubric.read_ratings(answer(**wrong)) is None
