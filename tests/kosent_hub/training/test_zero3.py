"""ZeRO-3 over two processes of this machine, as docs/distributed.md has it.

DeepSpeed lies in a folder of its own beside the environment, made by the first run; only the
processes of this test see it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from tests.kosent_hub.test_two_nodes import CALM, furthest
from tests.support import ROOT

pytestmark = pytest.mark.long

CONFIG = ROOT / "kosent_hub" / "recipes" / "accelerate" / "deepspeed-zero3.yaml"
WANTED = Path(__file__).with_name("requirements-deepspeed.txt")


@pytest.fixture(scope="module")
def deepspeed() -> Path:
    """The folder with DeepSpeed and what it needs beside this environment."""
    folder = Path(sys.prefix) / "share" / "kosent-deepspeed"
    content = hashlib.sha256(WANTED.read_bytes()).hexdigest()
    ready = folder / ".ready"
    folder.parent.mkdir(exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not ready.is_file() or ready.read_text() != content:
            shutil.rmtree(folder, ignore_errors=True)
            install = [
                *("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"),
                *("--require-hashes", "--no-build-isolation", "--target", folder, "-r", WANTED),
            ]
            subprocess.run(
                [sys.executable, *map(str, install)],
                check=True,
                env=os.environ | {"DS_BUILD_OPS": "0", "DS_ACCELERATOR": "cpu"},
            )
            ready.write_text(content)
    return folder


def test_two_processes_that_share_all_of_it_train_what_one_does(
    run, workplace: Path, nobody: dict[str, str], deepspeed: Path
):
    one = run(["kosent-train", *CALM, "--output_dir", "alone"], cwd=workplace, env=nobody)
    assert one.returncode == 0, one.stderr
    shared = run(
        [
            *("accelerate", "launch", "--config_file", CONFIG, "--mixed_precision", "no"),
            *("-m", "tests.support.zero3_on_cpu", *CALM),
            *("--per_device_train_batch_size", "2", "--output_dir", "shared"),
        ],
        cwd=workplace,
        env=nobody
        | {
            "ACCELERATE_USE_CPU": "true",
            "DS_ACCELERATOR": "cpu",
            "PYTHONPATH": f"{deepspeed}:{ROOT}",
        },
        fresh=True,
        timeout=3600,
    )
    assert shared.returncode == 0, shared.stderr
    assert "memory not checked" not in shared.stderr
    found = re.search(r"shared out: (\d+) of (\d+) parameters", shared.stderr)
    assert found and int(found[1]) == int(found[2]) > 0, shared.stderr
    assert furthest(workplace / "alone", workplace / "shared") < 1e-3
