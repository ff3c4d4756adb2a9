"""A disk that gets full: one line says where, what was there is intact, and room is all it needs.

Each command works on a small disk of its own, which is filled at a moment of the test's choice.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.support import ROOT, disturbing
from tests.support.commands import (
    BUILD,
    EVALUATE,
    EXPORT,
    TRAIN,
    finished_run,
    for_evaluation,
    for_export,
    for_training,
)
from tests.support.compared import held

ENV = os.environ | {"HF_HUB_OFFLINE": "1"}

# Of another evaluation, as may stand where this one's go.
EARLIER = ROOT / "tests/model_card/records/adapter-no-baseline/kosent/eval/dataset--test.json"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """The folder of a disk of 160 MiB: what a training wants to see free before it begins."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with disturbing.mounted(folder, "160m"):
        yield folder


def filled(path: str, at: int = 1, room: int = 0) -> disturbing.Moment:
    """The disk gets full but for `room` bytes when `path` comes up for the `at`th time."""
    return disturbing.Moment(at, "full", room, path)


def survives(
    command: Sequence[str], place: Path, moment: disturbing.Moment, where: str, draft: str = ""
) -> subprocess.CompletedProcess[str]:
    """How `command` ends once there is room again, after it ended as it should without.

    `where` is the place that the line has to name. Only what goes on from there leaves a `draft`.
    """
    before = held(place)
    full = disturbing.run(command, place, ENV, moment=moment)
    assert full.returncode == 2, full.stderr
    assert re.fullmatch(
        rf"[\w.-]+: {re.escape(where)}: no space left on device; "
        "make room there, then run the same command again",
        full.stderr.splitlines()[-1],
    ), full.stderr
    assert "Traceback" not in full.stderr
    (place / disturbing.FILLER).unlink()
    now = held(place)
    assert {path: now.get(path) for path in before} == before
    hidden = {path.split("/")[0] for path in now if re.search(r"(^|/)\.", path)}
    assert hidden <= {draft}, "drafts"
    again = disturbing.run(command, place, ENV)
    assert again.returncode == 0, again.stderr
    return again


@pytest.mark.parametrize("path", [".dataset.new", "data", "README.md", "report.json"])
def test_a_build(disk: Path, path: str) -> None:
    survives(BUILD, disk, filled(path), where="dataset")


def test_a_build_over_an_earlier_one(disk: Path) -> None:
    done = disturbing.run([*BUILD, "--as-is"], disk, ENV)
    assert done.returncode == 0, done.stderr
    survives([*BUILD, "--overwrite"], disk, filled("data"), where="dataset")


def test_an_export(disk: Path, tmp_path: Path) -> None:
    done = disturbing.run(BUILD, tmp_path, ENV)
    assert done.returncode == 0, done.stderr
    export = ["kosent-data", "export", str(tmp_path / "dataset"), "--jsonl", "lines"]
    survives(export, disk, filled("train.jsonl"), where="lines/train.jsonl")
    survives([*export, "--overwrite"], disk, filled("train.jsonl"), where="lines/train.jsonl")


def test_a_card(disk: Path) -> None:
    run = finished_run(disk / "run")
    (run / "README.md").write_text("# Mine\n")
    survives(["kosent-card", "render", "run"], disk, filled("README.md"), where="run/README.md")


@pytest.mark.parametrize(
    ("moment", "checkpoint", "where"),
    [
        pytest.param(  # in a thread of TensorBoard's
            filled("events.out"), None, "run", marks=pytest.mark.slow
        ),
        pytest.param(  # safetensors' own error
            filled("checkpoint-3"), "checkpoint-2", "run", marks=pytest.mark.slow
        ),
        pytest.param(  # torch's
            filled("checkpoint-3/tokenizer_config.json", room=4096),
            "checkpoint-2",
            "run",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            filled("log_history.jsonl"),
            "checkpoint-4",
            "run/kosent/log_history.jsonl",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_training(
    disk: Path, tiny_llama: Path, moment: disturbing.Moment, checkpoint: str | None, where: str
) -> None:
    for_training(disk, tiny_llama)
    again = survives(TRAIN, disk, moment, where)
    assert (f"going on from run/{checkpoint}" in again.stderr) == (checkpoint is not None)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("moment", "where"),
    [
        (filled("completions", at=9), "out"),
        (filled("results.json"), "out/results.json"),
    ],
)
def test_an_evaluation(disk: Path, tiny_llama: Path, moment: disturbing.Moment, where: str) -> None:
    for_evaluation(disk, tiny_llama)
    (disk / "out").mkdir()
    (disk / "out" / "results.json").write_bytes(EARLIER.read_bytes())
    survives(EVALUATE, disk, moment, where)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("moment", "where"),
    [
        # Room for the note on what is merged, and not for the weights after it.
        (filled(".merged.partial/..kosent-merge.json", room=2**16), "merged"),
        (filled(".merged.partial/.tokenizer.json"), ".merged.partial/tokenizer.json"),
    ],
    ids=["weights", "tokenizer"],
)
def test_a_merged_model(
    disk: Path, tiny_llama: Path, moment: disturbing.Moment, where: str
) -> None:
    for_export(disk, tiny_llama)
    again = survives(EXPORT, disk, moment, where, draft=".merged.partial")
    assert "going on with .merged.partial" in again.stderr
    assert {p.name for p in disk.iterdir()} == {"kosent", "run", "merged"}
