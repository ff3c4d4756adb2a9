"""The planner against real steps, and its command."""

import dataclasses
import json
import re

import pytest
import yaml

from kosent_hub import plan
from kosent_hub import training as library
from kosent_hub.training import recipe
from kosent_hub.training.planning import gpus, model_sizes
from kosent_hub.training.planning import plan as planning
from kosent_hub.training.planning.memory import DEFAULTS, GIB, peak
from model_card.publishing.errors import KoSentError
from tests.support import ROOT

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


@pytest.mark.slow
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize(
    "family", ["exaone4", "falcon_h1", "gemma3_text", "gpt2", "mixtral", "qwen3_moe", "qwen3_next"]
)
def test_so_are_those_of_other_families(family, checkpointing):
    from tests.benchmarks.planned_memory import row

    planned, measured = row(family, checkpointing=checkpointing)
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
    with pytest.raises(KoSentError, match="--gpu Voodoo: not known"):
        library.plan(library.PlanOptions(name, gpu="Voodoo"))


@pytest.mark.parametrize("page", ["docs/training.md", "docs/ko/training.md"])
def test_the_table_of_cards_says_what_is_planned(capsys, page):
    lines = (ROOT / page).read_text("utf-8").splitlines()
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in lines if "/" in line]
    found = [row for row in rows if len(row) == 6 and row[2].startswith("`")]
    for gpu, gib, name, peak_gib, hours, _ in found:
        job = planned(capsys, name.strip("`"), *(("--gpu", gpu) if gib else ()))
        assert f"{job['peak_gib']:.1f}" == peak_gib
        if gib:
            assert job["fits"] is True and job["available_gib"] == float(gib)
            assert re.split(" to |~", hours) == [f"{hour:.1f}" for hour in job["hours"]]
    assert {row[2].strip("`") for row in found} == set(recipe.packaged())
    assert {row[0] for row in found if row[1]} <= {gpu.name for gpu in gpus.GPUS}


