"""Tokens per second, peak memory and loss against `trl sft` with LoRA at its defaults, on a CPU.

Same model, data, effective batch (8), sequence length (1,024), steps and threads, one run after
the other. `trl sft` computes in bfloat16 by default; where the CPU lacks it, so that it would be
emulated, `trl sft` is told to take float32 as kosent_hub.train does by itself, and the floor is
lower. The corpus is the sample, or the AI Hub-like folder in KOSENT_BENCHMARK_SOURCE.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kosent_hub.models.machine.device import compute_dtype
from tests.kosent_hub.models.families import TEMPLATES
from tests.support import ROOT

BASE = "HuggingFaceTB/SmolLM2-135M-Instruct"
STEPS = int(os.environ.get("KOSENT_BENCHMARK_STEPS", "8"))
FLOAT32 = ["--bf16", "false", "--dtype", "float32"]

# One script for both adapters, of neither project: mean loss over the test split's same tokens.
LOSS = """
import json, sys, torch
from datasets import load_dataset
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

base, data, *adapters = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(base)
found = {}
for adapter in adapters:
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model = PeftModel.from_pretrained(model, adapter).eval() if adapter != "base" else model.eval()
    sums = {"replies": [0.0, 0], "all": [0.0, 0]}
    for row in load_dataset(data, split="test").select(range(32)):
        text = tokenizer.apply_chat_template(row["messages"], tokenize=False)
        coded = tokenizer(text, return_offsets_mapping=True)
        at, spans = 0, []
        for message in row["messages"]:
            begin = text.index(message["content"], at)
            at = begin + len(message["content"])
            if message["role"] == "assistant":
                spans.append((begin, at + len("<|im_end|>")))
        ids = torch.tensor([coded["input_ids"]])
        with torch.no_grad():
            scores = model(ids).logits[0, :-1].log_softmax(-1)
        losses = -scores.gather(1, ids[0, 1:, None])[:, 0]
        starts = [start for start, _ in coded["offset_mapping"][1:]]
        reply = torch.tensor([any(b <= s < e for b, e in spans) for s in starts])
        for name, chosen in (("replies", losses[reply]), ("all", losses)):
            sums[name][0] += chosen.sum().item()
            sums[name][1] += len(chosen)
    found[adapter] = {name: total / count for name, (total, count) in sums.items()}
print(json.dumps(found))
"""


@pytest.fixture(params=["a sample a dialogue", "a sample a reply"])
def workplace(request, tmp_path: Path, smollm2: Path) -> Path:
    """A folder with the base and the data; the second base has a template in Qwen3's shape."""
    place = tmp_path
    (place / BASE).parent.mkdir()
    if request.param == "a sample a dialogue":
        (place / BASE).symlink_to(smollm2)
    else:
        shutil.copytree(smollm2, place / BASE)
        shutil.copy(TEMPLATES / "think_in_last_turn.jinja", place / BASE / "chat_template.jinja")
    source = os.environ.get("KOSENT_BENCHMARK_SOURCE", ROOT / "dataset_builder" / "sample")
    build = [Path(sys.executable).parent / "kosent-data", "build", source, "dataset"]
    subprocess.run(build, cwd=place, check=True, capture_output=True)
    return place


def measured(command: list[str], place: Path) -> tuple[str, float, float]:
    """What a command printed, its wall time in seconds and its children's peak memory in GiB."""
    threads = str(len(os.sched_getaffinity(0)))
    env = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": threads}
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    started = time.monotonic()
    # A process of its own, so that the peak is this command's and not an earlier one's.
    watcher = (
        "import resource, subprocess, sys\n"
        "done = subprocess.run(sys.argv[1:])\n"
        "print('PEAK', resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
        "sys.exit(done.returncode)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", watcher, *command],
        cwd=place,
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (peak,) = re.findall(r"^PEAK (\d+)$", done.stdout, re.MULTILINE)
    return done.stdout + done.stderr, time.monotonic() - started, int(peak) / 2**20


def trainer_log(folder: Path) -> list[dict]:
    (state,) = folder.glob(f"checkpoint-{STEPS}/trainer_state.json")
    return json.loads(state.read_text())["log_history"]


def test_tokens_per_second_are_a_multiple_of_trls_at_no_worse_a_loss(workplace: Path):
    fast = compute_dtype(use_cpu=True) == "bfloat16"
    shared = ["--model_name_or_path", BASE, "--dataset_name", "dataset", "--use_cpu", "true",
              "--max_steps", str(STEPS), "--report_to", "none"]  # fmt: skip
    said, _, their_peak = measured(
        [
            "trl",
            "sft",
            *shared,
            *([] if fast else FLOAT32),
            "--use_peft",
            "--logging_steps",
            "1",
            "--output_dir",
            "theirs",
        ],
        workplace,
    )
    their_seconds = float(re.findall(r"'train_runtime': '?([\d.]+)", said)[0])
    their_tokens = max(entry.get("num_tokens", 0) for entry in trainer_log(workplace / "theirs"))

    _, _, our_peak = measured(
        ["accelerate", "launch", "-m", "kosent_hub.train", "--config", "smollm2-135m/cpu", *shared,
         "--per_device_train_batch_size", "8", "--logging_steps", "1", "--eval_strategy", "no",
         "--output_dir", "ours"],
        workplace,
    )  # fmt: skip
    training = json.loads((workplace / "ours/kosent/run.json").read_text())["training"]
    our_tokens, our_seconds = training["tokens"], training["seconds"]

    losses = json.loads(subprocess.run(
        [sys.executable, "-c", LOSS, BASE, "dataset", "base", f"theirs/checkpoint-{STEPS}", "ours"],
        cwd=workplace, env=os.environ | {"HF_HUB_OFFLINE": "1"}, check=True,
        capture_output=True, text=True,
    ).stdout)  # fmt: skip
    base, theirs, ours = losses.values()
    rows = (
        ("base", "", "", "", base),
        ("trl sft", their_tokens, their_tokens / their_seconds, their_peak, theirs),
        ("kosent_hub.train", our_tokens, our_tokens / our_seconds, our_peak, ours),
    )
    print(f"\n{'':<18}{'tokens':>9}{'tokens/s':>10}{'peak GiB':>10}{'loss, replies':>15}{'all':>8}")
    for name, tokens, rate, peak, loss in rows:
        numbers = f"{tokens:>9,.0f}{rate:>10.0f}{peak:>10.2f}" if tokens else " " * 29
        print(f"{name:<18}{numbers}{loss['replies']:>15.4f}{loss['all']:>8.4f}")
    assert ours["replies"] <= theirs["replies"]
    assert ours["all"] <= theirs["all"]
    assert our_tokens / our_seconds >= (4 if fast else 1.5) * their_tokens / their_seconds
