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
COUNTED = {mark: 2 for mark in MARKS[:-1]}


@pytest.mark.parametrize("name", ["train.csv", "train.xlsx", "train.json"])
def test_marks_for_nothing_are_no_turns(build, tmp_path: Path, capsys, name: str) -> None:
    dialogues = [(*LABELS, [f"질문 {i}", "없음", mark, f" {mark} "]) for i, mark in enumerate(MARKS)]
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
