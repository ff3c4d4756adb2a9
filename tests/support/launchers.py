"""Two processes of one command, by the launchers that users have and without."""

from __future__ import annotations

import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.support import fork_server


def torchrun(module: Sequence[str], env: Mapping[str, str], cwd: Path) -> str:
    """What both said on stdout."""
    return _launched(["torchrun", "--nproc_per_node", "2", *module], env, cwd)


def accelerate(module: Sequence[str], env: Mapping[str, str], cwd: Path) -> str:
    """The same; on a machine without GPUs, --multi_gpu is its word for several processes."""
    launch = ["accelerate", "launch", "--multi_gpu", "--num_processes", "2"]
    return _launched([*launch, *module], env, cwd)


def forks(module: Sequence[str], env: Mapping[str, str], cwd: Path) -> str:
    """The same of two forks with the variables that torchrun sets."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    shared |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    running = [
        fork_server.start(
            [sys.executable, *module],
            env={**env, **shared, "RANK": rank, "LOCAL_RANK": rank},
            cwd=cwd,
            script=True,
        )
        for rank in "01"
    ]
    ends = [process.communicate(timeout=300) for process in running]
    assert [process.returncode for process in running] == [0, 0], ends
    return "".join(out for out, _ in ends)


def _launched(command: Sequence[str], env: Mapping[str, str], cwd: Path) -> str:
    done = fork_server.run(command, env=env, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


# Each launcher starts two processes that import everything; by default there are none.
LAUNCHERS = [
    forks,
    *(pytest.param(each, marks=pytest.mark.slow) for each in (torchrun, accelerate)),
]
