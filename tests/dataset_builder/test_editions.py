"""Every edition, in every container and codec: the rows that come out, and what is refused."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import pytest

from tests.dataset_builder.corpora import (
    EDITIONS,
    TEST,
    TRAIN,
    archive,
    header,
    records,
    rows,
    text,
    tree,
    xlsx,
)

SYSTEM = {"role": "system", "content": "당신은 감정을 공감해주는 챗봇입니다."}
FIRST = {
    "messages": [
        SYSTEM,
        {"role": "user", "content": "면접이 내일이라 떨려."},
        {"role": "assistant", "content": "많이 긴장되시겠어요."},
        {"role": "user", "content": "응, 잠도 안 와."},
        {"role": "assistant", "content": "따뜻한 차 한 잔 어때요?"},
    ],
    "emotion_code": "E31",
    "emotion_major": "불안",
    "emotion_minor": "두려운",
    "situation": "진로,취업,직장",
    "disease": "만성질환 무",
    "age": "청년",
    "gender": "여성",
    "turns": 2,
    "source_row": 1,
}
# Code and turns of the others.
SAID = [turns for *_, turns in TRAIN]
CODES = ["E31", "E43", "E51"]

CODECS = {"utf-8": "utf-8", "utf-8-sig": "utf-8", "cp949": "cp949"}
DELIMITED = {
    "train.csv": ",",
    "train.CSV": ",",
    "train.tsv": "\t",
    "train-commas.txt": ",",
    "train-tabs.txt": "\t",
    "train-tabs.csv": "\t",
}


def check(built, first_id: str) -> None:
    first, *others = built.splits["train"]
    assert first == {"dialogue_id": first_id, **FIRST}
    assert [first["emotion_code"], *(row["emotion_code"] for row in others)] == CODES
    assert built.said("train") == SAID
    assert built.said("test") == [["손주가 전화를 했어.", "정말 반가우셨겠어요!"]]
    assert built.report["utterances"] == {
        "read": 14,
        "in_dropped_rows": 0,
        "trimmed": 0,
        "in_removed_dialogues": 0,
        "kept": 14,
    }


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("name", DELIMITED)
@pytest.mark.parametrize("edition", EDITIONS)
def test_delimited_text(build, tmp_path: Path, edition: str, name: str, codec: str) -> None:
    files = {
        name: text(rows(edition, TRAIN), codec, DELIMITED[name]),
        name.replace("train", "Validation"): text(rows(edition, TEST), codec, DELIMITED[name]),
    }
    built = build(tree(tmp_path / "source", files))
    check(built, "train-000001")
    assert [(one["split"], one["edition"], one["codec"]) for one in built.report["read"]] == [
        ("train", edition, CODECS[codec]),
        ("test", edition, CODECS[codec]),
    ]


@pytest.mark.parametrize("edition", EDITIONS)
def test_workbooks(build, tmp_path: Path, edition: str) -> None:
    files = {
        "Training/감성대화말뭉치(최종데이터)_Training.xlsx": xlsx(rows(edition, TRAIN)),
        "Validation/감성대화말뭉치(최종데이터)_Validation.xlsx": xlsx(
            rows(edition, TEST), ["설명", "Sheet1"]
        ),
    }
    built = build(tree(tmp_path / "source", files))
    check(built, "train-000001")
    assert built.report["read"][0] == {
        "split": "train",
        "file": "Training/감성대화말뭉치(최종데이터)_Training.xlsx",
        "edition": edition,
        "container": "xlsx",
        "codec": "",
        "rows": 3,
    }


@pytest.mark.parametrize("codec", CODECS)
def test_json(build, tmp_path: Path, codec: str) -> None:
    files = {
        "Training.json": records(TRAIN).decode().encode(codec),
        "Validation.json": records(TEST).decode().encode(codec),
    }
    built = build(tree(tmp_path / "source", files))
    check(built, "Pro_00000_00000")
    assert built.report["read"][0]["codec"] == CODECS[codec]


def test_four_turns_of_the_final_files_of_2021(build, tmp_path: Path) -> None:
    labels = TRAIN[0][:6]
    said = [f"{who} {n}" for n in (1, 2, 3, 4) for who in ("나", "너")]
    source = tree(tmp_path / "source", {"train.csv": text(rows("2021-final", [(*labels, said)]))})
    built = build(source)
    assert built.said("train") == [said]
    assert built.splits["train"][0]["turns"] == 4


def test_numbers_in_cells_are_text(build, tmp_path: Path) -> None:
    table: list[list[object]] = [*rows("2022", TRAIN[:1])]
    table[1][7:9] = [1004, 0.5]
    built = build(tree(tmp_path / "source", {"train.xlsx": xlsx(table)}))
    assert built.said("train")[0][:2] == ["1004", "0.5"]


def test_columns_in_another_order_and_columns_of_ones_own(build, tmp_path: Path) -> None:
    table = [
        [*reversed(row), extra] for row, extra in zip(rows("2022", TRAIN), "메ab1", strict=True)
    ]
    built = build(tree(tmp_path / "source", {"train.csv": text(table)}))
    assert built.said("train") == SAID


NAMES = {
    "train": "018.감성대화/Training_221115_add/라벨링데이터/감성대화말뭉치(최종데이터)_Training",
    "test": "018.감성대화/Validation_221115_add/라벨링데이터/감성대화말뭉치(최종데이터)_Validation",
}


@pytest.mark.parametrize("names", ["utf-8", "cp949", "nfd"])
def test_hangul_member_names(build, tmp_path: Path, names: str) -> None:
    def member(name: str, data: bytes) -> bytes:
        inner = name.rsplit("/", 1)[1] + ".json"
        inner = unicodedata.normalize("NFD", inner) if names == "nfd" else inner
        return archive({inner: data}, "utf-8" if names == "nfd" else names)

    files = {
        unicodedata.normalize("NFD", f"{name}.zip"): member(name, records(dialogues))
        for name, dialogues in ((NAMES["train"], TRAIN), (NAMES["test"], TEST))
    }
    built = build(tree(tmp_path / "source", files))
    check(built, "Pro_00000_00000")
    inner = "감성대화말뭉치(최종데이터)_Training.json"
    assert built.report["read"][0]["file"] == f"{NAMES['train']}.zip/{inner}"
    assert built.report["inputs"][0]["file"] == f"{NAMES['train']}.zip"


def test_a_zip_of_the_whole_package(build, tmp_path: Path) -> None:
    package = archive(
        {
            f"{NAMES['train']}.zip": archive({"감성대화.json": records(TRAIN)}, "cp949"),
            f"{NAMES['test']}.zip": archive({"감성대화.json": records(TEST)}, "cp949"),
            "__MACOSX/._감성대화.json": b"\x00",
        },
        "cp949",
    )
    source = tree(tmp_path, {"감성대화.zip": package}) / "감성대화.zip"
    check(build(source), "Pro_00000_00000")


def test_zips_of_text_and_workbooks(build, tmp_path: Path) -> None:
    files = {
        "a.zip": archive({"Training.CSV": text(rows("2022", TRAIN), "cp949")}),
        "b.zip": archive({"Validation.xlsx": xlsx(rows("2022", TEST))}),
    }
    check(build(tree(tmp_path / "source", files)), "train-000001")


def both(turns: list[str]) -> dict[str, bytes]:
    """A split twice, as the package holds it: the workbook and the JSON differ in one turn."""
    labels = TRAIN[0][:6]
    return {
        "원천데이터/Training.zip": archive({"a.xlsx": xlsx(rows("2022", [(*labels, turns)]))}),
        "라벨링데이터/Training.zip": archive({"a.json": records(TRAIN)}),
        "Training.csv": text(rows("2021-final", TRAIN[1:])),
    }


@pytest.mark.parametrize(
    "prefer, read, said",
    [
        ([], "라벨링데이터/Training.zip/a.json", SAID),
        (["--prefer", "xlsx"], "원천데이터/Training.zip/a.xlsx", [["나", "너"]]),
        (["--prefer", "원천데이터"], "원천데이터/Training.zip/a.xlsx", [["나", "너"]]),
        (["--prefer", "2021-final"], "Training.csv", SAID[1:]),
    ],
)
def test_one_source_for_a_split(build, tmp_path: Path, prefer, read: str, said) -> None:
    built = build(tree(tmp_path / "source", both(["나", "너"])), *prefer)
    assert built.said("train") == said
    assert [one["file"] for one in built.report["read"]] == [read]
    assert built.report["left"] == [
        {"file": name, "why": f"train is read from {read}"}
        for name in sorted(
            {
                "Training.csv",
                "라벨링데이터/Training.zip/a.json",
                "원천데이터/Training.zip/a.xlsx",
            }
            - {read}
        )
    ]


def test_the_final_files_of_2021_go_before_the_raw_ones(build, tmp_path: Path) -> None:
    files = {
        "Training/(원천데이터).zip": archive({"감성대화말뭉치(원시데이터).json": records(TEST)}),
        "Training/(최종데이터).zip": archive(
            {"감성대화말뭉치(최종데이터).xlsx": xlsx(rows("2021-final", TRAIN))}
        ),
    }
    assert build(tree(tmp_path / "source", files)).said("train") == SAID


def test_thousands_of_other_files_are_one_line(build, tmp_path: Path) -> None:
    members = {f"음성/{i}.txt": "안녕하세요".encode() for i in range(1000)}
    files = {"train.csv": text(rows("2022", TRAIN)), "speech.zip": archive(members)}
    built = build(tree(tmp_path / "source", files))
    assert built.report["left"] == [
        {
            "file": "speech.zip/음성 (1,000 files)",
            "why": "its first line has not the corpus's columns",
        }
    ]


def test_two_files_that_could_both_be_meant(build, refused, tmp_path: Path) -> None:
    files = {"a/train.csv": text(rows("2022", TRAIN)), "b/train.csv": text(rows("2022", TEST))}
    source = tree(tmp_path / "source", files)
    assert refused(source) == (
        "train: a/train.csv and b/train.csv could both be meant; let one's name say Validation if "
        "it is that; join them if each is a part; else keep one in SOURCE, or name a part of its "
        "path with --prefer"
    )
    assert build(source, "--prefer", "b/").said("train") == [TEST[0][6]]


def test_the_same_file_twice_is_no_question(build, tmp_path: Path) -> None:
    same = text(rows("2022", TRAIN))
    built = build(tree(tmp_path / "source", {"a/train.csv": same, "b/train.csv": same}))
    assert built.report["left"] == [
        {"file": "b/train.csv", "why": "train is read from a/train.csv"}
    ]


def test_a_single_file_is_train_whatever_its_name(build, tmp_path: Path) -> None:
    source = tree(tmp_path, {"감성.csv": text(rows("2022", TRAIN))}) / "감성.csv"
    assert build(source).said("train") == SAID


def test_other_peoples_files_are_left(build, tmp_path: Path) -> None:
    files = {
        "train.csv": text(rows("2022", TRAIN)),
        "test/scores.csv": b"name,score\na,1\n",
        "test/config.json": b'{"a": 1}',
        "notes.txt": "메모".encode("cp949"),
        "extra.csv": text(rows("2022", TEST)),
        ".hidden.csv": text(rows("2022", TEST)),
        "readme.pdf": b"%PDF",
    }
    built = build(tree(tmp_path / "source", files))
    assert list(built.splits) == ["train"]
    assert built.report["left"] == [
        {"file": "extra.csv", "why": "its path says neither Training nor Validation"},
        {"file": "notes.txt", "why": "its first line has not the corpus's columns"},
        {"file": "test/config.json", "why": "not a list of the corpus's records"},
        {"file": "test/scores.csv", "why": "its first line has not the corpus's columns"},
    ]


def test_codec_refusals_name_line_and_byte(refused, tmp_path: Path) -> None:
    good = text(rows("2022", TRAIN))
    at = good.index("손주".encode()) if "손주".encode() in good else good.index("아무도".encode())
    damaged = good[:at] + b"\xff" + good[at + 1 :]
    cases = {
        "damaged.csv": (damaged, f"damaged.csv, line 3, byte {at}: neither UTF-8 nor cp949"),
        "wide.csv": (good.decode().encode("utf-16"), "wide.csv, line 1, byte 0: UTF-16"),
        "johab.csv": (
            good.decode().encode("johab"),
            "johab.csv, line 1, byte ",
        ),
        "damaged.json": (
            records(TRAIN).replace("아무도".encode(), b"\xec\x95\xff"),
            f"damaged.json, line {records(TRAIN).split('아무도'.encode())[0].count(10) + 1}, byte ",
        ),
    }
    for name, (data, message) in cases.items():
        assert refused(tree(tmp_path / name, {name: data})).startswith(message), name


def test_utf8_with_a_damaged_byte_does_not_pass_for_cp949(refused, tmp_path: Path) -> None:
    # These bytes are valid cp949 as a whole: 媛 and its like.
    table = [header("2022"), *[["0", *TRAIN[0][:6], "가가", "가가", "", "", "", ""]]]
    data = text(table).replace("가가".encode(), b"\xea\xb0\xa1\xea\xb0\xa1", 1) + b"\xb0\xa1\n"
    line = refused(tree(tmp_path / "source", {"train.csv": data}))
    assert re.match(r"train.csv, line 3, byte \d+: neither UTF-8 nor cp949", line)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"사람문장3": "사람문장9"}, "its turns are no known edition's"),
        ({"감정_소분류": "감정"}, "column 감정_소분류 is missing or there twice"),
        ({"성별": "연령"}, "column 연령 is missing or there twice"),
    ],
)
def test_columns_that_are_almost_the_corpus(refused, tmp_path: Path, change, message) -> None:
    table = rows("2022", TRAIN)
    table[0] = [change.get(name, name) for name in table[0]]
    line = refused(tree(tmp_path / "source", {"train.csv": text(table)}))
    assert line.startswith("train.csv, line 1: ") and message in line


def test_turns_of_no_edition_are_refused_with_those_of_all_editions(refused, tmp_path) -> None:
    table = rows("2022", TRAIN)
    table[0] = ["시스템응답3" if name == "시스템문장3" else name for name in table[0]]
    line = refused(tree(tmp_path / "source", {"train.csv": text(table)}))
    edition = r"\w+1 to \d( or \d)*"
    assert re.fullmatch(
        "train.csv, line 1: has 사람문장1, but its turns are no known edition's "
        rf"\({edition}(, or {edition})*, each beside its 사람문장\); "
        "name the columns as AI Hub does",
        line,
    )
    for _, reply, turns in EDITIONS.values():
        assert re.search(rf"\b{reply}1 to (\d or )*{turns}\b", line), line


def test_nothing_that_is_the_corpus(refused, tmp_path: Path) -> None:
    assert refused(tmp_path / "nowhere") == (
        f"{tmp_path}/nowhere: no such file or folder; give the folder of AI Hub's download"
    )
    assert refused(tree(tmp_path / "a", {"train.csv": b"name,score\n"})) == (
        f"{tmp_path}/a: nothing here is the 감성 대화 말뭉치 (train.csv: its first line has not "
        'the corpus\'s columns); see README, "Getting the data"'
    )
    assert "no .json, .xlsx, .csv, .tsv, .txt or .zip of them" in refused(
        tree(tmp_path / "b", {"download.tar": b""})
    )
    only_test = tree(tmp_path / "c", {"Validation.csv": text(rows("2022", TEST))})
    assert refused(only_test) == (
        f"{only_test}: only a test split here (Validation.csv); "
        "give the folder that holds Training too; if this is Training, let its path say so, "
        "or give the file itself"
    )
    assert "no training dialogue is left" in refused(
        tree(tmp_path / "d", {"train.csv": text([header("2022")])})
    )


def test_damaged_containers(refused, tmp_path: Path) -> None:
    whole = archive({"train.csv": text(rows("2022", TRAIN))})
    flipped = bytearray(whole)
    flipped[60] ^= 0xFF
    book = xlsx(rows("2022", TRAIN))
    locked = bytearray(whole)
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        locked[locked.index(mark) + flags] |= 1
    cases = {
        "locked.zip": (bytes(locked), "locked.zip/train.csv: encrypted; unpack the archive with"),
        "cut.zip": (whole[:-30], "cut.zip: not a whole zip archive"),
        "flipped.zip": (bytes(flipped), "flipped.zip/train.csv: damaged in its archive"),
        "cut.xlsx": (book[:-30], "cut.xlsx: not a whole workbook"),
        "cut.json": (records(TRAIN)[:-20], "cut.json, line 109, column "),
        "twice.json": (
            records(TRAIN).replace(b'"SS01"', b'"HS01"'),
            "twice.json, line 2, column 2: not the JSON list it should be (a key stands twice",
        ),
        "more.json": (records(TRAIN) + b"[]", "more.json, line 113, column 2: not the JSON list"),
    }
    for name, (data, message) in cases.items():
        assert refused(tree(tmp_path / name, {name: data})).startswith(message), name
