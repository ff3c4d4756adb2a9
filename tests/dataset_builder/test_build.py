"""The commands: what they write and say, and what they never do to what is there already."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dataset_builder import BuildOptions
from dataset_builder import build as build_from_python
from dataset_builder.cli import main
from model_card.publishing.errors import KoSentError
from tests.dataset_builder.corpora import TEST, TRAIN, records, rows, text, tree

FILES = {
    "db/emotional_data/train/train.CSV": text(rows("2022", TRAIN), "cp949"),
    "db/emotional_data/test/test.CSV": text(rows("2022", TEST), "cp949"),
}
LOSSY = text([*rows("2022", TRAIN), ["", *TRAIN[0][:6], "", "나", "", "", "", ""]])


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The layout of the notebooks that this project grew out of."""
    return tree(tmp_path / "source", FILES)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_folder(build, source: Path) -> None:
    built = build(source)
    assert list(contents(built.out)) == [
        "README.md",
        "data/test-00000-of-00001.parquet",
        "data/train-00000-of-00001.parquet",
        "eval.yaml",
        "report.json",
    ]
    schema = pq.read_schema(built.out / "data/train-00000-of-00001.parquet")
    assert schema.metadata is None
    assert [f"{field.name}: {field.type}" for field in schema] == [
        "dialogue_id: string",
        "messages: list<element: struct<role: string, content: string>>",
        "emotion_code: string",
        "emotion_major: string",
        "emotion_minor: string",
        "situation: string",
        "disease: string",
        "age: string",
        "gender: string",
        "turns: int32",
        "source_row: int32",
    ]


def test_the_report(build, source: Path) -> None:
    built = build(source)
    report = built.report
    assert report["inputs"] == [
        {"file": name, "bytes": len(FILES[name]), "sha256": sha256(source / name)}
        for name in ("db/emotional_data/train/train.CSV", "db/emotional_data/test/test.CSV")
    ]
    assert report["outputs"] == [
        {
            "file": name,
            "bytes": (built.out / name).stat().st_size,
            "sha256": sha256(built.out / name),
        }
        for name in sorted(contents(built.out))
        if name != "report.json"
    ]
    assert report["splits"] == {
        "train": {"dialogues": 3, "turns": 6, "characters": 109},
        "test": {"dialogues": 1, "turns": 1, "characters": 22},
    }
    assert report["corpus"] == "aihub-86"
    assert report["options"] == {
        "system_prompt": "당신은 감정을 공감해주는 챗봇입니다.",
        "as_is": False,
        "validation_fraction": 0.02,
        "seed": 42,
        "prefer": None,
        "mask_personal_data": False,
    }


def test_the_same_input_gives_the_same_bytes(tmp_path: Path, source: Path) -> None:
    for out in ("one", "two"):
        assert main(["build", str(source), str(tmp_path / out)]) == 0
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_no_text_of_the_corpus_leaves_the_parquet_files(build, source: Path, capsys) -> None:
    built = build(source)
    said = capsys.readouterr()
    turns = [turn for dialogue in TRAIN + TEST for turn in dialogue[6]]
    for name, data in contents(built.out).items():
        if not name.endswith(".parquet"):
            assert str(source) not in data.decode(), name
            assert not any(turn in data.decode() for turn in turns if turn != "네."), name
    assert not any(turn in said.out + said.err for turn in turns if turn != "네.")


def test_what_the_command_says(tmp_path: Path, source: Path, capsys) -> None:
    out = tmp_path / "out"
    (source / "db/emotional_data/train/train.CSV").write_bytes(LOSSY)
    assert main(["build", str(source), str(out)]) == 0
    said = capsys.readouterr()
    assert said.out == (
        "split          dialogues       turns    characters\n"
        "train                  3           6           109\n"
        "test                   1           1            22\n"
        f"{out} is ready; next: kosent-data push {out} --repo-id ORG/NAME, or "
        f"kosent-train --config RECIPE --dataset_name {out}\n"
    )
    assert said.err.splitlines() == [
        f"Reading {source}",
        f"Writing {out}",
        "Read db/emotional_data/train/train.CSV as train: 4 rows, edition 2022",
        "Read db/emotional_data/test/test.CSV as test: 1 rows, edition 2022",
        "Dropped 1 rows without a first user turn, first db/emotional_data/train/train.CSV, line 5",
        "No group of dialogues is small enough for a validation split",
    ]


