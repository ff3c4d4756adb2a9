"""Packages as strangers have them: other names, other kinds of file, other things beside them."""

from __future__ import annotations

import io
import resource
import zipfile
from pathlib import Path

import pytest

from dataset_builder import sources
from dataset_builder.cli import main
from tests.dataset_builder.corpora import (
    TEST,
    TRAIN,
    archive,
    book,
    records,
    rows,
    text,
    tree,
    xlsx,
)

SAID = [dialogue[6] for dialogue in TRAIN]
SAID_IN_TEST = [dialogue[6] for dialogue in TEST]
TRAINING, VALIDATION = text(rows("2022", TRAIN)), text(rows("2022", TEST))
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
OLD_EXCEL = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100)


def read(built) -> list[tuple[str, str, int]]:
    return [(one["split"], one["file"], one["rows"]) for one in built.report["read"]]


def left(built) -> dict[str, str]:
    return {one["file"]: one["why"] for one in built.report["left"]}


# Sheets


def test_all_sheets_that_are_the_corpus_are_read(build, tmp_path: Path, capsys) -> None:
    data = book(
        {
            "설명": [["감성 대화"]],
            "이전 Training": rows("2022", TRAIN[:1]),
            "Training": [[], [], *rows("2022", TRAIN[1:2])],
            "Training2": rows("2022", TRAIN[2:]),
            "검증": rows("2022", TEST),
        },
        hidden=("이전 Training",),
    )
    built = build(tree(tmp_path / "source", {"감성.xlsx": data}))
    assert built.said("train") == SAID
    assert built.said("test") == SAID_IN_TEST
    assert read(built) == [
        ("train", "감성.xlsx/이전 Training", 1),
        ("train", "감성.xlsx/Training", 1),
        ("train", "감성.xlsx/Training2", 1),
        ("test", "감성.xlsx/검증", 1),
    ]
    assert left(built) == {"감성.xlsx/설명": "its first row has not the corpus's columns"}
    ids = [row["dialogue_id"] for row in built.splits["train"]]
    assert ids == ["train-000001", "train-000002", "train-000003"]
    assert "Left 감성.xlsx/설명" in capsys.readouterr().err


def test_losses_name_the_sheet(build, tmp_path: Path) -> None:
    lossy = (*TRAIN[0][:6], ["질문", "대답", "질문"])
    data = book({"Sheet1": rows("2022", TRAIN), "Sheet2": rows("2022", [lossy])})
    built = build(tree(tmp_path / "source", {"Training.xlsx": data}))
    assert built.report["trimmed_turns"] == {
        "user_without_reply": {"count": 1, "lines": {"Training.xlsx/Sheet2": [2]}}
    }


def test_a_ghost_cell_in_the_last_row_of_all(build, tmp_path: Path) -> None:
    table = [*rows("2022", TRAIN), *rows("2022", TEST)[1:]]
    with zipfile.ZipFile(io.BytesIO(xlsx(table))) as plain:
        parts = {name: plain.read(name) for name in plain.namelist()}
    sheet = (
        parts["xl/worksheets/sheet1.xml"].replace(b'"5"', b'"900000"').replace(b'5"', b'900000"')
    )
    ghost = (
        b'<row r="1048576"><c r="M1048576" t="inlineStr"><is><t> </t></is></c></row></sheetData>'
    )
    parts["xl/worksheets/sheet1.xml"] = sheet.replace(b"</sheetData>", ghost)
    built = build(tree(tmp_path / "source", {"train.xlsx": archive(parts)}), "--strict")
    assert built.said("train") == SAID + SAID_IN_TEST
    assert read(built) == [("train", "train.xlsx", 4)]


# Splits


@pytest.mark.parametrize(
    "train, test",
    [
        ("EmotionTraining1.csv", "EmotionValidation1.csv"),
        ("TrainData.csv", "TestData.csv"),
        ("traindata.csv", "validset.csv"),
        ("감성_학습용.csv", "감성_검증용.csv"),
        ("1.훈련/감성.csv", "2.평가/감성.csv"),
        ("AIHubTRAIN/감성.csv", "AIHubVALID/감성.csv"),
        ("Validation의 짝/감성_Training.csv", "Training의 짝/감성_Validation.csv"),
        ("감성.csv", "감성_Validation.csv"),
    ],
)
def test_words_for_a_split(build, tmp_path: Path, train: str, test: str) -> None:
    built = build(tree(tmp_path / "my_test", {train: TRAINING, test: VALIDATION}))
    assert [(split, file) for split, file, _ in read(built)] == [("train", train), ("test", test)]


