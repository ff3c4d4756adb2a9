"""A base's sizes against its transformers class, and its adapter against peft's."""

from __future__ import annotations

import json

import pytest

from kosent_hub import plan
from kosent_hub.training.planning import model_sizes
from kosent_hub.training.planning.memory import DEFAULTS, adapter, weights
from kosent_hub.training.planning.plan import BASES, load_base, packaged_bases
from model_card.publishing.errors import KoSentError

# Tiny configs of each kind: what is counted does not depend on the size.
TINY = {
    "vocab_size": 512, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
}  # fmt: skip
EXPERTS = TINY | {"num_experts_per_tok": 2, "moe_intermediate_size": 32, "num_experts": 8}
KINDS = {
    "llama": TINY,
    "qwen3_moe": EXPERTS,
    "mixtral": TINY | {"num_local_experts": 4, "num_experts_per_tok": 2},
    "gpt_oss": TINY | {"num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen2_moe": EXPERTS | {"shared_expert_intermediate_size": 48},
    "gpt2": {"n_embd": 64, "n_layer": 3, "n_head": 4, "vocab_size": 512},
    "gemma3": {"text_config": TINY | {"model_type": "gemma3_text"}},
}
TARGETS = ("all-linear", ["q_proj", "v_proj"], r".*layers\.[12]\..*(q|v|o|gate|up|down)_proj")


def folder(tmp_path, model_type, **values):
    """A folder that holds only a config.json."""
    place = tmp_path / model_type
    place.mkdir(exist_ok=True)
    (place / "config.json").write_text(json.dumps({"model_type": model_type, **values}))
    return str(place)


def test_packaged_bases_have_their_config_beside_their_sizes():
    for name in sorted(set(packaged_bases().values())):
        sizes = model_sizes.packaged(BASES / name)
        config = json.loads((BASES / name / "config.json").read_text())
        text = config.get("text_config", config)
        assert (sizes.hidden, sizes.layers) == (text["hidden_size"], text["num_hidden_layers"])
    assert {path.parent.name for path in BASES.glob("*/config.json")} == {
        *packaged_bases().values()
    }


def test_known_counts():
    """The counts that the models' own pages state."""
    for model_id, parameters in (
        ("meta-llama/Llama-3.2-1B-Instruct", 1_235_814_400),
        ("meta-llama/Llama-3.2-3B-Instruct", 3_212_749_824),
        ("Qwen/Qwen3-0.6B", 596_049_920),
        ("Qwen/Qwen3-4B", 4_022_468_096),
        ("Qwen/Qwen3-8B", 8_190_735_360),
        ("Qwen/Qwen3-30B-A3B", 30_532_122_624),
        ("google/gemma-3-270m", 268_098_176),
        ("google/gemma-3-1b-it", 999_885_952),
        ("google/gemma-3-4b-it", 4_300_079_472),
        ("LGAI-EXAONE/EXAONE-4.0-1.2B", 1_279_391_488),
        ("naver-hyperclovax/HyperCLOVAX-SEED-Text-Instruct-1.5B", 1_585_547_264),
        ("kakaocorp/kanana-1.5-8b-instruct-2505", 8_030_261_248),
    ):
        assert load_base(model_id).parameters == parameters


def test_bitsandbytes_leaves_fused_experts_in_16_bits():
    base = load_base("Qwen/Qwen3-30B-A3B")
    assert base.unquantised_experts == 48 * 128 * 3 * 2048 * 768
    settings = DEFAULTS | {"dtype": "bfloat16"}
    whole, _ = weights(base, settings)
    quantised, _ = weights(base, settings | {"load_in_4bit": True})
    assert whole == pytest.approx(2 * base.parameters, rel=1e-6)
    assert quantised > 2 * base.unquantised_experts
    # 3.3 billion parameters are active, as its name says.
    assert base.active_parameters / 1e9 == pytest.approx(3.3, abs=0.35)


@pytest.mark.slow
def test_packaged_sizes_are_those_of_the_class():
    for config in sorted(BASES.glob("*/config.json")):
        sizes = model_sizes.read(config, config.parent.name)
        assert model_sizes.to_json(sizes) == (config.parent / "sizes.json").read_text(), config


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_adapter_is_the_one_that_peft_makes(kind, tmp_path):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    place = folder(tmp_path, kind, **KINDS[kind])
    base = load_base(place)
    for target in TARGETS:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(place))
            lora = LoraConfig(
                r=8, target_modules=target, task_type="CAUSAL_LM",
                exclude_modules=model_sizes.outside_text(model),
            )  # fmt: skip
            try:
                made = get_peft_model(model, lora).get_nb_trainable_parameters()[0]
            except ValueError:
                made = None
        try:
            planned = adapter(base, DEFAULTS | {"lora_r": 8, "lora_target_modules": target})
        except KoSentError:
            planned = None
        assert (planned and planned.parameters) == made, target
        assert base.parameters == model.num_parameters() - (made or 0)


