"""The planner against real steps, and its command."""

import dataclasses
import json

import pytest
import yaml

from kosent_hub import plan
from kosent_hub import training as library
from kosent_hub.training import model_sizes, planning, recipe
from kosent_hub.training.memory import DEFAULTS, GIB, peak
from model_card.publishing.errors import KoSentError

LLAMA = recipe.load("llama-3.1-8b/qlora-8gb")["model_name_or_path"]


@pytest.mark.parametrize(
    "case",
    [
        *(
            # Half a minute each where a processor emulates bfloat16.
            pytest.param(case, marks=pytest.mark.slow)
            for case in (
                {"layers": 2, "length": 96},
                {},
                {"dtype": "float32"},
                {"dropout": 0.05},
                {"checkpointing": True, "layers": 6},
                {"vocabulary": 32000, "layers": 2},
                {"target": r".*layers\.[23]\..*(q|k|v|o|gate|up|down)_proj", "batch": 4},
                {"hidden": 768, "inner": 2048, "heads": 12, "rank": 64, "layers": 3},
            )
        ),
    ],
    ids=str,
)
def test_planned_peaks_are_within_ten_percent_of_measured_ones(case):
    import torch
    from peft import LoraConfig
    from transformers import LlamaConfig

    from tests.kosent_hub.training.peak import training_step_peak

    case = {
        "hidden": 512, "inner": 1536, "layers": 4, "heads": 8, "vocabulary": 4000, "rank": 16,
        "target": "all-linear", "dropout": 0.0, "batch": 2, "length": 192, "dtype": "bfloat16",
        "checkpointing": False, **case,
    }  # fmt: skip
    config = LlamaConfig(
        hidden_size=case["hidden"], intermediate_size=case["inner"],
        num_hidden_layers=case["layers"], num_attention_heads=case["heads"],
        num_key_value_heads=case["heads"] // 4, vocab_size=case["vocabulary"],
    )  # fmt: skip
    lora = LoraConfig(
        r=case["rank"], lora_alpha=32, lora_dropout=case["dropout"],
        target_modules=case["target"], task_type="CAUSAL_LM",
    )  # fmt: skip
    measured = training_step_peak(
        config, lora, case["batch"], case["length"], checkpointing=case["checkpointing"],
        learned=0.4, cpu_head=True, dtype=getattr(torch, case["dtype"]),
    )  # fmt: skip
    settings = DEFAULTS | {
        "use_cpu": True, "dtype": case["dtype"], "lora_r": case["rank"],
        "lora_dropout": case["dropout"], "lora_target_modules": case["target"],
        "gradient_checkpointing": case["checkpointing"],
        "per_device_train_batch_size": case["batch"],
    }  # fmt: skip
    base = model_sizes.count(config, "config.json")
    parts = peak(base, settings, length=case["length"], learned=0.4)
    planned = sum(value for name, value in parts.items() if name != "overhead") * GIB
    assert planned == pytest.approx(measured, rel=0.1)


def test_sizes_of_llama_are_the_known_ones():
    base = planning.load_base(LLAMA)
    # 8,030,261,248 parameters; LoRA of rank 8 and 16 on all linear layers: 21.0 and 41.9 million.
    assert base.parameters == 8_030_261_248
    settings = DEFAULTS | recipe.load("llama-3.1-8b/qlora-a100")
    parts = peak(base, settings, length=512)
    assert parts["adapter"] * GIB / 4 == 41_943_040
    # NF4 with double quantisation, embeddings and head in 16 bits: 5.3 GiB.
    assert parts["weights"] + parts["quantization"] == pytest.approx(5.31, abs=0.01)


def test_defaults_are_those_of_trl():
    from trl import ModelConfig, SFTConfig

    theirs = {
        f.name: f.default for kind in (ModelConfig, SFTConfig) for f in dataclasses.fields(kind)
    }
    assert {name: theirs[name] for name in DEFAULTS} == DEFAULTS


