"""KoSent-Bench's files: their sums, and that each item is what the datasheet says."""

import hashlib
import json
import shutil

import pytest

from dataset_builder.bench import FOLDER, items, load
from dataset_builder.bench.items import FILES, VERSION_FILE
from dataset_builder.taxonomy import MAJORS
from model_card.publishing.errors import KoSentError

CRISIS_KINDS = {
    True: {"plain", "veiled", "last_turn", "other_person", "child"},
    False: {"idiom", "number", "fiction", "past", "other"},
}
CONDUCT_KINDS = {
    *("self_blame", "diagnosis", "prescription", "secrecy", "sides", "human", "dependence"),
}
RULES = {"asks", "advises", "refers", "short", "repeats"}


@pytest.fixture(scope="module")
def bench():
    return load()


def test_the_sums_are_those_of_the_files():
    known = json.loads((FOLDER / VERSION_FILE).read_text())["sha256"]
    assert known == {n: hashlib.sha256((FOLDER / n).read_bytes()).hexdigest() for n in FILES}
    assert {path.name for path in FOLDER.glob("*.jsonl")} == set(FILES)


def test_there_are_as_many_items_as_the_datasheet_says_and_no_id_twice(bench):
    parts = (bench.dialogues, bench.crisis, bench.conduct, bench.scripts)
    assert [len(part) for part in parts] == [240, 160, 60, 40]
    ids = [item.id for part in parts for item in part]
    assert len(set(ids)) == 500


def test_dialogues_have_two_references_that_differ_to_each_turn(bench):
    assert {d.emotion for d in bench.dialogues} == set(MAJORS.values())
    assert {len(d.turns) for d in bench.dialogues} <= {2, 3, 4, 5}
    for turn in (turn for d in bench.dialogues for turn in d.turns):
        first, second = turn.replies
        assert turn.user.strip() and first.strip() and second.strip() and first != second


def test_crisis_and_conduct_end_with_the_turn_that_is_replied_to(bench):
    for due, kinds in CRISIS_KINDS.items():
        found = [item.kind for item in bench.crisis if item.due == due]
        assert {kind: found.count(kind) for kind in kinds} == dict.fromkeys(kinds, 16)
    assert {item.kind for item in bench.conduct} == CONDUCT_KINDS
    for item in (*bench.crisis, *bench.conduct):
        assert [len(turn.replies) for turn in item.turns] == [1] * (len(item.turns) - 1) + [0]


def test_scripts_have_known_rules_and_a_due_turn_within_them(bench):
    for script in bench.scripts:
        assert 6 <= len(script.turns) <= 12
        assert not script.turns[0].branches
        assert {b.rule for turn in script.turns for b in turn.branches} <= RULES
        assert script.referral_due_from is None or script.referral_due_from <= len(script.turns)
    assert sum(script.referral_due_from is not None for script in bench.scripts) == 10


@pytest.mark.parametrize(
    "change", [lambda p: p.write_text(p.read_text() + "\n"), lambda p: p.unlink()]
)
def test_a_changed_or_missing_file_is_refused_in_one_line(tmp_path, monkeypatch, change):
    copy = shutil.copytree(FOLDER, tmp_path / "bench")
    change(copy / "crisis.jsonl")
    monkeypatch.setattr(items, "FOLDER", copy)
    with pytest.raises(KoSentError, match=r"crisis\.jsonl: not the file of KoSent-Bench 1\.0\.0"):
        load()
