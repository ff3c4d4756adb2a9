"""Datasets of other people that datasets cannot read: one line each, with a way out."""

import json
import re
import shutil
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kosent_hub.models.data.chat_dataset import read_splits
from model_card.publishing.errors import KoSentError
from tests.kosent_hub.conftest import BASE, dialogue

ROWS = [{"id": f"d{number}", "messages": dialogue(number)} for number in range(4)]
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 9\n"


def write(folder: Path, train=ROWS, test=ROWS, encoding: str = "utf-8") -> Path:
    folder.mkdir(parents=True)
    for split, rows in (("train", train), ("test", test)):
        lines = [
            row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows
        ]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding)
    return folder


def script(folder: Path) -> None:
    folder.mkdir()
    (folder / f"{folder.name}.py").write_text("import datasets\n", "utf-8")


def columns(folder: Path) -> None:
    write(folder, test=[{"messages": row["messages"], "memo": "x"} for row in ROWS])


def types(folder: Path) -> None:
    write(folder, test=[{**row, "messages": [[]]} for row in ROWS])


def cp949(folder: Path) -> None:
    write(folder, encoding="cp949")


def broken(folder: Path) -> None:
    write(folder, test=[ROWS[0], '{"messages": ', ROWS[1]])


def parquet(folder: Path, table: pa.Table) -> None:
    write(folder)
    (folder / "test.jsonl").unlink()
    (folder / "train.jsonl").unlink()
    pq.write_table(pa.Table.from_pylist(ROWS), folder / "train.parquet")
    pq.write_table(table, folder / "test.parquet")


def emptied(folder: Path) -> None:
    parquet(folder, pa.Table.from_pylist(ROWS)[:0])


def with_index(folder: Path) -> None:
    parquet(folder, pa.Table.from_pylist([{**row, "__index_level_0__": 7} for row in ROWS]))
    features = "".join(
        f"  - name: {name}\n    {kind}\n"
        for name, kind in (
            ("id", "dtype: string"),
            (
                "messages",
                "list:\n    - {name: role, dtype: string}\n    - {name: content, dtype: string}",
            ),
        )
    )
    card = f"---\ndataset_info:\n  features:\n{features}---\n"
    (folder / "README.md").write_text(card, "utf-8")


def cut(folder: Path) -> None:
    parquet(folder, pa.Table.from_pylist(ROWS))
    whole = (folder / "test.parquet").read_bytes()
    (folder / "test.parquet").write_bytes(whole[: len(whole) // 2])


def pointer(folder: Path) -> None:
    parquet(folder, pa.Table.from_pylist(ROWS))
    (folder / "test.parquet").write_text(POINTER, "utf-8")


def configurations(folder: Path) -> None:
    for name in ("ko", "en"):
        write(folder / name)
    files = "".join(
        f"- config_name: {name}\n  data_files:\n  - {{split: train, path: {name}/train.jsonl}}\n"
        f"  - {{split: test, path: {name}/test.jsonl}}\n"
        for name in ("ko", "en")
    )
    (folder / "README.md").write_text(f"---\nconfigs:\n{files}---\n", "utf-8")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (script, r"data: a loading script, which is not run; write what it gives as JSON lines"),
        (
            columns,
            r"data: its files do not have the same columns \(not in all: memo\); give them ",
        ),
        (types, r"data: .*"),
        (
            cp949,
            r"data/test\.jsonl: is not UTF-8, it seems to be CP949; convert it: iconv -f cp949 ",
        ),
        (broken, r"data/test\.jsonl, line 2: not JSON .*; mend it"),
        (emptied, r"data/test\.parquet: has no rows; remove it, or write it again with rows"),
        (with_index, r"data: its files .* __index_level_0__\); write it with .*index=False"),
        (cut, r"data/test\.parquet: no whole Parquet file .*; copy or write it again"),
        (pointer, r"data/test\.parquet: a Git LFS pointer, not the file itself; run git lfs pull"),
        (
            configurations,
            r"data: has several configurations \(ko, en\); name one of them with --dataset-config",
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_datasets_cannot_read_is_one_line_with_a_way_out(make, said, tmp_path, capfd):
    make(tmp_path / "data")
    with pytest.raises(KoSentError) as refused:
        read_splits(str(tmp_path / "data"), "train", "--split", optional=["test"])
    line = " ".join(str(refused.value).split())
    assert re.search(said, line), line
    assert refused.value.remedy
    assert "Failed to" not in capfd.readouterr().err


def test_a_configuration_is_read_by_its_name(tmp_path):
    configurations(tmp_path / "data")
    found = read_splits(str(tmp_path / "data"), "test", "--split", config="en")
    assert len(found["test"]) == len(ROWS)
    with pytest.raises(KoSentError, match="several configurations \\(ko, en\\)"):
        read_splits(str(tmp_path / "data"), "test", "--split", config="fr")


@pytest.mark.slow
def test_training_plan_and_evaluation_refuse_and_read_alike(run, workplace, nobody, tmp_path):
    place = shutil.copytree(workplace, tmp_path / "place")
    configurations(place / "several")
    cp949(place / "old")
    recipe = place / "r.yaml"
    recipe.write_text(f"model_name_or_path: {BASE}\nuse_cpu: true\n", "utf-8")
    train = [sys.executable, "-m", "kosent_hub.train", "--config", "smollm2-135m/cpu", "--inspect"]
    train += ["1", "--model_name_or_path", BASE, "--dataset_name"]
    evaluate = ["kosent-eval", "--model", BASE, "--inspect", "1", "--dataset"]
    plan = ["kosent-plan", str(recipe), "--dataset"]
    for command, flag in (
        (train, "--dataset_config"),
        (evaluate, "--dataset-config"),
        (plan, "--dataset-config"),
    ):
        for dataset, said in (
            (
                "several",
                f"several: has several configurations (ko, en); name one of them with {flag} NAME",
            ),
            ("old", "is not UTF-8, it seems to be CP949"),
        ):
            done = run([*command, dataset], cwd=place, env=nobody)
            assert done.returncode == 2, done.stderr
            assert said in done.stderr.splitlines()[-1]
            assert "Traceback" not in done.stderr
        done = run([*command, "several", flag, "ko"], cwd=place, env=nobody)
        assert done.returncode == 0, done.stderr
