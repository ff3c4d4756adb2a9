"""The vLLM backend, run by `make test-vllm` in an environment of its own."""

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("vllm")

from tests.kosent_hub.adapters import write_adapter
from tests.kosent_hub.dialogues import write_dataset

ENGINE = ("--engine-arg", "gpu_memory_utilization=0.15", "--engine-arg", "enforce_eager=true")
QUICK = ("--embedder", "none", "--max-new-tokens", "8", "--no-safety", "--dtype", "float32")


def evaluate(backend, model, dataset, out, *more):
    """Ends with the results; in a process of its own, for vLLM does not let go of memory."""
    engine = (*ENGINE, "--engine-arg", "max_model_len=512") if backend == "vllm" else ()
    command = [
        *(sys.executable, "-m", "kosent_hub.evaluate", "--backend", backend, *QUICK, *engine),
        *("--model", str(model), "--dataset", str(dataset), "--output", str(out), "--json", *more),
    ]
    env = os.environ | {"VLLM_LOGGING_LEVEL": "ERROR"}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def dataset(tmp_path):
    return write_dataset(tmp_path / "chat", 5)


def close(ours, theirs):
    """The same replies, and fits that differ by rounding only."""
    for name, metric in ours["metrics"].items():
        tolerance = 1e-3 if name in ("perplexity", "token_accuracy") else 1e-9
        assert theirs["metrics"][name]["value"] == pytest.approx(metric["value"], rel=tolerance)


def test_vllm_gives_the_scores_of_transformers(smollm2, dataset, tmp_path):
    status, found, said = evaluate("vllm", smollm2, dataset, tmp_path / "vllm")
    assert status == 0, said
    _, expected, _ = evaluate("transformers", smollm2, dataset, tmp_path / "here")
    close(json.loads(expected), json.loads(found))
    assert json.loads(found)["speed"]["backend"] == "vllm"
    assert "vllm" in "".join(json.loads(found)["versions"])


def test_an_adapter_is_active_in_vllm(smollm2, dataset, tmp_path):
    tuned = write_adapter(smollm2, tmp_path / "tuned", 0.05)
    status, found, said = evaluate("vllm", tuned, dataset, tmp_path / "vllm")
    assert status == 0, said
    _, expected, _ = evaluate("transformers", tuned, dataset, tmp_path / "here")
    close(json.loads(expected), json.loads(found))
    assert json.loads(found)["model"]["adapter"] is True


def test_an_adapter_that_does_nothing_is_refused(smollm2, dataset, tmp_path):
    idle = write_adapter(smollm2, tmp_path / "idle", 0)
    status, _, said = evaluate("vllm", idle, dataset, tmp_path / "vllm")
    assert status == 2
    assert "answers exactly as without it" in said
