"""Tables as strangers have them: marks for nothing, shifted cells, headers in the middle."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.dataset_builder.corpora import TRAIN, header, records, rows, text, tree, xlsx

LABELS = TRAIN[0][:6]


def row(number: int, *said: str, width: int = 13) -> list[str]:
    """A row of the 2022 edition; missing turns are empty."""
    cells = [str(number), *LABELS, *said]
    return cells + [""] * (width - len(cells))


MARKS = ["NA", "Null", r"\N", "<NA>", "NaN", "n/a", "#N/A", "NaT", "NONE", '""', "#REF!", "\u3164"]
# What is counted: a cell that shows nothing is empty.
COUNTED = dict.fromkeys(MARKS[:-1], 2)


@pytest.mark.parametrize("name", ["train.csv", "train.xlsx", "train.json"])
def test_marks_for_nothing_are_no_turns(build, tmp_path: Path, capsys, name: str) -> None:
    dialogues = [
        (*LABELS, [f"질문 {i}", "없음", mark, f" {mark} "]) for i, mark in enumerate(MARKS)
    ]
    table = rows("2022", dialogues)
    data = {"train.csv": text, "train.xlsx": xlsx}.get(name, lambda _: records(dialogues))(table)
    built = build(tree(tmp_path / "source", {name: data}), "--strict", "--validation-fraction", "0")
    assert built.said("train") == [[f"질문 {i}", "없음"] for i in range(len(MARKS))]
    assert built.report["empty_marks"] == COUNTED
    assert built.report["utterances"]["read"] == 2 * len(MARKS)
    assert 'Took cells for empty: "" 2, #N/A 2, #REF! 2, <NA> 2' in capsys.readouterr().err


def test_marks_in_label_cells_are_no_labels(build, tmp_path: Path) -> None:
    table = [header("2022"), ["1", "NULL", "<NA>", *LABELS[2:], "안녕", "네", *[""] * 4]]
    built = build(tree(tmp_path / "source", {"train.csv": text(table)}))
    (only,) = built.splits["train"]
    assert (only["age"], only["gender"]) == (None, None)
    assert built.report["labels"]["blank"] == {"age": 1, "gender": 1}


@pytest.mark.parametrize("name, delimiter", [("train.csv", ","), ("train.tsv", "\t")])
def test_a_comma_without_quotes_makes_no_turn(build, tmp_path: Path, name, delimiter) -> None:
    labels = ["청년", "여성", "건강", *LABELS[3:]]
    lines = [
        header("2022"),
        ["1", *labels, "어제", " 오늘 힘들어", "쉬세요", "", "", "", "", ""],
        ["2", *labels, "아빠", " 엄마", " 나 다 지쳤어", "쉬세요", "", "", "", "", ""],
        ["3", *labels, "안녕", "네", " 안녕하세요", "", "", "", "", ""],
        ["4", *labels, "잘 자", "네", "", "", "", ""],
    ]
    data = "\n".join(delimiter.join(line) for line in lines).encode()
    built = build(tree(tmp_path / "source", {name: data}))
    assert built.said("train") == [["잘 자", "네"]]
    assert built.report["dropped_rows"] == {
        "too_many_cells": {"count": 3, "lines": {name: [2, 3, 4]}}
    }


def test_delimiters_at_the_end_of_every_line_are_columns_without_a_name(
    build, tmp_path: Path
) -> None:
    data = text([[*line, "", ""] for line in rows("2022", TRAIN)])
    built = build(tree(tmp_path / "source", {"train.csv": data}), "--strict")
    assert built.said("train") == [said for *_, said in TRAIN]


def test_when_all_rows_are_shifted_the_error_says_so(refused, tmp_path: Path) -> None:
    shifted = [row(1, "어제", "오늘", "네", width=14), row(2, "어제", "오늘", "네", width=14)]
    line = refused(tree(tmp_path / "source", {"train.csv": text([header("2022"), *shifted])}))
    assert "no training dialogue is left of 0 utterances (train.csv, line 2: one of 2 rows" in line
    assert "with more cells than columns" in line


BOM = "\ufeff"


@pytest.mark.parametrize(
    "name, second",
    [
        ("train.csv", header("2022")),
        ("train.csv", [BOM, *header("2022")[1:]]),
        ("train.csv", ["Unnamed: 0", *header("2022")[1:]]),
        ("train.xlsx", header("2022")),
    ],
)
def test_the_header_again_is_dropped(build, tmp_path: Path, capsys, name, second) -> None:
    said = [dialogue[6] for dialogue in TRAIN]
    table = [*rows("2022", TRAIN[:1]), second, *rows("2022", TRAIN[1:])[1:]]
    data = xlsx(table) if name.endswith("x") else text(table)
    built = build(tree(tmp_path / "source", {name: data}))
    assert built.said("train") == said
    assert built.report["dropped_rows"] == {"repeated_header": {"count": 1, "lines": {name: [3]}}}
    assert built.report["labels"]["unknown"] == []
    assert "Dropped 1 rows that repeat the header" in capsys.readouterr().err


def test_a_second_header_with_other_columns_is_refused(refused, tmp_path: Path) -> None:
    table = [*rows("2022", TRAIN[:2]), header("2022")[::-1], *rows("2022", TRAIN[2:])[1:]]
    line = refused(tree(tmp_path / "source", {"train.csv": text(table)}))
    assert line.startswith("train.csv, line 4: another header, whose columns are not those")


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "cp949"])
def test_characters_in_the_header_that_show_nothing(build, tmp_path: Path, codec: str) -> None:
    names = header("2022")[1:]
    hidden = {"utf-8": "\u2060\u00ad", "utf-8-sig": BOM, "cp949": "\u3000\u00ad"}[codec]
    names[0], names[-1] = hidden + names[0], f"{names[-1][:3]}{hidden}{names[-1][3:]} "
    table = [names, *(line[1:] for line in rows("2022", TRAIN)[1:])]
    built = build(tree(tmp_path / "source", {"train.csv": text(table, codec)}))
    assert built.said("train") == [dialogue[6] for dialogue in TRAIN]


def test_a_word_of_the_header_may_be_said(build, tmp_path: Path) -> None:
    table = [header("2022"), row(1, "연령", "나이를 물으시는 건가요?")]
    built = build(tree(tmp_path / "source", {"train.csv": text(table)}), "--strict")
    assert built.said("train") == [["연령", "나이를 물으시는 건가요?"]]
