"""Commands run as a user runs them, but killed, or without room, at a moment of the test's choice.

The moments are events, not times (tests/disturbed/sitecustomize.py counts them), so that they
are the same on any machine; a seed spreads them over the whole command.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

DISTURBED = Path(__file__).parent / "disturbed"
DEAD = (-signal.SIGKILL, -signal.SIGXFSZ)


@dataclass(frozen=True)
class Moment:
    """When a command is disturbed, and how: `killed`, `torn` or `full`."""

    at: int
    how: str
    bytes: int = 0


def run(
    command: Sequence[str],
    place: Path,
    env: Mapping[str, str],
    *,
    moment: Moment | None = None,
    count: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """A command run in `place` and disturbed at `moment`; `count` gets its number of moments."""
    plan: dict[str, object] = {"below": str(place), "count": str(count) if count else None}
    if moment is not None:
        plan |= {"at": moment.at, "how": moment.how, "bytes": moment.bytes}
        plan |= {"filler": str(place / ".filler")}
    program, *arguments = map(str, command)
    here = Path(sys.executable).parent / program
    return subprocess.run(
        [str(here) if here.exists() else program, *arguments],
        cwd=place,
        env={
            **env,
            "KOSENT_TEST_DISTURB": json.dumps(plan),
            "PYTHONPATH": os.pathsep.join([str(DISTURBED), *filter(None, [env.get("PYTHONPATH")])]),
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        timeout=300,
    )


def moments(total: int, wanted: int, seed: int) -> list[Moment]:
    """`wanted` moments spread over a command that has `total`: half of them kill, half tear."""
    draw = random.Random(seed)
    edges = [1 + i * total // wanted for i in range(wanted + 1)]
    spread = [draw.randint(a, max(a, b - 1)) for a, b in itertools.pairwise(edges)]
    return [
        Moment(at, "torn", draw.choice([0, 100, 1_000])) if i % 2 else Moment(at, "killed")
        for i, at in enumerate(spread)
    ]
