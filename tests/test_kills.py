"""Killed at any moment and run again, a command ends with the bytes of one that nobody disturbed.

A few moments of each command by default, twenty with --slow; see disturbing.py for what they are.
What differs between any two runs, and so is not compared, is named in `settled`.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests import disturbing
from tests.hub import Hub
from tests.kosent_hub import conftest as chat
from tests.kosent_hub import dialogues
from tests.model_card.cards import RECORDS

SAMPLE = Path(__file__).parent.parent / "dataset_builder" / "sample"
TRAIN = (
    f"{sys.executable} -m kosent_hub.train --config smollm2-135m/cpu --dataset_name dataset "
    f"--model_name_or_path {chat.BASE} --per_device_train_batch_size 2 --max_steps 4 "
    "--lora_dropout 0.1 --logging_steps 3 --save_steps 1 --eval_steps 2 --dtype float32 "
    "--bf16 false --output_dir run"
).split()
EVALUATE = (
    f"{Path(sys.executable).parent / 'kosent-eval'} --model run --dataset chat --embedder none "
    "--max-new-tokens 8 --no-safety --output out"
).split()
DATASET, MODEL = "alice/dialogues", "alice/model"
BUILD = ["kosent-data", "build", str(SAMPLE), "dataset"]
# What the second run says when the first one was killed after all was done.
ALREADY = re.compile(r"dataset: already there|run: already holds a finished run")
# A card's lines with a time or a speed, and the hash of the section that such a line is in.
TIMES = re.compile(r"^\| (걸린 시간|Time|학습한 때|Trained)\b.*$", re.M)
MARKS = re.compile(r"(<!-- kosent:begin \S+) [0-9a-f]{12}")
CLOCKED = re.compile(r"(_runtime|_per_second)$")

some = pytest.mark.parametrize(
    "wanted", [pytest.param(4, id="some"), pytest.param(20, id="all", marks=pytest.mark.slow)]
)


def held(place: Path) -> dict[str, Any]:
    """Everything below a folder, hidden files too, but what is only linked into it."""
    return {
        path.relative_to(place).as_posix(): settled(path.name, path.read_bytes())
        for path in sorted(place.rglob("*"))
        if path.is_file() and not path.is_symlink()
    } | {
        path.relative_to(place).as_posix(): "empty folder"
        for path in sorted(place.rglob("*"))
        if path.is_dir() and not any(path.iterdir())
    }


def settled(name: str, data: bytes) -> Any:
    """A file's content without what no two runs share: times and speeds."""
    if name.startswith("events.out.tfevents"):
        return None  # TensorBoard's own: every event has its time
    if name == "README.md":
        return MARKS.sub(r"\1", TIMES.sub("", data.decode()))
    if name.startswith("completions-"):
        # A log, one record after another, in which a kill may cut a line short.
        records = [json.loads(line) for line in data.splitlines() if whole(line)]
        return {one.pop("key"): one for one in records if one.pop("seconds") >= 0}
    if name.endswith((".json", ".jsonl")) and name != "tokenizer.json":
        return [untimed(json.loads(line)) for line in documents(name, data)]
    return data


def documents(name: str, data: bytes) -> list[bytes]:
    return data.splitlines() if name.endswith("l") else [data]


def whole(line: bytes) -> bool:
    try:
        return bool(json.loads(line))
    except ValueError:
        return False


def untimed(value: Any) -> Any:
    """JSON without `seconds`, `created`, `speed` and Trainer's own times and speeds.

    The layers that an adapter is for are a set: peft writes checkpoints' in any order.
    """
    if isinstance(value, list):
        return [untimed(item) for item in value]
    if not isinstance(value, dict):
        return value
    if isinstance(value.get("target_modules"), list):
        value["target_modules"].sort()
    return {
        key: untimed(item)
        for key, item in value.items()
        if key not in ("seconds", "created", "speed") and not CLOCKED.search(key)
    }


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    return sorted(
        path for path in ours.keys() | theirs.keys() if ours.get(path, 0) != theirs.get(path, 0)
    )


def holds(place: Path, files: dict[str, Any]) -> bool:
    """Whether these are all there; a dataset may be between the two renames that replace it."""
    there = {path.replace(".dataset.old/", "dataset/"): data for path, data in held(place).items()}
    return all(there.get(path) == data for path, data in files.items())


def killed_everywhere(
    command: Sequence[str], prepare: Callable[[Path], None], base: Path, wanted: int, seed: int
) -> None:
    """Kill `command` at moments spread over it, each time in a folder of its own; run it again."""
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
        again = disturbing.run(command, place, env)
        finished = again.returncode == 2 and ALREADY.search(again.stderr.splitlines()[-1])
        assert again.returncode == 0 or finished, (moment, again.stderr)
        assert differences(held(place), expected) == [], moment
        shutil.rmtree(place)
        return killed.returncode != 0

    plans = disturbing.moments(total, wanted, seed)
    with ThreadPoolExecutor(2) as pool:
        deaths = list(pool.map(one, range(wanted), plans))
    print(
        f"{shlex.join(command)}: {total} moments, {sum(deaths)} of {wanted} killed, all identical"
    )
    # Not every file after a moment grows beyond what tears it.
    assert all(dead for dead, plan in zip(deaths, plans, strict=True) if plan.how == "killed")
    assert sum(deaths) > wanted / 2


