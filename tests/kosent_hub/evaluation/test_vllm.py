"""The vLLM backend, run by `make test-vllm` in an environment of its own."""

import json
import re
import shutil
import subprocess
import sys
import time

import psutil
import pyarrow.parquet as pq
import pytest

pytest.importorskip("vllm")
from tests.kosent_hub.adapters import write_adapter
from tests.kosent_hub.dialogues import write_dataset

pytestmark = pytest.mark.long

ENGINE = {"kv_cache_memory_bytes": 2**28, "max_model_len": 512, "enforce_eager": "true"}
QUICK = ("--embedder", "none", "--max-new-tokens", "8", "--no-safety", "--dtype", "float32")


def command(backend, model, dataset, out, *more, **engine):
    arguments = ENGINE | engine if backend == "vllm" else {}
    return [
        *(sys.executable, "-m", "kosent_hub.evaluate", "--backend", backend, *QUICK),
        *(
            part
            for name, value in arguments.items()
            for part in ("--engine-arg", f"{name}={value}")
        ),
        *("--model", str(model), "--dataset", str(dataset), "--output", str(out), "--json", *more),
    ]


def evaluate(*arguments, **engine):
    """Exit status, stdout, stderr of a process of its own."""
    done = subprocess.run(command(*arguments, **engine), capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def dataset(tmp_path):
    return write_dataset(tmp_path / "chat", 5)


TARGET_SCORES = ("perplexity", "token_accuracy", "bits_per_byte", "retention_ko", "retention_en")


def close(ours, theirs, without=()):
    """The same replies, and target scores that differ by rounding only."""
    assert theirs["metrics"].keys() == ours["metrics"].keys() - set(without)
    for name in theirs["metrics"]:
        expected, found = ours["metrics"][name]["value"], theirs["metrics"][name]["value"]
        if expected is None:
            assert found is None, name
        else:
            tolerance = 1e-3 if name in TARGET_SCORES else 1e-9
            assert found == pytest.approx(expected, rel=tolerance), name


def test_vllm_gives_the_scores_of_transformers(smollm2, dataset, tmp_path):
    status, found, said = evaluate("vllm", smollm2, dataset, tmp_path / "vllm")
    assert status == 0, said
    _, expected, _ = evaluate("transformers", smollm2, dataset, tmp_path / "here")
    close(json.loads(expected), json.loads(found))
    assert json.loads(found)["speed"]["backend"] == "vllm"
    assert "vllm" in "".join(json.loads(found)["versions"])


def test_vllm_draws_replies_that_its_batches_do_not_change(smollm2, dataset, tmp_path):
    drawn = ("--temperature", "2", "--seeds", "2")
    replies = []
    for rows in (2, 64):
        out = tmp_path / str(rows)
        status, found, said = evaluate("vllm", smollm2, dataset, out, *drawn, max_num_seqs=rows)
        assert status == 0, said
        assert json.loads(found)["protocol"]["generation"]["seeds"] == [0, 1]
        replies.append(pq.read_table(out / "samples.parquet")["predictions"].to_pylist())
    assert replies[0] == replies[1]
    texts = {text for both in replies[0] for text in both}
    assert len(texts) > len(replies[0]), "neither seeds nor prompts share their random numbers"


def test_an_adapter_is_active_in_vllm(smollm2, dataset, tmp_path):
    tuned = write_adapter(smollm2, tmp_path / "tuned", 0.05)
    status, found, said = evaluate("vllm", tuned, dataset, tmp_path / "vllm")
    assert status == 0, said
    _, expected, _ = evaluate("transformers", tuned, dataset, tmp_path / "here")
    close(json.loads(expected), json.loads(found), without=TARGET_SCORES)
    assert "perplexity and token accuracy are left out" in said
    assert json.loads(found)["model"]["adapter"] is True


def test_an_adapter_that_does_nothing_is_refused(smollm2, dataset, tmp_path):
    idle = write_adapter(smollm2, tmp_path / "idle", 0)
    status, _, said = evaluate("vllm", idle, dataset, tmp_path / "vllm")
    assert status == 2
    assert "answers exactly as without it" in said


def test_a_reply_is_refused_that_the_context_would_cut_short(tiny_llama, dataset, tmp_path):
    status, _, said = evaluate("vllm", tiny_llama, dataset, tmp_path / "vllm", max_model_len=64)
    assert status == 2
    assert "and 8 new ones, more than vLLM's context of 64; raise it with" in said.splitlines()[-1]


@pytest.mark.parametrize("name", ["max_model_length", "tensor_parallel_size"])
def test_what_vllm_cannot_take_is_one_line(name, tiny_llama, dataset, tmp_path):
    status, _, said = evaluate("vllm", tiny_llama, dataset, tmp_path / "vllm", **{name: -1})
    assert status == 2
    assert f"{tiny_llama}: vLLM did not start with it (" in said.splitlines()[-1]
    assert name in said.splitlines()[-1]
    assert "Traceback" not in said


def test_a_run_goes_on_where_the_engine_died(smollm2, tmp_path):
    arguments = ("vllm", smollm2, write_dataset(tmp_path / "many", 30), tmp_path / "out")
    process = subprocess.Popen(
        command(*arguments, max_num_seqs=2),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    said = []
    for line in process.stderr:
        said.append(line)
        if re.search(r"reply: .* [1-9]\d*/60 ", line):
            break
    [engine] = engines(process)
    engine.kill()
    _, rest = process.communicate()
    said = "".join(said) + rest
    assert process.returncode == 2, said
    # Python's resource tracker has the last word, about what the engine left behind.
    assert "vLLM's engine died" in said

    status, found, said = evaluate(*arguments, max_num_seqs=2)
    assert status == 0, said
    assert json.loads(found)["dataset"]["samples"] == 60
    stored = (tmp_path / "out" / "completions-0.jsonl").read_text("utf-8").strip().splitlines()
    keys = [json.loads(line)["key"] for line in stored]
    assert len(keys) == len(set(keys)), "nothing is asked twice"


def test_the_model_s_engine_has_ended_when_the_baseline_s_starts(smollm2, dataset, tmp_path):
    other = shutil.copytree(smollm2, tmp_path / "other")
    process = subprocess.Popen(
        command("vllm", smollm2, dataset, tmp_path / "out", "--baseline", str(other)),
        stderr=(tmp_path / "said").open("w"),
        stdout=subprocess.DEVNULL,
    )
    pids, together = set(), 0
    while process.poll() is None:
        running = {engine.pid for engine in engines(process)}
        pids, together = pids | running, max(together, len(running))
        time.sleep(0.2)
    assert process.returncode == 0, (tmp_path / "said").read_text("utf-8")
    assert len(pids) == 2
    assert together == 1


def engines(process):
    """The engines that a command has running beside it."""
    try:
        below = psutil.Process(process.pid).children(recursive=True)
        return [child for child in below if "EngineCore" in " ".join(child.cmdline())]
    except psutil.NoSuchProcess:
        return []  # one ended while it was looked at