@pytest.mark.parametrize("name", ["test_data", "test.csv", "Validation.zip"])
def test_the_name_of_source_decides_nothing(build, tmp_path: Path, name: str) -> None:
    if name.endswith(".zip"):
        tree(tmp_path, {name: archive({"감성.csv": TRAINING})})
    else:
        tree(tmp_path, {name if name.endswith(".csv") else f"{name}/감성.csv": TRAINING})
    assert build(tmp_path / name).said("train") == SAID


@pytest.mark.parametrize("values", [("train", "test"), ("학습", "검증"), ("Training", "Valid")])
def test_a_split_column_of_the_only_file(build, tmp_path: Path, values: tuple[str, str]) -> None:
    table = [[*line, values[0]] for line in rows("2022", [*TRAIN, *TEST, TRAIN[0]])]
    table[0][-1], table[4][-1], table[5][-1] = "Split ", values[1], "later"
    built = build(tree(tmp_path / "source", {"감성.csv": text(table)}))
    assert built.said("train") == SAID
    assert built.said("test") == SAID_IN_TEST
    assert read(built) == [("train, test", "감성.csv", 5)]
    assert built.report["dropped_rows"] == {"no_split": {"count": 1, "lines": {"감성.csv": [6]}}}
    assert built.report["notes"] == ["no group of dialogues is small enough for a validation split"]


def test_a_split_column_with_a_validation_of_its_own(build, tmp_path: Path) -> None:
    table = [[*line, "train"] for line in rows("2022", [*TRAIN, *TEST, TRAIN[1]])]
    table[0][-1], table[4][-1], table[5][-1] = "split", "test", "validation"
    built = build(tree(tmp_path / "source", {"감성.csv": text(table)}))
    assert built.said("train") == [SAID[0], SAID[2]]
    assert (built.said("validation"), built.said("test")) == ([SAID[1]], SAID_IN_TEST)
    assert built.report["removed_dialogues"] == {
        "in_validation": {"count": 1, "lines": {"감성.csv": [3]}}
    }
    assert "of train, drawn with seed" not in (built.out / "README.md").read_text("utf-8")


def test_a_column_named_split_that_says_something_else(build, tmp_path: Path) -> None:
    table = [[*line, "3"] for line in rows("2022", TRAIN)]
    table[0][-1] = "split"
    built = build(tree(tmp_path / "source", {"감성.csv": text(table)}), "--strict")
    assert built.said("train") == SAID


# Bystanders and stand-ins

cut = archive({"a.csv": TRAINING})[:-30]
BYSTANDERS = {
    "output/pairs.csv": (b"\xec\x82\xac\xeb\x9e\x8c\xeb\xac\xb8\xec\x9e\xa51,n\n", "has 사람문장1"),
    "talk.csv": (text([line[7:] for line in rows("2022", TRAIN)]), "column 연령 is missing"),
    "메모.txt": ("메모".encode("utf-16"), "UTF-16; save it as UTF-8"),
    "test_log.txt": ("기록".encode("utf-16"), "UTF-16; save it as UTF-8"),
    "LICENSE.txt": (b"\xa9 Universit\xe9\xff", "neither UTF-8 nor cp949"),
    "음성.zip": (cut, "not a whole zip archive (its end is missing"),
    "그림.zip": (b"GIF89a", "not a whole zip archive (File is not a zip file)"),
    "통계.xlsx": (OLD_EXCEL, "an old Excel workbook, or one with a password"),
    "책.xlsx": (xlsx([["a"]])[:-30], "not a whole workbook"),
    "자료.csv": (archive({"a.txt": b"a"}), "a zip archive, and no workbook"),
    "README.jsonl": (b"{}", "a kind of table that is not read"),
    "old.tar": (b"", "an archive of a kind that is not read"),
}


def test_bystanders_never_stop_a_build(build, tmp_path: Path, capsys) -> None:
    files = {name: data for name, (data, _) in BYSTANDERS.items()}
    source = tree(tmp_path / "source", {"a/Training.csv": TRAINING, "b/Validation.csv": VALIDATION})
    tree(source, files)
    (source / "link.csv").symlink_to(tmp_path / "nowhere.csv")
    tree(source, {".cache/x/Training.csv": VALIDATION, "z.zip": archive({".git/a.csv": b""})})
    built = build(source)
    assert (built.said("train"), built.said("test")) == (SAID, SAID_IN_TEST)
    whys = left(built)
    for name, (_, why) in BYSTANDERS.items():
        assert whys.pop(name).startswith(why), name
    assert whys == {
        "link.csv": "a link to nothing; put the file itself there",
        ".cache": "a hidden folder, passed over",
        "z.zip/.git": "a hidden folder, passed over",
    }
    assert "Left 음성.zip: not a whole zip archive" in capsys.readouterr().err


