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


def test_the_parts_measure_what_they_say(run, tmp_path):
    rows = measured(run, tmp_path, "memory", "speed", "eval")
    assert [row["what"].split("/")[1] for row in rows["memory"]] == [
        "lora-a100-reference", "qlora-24gb", "qlora-8gb", "qlora-a100", "qlora-t4",
    ]  # fmt: skip
    for row in rows["memory"]:
        assert row["measured"] == pytest.approx(row["expected"], rel=0.25), row
    assert len(rows["speed"]) == 4 and all(row["measured"] > 0 for row in rows["speed"])
    ours, vllm = rows["eval"]
    assert ours["measured"] > 0 and "4 of 4" in ours["note"]
    assert vllm["measured"] is None and "not installed" in vllm["note"]


@pytest.mark.slow
def test_what_must_be_the_same_is(run, tmp_path):
    replies, memory, killed = measured(run, tmp_path, "same")["same"]
    assert replies["measured"] == 8
    assert "needs a GPU" in memory["note"]
    assert killed["measured"] == 0.0
