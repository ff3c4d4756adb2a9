"""Two commands into one folder: the second is told who holds it, and nothing is disturbed."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support import disturbing
from tests.support.commands import BUILD, EVALUATE, TRAIN, for_evaluation, for_training
from tests.support.compared import held

ENV = os.environ | {"HF_HUB_OFFLINE": "1"}


def second_is_refused(command: Sequence[str], place: Path, moment: disturbing.Moment) -> str:
    """What a second run is told while the first one stands still; the first then ends well."""
    first = disturbing.start(command, place, ENV, moment=moment)
    while "State:\tT" not in Path(f"/proc/{first.pid}/status").read_text():
        assert first.poll() is None, first.communicate()
        time.sleep(0.01)
    before = held(place)
    second = disturbing.run(command, place, ENV)
    assert held(place) == before
    os.kill(first.pid, signal.SIGCONT)
    _, said = first.communicate()
    assert first.returncode == 0, said
    assert not list(place.glob(".*")), "the lock is gone"
    assert second.returncode == 2, second.stderr
    line = second.stderr.splitlines()[-1]
    told = re.sub(r"since [\d-]{10} [\d:]{5}[+-][\d:]{5}", "since then", line)
    return told.replace(f"pid {first.pid} on {socket.gethostname()}", "pid 1 on here")


def test_two_builds(tmp_path: Path) -> None:
    told = second_is_refused(BUILD, tmp_path, disturbing.Moment(1, "stopped", path="report.json"))
    assert told == (
        "kosent-data: dataset: kosent-data build (pid 1 on here, since then) is writing here; "
        "wait for it, or name another folder"
    )


@pytest.mark.slow
def test_two_trainings(tiny_llama: Path, tmp_path: Path) -> None:
    for_training(tmp_path, tiny_llama)
    told = second_is_refused(TRAIN, tmp_path, disturbing.Moment(1, "stopped", path="checkpoint-1"))
    assert told == (
        "kosent_hub.train: run: kosent_hub.train (pid 1 on here, since then) is writing here; "
        "wait for it, or name another folder"
    )


@pytest.mark.slow
def test_two_evaluations(tiny_llama: Path, tmp_path: Path) -> None:
    for_evaluation(tmp_path, tiny_llama)
    moment = disturbing.Moment(3, "stopped", path="completions")
    assert second_is_refused(EVALUATE, tmp_path, moment) == (
        "kosent-eval: out: kosent-eval (pid 1 on here, since then) is writing here; "
        "wait for it, or name another folder"
    )
