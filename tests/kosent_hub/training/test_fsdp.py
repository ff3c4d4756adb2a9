"""FSDP2 over two processes of this machine, as docs/distributed.md has it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.kosent_hub.test_two_nodes import CALM, furthest
from tests.support import ROOT

pytestmark = pytest.mark.slow

CONFIG = ROOT / "kosent_hub" / "recipes" / "accelerate" / "fsdp2.yaml"


def test_two_processes_that_share_the_base_train_what_one_does(
    run, workplace: Path, nobody: dict[str, str]
):
    one = run(["kosent-train", *CALM, "--output_dir", "alone"], cwd=workplace, env=nobody)
    assert one.returncode == 0, one.stderr
    shared = run(
        [
            *("accelerate", "launch", "--config_file", CONFIG, "-m", "tests.support.fsdp_on_cpu"),
            *(*CALM, "--per_device_train_batch_size", "2", "--output_dir", "shared"),
        ],
        cwd=workplace,
        env=nobody | {"ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(ROOT)},
    )
    assert shared.returncode == 0, shared.stderr
    found = re.search(r"shared out: (\d+) of (\d+) parameters", shared.stderr)
    assert found and int(found[1]) == int(found[2]) > 0, shared.stderr
    assert furthest(workplace / "alone", workplace / "shared") < 1e-3
