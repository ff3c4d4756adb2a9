"""What is built and pushed loads in every version of datasets that people still use.

The old versions live in light environments of their own (no torch, nothing of ours), made by the
first run beside `.venv` and used again by the next.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from filelock import FileLock

from dataset_builder import push
from dataset_builder.cli import main
from tests.dataset_builder.corpora import TEST, TRAIN, records, tree
from tests.support import ROOT

SCRIPT = ROOT / "dataset_builder" / "kosent_dialogues.py"
REPO = "alice/KoSent-dialogues"

# Enough dialogues that one group fits into the validation split.
MORE = [(*TRAIN[0][:6], [f"말 {i}", f"답 {i}"]) for i in range(47)]

LOAD = """
import json, sys
import datasets
from datasets import load_dataset

folder, repo = sys.argv[1:]

def rows(loaded):
    return {split: list(rows) for split, rows in loaded.items()}

print(json.dumps({
    "version": datasets.__version__,
    "torch": "torch" in sys.modules,
    "folder": rows(load_dataset(folder)),
    "folder, streaming": rows(load_dataset(folder, streaming=True)),
    "repo": rows(load_dataset(repo)),
    "repo, streaming": rows(load_dataset(repo, streaming=True)),
    "columns": load_dataset(folder)["train"].column_names,
}))
"""

SCRIPT_DOOR = """
import json, sys
from datasets import load_dataset

script, source = sys.argv[1:]

def load(*args, **options):
    loaded = load_dataset(script, *args, data_dir=source, trust_remote_code=True, **options)
    return {split: list(rows) for split, rows in loaded.items()}

found = {
    "chat": load(),
    "streaming": load(streaming=True),
    "as_is": load("as_is"),
    "prompt": load(system_prompt="친구처럼 말해요."),
}
assert "dataset_builder" not in sys.modules
assert "model_card" not in sys.modules
print(json.dumps(found))
"""

OUR_DOOR = """
import json, sys
import dataset_builder

script, source = sys.argv[1:]

def load(*args, **options):
    loaded = dataset_builder.load(source, *args, **options)
    return {split: list(rows) for split, rows in loaded.items()}