@pytest.mark.slow
def test_what_bitsandbytes_quantises_is_what_transformers_replaces(tmp_path):
    import bitsandbytes
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, BitsAndBytesConfig
    from transformers.quantizers.auto import AutoHfQuantizer

    for kind, values in KINDS.items():
        place = folder(tmp_path, kind, **values)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(place))
        quantizer = AutoHfQuantizer.from_config(
            BitsAndBytesConfig(load_in_4bit=True), pre_quantized=False
        )
        quantizer._process_model_before_weight_loading(model, device_map=None)
        replaced = {
            name
            for name, module in model.named_modules()
            if isinstance(module, bitsandbytes.nn.Linear4bit)
        }
        assert {m.name for m in load_base(place).matrices if m.bitsandbytes} == replaced, kind


@pytest.mark.slow
def test_a_base_that_is_quantised_already_is_planned_as_it_is(tmp_path):
    bits = {
        "awq": ({"quant_method": "awq", "bits": 4, "group_size": 128}, 0.5 + 2.5 / 128),
        "gptq": ({"quant_method": "gptq", "bits": 4, "group_size": 128}, 0.5 + 2.5 / 128),
        "fp8": ({"quant_method": "fp8", "weight_block_size": [128, 128]}, 1.0),
        "bnb": ({"quant_method": "bitsandbytes", "load_in_4bit": True}, 0.5625),
    }
    settings = DEFAULTS | {"dtype": "bfloat16", "load_in_4bit": True}
    for method, (quantised, each) in bits.items():
        base = load_base(folder(tmp_path, "llama", **TINY, quantization_config=quantised))
        linear = sum(m.size for m in base.matrices if m.kind == "linear")
        planned, scales = weights(base, settings)
        rest = 2 * (base.parameters - linear) + base.buffer_bytes
        assert planned == pytest.approx(each * linear + rest, rel=0.001), method
        assert (base.packing, scales) == (quantised["quant_method"], 0.0)


@pytest.mark.slow
def test_none_of_the_classes_of_transformers_is_a_traceback(tmp_path, capsys):
    from transformers import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    planned = 0
    for name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        place = tmp_path / name
        try:
            CONFIG_MAPPING[name]().save_pretrained(place)
        except Exception:
            continue  # no defaults: its own config refuses them
        status = plan.main([str(place), "--gpu", "A100 80GB", "--gpus", "2", "--json"])
        out, err = capsys.readouterr()
        if status:
            said = [line for line in err.splitlines() if line.startswith("kosent-plan: ")]
            assert (status, len(said), out) == (2, 1, ""), (name, err)
            continue
        planned += 1
        found = json.loads(out)
        assert 0 < found["parameters"]["trained"] < found["parameters"]["all"], name
        each = found["parts"]["weights"] * 2**30 / found["parameters"]["all"]
        assert 0.4 < each < 2.5, (name, each)  # some have tables in buffers
    assert planned > 150
    # Of whose linear layers peft takes one, which is then a pattern.
    assert plan.main([str(tmp_path / "mamba2"), "--json"]) == 0
    base = load_base(str(tmp_path / "jamba"))
    assert base.layers == len(base.by_block) > 0 and all(base.by_block)


@pytest.mark.slow
def test_what_is_no_language_model_is_refused_in_a_line(tmp_path, capsys):
    for values, said in (
        ({"model_type": "no-such-type"}, "no-such-type"),
        ({"model_type": "vit"}, "ViT is no causal language model of transformers"),
        ({"model_type": "llama", "num_hidden_layers": 10**6}, "a model of 1000000 layers"),
        ({"hidden_size": 8}, "model_type"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(values))
        assert plan.main([str(tmp_path)]) == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert said in lines[-1]
        assert len([line for line in lines if line.startswith("kosent-plan:")]) == 1
