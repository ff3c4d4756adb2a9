"""Judgements in a card: who judged comes before what they prefer, and a bad judge has no say."""

from __future__ import annotations

import io
import json
import shutil
from contextlib import redirect_stdout
from dataclasses import replace

import pytest

from model_card.check.card import CheckedCard
from model_card.check.checks import check
from model_card.cli import main
from model_card.facts import gather_folder
from model_card.publish import plots
from model_card.records import (
    Agreement,
    EvaluatedDataset,
    EvaluatedModel,
    Judgements,
    ModelJudge,
    People,
    Preferences,
    Rubric,
    Share,
    Value,
    WinRate,
    dumps,
    judgements_path,
    loads,
)
from model_card.render.card import card_sections
from model_card.run_folder import record_files
from tests.model_card.cards import RECORDS

NAMES = ("org/tuned", "org/base")
RATE = WinRate(*NAMES, 0.65, 24, 4, 12, [0.5, 0.8])


def judge(name, right, **changes):
    return replace(
        ModelJudge(
            name=name,
            model=EvaluatedModel(name),
            settings={},
            counts={"pairs": 40, "failures": 2},
            check=Share(right, 60, [right - 0.1, right]),
            by_kind={},
            biases={"order_consistency": Share(0.9, 36), "first_chosen": Share(0.55, 72)},
            same_family=[],
            preferences=Preferences([RATE]),
            ratings={name: {"danger": Share(0.25, 38)} for name in NAMES},
        ),
        **changes,
    )


def judgements(*judges, **changes):
    return replace(
        Judgements(
            dataset=EvaluatedDataset("org/chat", "test", 20, 40),
            models={name: EvaluatedModel(name) for name in NAMES},
            rubric=Rubric("1", "a" * 64),
            replies_sha256="0" * 64,
            judges=list(judges),
            people=None,
            majority=None,
            agreement=[],
            resampling={},
            versions={},
            created="2026-01-01T00:00:00+00:00",
        ),
        **changes,
    )


PEOPLE = {
    "people": People({"a1": 40, "b2": 30}, Share(0.9, 4), Preferences([RATE])),
    "agreement": [
        Agreement("alpha", 0.71, 30, 0.8, [0.5, 0.9]),
        Agreement("kappa", 0.62, 40, 0.7, [0.4, 0.8], "good judge"),
    ],
}


def sections(*found):
    facts = replace(gather_folder(RECORDS / "adapter-no-baseline"), judgements=list(found))
    return facts, card_sections(facts, None, "both")


def warned(facts, text):
    card = CheckedCard(text, "someone/Model-1B", facts=facts)
    return [f.level for f in check(card) if f.code == "win-rate-agreement"]


def test_who_judged_and_how_far_they_agree_stands_before_any_win_rate():
    _, found = sections(judgements(judge("good judge", 0.95), **PEOPLE))
    for language, (who, people, rate) in {
        "ko": ("얼마나 일치하는가", "2명, 70표", "첫째의 승률"),
        "en": ("how far they agree", "2 raters, 70 votes", "Win rate of the first"),
    }.items():
        text = found[f"{language}-judgements"]
        assert text.index(who) < text.index(people) < text.index("0.62") < text.index(rate)
        assert "0.71" in text and "**0.65**<br><sub>0.50–0.80</sub>" in text
        assert "| 24 / 4 / 12 |" in text and "aaaaaaaaaaaa" in text
        assert f"]({judgements_path(judgements())})" not in text
    assert list(found).index("en-judgements") > list(found).index("en-evaluation")


def test_a_judge_that_failed_the_check_set_has_no_win_rate_in_the_card():
    facts, found = sections(judgements(judge("bad judge", 0.5)))
    for language, said in {"ko": "승률을 싣지 않은 모델", "en": "**Not shown**"}.items():
        text = found[f"{language}-judgements"]
        assert said in text and "`bad judge`" in text
        assert "0.65" not in text and "<img" not in text and "danger" not in text.lower()
    assert not any("judgements" in path for path in plots(facts))


def test_a_judge_of_one_family_and_several_models_strengths_are_said():
    power = Preferences([RATE], {"org/tuned": Value(0.4, [0.1, 0.7]), "org/base": Value(-0.4)})
    found = judgements(judge("good judge", 0.9, same_family=["org/base"], preferences=power))
    _, made = sections(found)
    assert "`org/tuned`, `org/base`" in made["ko-judgements"]
    assert "is of one family with `org/base`" in made["en-judgements"]
    assert "+0.40<br><sub>0.10–0.70</sub>" in made["en-judgements"]
    assert "org/base`와 같은 계열" in made["ko-judgements"]


def test_the_card_that_names_a_picture_comes_with_it():
    facts, found = sections(judgements(judge("good judge", 0.95)))
    pictures = [path for path in plots(facts) if "judgements" in path]
    assert len(pictures) == 1 and plots(facts)[pictures[0]].startswith(b"\x89PNG")
    assert f'src="{pictures[0]}"' in found["en-judgements"]


def test_win_rates_without_agreement_are_warned_of():
    facts, found = sections(judgements(judge("good judge", 0.95)))
    assert warned(facts, found["en-judgements"]) == ["warning"]
    facts, found = sections(judgements(judge("good judge", 0.95), **PEOPLE))
    assert warned(facts, found["en-judgements"]) == []
    facts, found = sections(judgements(judge("bad judge", 0.5)))
    assert warned(facts, found["en-judgements"]) == []
    nobody = replace(facts, judgements=[])
    assert warned(nobody, "GPT-4 says the win rate is 61.2 %.") == ["warning"]
    assert warned(nobody, "승률 61.2 %, 평가자 사이의 일치도는 α = 0.7.") == []


def test_a_run_folder_keeps_its_judgements_on_the_way_to_the_hub(tmp_path):
    record = judgements(judge("good judge", 0.95), **PEOPLE)
    folder = tmp_path / "run"
    shutil.copytree(RECORDS / "adapter-no-baseline", folder)
    path = judgements_path(record)
    assert path.startswith("kosent/judgements/org--chat--test--") and path.endswith(".json")
    (folder / path).parent.mkdir(parents=True)
    (folder / path).write_text(dumps(record), encoding="utf-8")
    assert loads(Judgements, dumps(record), "x") == record
    assert json.loads(record_files(folder)[path]) == json.loads(dumps(record))
    with redirect_stdout(io.StringIO()):
        assert main(["render", str(folder)]) == 0
    assert "kosent:begin en-judgements" in (folder / "README.md").read_text("utf-8")
    (folder / path).write_text(dumps(record).replace('"judges"', '"judge"'), encoding="utf-8")
    assert main(["render", str(folder)]) == 2


@pytest.mark.parametrize("name", ["`|`", "<script>", "org/x | y"])
def test_a_judges_name_formats_nothing(name):
    _, found = sections(judgements(judge(name, 0.95)))
    for text in found.values():
        assert "<script>" not in text.replace("`<script>`", "")
