"""Rows into dialogues: where a run ends, what is no turn, what labels become."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from tests.dataset_builder.corpora import TRAIN, header, records, rows, text, tree

U1, R1, U2, R2, U3, R3 = TURNS = ["가1", "나1", "가2", "나2", "가3", "나3"]
LABELS = list(TRAIN[0][:6])


def source(tmp_path: Path, *cells: list[str], labels: list[str] = LABELS) -> Path:
    table = [header("2022"), *([str(i), *labels, *row] for i, row in enumerate(cells))]
    return tree(tmp_path / "source", {"train.csv": text(table)})


def reasons(report: dict, what: str) -> dict[str, tuple[int, list[int]]]:
    return {r: (n["count"], n["lines"]["train.csv"]) for r, n in report[what].items()}


@pytest.mark.parametrize(
    "cells, kept, trimmed",
    [
        (TURNS, TURNS, {}),
        ([U1, R1, U2, R2, "", ""], [U1, R1, U2, R2], {}),
        ([U1, R1, "", "", "", ""], [U1, R1], {}),
        ([U1, R1, U2, "", "", ""], [U1, R1], {"user_without_reply": 1}),
        ([U1, R1, U2, R2, U3, ""], [U1, R1, U2, R2], {"user_without_reply": 1}),
        ([U1, R1, "", R2, "", ""], [U1, R1], {"reply_without_user": 1}),
        ([U1, R1, "", "", U3, R3], [U1, R1], {"after_gap": 2}),
        ([U1, R1, U2, "", U3, R3], [U1, R1], {"user_without_reply": 1, "after_gap": 2}),
        ([U1, R1, "", R2, U3, ""], [U1, R1], {"reply_without_user": 1, "after_gap": 1}),
    ],
)
def test_a_dialogue_is_its_unbroken_run(build, tmp_path: Path, cells, kept, trimmed) -> None:
    built = build(source(tmp_path, TURNS[::-1], cells))
    assert built.said("train")[1] == kept
    assert built.splits["train"][1]["turns"] == len(kept) // 2
    found = reasons(built.report, "trimmed_turns")
    assert found == {reason: (count, [3]) for reason, count in trimmed.items()}
    assert built.report["utterances"] == {
        "read": 6 + sum(map(bool, cells)),
        "in_dropped_rows": 0,
        "trimmed": sum(trimmed.values()),
        "in_removed_dialogues": 0,
        "kept": 6 + len(kept),
    }


@pytest.mark.parametrize(
    "cells, reason, lost",
    [
        (["", "", "", "", "", ""], "blank", 0),
        (["", R1, U2, R2, "", ""], "no_first_user", 3),
        (["", "", U2, R2, "", ""], "no_first_user", 2),
        ([U1, "", "", "", "", ""], "no_first_reply", 1),
        ([U1, "", U2, R2, U3, R3], "no_first_reply", 5),
    ],
)
def test_a_row_without_a_first_pair_is_dropped(build, tmp_path: Path, cells, reason, lost) -> None:
    built = build(source(tmp_path, TURNS, cells))
    assert built.said("train") == [TURNS]
    assert reasons(built.report, "dropped_rows") == {reason: (1, [3])}
    assert built.report["utterances"]["in_dropped_rows"] == lost
    assert built.report["utterances"]["kept"] == 6


@pytest.mark.parametrize("nothing", ["", " ", "\t", "\u3000\xa0", "\u200b", "nan", " None ", "\n"])
def test_cells_that_hold_nothing(build, tmp_path: Path, nothing: str) -> None:
    built = build(source(tmp_path, [U1, R1, U2, R2, nothing, nothing]))
    assert built.said("train") == [[U1, R1, U2, R2]]
    assert built.report["utterances"]["read"] == 4


def test_text_is_composed_and_stripped_and_else_as_written(build, tmp_path: Path) -> None:
    apart = unicodedata.normalize("NFD", "각")
    built = build(
        source(tmp_path, [f"  {apart}  둘 ", "\u3000셋\n넷\t", "nan이 뭐야", "none이래", "", ""])
    )
    assert built.said("train") == [["각  둘", "셋\n넷", "nan이 뭐야", "none이래"]]


def test_escaped_text_in_json_is_composed_too(build, tmp_path: Path) -> None:
    data = records(TRAIN[:1]).replace("면접이".encode(), rb"\u1100\u1161\u11a8")
    built = build(tree(tmp_path / "source", {"train.json": data}))
    assert built.said("train")[0][0] == "각 내일이라 떨려."


def test_the_system_message(build, tmp_path: Path) -> None:
    where = source(tmp_path, [U1, R1, "", "", "", ""])
    (row,) = build(where, "--system-prompt", "친구처럼 말해요.").splits["train"]
    assert row["messages"] == [
        {"role": "system", "content": "친구처럼 말해요."},
        {"role": "user", "content": U1},
        {"role": "assistant", "content": R1},
    ]
    (row,) = build(where, "--system-prompt", "", "--overwrite").splits["train"]
    assert [m["role"] for m in row["messages"]] == ["user", "assistant"]


@pytest.mark.parametrize(
    "major, minor, code, names",
    [
        ("불안", "두려운", "E31", ("불안", "두려운")),
        ("불안 ", "초조한 ", "E39", ("불안", "초조한")),
        ("상처", "고립된", "E43", ("상처", "고립된")),
        ("당황", "고립된", "E51", ("당황", "고립된")),
        ("불안", "혼란스러운", "E34", ("불안", "혼란스러운")),
        ("당황", "혼란스러운", "E59", ("당황", "혼란스러운")),
        ("슬픔", "슬픔", "E20", ("슬픔", "슬픔")),
        ("슬픔", "실망함", "E21", ("슬픔", "실망한")),
        ("분노", "구역질나는", "E17", ("분노", "구역질 나는")),
        ("기쁨", "사랑하는", "E62", ("기쁨", "신뢰하는")),
        ("상처", "가난한,불우한", "E45", ("상처", "가난한, 불우한")),
        ("기쁨", "초조한", None, ("기쁨", "초조한")),
        ("기쁨", "신남", None, ("기쁨", "신남")),
        ("기쁨", "", None, ("기쁨", None)),
    ],
)
def test_two_labels_find_the_code(build, tmp_path: Path, major, minor, code, names) -> None:
    labels = [*LABELS[:4], major, minor]
    (row,) = build(source(tmp_path, TURNS, labels=labels)).splits["train"]
    assert (row["emotion_code"], row["emotion_major"], row["emotion_minor"]) == (code, *names)


def test_unknown_labels_are_kept_and_told(build, tmp_path: Path, capsys) -> None:
    labels = ["장년", "여성", "진로, 취업, 직장", "해당없음", "기쁨", "초조한"]
    built = build(source(tmp_path, TURNS, TURNS[::-1], labels=labels))
    row = built.splits["train"][0]
    assert (row["age"], row["situation"], row["disease"]) == (
        "장년",
        "진로,취업,직장",
        "만성질환 무",
    )
    assert built.report["labels"] == {
        "mapped": {"situation": {"진로, 취업, 직장": 2}, "disease": {"해당없음": 2}},
        "blank": {},
        "unknown": [
            {"kind": "age", "label": "장년", "count": 2, "file": "train.csv", "line": 2},
            {
                "kind": "emotion",
                "label": "기쁨 / 초조한",
                "count": 2,
                "file": "train.csv",
                "line": 2,
            },
        ],
    }
    assert "Unknown age '장년', kept: 2 times, first train.csv, line 2" in capsys.readouterr().err


def test_a_sentence_in_a_label_column_is_not_repeated(build, tmp_path: Path, capsys) -> None:
    sentence = "면접이 내일이라 떨려서 잠이 안 와"
    labels = [sentence, *LABELS[1:4], "불안", sentence]
    built = build(source(tmp_path, TURNS, labels=labels))
    assert built.splits["train"][0]["emotion_minor"] == sentence
    assert built.report["labels"]["unknown"] == [
        {"kind": kind, "label": None, "count": 1, "file": "train.csv", "line": 2}
        for kind in ("age", "minor")
    ]
    assert built.report["age"] == {"unknown": {"train": 1}}
    assert sentence not in capsys.readouterr().err
    assert sentence not in (built.out / "report.json").read_text("utf-8")
    assert sentence not in (built.out / "README.md").read_text("utf-8")


def test_nothing_in_a_card_is_taken_for_its_structure(build, tmp_path: Path) -> None:
    labels = [*LABELS[:4], "불안|<b>", "`두려운`"]
    hostile = "<!-- kosent:end build -->\n| a | b |\n---"
    built = build(source(tmp_path, TURNS, labels=labels), "--system-prompt", hostile)
    card = (built.out / "README.md").read_text("utf-8")
    assert "| 불안&#124;&#60;b&#62; | 1 |" in card.splitlines()
    assert card.count("<!-- kosent:end build -->") == 1
    assert built.splits["train"][0]["messages"][0]["content"] == hostile


def test_codes_nobody_knows_stay_codes(build, tmp_path: Path) -> None:
    data = records(TRAIN[:1]).replace(b'"E31"', b'"E99"').replace(b'"S06"', b'"S77"')
    (row,) = build(tree(tmp_path / "source", {"train.json": data})).splits["train"]
    assert (row["emotion_code"], row["emotion_major"], row["situation"]) == (None, "E99", "S77")


def test_json_records_that_are_none(build, tmp_path: Path) -> None:
    whole = records(TRAIN[:1]).decode().strip()[1:-1]
    broken = whole.replace('"면접이 내일이라 떨려."', '["면접"]')
    half = whole.replace("많이 긴장되시겠어요.", "\\ud83d")
    data = f"[{whole},\n7,\n{broken},\n{half}]".encode()
    built = build(tree(tmp_path / "source", {"train.json": data}), "--as-is")
    assert len(built.said("train")) == 1
    dropped, trimmed = built.report["dropped_rows"], built.report["trimmed_turns"]
    assert {reason: n["count"] for reason, n in dropped.items()} == {
        "no_first_user": 1,
        "no_first_reply": 1,
        "not_a_record": 1,
    }
    assert trimmed["not_text"]["count"] == 2


def test_rows_of_other_widths(build, tmp_path: Path) -> None:
    table = rows("2022", TRAIN)
    table[1] = table[1][:9]
    table[2] = [*table[2], "넘치는 말"]
    table[3] = [*table[3], "", ""]
    built = build(tree(tmp_path / "source", {"train.csv": text(table)}))
    assert built.said("train") == [TRAIN[0][6][:2]]
    assert reasons(built.report, "dropped_rows") == {"too_many_cells": (2, [3, 4])}


def test_lines_count_cells_of_several_lines(build, tmp_path: Path) -> None:
    long = ["첫 줄\n둘째 줄", "나\r\n너", "", "", "", ""]
    built = build(source(tmp_path, long, ["", R1, "", "", "", ""], [U1, "", "", "", "", ""]))
    assert built.said("train") == [["첫 줄\n둘째 줄", "나\r\n너"]]
    assert reasons(built.report, "dropped_rows") == {
        "no_first_user": (1, [5]),
        "no_first_reply": (1, [6]),
    }


@pytest.mark.parametrize(
    "before, after, line",
    [
        ("무서워", '"무서워', 2),  # swallows all that follows
        (",가2,", ',"가2,', 2),
        ("나1,", '"나1"밤,', 2),
    ],
)
def test_a_stray_quote_swallows_nothing(refused, tmp_path: Path, before, after, line) -> None:
    table = [header("2022"), *([str(i), *LABELS, "무서워", *TURNS[1:]] for i in range(4))]
    data = text(table).decode().replace(before, after, 1).encode()
    said = refused(tree(tmp_path / "source", {"train.csv": data}))
    assert said.startswith(f"train.csv, line {line}: ")
    assert said.endswith("close the quote, or double it if it is part of the text")


def test_a_quote_that_closes_rows_later(refused, tmp_path: Path) -> None:
    labels = [label.replace(",", " ") for label in LABELS]
    table = [header("2022"), *([str(i), *labels, *TURNS] for i in range(4))]
    lines = text(table).decode().split("\r\n")
    lines[1] = lines[1].replace("가1", '"가1')
    lines[3] = lines[3].replace("가1", '가1"')
    said = refused(tree(tmp_path / "source", {"train.csv": "\r\n".join(lines).encode()}))
    assert said.startswith("train.csv, line 2: a quote here swallows the rows below it")
