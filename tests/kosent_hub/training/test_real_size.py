"""Llama 3.1 8B at its real size, with random weights: a step in NF4 on a CPU against the plan."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from kosent_hub.training.planning.plan import BASES
from tests.support import ROOT

pytestmark = pytest.mark.long

# Bytes of disk and of memory without which the test says nothing.
DISK, MEMORY = 20e9, 9e9
FLAGS = [
    *("--model_name_or_path", "base", "--use_cpu", "true", "--dtype", "bfloat16"),
    *("--gradient_accumulation_steps", "1", "--max_steps", "1"),
]
# One shard at a time is in memory.
WRITE = """
import json, sys
from pathlib import Path
import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, LlamaConfig
from tests.gpu.models import byte_tokenizer, write_dialogues

shape, place = map(Path, sys.argv[1:])
base = place / "base"
config = LlamaConfig.from_pretrained(
    shape, dtype="bfloat16", bos_token_id=None, eos_token_id=257, pad_token_id=256
)
with torch.device("meta"):
    weights = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).state_dict()
shards = split_torch_state_dict_into_shards(weights, max_shard_size="2GB")
byte_tokenizer().save_pretrained(base)
config.save_pretrained(base)
torch.manual_seed(0)
for file, names in shards.filename_to_tensors.items():
    drawn = {}
    for name in names:
        made = torch.empty(weights[name].shape, dtype=torch.bfloat16)
        drawn[name] = made.fill_(1.0) if made.dim() == 1 else made.normal_(std=0.02)
    save_file(drawn, base / file, metadata={"format": "pt"})
index = {"metadata": shards.metadata, "weight_map": shards.tensor_to_filename}
(base / "model.safetensors.index.json").write_text(json.dumps(index))
write_dialogues(place / "data")
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder with `base/`, 16 GB in shards, and `data/`; nothing of it is left afterwards."""
    free, memory = shutil.disk_usage(tempfile.gettempdir()).free, psutil.virtual_memory().available
    if free < DISK or memory < MEMORY:
        pytest.skip(f"{free / 1e9:.0f} GB of disk and {memory / 1e9:.0f} of memory are too little")
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", WRITE, BASES / "llama-3.1-8b", folder]
        subprocess.run(list(map(str, command)), check=True, cwd=ROOT)
        yield Path(folder)


def peak_anonymous(process: subprocess.Popen) -> int:
    """The most bytes that were the process's own, not a file's, looked at 20 times a second."""
    status, most = Path(f"/proc/{process.pid}/status"), 0
    while process.poll() is None:
        found = re.search(r"^RssAnon:\s*(\d+) kB", status.read_text(), re.M)
        most = max(most, int(found[1]) * 1024 if found else 0)
        time.sleep(0.05)
    return most


def test_a_step_of_the_8gb_recipe_takes_the_memory_that_is_planned(run, place: Path):
    recipe = "llama-3.1-8b/qlora-8gb"
    planned = run(["kosent-plan", recipe, *FLAGS, "--dataset", "data", "--json"], cwd=place)
    assert planned.returncode == 0, planned.stderr
    plan = json.loads(planned.stdout)
    assert plan["parameters"] == {"all": 8_030_261_248, "trained": 20_971_520}

    train = [
        *(sys.executable, "-m", "kosent_hub.train", "--config", recipe, *FLAGS),
        *("--bf16", "true", "--dataset_name", "data", "--output_dir", "run"),
        *("--eval_strategy", "no", "--save_strategy", "no"),
    ]
    # As many threads as a user's command has.
    env = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    with (place / "said").open("w") as said:
        process = subprocess.Popen(train, cwd=place, env=env, stdout=said, stderr=said)
        measured = peak_anonymous(process) / 2**30
    assert process.returncode == 0, (place / "said").read_text()
    print(f"planned {plan['peak_gib']:.2f} GiB, measured {measured:.2f}: {plan['parts']}")
    assert measured == pytest.approx(plan["peak_gib"], rel=0.1)
