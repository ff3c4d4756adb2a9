"""Killed at any moment and run again, a command ends with the bytes of one that nobody disturbed.

A few moments of each command by default, twenty with --slow; see disturbing.py for what they are.
What differs between any two runs, and so is not compared, is named in compared.py.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.kosent_hub import dialogues
from tests.support import disturbing, fork_server
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
from tests.support.compared import differences, held, settled
from tests.support.hub import Hub

DATASET, MODEL = "alice/dialogues", "alice/model"
# What the second run says when the first one was killed after all was done.
ALREADY = re.compile(
    r"dataset: already there|run: already holds a finished run|merged: already exists"
)


def moments(few: int) -> pytest.MarkDecorator:
    """A test with `few` moments, if any, and with --slow another with twenty."""
    twenty = pytest.param(20, id="twenty", marks=pytest.mark.slow)
    quick = [pytest.param(few, id="few")] if few else []
    return pytest.mark.parametrize("wanted", [*quick, twenty])


def holds(place: Path, files: dict[str, Any]) -> bool:
    """Whether these are all there; a dataset may be between the two renames that replace it."""
    there = {path.replace(".dataset.old/", "dataset/"): data for path, data in held(place).items()}
    return all(there.get(path) == data for path, data in files.items())


def killed_everywhere(
    command: Sequence[str],
    prepare: Callable[[Path], None],
    base: Path,
    wanted: int,
    seed: int,
    also: Sequence[disturbing.Moment] = (),
    whole: str | None = None,
) -> None:
    """Kill `command` at moments spread over it, each time in a folder of its own; run it again.

    A folder `whole` is never there in parts.
    """
    env = os.environ | {"HF_HUB_OFFLINE": "1"}
    calm = base / "calm"
    calm.mkdir()
    prepare(calm)
    before = held(calm)
    done = disturbing.run(command, calm, env, count=base / "moments")
    assert done.returncode == 0, done.stderr
    expected = held(calm)
    total = int((base / "moments").read_text())

    def one(number: int, moment: disturbing.Moment) -> bool:
        place = base / str(number)
        place.mkdir()
        prepare(place)
        killed = disturbing.run(command, place, env, moment=moment)
        assert killed.returncode in (*disturbing.DEAD, 0), killed.stderr
        assert holds(place, before) or holds(place, expected), moment
        if whole is not None and (place / whole).exists():
            made = {path: data for path, data in expected.items() if path.startswith(f"{whole}/")}
            assert made and holds(place, made), moment
        again = disturbing.run(command, place, env)
        finished = again.returncode == 2 and ALREADY.search(again.stderr.splitlines()[-1])
        assert again.returncode == 0 or finished, (moment, again.stderr)
        assert differences(held(place), expected) == [], moment
        shutil.rmtree(place)
        return killed.returncode != 0

    plans = [*disturbing.moments(total, wanted, seed), *also]
    with ThreadPoolExecutor(2) as pool:
        deaths = list(pool.map(one, range(len(plans)), plans))
    # After the last large file, nothing is left to tear.
    assert all(dead for dead, plan in zip(deaths, plans, strict=True) if plan.how == "killed")
    print(f"{shlex.join(command)}: {total} moments, killed at {sum(deaths)} of {len(plans)}")


@moments(4)
def test_a_build(wanted: int, tmp_path: Path) -> None:
    killed_everywhere(BUILD, lambda place: None, tmp_path, wanted, seed=1)


@moments(4)
def test_a_build_over_an_earlier_one(wanted: int, tmp_path: Path) -> None:
    earlier = tmp_path / "earlier"
    done = disturbing.run([*BUILD[:-1], str(earlier), "--as-is"], tmp_path, os.environ)
    assert done.returncode == 0, done.stderr

    def prepare(place: Path) -> None:
        shutil.copytree(earlier, place / "dataset")

    killed_everywhere([*BUILD, "--overwrite"], prepare, tmp_path, wanted, seed=2)


@moments(0)  # tests/kosent_hub/training has a quick test of one
def test_training(wanted: int, tiny_llama: Path, tmp_path: Path) -> None:
    def prepare(place: Path) -> None:
        for_training(place, tiny_llama)

    # After the last checkpoint, and with only the card still to be made.
    nearly = [
        disturbing.Moment(1, "killed", path=path)
        for path in ("run/tokenizer_config.json", ".README.md.partial")
    ]
    killed_everywhere(TRAIN, prepare, tmp_path, wanted, seed=3, also=nearly)


@moments(2)
def test_an_evaluation(wanted: int, tiny_llama: Path, tmp_path: Path) -> None:
    killed_everywhere(
        EVALUATE, lambda place: for_evaluation(place, tiny_llama), tmp_path, wanted, seed=4
    )


@moments(0)  # the folder that a build replaces takes its name in the same way
def test_an_export(wanted: int, tiny_llama: Path, tmp_path: Path) -> None:
    for_export(tmp_path / "made", tiny_llama)

    def prepare(place: Path) -> None:
        shutil.copytree(tmp_path / "made", place, symlinks=True, dirs_exist_ok=True)

    killed_everywhere(EXPORT, prepare, tmp_path, wanted, seed=8, whole="merged")


def killed_by_request(
    hub: Hub,
    command: Sequence[str],
    fill: Callable[[], object],
    repo: tuple[str, str],
    base: Path,
    wanted: int,
    seed: int,
) -> None:
    """Kill `command` at requests spread over it, before or after the Hub acts; run it again.

    `fill` makes what the Hub must have, and `repo` (id, type) is to hold the same in the end.
    """

    def put() -> dict[str, Any]:
        return {path: settled(path, data) for path, data in hub.files(*repo).items()}

    def workplace(number: int) -> Path:
        place = base / str(number)
        place.mkdir()
        return place

    def run(place: Path) -> None:
        done = fork_server.run(command, cwd=place, env=hub.env())
        assert done.returncode == 0, (place.name, done.stderr)

    fill()
    run(workplace(0))
    expected, total = put(), hub.asked
    for number, moment in enumerate(disturbing.moments(total, wanted, seed), 1):
        place = workplace(number)
        hub.empty()
        fill()
        pid: Future[int] = Future()
        hub.fault("", "delay", times=moment.at - 1, seconds=0)
        if moment.how == "killed":
            hub.fault("", "reset", when="unanswered", kills=pid)
        else:
            hub.fault("", "lost_answer", kills=pid)
        with fork_server.start(command, cwd=place, env=hub.env()) as process:
            pid.set_result(process.pid)
            _, said = process.communicate()
        assert process.returncode == -signal.SIGKILL, (moment, said)
        run(place)
        assert differences(put(), expected) == [], moment
        shutil.rmtree(place)
    print(f"{shlex.join(command)}: {total} requests, killed at {wanted}")


@moments(1)
def test_pushing_a_dataset(wanted: int, hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "dataset"
    done = disturbing.run([*BUILD[:-1], str(folder)], tmp_path, os.environ)
    assert done.returncode == 0, done.stderr
    command = ["kosent-data", "push", str(folder), "--repo-id", DATASET]
    repo = (DATASET, "dataset")
    killed_by_request(hub, command, lambda: None, repo, tmp_path, wanted, seed=5)


@moments(0)  # commits as test_pushing_a_dataset does
def test_pushing_a_run(wanted: int, hub: Hub, tmp_path: Path) -> None:
    folder = finished_run(tmp_path / "finished")
    command = [sys.executable, "-m", "kosent_hub.push", str(folder), "--repo-id", MODEL]
    killed_by_request(hub, command, lambda: None, (MODEL, "model"), tmp_path, wanted, seed=6)


@moments(0)  # commits as test_pushing_a_dataset does
def test_pushing_scores(wanted: int, hub: Hub, tiny_llama: Path, tmp_path: Path) -> None:
    data = dialogues.write_dataset(tmp_path / "chat", 2)
    flags = f"--dataset {data} --embedder none --max-new-tokens 4 --no-safety --output out --push"
    command = ["kosent-eval", "--model", MODEL, *flags.split()]
    files = {path.name: path for path in tiny_llama.iterdir()}

    def fill() -> None:
        hub.create(MODEL, files=files)

    killed_by_request(hub, command, fill, (MODEL, "model"), tmp_path, wanted, seed=7)