def test_without_a_gpu_each_one_in_the_table_gets_a_line(capsys):
    assert plan.main(["llama-3.1-8b/qlora-24gb"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "llama-3.1-8b/qlora-24gb: meta-llama/Llama-3.1-8B-Instruct"
    assert lines[1] == "8,030,261,248 parameters, 41,943,040 of them trained"
    table = lines.index("GPU                  GiB              time")
    names = [line[:18].strip() for line in lines[table + 1 :]]
    assert names == [gpu.name for gpu in gpus.GPUS]
    assert any(line.startswith("T4                  14.6  fits") for line in lines)


def test_gpus_go_by_their_exact_names():
    for typed, name in (
        ("NVIDIA A100-SXM4-80GB", "A100 80GB"), ("NVIDIA A100 80GB PCIe", "A100 PCIe 80GB"),
        ("a100-80gb", "A100 80GB"), ("A10", "A10"), ("A10G", "A10G"), ("L4", "L4"),
        ("l40", "L40"), ("L40S", "L40S"), ("4090", "RTX 4090"), ("rtx4090", "RTX 4090"),
        ("NVIDIA GeForce RTX 3060 Ti", "RTX 3060 Ti"), ("A6000", "RTX A6000"),
        ("Tesla T4", "T4"), ("NVIDIA H100 80GB HBM3", "H100"), ("H200", "H200"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada"), ("RTX 5090", "RTX 5090"),
    ):  # fmt: skip
        assert gpus.find(typed).name == name
    for typed, said in (
        ("A100", "which of these; there are A100 40GB, A100 80GB, "),
        ("RTX 4090 Laptop GPU", "not known; there are RTX 4090"),
        ("A101", "not known; there are A10"),
        ("", "not known; for example RTX 3060 Ti, "),
    ):
        with pytest.raises(KoSentError) as refused:
            gpus.find(typed)
        assert str(refused.value).startswith(f"--gpu {typed}: {said}")
        assert "--vram-gb" in str(refused.value)


def test_each_spelling_in_the_table_is_one_gpu_s():
    spelt = [key for gpu in gpus.GPUS for key in gpus._keys(gpu)]
    assert len(spelt) == len(set(spelt))
    assert all(gpu.source and gpu.gib > 5 and gpu.bandwidth > 100 for gpu in gpus.GPUS)


def test_a_name_is_enough(capsys):
    found = planned(capsys, "Qwen/Qwen3-8B", "--gpu", "RTX 4090")
    assert found["fits"] and found["parameters"]["all"] == 8_190_735_360
    assert plan.main(["Qwen/Qwen3-8B", "--gpu", "RTX 4090"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("llama-3.1-8b/qlora-24gb: Qwen/Qwen3-8B\n")
    assert "--config llama-3.1-8b/qlora-24gb --model_name_or_path Qwen/Qwen3-8B" in err


def test_experts_that_stay_in_16_bits_do_not_fit_8_gb(capsys):
    found = planned(capsys, "Qwen/Qwen3-30B-A3B", "--gpu", "RTX 3060 Ti")
    assert found["fits"] is False and found["peak_gib"] > 55
    assert found["notes"] == [
        "29.0 of 30.5 billion parameters are experts in fused tensors, which bitsandbytes leaves "
        "in 16 bits: 54 GiB"
    ]
    assert found["suggestions"][0].startswith("nothing makes this base fit RTX 3060 Ti")


def test_settings_are_flags_as_in_training(capsys):
    name = "llama-3.1-8b/qlora-24gb"
    before = planned(capsys, name)
    after = planned(
        capsys, name, "--lora_r", "8", "--per_device_train_batch_size=2",
        "--lora_target_modules", "q_proj", "v_proj",
    )  # fmt: skip
    assert after["parameters"]["trained"] == 32 * 8 * (4096 + 4096 + 4096 + 1024)
    assert (before["steps"], after["steps"]) == (3227, 12_908)
    for flags, said in (
        (["--lora_rank", "8"], "unknown key 'lora_rank'"),
        (["more"], "more: one recipe or base is planned at a time"),
        (["--max_length", "abc"], "--max_length abc: expected a whole number above zero"),
        (["--per_device_train_batch_size=0"], "--per_device_train_batch_size 0: expected a whole "),
        (["--load_in_4bit", "maybe"], "--load_in_4bit maybe: expected true or false"),
        (["--lora_dropout", "some"], "--lora_dropout some: expected a number"),
        (["--dtype", "bfloat"], "--dtype bfloat: expected auto or bfloat16 or"),
        (["--lora_target_modules", "q_proj", "5"], "--lora_target_modules ["),
        (["--vram-gb", "-3"], "--vram-gb -3: no size of a memory"),
    ):
        assert plan.main([name, *flags]) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.startswith(f"kosent-plan: {said}") and err.count("\n") == 1


def test_several_gpus_are_counted_apart(capsys):
    name = "llama-3.1-8b/lora-a100-reference"
    slow = planned(capsys, name, "--gpu", "3090", "--gpus", "4", "--link-gbit", "10")
    one, ways = slow["peak_gib"], {way["name"]: way for way in slow["several"]}
    assert list(ways) == ["DDP", "FSDP2", "ZeRO-3"]
    assert ways["DDP"]["peak_gib"] == one
    assert ways["FSDP2"]["peak_gib"] < 0.6 * one
    assert ways["DDP"]["hours"][1] < slow["hours"][1] / 3
    # Weights over 10 Gbit/s take longer than the work; an adapter's gradients do not.
    assert ways["DDP"]["link_hours"] < 0.3 < ways["FSDP2"]["link_hours"]
    fast = planned(capsys, name, "--gpu", "A100 80GB", "--gpus", "4")["several"]
    assert fast[1]["link_hours"] < ways["FSDP2"]["link_hours"] / 100
    assert plan.main([name, "--gpus", "2"]) == 2
    assert "--gpus 2: of which GPU" in capsys.readouterr().err


def test_all_gpus_are_one_table(capsys):
    assert plan.main(["llama-3.1-8b/qlora-8gb", "--all-gpus"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  1 llama-3.1-8b/qlora-8gb: meta-llama/Llama-3.1-8B-Instruct" in lines
    assert lines[-len(gpus.GPUS) :][-1].startswith(gpus.GPUS[-1].name)
    assert next(line for line in lines if line.startswith("RTX 2060")).split()[-1] == "-"


def test_the_8gb_recipe_fits_the_gpu_the_reference_gave_up_on(capsys):
    found = planned(capsys, "llama-3.1-8b/qlora-8gb", "--gpu", "RTX 3060 Ti")
    assert list(found) == [
        "fits", "peak_gib", "available_gib", "parts", "steps", "tokens", "hours", "suggestions",
        "parameters", "density", "notes", "several",
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
    # The tiny tokenizer writes a byte or a few as a token, and a Hangul syllable has three.
    assert 0.3 < found["density"]["tokens_per_byte"] <= 1
    assert found["density"]["tokens_per_character"] > 1.5 * found["density"]["tokens_per_byte"]


@pytest.mark.slow
def test_state_layers_are_said(capsys, tmp_path):
    states = {"mamba_d_ssm": 128, "mamba_n_heads": 4, "mamba_d_head": 32, "mamba_n_groups": 1}
    sizes = {"vocab_size": 512, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2}
    config = {"model_type": "falcon_h1", **states, **sizes, "num_attention_heads": 4}
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = planned(capsys, str(tmp_path))
    (note,) = found["notes"]
    assert note.startswith("2 of 2 layers are Mamba or linear attention")


@pytest.mark.slow
def test_bases_on_the_hub_are_read_there(run, hub, tmp_path):
    files = {"config.json": (planning.BASES / "smollm2-135m" / "config.json").read_bytes()}
    hub.create("kosent/base", owner="alice", files=files)
    hub.create("kosent/gated", gated=True, owner="alice", files=files)
    environment = hub.env("bob")
    found = run(["kosent-plan", "kosent/base", "--json"], env=environment, cwd=tmp_path)
    assert json.loads(found.stdout)["parameters"]["all"] == 134_515_008
    again = environment | {"HF_HUB_OFFLINE": "1"}
    found = run(["kosent-plan", "kosent/base", "--json"], env=again, cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["parameters"]["all"] == 134_515_008
    for model_id, env, said in (
        ("kosent/gated", environment, "gated repository; accept its terms on that page"),
        ("kosent/none", environment, "no such repository, or it is private"),
        ("kosent/other", again, "HF_HUB_OFFLINE=1 is set and the cache does not hold it"),
    ):
        refused = run(["kosent-plan", model_id], env=env, cwd=tmp_path)
        assert refused.returncode == 2 and refused.stdout == ""
        (line,) = refused.stderr.strip().splitlines()
        assert line.startswith("kosent-plan: ") and model_id in line and said in line


def test_unknown_gpus_recipes_and_bases_are_refused_in_a_line(capsys):
    for arguments, said in (
        (
            ["llama-3.1-8b/qlora-8gb", "--gpu", "Voodoo"],
            "kosent-plan: --gpu Voodoo: not known",
        ),
        (["llama-3.1-8b/qlora-8g"], "did you mean llama-3.1-8b/qlora-8gb?"),
    ):
        assert plan.main(arguments) == 2
        assert said in capsys.readouterr().err