@pytest.mark.parametrize("name", BYSTANDERS)
def test_the_only_candidate_is_refused(refused, tmp_path: Path, name: str) -> None:
    data, why = BYSTANDERS[name]
    source = tree(tmp_path / "source", {f"Training/{name}": data, "Validation.csv": VALIDATION})
    line = refused(source)
    if name != "test_log.txt":
        assert why in line and line.startswith(f"Training/{name}")


@pytest.mark.parametrize(
    "name, data, why",
    [
        ("Validation.xls", OLD_EXCEL, "an old Excel workbook"),
        ("Validation.xls", b"a,b\n1,2\n", "no workbook, but text"),
        ("감성_Validation.csv", b"1,2\n", "its first line has not the corpus's columns"),
        ("검증.jsonl", b"{}", "a kind of table that is not read"),
        (
            "Validation/감성.zip.part0",
            b"PK",
            "join all parts in their order: cat NAME.part* > NAME",
        ),
        ("Validation.zip", cut, "its end is missing, as of a download cut short"),
        ("Validation.zip.crdownload", b"PK", "an unfinished download"),
        (
            "Validation.csv",
            POINTER,
            "a Git LFS pointer, not the file itself; run in its repository",
        ),
        ("Validation.csv", b"", "an empty file; download it again"),
        ("Validation.csv", bytes(100), "nothing but NULs"),
        ("Validation.json", b"\n<!DOCTYPE html><title>login", "a web page, not the file itself"),
    ],
)
def test_what_may_be_the_missing_validation_is_named(
    build, tmp_path: Path, capsys, name: str, data: bytes, why: str
) -> None:
    built = build(tree(tmp_path / "source", {"Training.csv": TRAINING, name: data}))
    (note,) = [one for one in built.report["notes"] if "no Validation files here" in one]
    assert f"there is no test split; what may be it cannot be read: {name} (" in note
    assert why in note
    assert f"N{note[1:]}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name, data",
    [("train.zip", POINTER), ("train.xlsx", POINTER), ("train.json", POINTER)],
)
def test_a_pointer_is_said_to_be_one(refused, tmp_path: Path, name: str, data: bytes) -> None:
    assert refused(tree(tmp_path / "source", {name: data})) == (
        f"{name}: a Git LFS pointer, not the file itself; run in its repository: git lfs pull"
    )


@pytest.mark.parametrize(
    "name, data, container",
    [
        ("train.xlsx", TRAINING, "csv"),
        ("train.xls", text(rows("2022", TRAIN), "cp949", "\t"), "csv"),
        ("train.csv", xlsx(rows("2022", TRAIN)), "xlsx"),
        ("train.txt", records(TRAIN), "json"),
    ],
)
def test_a_file_is_read_for_what_it_is(build, tmp_path: Path, name, data, container) -> None:
    built = build(tree(tmp_path / "source", {name: data}))
    assert built.said("train") == SAID
    assert built.report["read"][0]["container"] == container


# The machine


def test_archives_are_opened_one_at_a_time(build, tmp_path: Path) -> None:
    other = archive({"메모.txt": b"a", "안.zip": archive({"b.txt": b"b"})})
    files = {f"{i}.zip": other for i in range(100)}
    files["Training.zip"] = archive({"감성.csv": TRAINING}, "cp949")
    source = tree(tmp_path / "source", files)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, limits[1]))
    try:
        assert build(source).said("train") == SAID
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_running_out_of_descriptors_is_no_damage(tmp_path: Path) -> None:
    source = tree(tmp_path, {"Training.zip": archive({"감성.csv": TRAINING})}) / "Training.zip"
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            next(sources.walk(source))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.parametrize("name", ["[2024] 프로젝트", "a*b", "a?", "a::b"])
def test_a_path_that_load_dataset_cannot_open_is_refused(tmp_path: Path, capsys, monkeypatch, name):
    source = tree(tmp_path / "source", {"train.csv": TRAINING})
    place = tmp_path / name
    place.mkdir()
    monkeypatch.chdir(place)
    assert main(["build", str(source), "dataset"]) == 2
    line = capsys.readouterr().err
    assert line.startswith(f"kosent-data: {place}/dataset: load_dataset opens no path with ")
    assert list(place.iterdir()) == []
