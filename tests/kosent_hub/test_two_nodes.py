"""Training and evaluation on two machines, as docs/distributed.md has it."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from model_card import records
from tests.kosent_hub.conftest import BASE
from tests.kosent_hub.training.test_train import FLAGS, weights
from tests.support import ROOT
from tests.support.nodes import two_nodes

pytestmark = pytest.mark.slow

CONFIG = ROOT / "kosent_hub" / "recipes" / "accelerate" / "multi-node.yaml"
# The same data order and no dropout, so that only the rounding of sums may differ.
CALM = [*FLAGS, "--lora_dropout", "0", "--report_to", "none", "--eval_strategy", "no"]


def launch(node, rank: int, command: list[str], *, cwd: Path, env: dict[str, str]):
    """One of the two nodes' launchers."""
    script = [
        sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(CONFIG),
        "--num_processes", "2", "--machine_rank", str(rank), "--main_process_ip", "10.77.0.1",
        *command,
    ]  # fmt: skip
    return subprocess.Popen(
        [*node.enter, *script],
        cwd=cwd,
        env=env | {"GLOO_SOCKET_IFNAME": node.card, "ACCELERATE_USE_CPU": "true"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def both(nodes, command: list[str], **where) -> list[tuple[str, str]]:
    """What the two nodes say when they run the command to its end."""
    running = [launch(node, rank, command, **where) for rank, node in enumerate(nodes)]
    ends = [process.communicate(timeout=600) for process in running]
    assert [process.returncode for process in running] == [0, 0], ends
    return ends


def furthest(one: Path, other: Path) -> float:
    """The largest difference of two adapters' weights, as a share of how far training moved."""
    ones, others = weights(one), weights(other)
    pairs = [pair for name in ones for pair in zip(ones[name], others[name], strict=True)]
    moved = max(abs(value) for name in ones if "lora_B" in name for value in ones[name])
    return max(abs(a - b) for a, b in pairs) / moved


def test_two_nodes_train_and_evaluate_what_one_does(run, workplace: Path, nobody: dict[str, str]):
    train = ["-m", "kosent_hub.train", *CALM]
    one = run(["kosent-train", *CALM, "--output_dir", "one"], cwd=workplace, env=nobody)
    assert one.returncode == 0, one.stderr
    half = [*train, "--per_device_train_batch_size", "2"]
    where = {"cwd": workplace, "env": nobody}
    with two_nodes() as nodes:
        both(nodes, [*half, "--output_dir", "two"], **where)
        assert furthest(workplace / "one", workplace / "two") < 1e-3
        found = records.read(records.Run, workplace / "two" / records.RUN_PATH)
        assert (found.hardware.processes, found.training.effective_batch_size) == (2, 4)

        # A node is lost: the other one ends too, and says how to go on.
        running = [
            launch(node, rank, [*half, "--output_dir", "lost"], **where)
            for rank, node in enumerate(nodes)
        ]
        seal = workplace / "lost" / "checkpoint-2" / "kosent-checkpoint.json"
        deadline = time.monotonic() + 300
        while not seal.exists():
            assert time.monotonic() < deadline and running[0].poll() is None
            time.sleep(0.01)
        nodes[1].kill()
        _, said = running[0].communicate(timeout=300)
        assert running[0].returncode != 0
        assert "the same command goes on" in said, said

        evaluate = [
            "-m", "kosent_hub.evaluate", "--model", "two", "--dataset", "dataset", "--embedder",
            "none", "--no-safety", "--max-new-tokens", "8", "--dtype", "float32", "--json",
        ]  # fmt: skip
        (out, _), (nothing, _) = both(nodes, [*evaluate, "--output", "by-two"], **where)
    assert nothing == ""

    # On one machine, with the same effective batch: it ends where it would have ended on two.
    short = run(
        ["kosent-train", *CALM, "--per_device_train_batch_size", "2", "--output_dir", "lost"],
        **where,
    )
    assert short.returncode == 2 and "effective_batch_size 4 -> 2" in short.stderr, short.stderr
    resumed = run(
        [
            *("kosent-train", *CALM, "--per_device_train_batch_size", "2"),
            *("--gradient_accumulation_steps", "2", "--output_dir", "lost"),
        ],
        **where,
    )
    assert resumed.returncode == 0, resumed.stderr
    assert "going on from lost/checkpoint-" in resumed.stderr
    assert furthest(workplace / "one", workplace / "lost") < 1e-3

    alone = run(["python", *evaluate, "--output", "by-one"], **where)
    assert alone.returncode == 0, alone.stderr
    ours, theirs = json.loads(alone.stdout), json.loads(out)
    assert ours["dataset"] == theirs["dataset"] and ours["metrics"] == theirs["metrics"]
    assert BASE in (workplace / "two" / "adapter_config.json").read_text()
