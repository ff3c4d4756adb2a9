"""Plans of forty bases, by their config values, against what their authors publish.

Config values and published figures were written from memory, and agree with each other; nobody has
compared them with the models' pages. Parameters are in billions; what bitsandbytes leaves in how
many bytes is counted on the class after transformers has replaced its layers; sizes of repos that
are quantised already are in billions of bytes.
"""

from __future__ import annotations

import json

import pytest

from kosent_hub import plan

pytestmark = pytest.mark.slow


def dense(kind, hidden, inner, layers, heads, keys, vocabulary, **more):
    return {
        "model_type": kind, "hidden_size": hidden, "intermediate_size": inner,
        "num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": keys,
        "vocab_size": vocabulary, "tie_word_embeddings": False, **more,
    }  # fmt: skip


TIED, WIDE = {"tie_word_embeddings": True}, {"head_dim": 128}
SIGLIP = {
    "model_type": "siglip_vision_model", "hidden_size": 1152, "intermediate_size": 4304,
    "num_hidden_layers": 27, "num_attention_heads": 16, "image_size": 896, "patch_size": 14,
    "vision_use_head": False,
}  # fmt: skip


def seeing(hidden, inner, layers, **more):
    """A Gemma 3 with its sparse text_config."""
    text = {
        "model_type": "gemma3_text", "hidden_size": hidden, "intermediate_size": inner,
        "num_hidden_layers": layers, **more,
    }  # fmt: skip
    return {"model_type": "gemma3", "text_config": text, "vision_config": SIGLIP}


BASES = {
    "Llama-2-7b": (6.738, dense("llama", 4096, 11008, 32, 32, 32, 32000)),
    "Llama-3.1-70B": (70.554, dense("llama", 8192, 28672, 80, 64, 8, 128256)),
    "TinyLlama-1.1B": (1.100, dense("llama", 2048, 5632, 22, 32, 4, 32000)),
    "SmolLM2-1.7B": (1.711, dense("llama", 2048, 8192, 24, 32, 32, 49152, **TIED)),
    "Yi-6B": (6.061, dense("llama", 4096, 11008, 32, 32, 4, 64000)),
    "Mistral-7B": (7.242, dense("mistral", 4096, 14336, 32, 32, 8, 32000)),
    "Qwen2.5-0.5B": (0.494, dense("qwen2", 896, 4864, 24, 14, 2, 151936, **TIED)),
    "Qwen2.5-7B": (7.616, dense("qwen2", 3584, 18944, 28, 28, 4, 152064)),
    "Qwen3-1.7B": (1.721, dense("qwen3", 2048, 6144, 28, 16, 8, 151936, **WIDE, **TIED)),
    "Qwen3-14B": (14.768, dense("qwen3", 5120, 17408, 40, 40, 8, 151936, **WIDE)),
    "Qwen3-32B": (32.762, dense("qwen3", 5120, 25600, 64, 64, 8, 151936, **WIDE)),
    "gemma-2-2b": (2.614, dense("gemma2", 2304, 9216, 26, 8, 4, 256000, head_dim=256, **TIED)),
    "gemma-2-9b": (9.242, dense("gemma2", 3584, 14336, 42, 16, 8, 256000, head_dim=256, **TIED)),
    "Phi-3-mini": (3.821, dense("phi3", 3072, 8192, 32, 32, 32, 32064)),
    "OLMo-2-7B": (7.299, dense("olmo2", 4096, 11008, 32, 32, 32, 100352)),
    "EXAONE-4.0-32B": (32.003, dense("exaone4", 5120, 27392, 64, 40, 8, 102400, **WIDE)),
    "starcoder2-3b": (3.030, dense("starcoder2", 3072, 12288, 30, 24, 2, 49152, **TIED)),
    "pythia-1.4b": (1.415, dense("gpt_neox", 2048, 8192, 24, 16, 16, 50304)),
    "command-r": (34.981, dense("cohere", 8192, 22528, 40, 64, 64, 256000, **TIED)),
    "gpt2-xl": (1.558, {"model_type": "gpt2", "n_embd": 1600, "n_layer": 48, "n_head": 25}),
    "gpt-j-6b": (6.051, {"model_type": "gptj", "n_embd": 4096, "n_layer": 28, "n_head": 16}),
    "bloom-560m": (
        0.559,
        {"model_type": "bloom", "hidden_size": 1024, "n_layer": 24, "n_head": 16,
         "vocab_size": 250880},
    ),
    "opt-1.3b": (
        1.316,
        {"model_type": "opt", "hidden_size": 2048, "ffn_dim": 8192, "num_hidden_layers": 24,
         "num_attention_heads": 32, "word_embed_proj_dim": 2048, "vocab_size": 50272},
    ),
    "Mixtral-8x7B": (
        46.703,
        dense("mixtral", 4096, 14336, 32, 32, 8, 32000, num_local_experts=8),
    ),
    "Qwen3-30B-A3B": (
        30.532,
        dense("qwen3_moe", 2048, 6144, 48, 32, 4, 151936, num_experts=128, num_experts_per_tok=8,
              moe_intermediate_size=768, **WIDE),
    ),
    "Qwen3-235B-A22B": (
        235.094,
        dense("qwen3_moe", 4096, 12288, 94, 64, 4, 151936, num_experts=128, num_experts_per_tok=8,
              moe_intermediate_size=1536, **WIDE),
    ),
    "Qwen2-57B-A14B": (
        57.409,
        dense("qwen2_moe", 3584, 18944, 28, 28, 4, 151936, num_experts=64, num_experts_per_tok=8,
              moe_intermediate_size=2560, shared_expert_intermediate_size=20480),
    ),
    "gpt-oss-20b": (
        20.915,
        dense("gpt_oss", 2880, 2880, 24, 64, 8, 201088, num_local_experts=32,
              num_experts_per_tok=4, head_dim=64),
    ),
    "OLMoE-1B-7B": (
        6.919,
        dense("olmoe", 2048, 1024, 16, 16, 16, 50304, num_experts=64, num_experts_per_tok=8),
    ),
    "DeepSeek-V2-Lite": (
        15.706,
        dense("deepseek_v2", 2048, 10944, 27, 16, 16, 102400, n_routed_experts=64,
              num_experts_per_tok=6, n_shared_experts=2, first_k_dense_replace=1,
              moe_intermediate_size=1408, kv_lora_rank=512, q_lora_rank=None,
              qk_nope_head_dim=128, qk_rope_head_dim=64, v_head_dim=128, n_group=1, topk_group=1),
    ),
    "DeepSeek-V3": (671.026, {"model_type": "deepseek_v3"}),
    "mamba-2.8b": (
        2.768,
        {"model_type": "mamba", "hidden_size": 2560, "num_hidden_layers": 64, "vocab_size": 50280,
         "state_size": 16, "expand": 2},
    ),
    "Jamba-v0.1": (
        51.57,
        dense("jamba", 4096, 14336, 32, 32, 8, 65536, num_experts=16, num_experts_per_tok=2),
    ),
    "gemma-3-4b": (4.300, seeing(2560, 10240, 34)),
    "gemma-3-12b": (
        12.187,
        seeing(3840, 15360, 48, num_attention_heads=16, num_key_value_heads=8),
    ),
    "gemma-3-27b": (
        27.432,
        seeing(5376, 21504, 62, num_attention_heads=32, num_key_value_heads=16, head_dim=128),
    ),
}  # fmt: skip