def planned(capsys, *arguments: str) -> dict:
    assert plan.main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_from_python_a_plan_is_what_the_command_prints(capsys):
    name = "llama-3.1-8b/qlora-24gb"
    for arguments, options in (
        ([], library.PlanOptions(name)),
        (["--gpu", "T4"], library.PlanOptions(name, gpu="T4")),
        (["--vram-gb", "10"], library.PlanOptions(recipe=name, vram_gb=10)),
    ):
        found = dataclasses.asdict(library.plan(options))
        assert json.loads(json.dumps(found)) == planned(capsys, name, *arguments)
    with pytest.raises(KoSentError, match="--gpu Voodoo: not in the table"):
        library.plan(library.PlanOptions(name, gpu="Voodoo"))


def test_without_a_gpu_each_one_in_the_table_gets_a_line(capsys):
    assert plan.main(["llama-3.1-8b/qlora-24gb"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "llama-3.1-8b/qlora-24gb: meta-llama/Llama-3.1-8B-Instruct"
    table = lines.index("GPU              GiB              time")
    names = [line[:14].strip() for line in lines[table + 1 :]]
    assert names == [gpu.name for gpu in planning.GPUS]
    assert "T4              14.6  fits" in lines[table + 2]


def test_the_8gb_recipe_fits_the_gpu_the_reference_gave_up_on(capsys):
    found = planned(capsys, "llama-3.1-8b/qlora-8gb", "--gpu", "RTX 3060 Ti")
    assert list(found) == [
        "fits", "peak_gib", "available_gib", "parts", "steps", "tokens", "hours", "suggestions",
        "parameters",
    ]  # fmt: skip
    assert found["fits"] and found["steps"] == 3227
    low, high = found["hours"]
    assert low < 21 < high  # the reference's own estimate


def test_what_does_not_fit_comes_with_the_change_that_makes_it_fit(capsys, tmp_path):
    for name in ("lora-a100-reference", "qlora-a100", "qlora-24gb"):
        for gpu in ("T4", "3060 ti"):
            found = planned(capsys, f"llama-3.1-8b/{name}", "--gpu", gpu)
            if found["fits"]:
                continue
            (change,) = found["suggestions"]
            words = [word.removeprefix("--") for word in change.split()]
            values = {k: yaml.safe_load(v) for k, v in zip(words[::2], words[1::2], strict=True)}
            changed = tmp_path / "changed.yaml"
            changed.write_text(yaml.safe_dump(recipe.load(f"llama-3.1-8b/{name}") | values))
            assert planned(capsys, str(changed), "--gpu", gpu)["fits"], (name, gpu, change)
    found = planned(capsys, "llama-3.1-8b/lora-a100-reference", "--gpu", "T4")
    assert found["suggestions"] == ["--load_in_4bit true --use_bnb_nested_quant true"]


def test_a_gpu_without_bfloat16_is_not_offered_it(capsys, tmp_path):
    mine = tmp_path / "mine.yaml"
    values = recipe.load("llama-3.1-8b/qlora-24gb") | {"dtype": "bfloat16"}
    mine.write_text(json.dumps(values))
    found = planned(capsys, str(mine), "--gpu", "T4")
    assert not found["fits"]
    assert found["suggestions"] == ["T4 has no bfloat16: --dtype float16 --bf16 false --fp16 true"]


def test_a_dataset_given_is_counted(capsys, workplace, monkeypatch):
    monkeypatch.chdir(workplace)
    mine = workplace / "mine.yaml"
    values = recipe.load("smollm2-135m/cpu") | {
        "model_name_or_path": "kosent/tiny-llama", "max_steps": -1, "num_train_epochs": 2,
    }  # fmt: skip
    mine.write_text(json.dumps(values))
    found = planned(capsys, str(mine), "--dataset", "dataset")
    assert (found["fits"], found["steps"]) == (True, 10)
    assert found["tokens"] == 9172


def test_unknown_gpus_recipes_and_bases_are_refused_in_a_line(capsys):
    for arguments, said in (
        (
            ["llama-3.1-8b/qlora-8gb", "--gpu", "Voodoo"],
            "kosent-plan: --gpu Voodoo: not in the table",
        ),
        (["llama-3.1-8b/qlora-8g"], "did you mean llama-3.1-8b/qlora-8gb?"),
    ):
        assert plan.main(arguments) == 2
        assert said in capsys.readouterr().err
