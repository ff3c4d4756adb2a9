"""The kit for a GPU, in miniature on this CPU: each part runs, and writes what it prints."""

from __future__ import annotations

import json
import os

import pytest

from tests.support import ROOT

# As `python -m tests.gpu.kit`, in a process that has imported what it needs.
KIT = "import sys; from tests.gpu.kit import main; sys.exit(main())"


def measured(run, tmp_path, *parts: str) -> dict[str, list[dict]]:
    flags = [word for part in parts for word in ("--part", part)]
    env = os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    command = ["python", "-c", KIT, "--out", tmp_path, *flags]
    done = run(command, env=env, cwd=ROOT, script=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = {part: json.loads((tmp_path / f"{part}.json").read_text()) for part in parts}
    for part, document in found.items():
        assert document["part"] == part and document["machine"]["GPU"] == "none"
        assert all(row["what"] in done.stdout for row in document["rows"])
    return {part: document["rows"] for part, document in found.items()}


def test_memory_and_replies_are_measured(run, tmp_path):
    rows = measured(run, tmp_path, "memory", "eval")
    names = [row["what"] for row in rows["memory"]]
    assert names == ["llama-3.1-8b/qlora-8gb", "llama-3.1-8b/lora-a100-reference"]
    for row in rows["memory"]:
        assert row["measured"] == pytest.approx(row["expected"], rel=0.15), row
    ours, vllm = rows["eval"]
    assert ours["measured"] > 0 and "4 of 4" in ours["note"]
    assert vllm["measured"] is None and "not installed" in vllm["note"]


def test_speed_is_measured_and_what_must_be_the_same_is(run, tmp_path):
    rows = measured(run, tmp_path, "speed", "same")
    assert [row["measured"] > 0 for row in rows["speed"]] == [True, True]
    replies, memory, killed = rows["same"]
    assert replies["measured"] == 8
    assert "needs a GPU" in memory["note"]
    assert killed["measured"] == 0.0