AWQ = {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm", "zero_point": True}
QUANTISED = {
    "Qwen2.5-7B-AWQ": (5.57, BASES["Qwen2.5-7B"][1], AWQ),
    "Qwen2.5-7B-GPTQ-Int4": (
        5.58, BASES["Qwen2.5-7B"][1], {"quant_method": "gptq", "bits": 4, "group_size": 128},
    ),
    "gpt-oss-20b-mxfp4": (
        13.76, BASES["gpt-oss-20b"][1],
        {"quant_method": "mxfp4", "modules_to_not_convert": [
            "model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens",
            "lm_head"]},
    ),
    "DeepSeek-V3-fp8": (
        674.0, BASES["DeepSeek-V3"][1],
        {"quant_method": "fp8", "weight_block_size": [128, 128], "fmt": "e4m3"},
    ),
}  # fmt: skip


def planned(tmp_path, capsys, config, *flags):
    """The plan for a folder that holds only this config.json."""
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert plan.main([str(tmp_path), "--dtype", "bfloat16", "--json", *flags]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("name", BASES)
def test_parameters_and_weights_are_those_of_the_class(name, tmp_path, capsys):
    import bitsandbytes
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, BitsAndBytesConfig
    from transformers.quantizers.auto import AutoHfQuantizer

    published, config = BASES[name]
    found = planned(tmp_path, capsys, config)
    assert found["parameters"]["all"] / 1e9 == pytest.approx(published, rel=0.03)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(tmp_path))
    quantizer = AutoHfQuantizer.from_config(
        BitsAndBytesConfig(load_in_4bit=True), pre_quantized=False
    )
    quantizer._process_model_before_weight_loading(model, device_map=None)
    nf4 = sum(
        module.in_features * module.out_features
        for module in model.modules()
        if isinstance(module, bitsandbytes.nn.Linear4bit)
    )
    size = 0.5 * nf4 + 2 * (found["parameters"]["all"] - nf4)
    assert found["parts"]["weights"] * 2**30 == pytest.approx(size, rel=0.05)


@pytest.mark.parametrize("name", QUANTISED)
def test_bases_that_are_quantised_already_have_the_size_of_their_files(name, tmp_path, capsys):
    published, config, method = QUANTISED[name]
    found = planned(tmp_path, capsys, config | {"quantization_config": method})
    assert found["parts"]["weights"] * 2**30 / 1e9 == pytest.approx(published, rel=0.05)
    assert any("quantised already" in note for note in found["notes"])


def test_they_are_forty():
    assert len(BASES) + len(QUANTISED) == 40