found = {
    "chat": load(),
    "streaming": load(streaming=True),
    "as_is": load("as_is"),
    "prompt": load(system_prompt="친구처럼 말해요."),
}
print(json.dumps(found))
"""


def python(version: str) -> Path:
    """The interpreter of the environment with this version of datasets, made if need be."""
    if version == "5.2":
        return Path(sys.executable)
    folder = ROOT / f".venv-datasets-{version}"
    wanted = Path(__file__).with_name(f"requirements-datasets-{version}.txt")
    content = hashlib.sha256(wanted.read_bytes()).hexdigest()
    ready, interpreter = folder / ".ready", folder / "bin" / "python"
    with FileLock(Path(sys.prefix) / f"datasets-{version}.lock"):
        if not ready.is_file() or ready.read_text() != content:
            shutil.rmtree(folder, ignore_errors=True)
            for command in (
                ["venv", "--without-pip", folder],
                ["pip", "--quiet", "--python", interpreter, "install", "--no-deps", "-r", wanted],
            ):
                subprocess.run([sys.executable, "-m", *map(str, command)], check=True)
            ready.write_text(content)
    return interpreter


def probe(version: str, script: str, arguments: list, env: dict[str, str], cwd: Path) -> Any:
    """What the script prints in that environment, from a folder where nothing of ours lies."""
    command = [str(python(version)), "-c", script, *map(str, arguments)]
    done = subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    files = {"Training.json": records(TRAIN + MORE), "Validation.json": records(TEST)}
    return tree(tmp_path / "source", files)


def built(source: Path, out: Path, *flags: str) -> dict[str, list[dict[str, Any]]]:
    assert main(["build", str(source), str(out), *flags]) == 0
    return {path.name.split("-")[0]: pq.read_table(path).to_pylist() for path in out.glob("data/*")}


OTHERS = [pytest.param(version, marks=pytest.mark.long) for version in ("2.21", "3.6", "4.8")]


@pytest.mark.parametrize("version", [*OTHERS, pytest.param("5.2", marks=pytest.mark.slow)])
def test_folder_and_repo_load_without_our_code(hub, source: Path, tmp_path: Path, version) -> None:
    folder = tmp_path / "dataset"
    expected = built(source, folder)
    assert {split: len(rows) for split, rows in expected.items()} == {
        "train": 49,
        "validation": 1,
        "test": 1,
    }
    push(folder, REPO, api=hub.api("alice"))
    loaded = probe(version, LOAD, [folder, REPO], hub.env("alice"), tmp_path)
    assert loaded.pop("version").startswith(version)
    assert loaded.pop("torch") is False
    assert loaded.pop("columns") == [
        *("dialogue_id", "messages", "emotion_code", "emotion_major", "emotion_minor"),
        *("situation", "disease", "age", "gender", "turns", "source_row"),
    ]
    assert len(loaded) == 4
    for way, splits in loaded.items():
        assert splits == expected, way


@pytest.mark.parametrize(
    "version, door",
    [
        pytest.param("2.21", SCRIPT_DOOR, marks=pytest.mark.long),
        pytest.param("3.6", SCRIPT_DOOR, marks=pytest.mark.long),
        pytest.param("5.2", OUR_DOOR, marks=pytest.mark.slow),
    ],
    ids=["script in 2.21", "script in 3.6", "load in 5.2"],
)
def test_both_doors_give_what_the_command_builds(
    hub, source: Path, tmp_path: Path, version: str, door: str
) -> None:
    found = probe(version, door, [SCRIPT, source], hub.env(None), tmp_path)
    expected = built(source, tmp_path / "chat")
    assert found["chat"] == found["streaming"] == expected
    assert found["as_is"] == built(source, tmp_path / "as_is", "--as-is")
    assert found["prompt"] == built(
        source, tmp_path / "prompt", "--system-prompt", "친구처럼 말해요."
    )


ALONE = """
import sys
from importlib import import_module
import_module("copied.kosent_dialogues")
assert not {"dataset_builder", "model_card"} & set(sys.modules)
"""


def test_the_script_names_every_file_that_it_needs(hub, tmp_path: Path) -> None:
    text = SCRIPT.read_text("utf-8")
    names = re.findall(r"^from \.(\w+) import [^#\n]*$", text, re.MULTILINE)
    for name in ("kosent_dialogues", *names):
        tree(tmp_path / "copied", {f"{name}.py": SCRIPT.with_name(f"{name}.py").read_bytes()})
    command = [sys.executable, "-P", "-c", ALONE]
    env = hub.env(None) | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


CACHE = """
import json, sys
import dataset_builder
from dataset_builder.sources import SourceError

def cached(source, *args, **options):
    return dataset_builder.load(source, *args, **options)["train"].cache_files[0]["filename"]

one, moved, changed = sys.argv[1:]
found = [cached(one), cached(one), cached(moved), cached(changed), cached(one, "as_is")]
try:
    dataset_builder.load("nowhere")
except SourceError as error:
    print(json.dumps([found, str(error)]))
"""


@pytest.mark.slow
def test_load_caches_by_content(hub, source: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(source, tmp_path / "moved")
    changed = shutil.copytree(source, tmp_path / "changed")
    (changed / "Validation.json").write_bytes(records(TEST * 2))
    (one, again, elsewhere, other, as_is), said = probe(
        "5.2", CACHE, [source, moved, changed], hub.env(None), tmp_path
    )
    assert one == again == elsewhere
    assert len({one, other, as_is}) == 3
    assert said == "nowhere: no such file or folder; give the folder of AI Hub's download"


FRAMES = """
import json, sys
import pandas, polars
from huggingface_hub import HfFileSystem

folder, repo = sys.argv[1:]
path = "data/train-00000-of-00001.parquet"
rows = [
    polars.read_parquet(f"{folder}/{path}").to_dicts(),
    json.loads(pandas.read_parquet(f"{folder}/{path}").to_json(orient="records")),
    json.loads(pandas.read_parquet(f"hf://datasets/{repo}/{path}").to_json(orient="records")),
    # polars' own hf:// knows one Hub address only, so here it reads through the Hub's file system.
    polars.read_parquet(HfFileSystem().open(f"datasets/{repo}/{path}")).to_dicts(),
]
print(json.dumps(rows))
"""


@pytest.mark.slow
def test_pandas_and_polars_read_it(hub, source: Path, tmp_path: Path) -> None:
    expected = built(source, tmp_path / "dataset")
    push(tmp_path / "dataset", REPO, api=hub.api("alice"))
    arguments = [tmp_path / "dataset", REPO]
    readings = probe("5.2", FRAMES, arguments, hub.env("alice"), tmp_path)
    assert readings == [expected["train"]] * 4
