"""What is removed from train, what becomes validation, what still overlaps."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.dataset_builder.corpora import TRAIN, header, records, text, tree

LABELS = TRAIN[0][:6]


def table(dialogues: list[list[str]]) -> bytes:
    rows = [["0", *LABELS, *said, *[""] * (6 - len(said))] for said in dialogues]
    return text([header("2022"), *rows])


def source(tmp_path: Path, train: list[list[str]], test: list[list[str]]) -> Path:
    files = {"train/train.CSV": table(train), "test/test.CSV": table(test)}
    return tree(tmp_path / "source", files)


TRAINING = [
    ["안녕", "반가워요"],
    ["비가 와", "우산 챙기세요", "응", "조심해요"],
    ["안녕", "반가워요"],  # a duplicate
    ["안녕", "반가워요!"],  # not quite
    ["배고파", "밥 드세요"],  # in test
    ["배고파", "밥  드세요", "", ""],  # in test, but for spaces
    ["배고파", "밥 드세요", "뭐 먹지", "김밥요"],  # longer than the one in test
    ["hello", "반가워요"],  # in test, but for letter case
]
TESTING = [
    ["배고파", "밥 드세요"],
    ["배고파", "밥 드세요"],
    ["Hello", "반가워요"],
    ["졸려", "자요"],
]


def test_leaks_and_duplicates_go(build, tmp_path: Path, capsys) -> None:
    built = build(source(tmp_path, TRAINING, TESTING))
    assert built.said("train") == [TRAINING[0], TRAINING[1], TRAINING[3], TRAINING[6]]
    assert built.said("test") == TESTING
    assert built.report["removed_dialogues"] == {
        "in_test": {"count": 3, "lines": {"train/train.CSV": [6, 7, 9]}},
        "duplicate": {"count": 1, "lines": {"train/train.CSV": [4]}},
    }
    assert built.report["utterances"]["in_removed_dialogues"] == 8
    assert built.report["repeated"] == {"test": 1}
    err = capsys.readouterr().err
    assert "Removed 3 training dialogues that are in test too, first train/train.CSV, line 6" in err


def test_as_is_keeps_everything(build, tmp_path: Path) -> None:
    built = build(source(tmp_path, TRAINING, TESTING), "--as-is")
    assert len(built.said("train")) == 8
    assert list(built.splits) == ["test", "train"]
    assert built.report["removed_dialogues"] == {}
    assert built.report["repeated"] == {"train": 1, "test": 1}


def test_overlap_is_measured(build, tmp_path: Path) -> None:
    built = build(source(tmp_path, TRAINING, TESTING))
    # User turns of test: 배고파, Hello, 졸려; in train after the leaks are gone: 배고파.
    # Replies of test: 밥 드세요, 반가워요, 자요; in train: the first two.
    assert built.report["overlap"] == {
        "test": {
            "user": {"distinct": 3, "in_train": 1},
            "assistant": {"distinct": 3, "in_train": 2},
        }
    }


def many(count: int) -> list[list[str]]:
    """Every first utterance twice."""
    return [[f"첫마디 {i // 2}", f"대답 {i}"] for i in range(count)]


def test_the_same_first_utterance_is_on_one_side(build, tmp_path: Path) -> None:
    where = source(tmp_path, many(200), TESTING)
    built = build(where, "--validation-fraction", "0.1")
    train, validation = built.said("train"), built.said("validation")
    assert len(validation) == 20
    assert sorted(train + validation) == sorted(many(200))
    assert not {said[0] for said in train} & {said[0] for said in validation}
    again = build(where, "--validation-fraction", "0.1", "--overwrite").said("validation")
    other = build(where, "--validation-fraction", "0.1", "--seed", "7", "--overwrite")
    assert again == validation
    assert other.said("validation") != validation
    assert len(other.said("validation")) == 20


def test_a_persona_and_a_first_utterance_chain_into_one_group(build, tmp_path: Path) -> None:
    # Dialogues 0-1 share a persona, 1-2 a first utterance, 2-3 a persona; the others are alone.
    personas = ["A", "A", "B", "B", *(f"P{i}" for i in range(36))]
    firsts = ["가", "나", "나", "라", *(f"혼자 {i}" for i in range(36))]
    dialogues = [(*LABELS, [first, f"대답 {i}"]) for i, first in enumerate(firsts)]
    where = tree(tmp_path / "source", {"train.json": records(dialogues, personas)})
    sides = set()
    for seed in range(12):
        flags = ["--validation-fraction", "0.2", "--seed", str(seed), "--overwrite"]
        built = build(where, *flags)
        assert len(built.said("validation")) == 8
        validation = {said[0] for said in built.said("validation")}
        chain = validation & {"가", "나", "라"}
        assert chain in (set(), {"가", "나", "라"})
        sides.add(bool(chain))
    assert sides == {True, False}


def test_a_group_larger_than_the_share_stays_in_train(build, tmp_path: Path) -> None:
    same = [["첫마디", f"대답 {i}"] for i in range(100)]
    built = build(source(tmp_path, same, TESTING), "--validation-fraction", "0.1")
    assert list(built.splits) == ["test", "train"]
    assert built.report["notes"] == ["no group of dialogues is small enough for a validation split"]


@pytest.mark.parametrize("fraction", ["-0.1", "1", "nan"])
def test_fractions_that_are_none(refused, tmp_path: Path, fraction: str) -> None:
    where = source(tmp_path, many(10), TESTING)
    said = refused(where, "--validation-fraction", fraction)
    assert said.endswith("give a number from 0 up to, but not, 1")


def test_ids_are_the_corpus_s_own_or_split_and_row(build, tmp_path: Path) -> None:
    built = build(source(tmp_path, TRAINING, TESTING))
    assert [row["dialogue_id"] for row in built.splits["train"]] == [
        "train-000001",
        "train-000002",
        "train-000004",
        "train-000007",
    ]
    assert [row["source_row"] for row in built.splits["train"]] == [1, 2, 4, 7]
