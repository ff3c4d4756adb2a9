"""The other libraries that speak to a Hub, in processes of their own."""

import io
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq

from tests.support import ROOT

LOAD_DATASET = """
from datasets import load_dataset
print(load_dataset("kosent/d", split="train")["x"][:])
print([row["x"] for row in load_dataset("kosent/d", split="train", streaming=True)])
print(load_dataset("kosent/d", split="train", revision="v1")["x"][:])
"""
PUSH_DATASET = """
from datasets import Dataset, load_dataset
Dataset.from_dict({"a": [1, 2]}).push_to_hub("alice/pushed", private=True)
print(load_dataset("alice/pushed", split="train")["a"][:])
"""
XET = """
import os, random, struct
from pathlib import Path
from hf_xet import XetFileInfo, XetSession
from huggingface_hub import HfApi, hf_hub_download

seeded = random.Random(0)
noise = seeded.randbytes(500_000)
files = {
    "noise.bin": noise,
    "numbers.bin": b"".join(struct.pack("<f", seeded.gauss(0, 1)) for _ in range(50_000)) + b"end",
    "text.bin": b"all work and no play " * 10_000,
    "edited.bin": noise[:250_000] + b"!" + noise[250_000:],
}
for name, data in files.items():
    HfApi().upload_file(path_or_fileobj=data, path_in_repo=name, repo_id="alice/m")
for name, data in files.items():
    assert Path(hf_hub_download("alice/m", name)).read_bytes() == data, name
group = XetSession().new_download_stream_group(
    token_refresh_url=os.environ["HF_ENDPOINT"] + "/api/models/alice/m/xet-read-token/main",
    token_refresh_headers={"authorization": "Bearer " + os.environ["HF_TOKEN"]},
)
(edited,) = HfApi().get_paths_info("alice/m", "edited.bin")
info = XetFileInfo(edited.xet_hash, edited.size)
part = b"".join(group.download_stream(info, start=200_000, end=300_001))
assert part == files["edited.bin"][200_000:300_001]
print("the same")
"""
LOAD_METRIC = """
import evaluate
print(evaluate.load("kosent/score").compute(predictions=["a"], references=["a"]))
"""
# One import to a line: `evaluate` looks for packages to install in these lines, and reads
# `import a, b` as a package called "a,".
METRIC = """
import datasets
import evaluate


class Score(evaluate.Metric):
    def _info(self):
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description="", citation="", inputs_description="",
            features=datasets.Features({"predictions": text, "references": text}),
        )

    def _compute(self, predictions, references):
        return {"score": float(predictions == references)}
"""
MODELS = """
import sys
import torch
from peft import AutoPeftModelForCausalLM, LoraConfig, get_peft_model
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer


model = AutoModelForCausalLM.from_pretrained(sys.argv[1])
model.push_to_hub("alice/base", private=True)
AutoTokenizer.from_pretrained(sys.argv[1]).push_to_hub("alice/base")
print(type(AutoModel.from_pretrained("alice/base")).__name__)
base = AutoModelForCausalLM.from_pretrained("alice/base")
torch.manual_seed(0)
adapter = get_peft_model(base, LoraConfig(target_modules=["q_proj"], task_type="CAUSAL_LM"))
adapter.push_to_hub("alice/adapter", private=True)
loaded = AutoPeftModelForCausalLM.from_pretrained("alice/adapter")
print(loaded.peft_config["default"].base_model_name_or_path)
print(len(AutoTokenizer.from_pretrained("alice/base")))
"""


def succeeded(done) -> list[str]:
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def no_token_left_the_hub(hub) -> bool:
    return not any("authorization" in e.headers for e in hub.journal if e.origin == "storage")


def no_hub_token_in_storage(hub) -> bool:
    """Xet's storage wants a token, but one of its own."""
    there = [e.headers.get("authorization", "") for e in hub.journal if e.origin == "storage"]
    return any(there) and not any("hf_" in shown for shown in there)


def parquet(values) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"x": values}), buffer)
    return buffer.getvalue()


def test_datasets_loads_streams_and_takes_revisions(hub, run):
    path = "data/train-00000-of-00001.parquet"
    hub.create("kosent/d", "dataset", private=True, files={path: parquet([1, 2])})
    hub.api().create_tag("kosent/d", tag="v1", repo_type="dataset")
    hub.land("kosent/d", {path: parquet([3])}, "dataset")
    done = run(["python", "-c", LOAD_DATASET], env=hub.env(), script=True)
    assert succeeded(done) == ["[3]", "[3]", "[1, 2]"]
    assert no_token_left_the_hub(hub)


def test_datasets_pushes_in_one_commit(hub, run):
    assert succeeded(run(["python", "-c", PUSH_DATASET], env=hub.env(), script=True)) == ["[1, 2]"]
    assert hub.is_private("alice/pushed", "dataset")
    assert len(hub.commits("alice/pushed", "dataset")) == 2


def test_evaluate_loads_a_metric_from_a_space(hub, run):
    hub.create("kosent/score", "space", files={"score.py": METRIC})
    done = run(["python", "-c", LOAD_METRIC], env=hub.env(), script=True)
    assert succeeded(done) == ["{'score': 1.0}"]


def test_transformers_and_peft_push_and_load(hub, run, tiny_llama):
    done = run(["python", "-c", MODELS, tiny_llama], env=hub.env(), script=True)
    assert succeeded(done) == ["LlamaModel", "alice/base", "1000"]
    assert hub.is_private("alice/adapter")
    assert {"adapter_config.json", "adapter_model.safetensors"} <= set(hub.files("alice/adapter"))
    assert no_token_left_the_hub(hub)


def test_hf_command_and_a_stranger(hub, run):
    hub.create("kosent/m", private=True)
    assert "alice" in run(["hf", "auth", "whoami"], env=hub.env()).stdout
    done = run(["hf", "download", "kosent/m"], env=hub.env(user=None))
    assert done.returncode != 0
    assert hub.journal[-1].line == "GET /api/models/kosent/m/revision/main 401"


def test_xet_sends_and_gets_chunks_of_every_kind(hub, run):
    """Packed, packed by every fourth byte, as they are; a file that shares most of another's."""
    hub.create("alice/m")
    done = run(["python", "-c", XET], env=hub.env(xet=True), script=True)
    assert succeeded(done)[-1] == "the same"
    assert no_hub_token_in_storage(hub)
    sizes = [e.size for e in hub.journal if e.path.startswith("/v1/xorbs/")]
    assert len(sizes) == 4 and sizes[3] < sizes[0] / 2, sizes
    assert not [e for e in hub.journal if e.path.startswith("/upload/")]
    reads = [e for e in hub.journal if e.path.startswith("/v2/reconstructions/")]
    assert len(reads) == 5, "each file, and a range of one"


def test_by_hand():
    """`python -m tests.support.hub.server` prints what to export."""
    command = [sys.executable, "-m", "tests.support.hub.server", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("export HF_ENDPOINT=http://127.0.0.1:")
        process.kill()
