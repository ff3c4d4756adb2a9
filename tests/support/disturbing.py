"""Commands run as a user runs them, but killed, or without room, at a moment of the test's choice.

The moments are events, not times (disturbed/sitecustomize.py counts them), so that they
are the same on any machine; a seed spreads them over the whole command.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import fork_server

DISTURBED = Path(__file__).parent / "disturbed"
FILLER = ".filler"
DEAD = (-signal.SIGKILL, -signal.SIGXFSZ)


@dataclass(frozen=True)
class Moment:
    """When a command is disturbed, and how: `killed`, `torn`, `full` or `stopped`.

    With `path` it is the moment number `at` of those about a path that has it in it.
    """

    at: int
    how: str
    bytes: int = 0
    path: str = ""


def start(
    command: Sequence[str],
    place: Path,
    env: Mapping[str, str],
    *,
    moment: Moment | None = None,
    count: Path | None = None,
) -> fork_server.Process:
    """A command at work in `place`, to be disturbed at `moment`; `count` gets how many it has."""
    plan: dict[str, object] = {"below": str(place), "count": str(count) if count else None}
    if moment is not None:
        plan |= {**asdict(moment), "filler": str(place / FILLER)}
    disturbed = {"KOSENT_TEST_DISTURB": json.dumps(plan), "PYTHONPATH": str(DISTURBED)}
    return fork_server.start(command, cwd=place, env={**env, **disturbed, "OMP_NUM_THREADS": "1"})


def run(
    command: Sequence[str], place: Path, env: Mapping[str, str], **how: Any
) -> subprocess.CompletedProcess[str]:
    """The same, and how it ended."""
    with start(command, place, env, **how) as process:
        out, err = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def moments(total: int, wanted: int, seed: int) -> list[Moment]:
    """`wanted` moments spread over a command that has `total`: half of them kill, half tear."""
    draw = random.Random(seed)
    edges = [1 + i * total // wanted for i in range(wanted + 1)]
    spread = [draw.randint(a, max(a, b - 1)) for a, b in itertools.pairwise(edges)]
    return [
        Moment(at, "torn", draw.choice([0, 100, 1_000])) if i % 2 else Moment(at, "killed")
        for i, at in enumerate(spread)
    ]


@contextmanager
def mounted(folder: Path, size: str = "1m") -> Iterator[None]:
    """A small disk of its own at `folder`, which is there; it takes root to make one."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    made = subprocess.run(mount, capture_output=True, text=True)
    if made.returncode != 0:
        why = f"no small disk can be mounted here: {made.stderr.strip()}"
        pytest.fail(why) if os.environ.get("CI") == "true" else pytest.skip(why)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
