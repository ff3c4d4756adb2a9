"""The data, card and chat commands without what Windows or macOS lack, each in a new process."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.model_card.cards import RECORDS, card
from tests.support import ROOT

# macOS has no sched_getaffinity; Windows has none of them. What libraries of others do without them
# they choose by the system's name, so those are imported first.
BLOCKED = """
import importlib, os, sys
if sys.argv[1] == "kosent_hub.chat":
    import portalocker
    from transformers import AttentionInterface, AutoModelForCausalLM, AutoTokenizer
sys.modules |= dict.fromkeys(["fcntl", "resource", "termios", "pwd", "grp"])
for name in ("sched_getaffinity", "sysconf", "fork"):
    delattr(os, name)
module, *arguments = sys.argv[1:]
sys.exit(importlib.import_module(module).main(arguments))
"""


@pytest.fixture
def elsewhere(worker_hub, tmp_path: Path):
    """`elsewhere(MODULE, *arguments)`: how its command ended."""

    def run(module: str, *arguments: object, said: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", BLOCKED, module, *map(str, arguments)]
        env = worker_hub.env(None) | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            command, env=env, cwd=tmp_path, input=said, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done

    return run


@pytest.mark.slow
def test_data(elsewhere, tmp_path: Path) -> None:
    elsewhere("dataset_builder.cli", "build", ROOT / "dataset_builder" / "sample", "dataset")
    report = json.loads((tmp_path / "dataset" / "report.json").read_text("utf-8"))
    assert report["splits"]["test"]["dialogues"] == 240
    elsewhere("dataset_builder.cli", "stats", "dataset")
    elsewhere("dataset_builder.cli", "export", "dataset", "--jsonl", "jsonl")
    assert len((tmp_path / "jsonl" / "test.jsonl").read_text("utf-8").splitlines()) == 240


@pytest.mark.slow
def test_card(elsewhere, tmp_path: Path) -> None:
    shutil.copytree(RECORDS / "adapter", tmp_path / "SmolLM2-135M-KoSent")
    elsewhere("model_card.cli", "render", "SmolLM2-135M-KoSent")
    rendered = tmp_path / "SmolLM2-135M-KoSent" / "README.md"
    assert rendered.read_text("utf-8") == card("adapter")
    elsewhere("model_card.cli", "check", "SmolLM2-135M-KoSent")


@pytest.mark.slow
def test_chat(elsewhere, tiny_llama: Path) -> None:
    options = ("--terminal", "--temperature", "0", "--max-new-tokens", "4")
    done = elsewhere("kosent_hub.chat", tiny_llama, *options, said="안녕\n")
    assert done.stdout.strip()
    assert "Traceback" not in done.stderr
