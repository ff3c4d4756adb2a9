"""Each class that has a recipe: a tiny model of it is trained, loaded, evaluated and carded."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from safetensors import safe_open

from kosent_hub.training import recipe
from model_card.licenses import known_license

pytestmark = pytest.mark.slow

# Recipes with one base of each class, and the family of the tiny model: its template and tokenizer.
RECIPES = {
    "llama-3.2-1b/lora-8gb": "llama",
    "qwen3-0.6b/lora-8gb": "qwen3",
    "gemma-3-1b/lora-8gb": "gemma3",
    "gemma-3-4b/lora-16gb": "gemma3",
    "exaone-4.0-1.2b/lora-8gb": "exaone4",
    "hyperclovax-seed-1.5b/lora-8gb": "llama",
    "kanana-1.5-8b/qlora-8gb": "llama",
}
FLAGS = recipe.as_flags({
    "dataset_name": "dataset", "output_dir": "run", "max_steps": 2, "warmup_steps": 0,
    "per_device_train_batch_size": 2, "gradient_accumulation_steps": 1, "use_cpu": True,
    "load_in_4bit": False, "use_bnb_nested_quant": False, "optim": "adamw_torch_fused",
    "dtype": "float32", "bf16": False,
})  # fmt: skip
# A Gemma 3 with a vision tower, around the tiny one that writes text.
WITH_VISION = """
import sys
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, Gemma3Config
folder = sys.argv[1]
text = AutoConfig.from_pretrained(folder)
vision = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "image_size": 28, "patch_size": 14, "vision_use_head": False,
}
config = Gemma3Config(
    text_config=text.to_dict(), vision_config=vision, mm_tokens_per_image=4,
    boi_token_index=1, eoi_token_index=2, image_token_index=3,
    pad_token_id=text.pad_token_id, eos_token_id=text.eos_token_id,
)
model = AutoModelForCausalLM.from_config(config)
assert type(model).__name__ == "Gemma3ForConditionalGeneration"
model.save_pretrained(folder)
"""


@pytest.mark.parametrize("name", RECIPES)
def test_a_tiny_model_of_each_class_goes_all_the_way(
    name, run, workplace: Path, families: Path, nobody: dict[str, str], tmp_path: Path
):
    base = recipe.load(name)["model_name_or_path"]
    shutil.copytree(families / RECIPES[name], tmp_path / base)
    (tmp_path / "dataset").symlink_to(workplace / "dataset")
    where = {"cwd": tmp_path, "env": nobody}
    if name.startswith("gemma-3-4b"):
        made = run([sys.executable, "-c", WITH_VISION, base], script=True, **where)
        assert made.returncode == 0, made.stderr

    trained = run(["kosent-train", "--config", name, *FLAGS], **where)
    assert trained.returncode == 0, trained.stderr
    with safe_open(tmp_path / "run" / "adapter_model.safetensors", framework="numpy") as adapter:
        weights = {key: adapter.get_tensor(key) for key in adapter.keys()}  # noqa: SIM118
    assert any(value.any() for key, value in weights.items() if "lora_B" in key)
    assert not [key for key in weights if "vision" in key or "projector" in key]
    assert json.loads((tmp_path / "run/kosent/run.json").read_text())["parameters"][
        "trainable"
    ] == (sum(value.size for value in weights.values()))

    scored = run(
        [
            *("kosent-eval", "--model", "run", "--dataset", "dataset", "--limit", "2"),
            *("--max-new-tokens", "4", "--no-safety", "--embedder", "none", "--output", "scores"),
        ],
        **where,
    )
    assert scored.returncode == 0, scored.stderr
    shutil.copy(tmp_path / "scores" / "results.json", tmp_path / "run")
    carded = run(["kosent-card", "render", "run"], **where)
    assert carded.returncode == 0, carded.stderr
    card = (tmp_path / "run" / "README.md").read_text("utf-8")
    assert f"license: {known_license(base)}\n" in card and "chrF" in card
    checked = run(["kosent-card", "check", "run", "--json"], **where)
    errors = [f for f in json.loads(checked.stdout)["findings"] if f["level"] == "error"]
    assert [f for f in errors if f["code"].startswith("license")] == []