@some
def test_a_build(wanted: int, tmp_path: Path) -> None:
    killed_everywhere(BUILD, lambda place: None, tmp_path, wanted, seed=1)


@some
def test_a_build_over_an_earlier_one(wanted: int, tmp_path: Path) -> None:
    earlier = tmp_path / "earlier"
    done = disturbing.run([*BUILD[:-1], str(earlier), "--as-is"], tmp_path, os.environ)
    assert done.returncode == 0, done.stderr

    def prepare(place: Path) -> None:
        shutil.copytree(earlier, place / "dataset")

    killed_everywhere([*BUILD, "--overwrite"], prepare, tmp_path, wanted, seed=2)


@some
def test_training(wanted: int, tiny_llama: Path, tmp_path: Path) -> None:
    data = chat.write_dataset(tmp_path / "data")

    def prepare(place: Path) -> None:
        (place / "dataset").symlink_to(data)
        (place / chat.BASE).parent.mkdir()
        (place / chat.BASE).symlink_to(tiny_llama)

    killed_everywhere(TRAIN, prepare, tmp_path, wanted, seed=3)


@some
def test_an_evaluation(wanted: int, tiny_llama: Path, tmp_path: Path) -> None:
    data = dialogues.write_dataset(tmp_path / "data", 8)

    def prepare(place: Path) -> None:
        (place / "chat").symlink_to(data)
        (place / "run" / "kosent").mkdir(parents=True)
        (place / "run" / "kosent" / "run.json").write_text("{}")
        for file in tiny_llama.iterdir():
            (place / "run" / file.name).symlink_to(file)

    killed_everywhere(EVALUATE, prepare, tmp_path, wanted, seed=4)


def killed_by_request(
    command: Sequence[str],
    fill: Callable[[Hub], None],
    repo: tuple[str, str],
    base: Path,
    wanted: int,
    seed: int,
) -> None:
    """Kill `command` at requests spread over it, before or after the Hub acts; run it again.

    `fill` makes what the Hub must have, and `repo` (id, type) is to hold the same in the end.
    """

    def put(hub: Hub) -> dict[str, Any]:
        return {path: settled(path, data) for path, data in hub.files(*repo).items()}

    def workplace(number: int) -> Path:
        place = base / str(number)
        place.mkdir()
        return place

    def run(place: Path, hub: Hub) -> None:
        done = subprocess.run(command, cwd=place, env=hub.env(), capture_output=True, text=True)
        assert done.returncode == 0, (place.name, done.stderr)

    with Hub(base / "home") as hub:
        fill(hub)
        run(workplace(0), hub)
        expected, total = put(hub), hub.asked

    def one(number: int, moment: disturbing.Moment) -> None:
        place = workplace(number)
        with Hub(place / "home") as hub:
            fill(hub)
            process = subprocess.Popen(
                command, cwd=place, env=hub.env(), stderr=subprocess.PIPE, text=True
            )
            # Until it asks for the first time, the faults are long there.
            hub.fault("", "delay", times=moment.at - 1, seconds=0)
            if moment.how == "killed":
                hub.fault("", "reset", when="unanswered", kills=process.pid)
            else:
                hub.fault("", "lost_answer", kills=process.pid)
            said = process.communicate(timeout=300)[1]
            assert process.returncode == -signal.SIGKILL, (moment, said)
            run(place, hub)
            assert differences(put(hub), expected) == [], moment
        shutil.rmtree(place)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(one, range(1, wanted + 1), disturbing.moments(total, wanted, seed)))
    print(f"{shlex.join(command)}: {total} requests, killed at {wanted}, identical")


@some
def test_pushing_a_dataset(wanted: int, tmp_path: Path) -> None:
    folder = tmp_path / "dataset"
    assert subprocess.run([*program(BUILD[:-1]), folder], capture_output=True).returncode == 0
    command = program(["kosent-data", "push", str(folder), "--repo-id", DATASET])
    repo = (DATASET, "dataset")
    killed_by_request(command, lambda hub: None, repo, tmp_path, wanted, seed=5)


@some
def test_pushing_a_run(wanted: int, tmp_path: Path) -> None:
    folder = tmp_path / "finished"
    shutil.copytree(RECORDS / "adapter", folder)
    (folder / "adapter_model.safetensors").write_bytes(bytes(50_000))
    config = {"base_model_name_or_path": "kosent/base", "revision": None}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    command = [sys.executable, "-m", "kosent_hub.push", str(folder), "--repo-id", MODEL]
    killed_by_request(command, lambda hub: None, (MODEL, "model"), tmp_path, wanted, seed=6)


@some
def test_pushing_scores(wanted: int, tiny_llama: Path, tmp_path: Path) -> None:
    data = dialogues.write_dataset(tmp_path / "chat", 2)
    flags = f"--dataset {data} --embedder none --max-new-tokens 4 --no-safety --output out --push"
    command = program(["kosent-eval", "--model", MODEL, *flags.split()])

    def fill(hub: Hub) -> None:
        hub.create(MODEL, files={path.name: path for path in tiny_llama.iterdir()})

    killed_by_request(command, fill, (MODEL, "model"), tmp_path, wanted, seed=7)


def program(command: Sequence[str]) -> list[str]:
    """The command with its program found beside this Python."""
    return [str(Path(sys.executable).parent / command[0]), *command[1:]]