def test_json_is_the_report(tmp_path: Path, source: Path, capsys) -> None:
    out = tmp_path / "out"
    assert main(["build", str(source), str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((out / "report.json").read_text())


@pytest.mark.parametrize(
    "flags, options",
    [
        ([], {}),
        (
            ["--seed", "7", "--as-is", "--system-prompt", ""],
            {"seed": 7, "as_is": True, "system_prompt": ""},
        ),
    ],
)
def test_from_python(build, source: Path, tmp_path: Path, capsys, flags, options) -> None:
    built = build(source, *flags)
    capsys.readouterr()
    out = tmp_path / "python"
    told: list[str] = []
    report = build_from_python(
        BuildOptions(source=source, out=out, **options), progress=told.append
    )
    assert contents(out) == contents(built.out)
    assert report == built.report
    assert told == [f"Reading {source}", f"Writing {out}"]
    assert capsys.readouterr() == ("", "")


def test_from_python_an_error_is_raised(tmp_path: Path) -> None:
    with pytest.raises(KoSentError) as error:
        build_from_python(BuildOptions(source="nowhere", out=tmp_path / "out"))
    assert error.value.where == "nowhere"
    assert error.value.remedy == "give the folder of AI Hub's download"


def test_strict(refused, build, source: Path) -> None:
    (source / "db/emotional_data/train/train.CSV").write_bytes(LOSSY)
    assert refused(source, "--strict") == (
        "db/emotional_data/train/train.CSV, line 5: one of 1 rows without a first user turn "
        "(1 in all); fix the files, or build without --strict"
    )
    (source / "db/emotional_data/train/train.CSV").write_bytes(text(rows("2022", TRAIN)))
    assert len(build(source, "--strict").said("train")) == 3


def test_an_out_that_is_there_is_left_alone(build, source: Path, capsys) -> None:
    built = build(source)
    before = contents(built.out)
    assert main(["build", str(source), str(built.out), "--system-prompt", "x"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"kosent-data: {built.out}: already there; name another folder, "
        "or replace it with --overwrite"
    )
    assert contents(built.out) == before
    assert main(["build", str(source), str(built.out), "--system-prompt", "x", "--overwrite"]) == 0
    assert contents(built.out) != before


def test_overwrite_keeps_what_is_not_ours(build, source: Path, tmp_path: Path, capsys) -> None:
    built = build(source)
    readme = built.out / "README.md"
    readme.write_text(
        readme.read_text("utf-8")
        .replace("pretty_name: ", "# mine\npretty_name: ")
        .replace("# KoSent 감성 대화\n", "# 나의 데이터\n\n직접 쓴 글\n"),
        "utf-8",
    )
    again = build(source, "--system-prompt", "새 말", "--overwrite")
    card = (again.out / "README.md").read_text("utf-8")
    assert "# 나의 데이터\n\n직접 쓴 글\n" in card
    assert "# mine\n" in card
    assert "System message: 새 말" in card

    mine = built.out / "notes.txt"
    mine.write_text("mine", "utf-8")
    assert main(["build", str(source), str(built.out), "--overwrite"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"kosent-data: {mine}: kosent-data did not write this; move it away first"
    )
    assert mine.read_text("utf-8") == "mine"

    other = tree(tmp_path / "home", {"thesis.txt": b"..."})
    assert main(["build", str(source), str(other), "--overwrite"]) == 2
    assert contents(other) == {"thesis.txt": b"..."}


def test_an_empty_out_is_free(tmp_path: Path, source: Path) -> None:
    (tmp_path / "out").mkdir()
    assert main(["build", str(source), str(tmp_path / "out")]) == 0


def test_a_failure_late_in_the_build_leaves_out_as_it_was(build, source: Path, capsys) -> None:
    built = build(source)
    readme = built.out / "README.md"
    readme.write_text(readme.read_text("utf-8").replace("<!-- kosent:end terms -->", ""), "utf-8")
    before = contents(built.out)
    assert main(["build", str(source), str(built.out), "--overwrite"]) == 2
    assert "has no end marker" in capsys.readouterr().err
    assert contents(built.out) == before
    assert [path.name for path in built.out.parent.iterdir() if path.name.startswith(".")] == []


def test_a_card_of_ours_in_another_encoding_is_one_line(build, source: Path, capsys) -> None:
    built = build(source)
    (built.out / "README.md").write_bytes("# 감정\n".encode("cp949"))
    assert main(["build", str(source), str(built.out), "--overwrite"]) == 2
    assert "README.md: not UTF-8 at byte 2; save it as UTF-8" in capsys.readouterr().err
    assert (built.out / "README.md").read_bytes() == "# 감정\n".encode("cp949")


def test_out_inside_source_is_not_read(tmp_path: Path, source: Path) -> None:
    out = source / "dataset"
    for flags in ([], ["--overwrite"]):
        assert main(["build", str(source), str(out), *flags]) == 0
        assert json.loads((out / "report.json").read_text())["left"] == []


def test_export(build, source: Path, tmp_path: Path, capsys) -> None:
    built = build(source)
    capsys.readouterr()
    to = tmp_path / "jsonl"
    assert main(["export", str(built.out), "--jsonl", str(to)]) == 0
    assert capsys.readouterr().out == (
        f"{to}/train.jsonl: 3 dialogues\n{to}/test.jsonl: 1 dialogues\n"
    )
    assert (to / "test.jsonl").read_text("utf-8") == (
        '{"messages": [{"role": "system", "content": "당신은 감정을 공감해주는 챗봇입니다."}, '
        '{"role": "user", "content": "손주가 전화를 했어."}, '
        '{"role": "assistant", "content": "정말 반가우셨겠어요!"}]}\n'
    )
    assert len((to / "train.jsonl").read_text("utf-8").splitlines()) == 3
    assert main(["export", str(built.out), "--jsonl", str(to)]) == 2
    assert capsys.readouterr().err == (
        f"kosent-data: {to}/train.jsonl: already there; name another folder, or add --overwrite\n"
    )
    assert main(["export", str(built.out), "--jsonl", str(to), "--overwrite", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {f"{to}/train.jsonl": 3, f"{to}/test.jsonl": 1}


def test_export_as_tasks_of_lm_eval(build, source: Path, tmp_path: Path, capsys) -> None:
    built = build(source)
    capsys.readouterr()
    to = tmp_path / "tasks"
    assert main(["export", str(built.out), "--lm-eval", str(to)]) == 0
    assert capsys.readouterr().out.startswith(f"{to}: 1 samples; next: lm_eval run --include_path")
    assert json.loads((to / "test.jsonl").read_text("utf-8")) == {
        "id": "test-000001#1",
        "messages": [
            {"role": "system", "content": "당신은 감정을 공감해주는 챗봇입니다."},
            {"role": "user", "content": "손주가 전화를 했어."},
        ],
        "targets": ["정말 반가우셨겠어요!"],
    }
    before = contents(to)
    assert sorted(before) == ["likelihood.yaml", "replies.yaml", "test.jsonl", "utils.py"]
    assert b"task: kosent_replies\n" in before["replies.yaml"]
    assert main(["export", str(built.out), "--lm-eval", str(to)]) == 2
    assert "already there; name another folder, or add --overwrite" in capsys.readouterr().err
    assert main(["export", str(built.out), "--lm-eval", str(to), "--overwrite"]) == 0
    assert contents(to) == before
    given = ["export", "kosent-bench", "--lm-eval", str(to), "--overwrite", "--json"]
    capsys.readouterr()
    assert main(given) == 0
    assert json.loads(capsys.readouterr().out)["samples"] == 778
    lines = (to / "test.jsonl").read_text("utf-8").splitlines()
    assert len(lines) == 778
    assert {len(json.loads(line)["targets"]) for line in lines} == {2}


def test_stats(build, source: Path, capsys) -> None:
    built = build(source)
    capsys.readouterr()
    assert main(["stats", str(built.out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:8] == [
        "split          dialogues       turns    characters",
        "train                  3           6           109",
        "test                   1           1            22",
        "",
        "       train        test  emotion_code",
        "           1           0  E31",
        "           1           0  E43",
        "           1           0  E51",
    ]
    assert main(["stats", str(built.out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["emotion_major"] == {
        "불안": {"train": 1},
        "상처": {"train": 1},
        "당황": {"train": 1},
        "기쁨": {"test": 1},
    }


@pytest.mark.parametrize("command", [["stats"], ["export", "--jsonl", "x"]])
def test_a_folder_that_is_no_dataset(tmp_path: Path, capsys, command: list[str]) -> None:
    assert main([command[0], str(tmp_path), *command[1:]]) == 2
    assert capsys.readouterr().err == (
        f"kosent-data: {tmp_path}: no dataset here; make one with: kosent-data build SOURCE OUT\n"
    )


def test_a_damaged_dataset_folder_is_refused_in_one_line(build, source: Path, tmp_path, capsys):
    out = build(source).out
    report = out / "report.json"
    (part,) = (out / "data").glob("test-*.parquet")
    part.write_bytes(part.read_bytes()[:200])
    capsys.readouterr()
    assert main(["export", str(out), "--jsonl", str(tmp_path / "lines")]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"kosent-data: {out}: damaged (") and said.endswith("build it again\n")
    for written, why in (("{", "not JSON"), ("[]", "not a report of kosent-data")):
        report.write_text(written, "utf-8")
        assert main(["push", str(out), "--repo-id", "me/data"]) == 2
        assert capsys.readouterr().err.startswith(f"kosent-data: {report}: {why}")


@pytest.mark.parametrize(
    "files, corpus, licence",
    [
        ({}, "aihub-86", "aihub-terms"),
        (
            {"README.md": b"---\nlicense: apache-2.0\npretty_name: Mine\ncorpus: mine\n---\n"},
            "mine",
            "apache-2.0",
        ),
        ({"LICENSE": b"MIT"}, None, "own-license"),
    ],
)
def test_whose_the_rows_are(build, source: Path, files, corpus, licence) -> None:
    built = build(tree(source, files))
    card = (built.out / "README.md").read_text("utf-8")
    assert built.report["corpus"] == corpus
    assert licence in card
    assert ("한국지능정보사회진흥원(NIA)" in card) == (corpus == "aihub-86")


def test_personas_of_the_json_edition_are_no_column(build, tmp_path: Path) -> None:
    built = build(tree(tmp_path / "source", {"train.json": records(TRAIN)}))
    assert "persona" not in built.splits["train"][0]


PROBE = """
import sys
import dataset_builder, dataset_builder.cli
from dataset_builder import BuildOptions
assert not {"torch", "datasets", "pyarrow", "pandas"} & set(sys.modules)
from dataset_builder import build
build(BuildOptions(source=sys.argv[1], out=sys.argv[2]))
print(sorted({"torch", "datasets", "pandas", "transformers"} & set(sys.modules)))
"""


def test_nothing_heavy_is_imported(tmp_path: Path, source: Path) -> None:
    command = [sys.executable, "-c", PROBE, str(source), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_help_is_quick(run) -> None:
    env = os.environ | {"PYTHONPROFILEIMPORTTIME": "1"}
    done = run(["kosent-data", "build", "--help"], env=env, fresh=True)
    assert done.returncode == 0
    assert "--validation-fraction" in done.stdout
    loaded = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert "dataset_builder.cli" in loaded
    assert loaded.isdisjoint({"torch", "datasets", "matplotlib", "numpy", "pyarrow"})
