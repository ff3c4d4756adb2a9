"""Whatever transformers can generate with: replies in batches are those of one prompt at a time.

A tiny model of each architecture, with random weights far from uniform, goes through the engine as
a user's model does. All of it is slow: each takes some seconds.
"""

import shutil
import sys
from pathlib import Path

import pytest

from kosent_hub.evaluation.samples import Sample
from model_card.publishing.errors import KoSentError
from tests.kosent_hub.dialogues import write_dataset

pytestmark = pytest.mark.slow

NEW_TOKENS = 10
TINY = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
EXPERTS = {
    "moe_intermediate_size": 16,
    "num_experts": 4,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "n_routed_experts": 4,
    "n_shared_experts": 1,
}
LATENT = EXPERTS | {
    "kv_lora_rank": 16,
    "q_lora_rank": 16,
    "v_head_dim": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 16,
    "num_key_value_heads": 4,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
}
HEAD, WINDOW = {"head_dim": 8}, {"sliding_window": 64}
OLD = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512}
MAMBA2 = {
    "mamba_n_heads": 8,
    "mamba_d_head": 8,
    "mamba_d_state": 4,
    "mamba_n_groups": 1,
    "mamba_chunk_size": 8,
}
DECODER = {
    "d_model": 32,
    **{f"{side}_layers": 2 for side in ("encoder", "decoder")},
    **{f"{side}_attention_heads": 4 for side in ("encoder", "decoder")},
    **{f"{side}_ffn_dim": 48 for side in ("encoder", "decoder")},
}
NOTHING: dict[str, int] = {}
STATE, IS_DECODER = {"state_size": 4}, {"is_decoder": True}
AS_THEY_ARE = (
    *("llama", "mistral", "qwen2", "phi", "phi3", "granite", "olmo", "olmo2", "olmo3"),
    *("cohere", "stablelm", "starcoder2", "persimmon", "nemotron", "smollm3", "gpt_neox"),
    *("falcon", "biogpt", "arcee", "apertus"),
)
# What is not as in TINY, by the architecture's name in transformers.
KINDS = {
    **dict.fromkeys(AS_THEY_ARE, NOTHING),
    **dict.fromkeys(("qwen3", "gemma", "glm", "glm4", "ernie4_5", "seed_oss", "helium"), HEAD),
    **dict.fromkeys(("gemma2", "gemma3_text", "vaultgemma"), HEAD | WINDOW),
    "cohere2": WINDOW,
    "exaone4": WINDOW | {"sliding_window_pattern": 2},
    # Experts.
    **dict.fromkeys(("mixtral", "qwen2_moe", "olmoe", "granitemoe", "phimoe"), EXPERTS),
    **dict.fromkeys(("qwen3_moe", "glm4_moe"), EXPERTS | HEAD),
    "gpt_oss": EXPERTS
    | WINDOW
    | {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}},
    "jetmoe": EXPERTS | {"kv_channels": 8, "num_attention_heads": 2},
    **dict.fromkeys(("deepseek_v2", "deepseek_v3"), LATENT),
    # Positions of other kinds.
    **dict.fromkeys(("gpt2", "gpt_bigcode", "openai-gpt"), OLD),
    **dict.fromkeys(("gptj", "codegen"), OLD | {"rotary_dim": 8}),
    "ctrl": OLD | {"dff": 48},
    "gpt_neo": {
        "num_layers": 2,
        "num_heads": 4,
        "attention_types": [[["global", "local"], 1]],
        "window_size": 8,
    },
    "bloom": {"n_layer": 2, "n_head": 4},
    "mpt": {"d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": 512},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "xglm": {"d_model": 32, "attention_heads": 4, "num_layers": 2, "ffn_dim": 48},
    # States, and attention beside them.
    **dict.fromkeys(("mamba", "falcon_mamba"), STATE),
    "mamba2": {"state_size": 4, "num_heads": 8, "head_dim": 8, "n_groups": 1, "chunk_size": 8},
    "jamba": EXPERTS
    | {
        "mamba_d_state": 4,
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "expert_layer_period": 2,
        "use_mamba_kernels": False,
    },
    "bamba": MAMBA2 | {"attn_layer_indices": [1]},
    "falcon_h1": MAMBA2 | HEAD | {"mamba_d_ssm": 64},
    "granitemoehybrid": EXPERTS
    | MAMBA2
    | {"layer_types": ["mamba", "attention"], "shared_intermediate_size": 16},
    "zamba2": {
        "mamba_d_state": 4,
        "num_hidden_layers": 4,
        "layers_block_type": ["mamba", "hybrid"] * 2,
        "hybrid_layer_ids": [1, 3],
        "num_key_value_heads": 4,
        "n_mamba_heads": 8,
        "mamba_headdim": 8,
        "mamba_ngroups": 1,
        "chunk_size": 8,
    },
    "recurrent_gemma": {
        "lru_width": 32,
        "attention_window_size": 16,
        "num_hidden_layers": 3,
        "block_types": ["recurrent", "recurrent", "attention"],
    },
    "rwkv": {"attention_hidden_size": 32, "context_length": 512},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "minimax": EXPERTS
    | HEAD
    | {"block_size": 8, "layer_types": ["linear_attention", "full_attention"]},
    "qwen3_next": EXPERTS
    | HEAD
    | {
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
        "layer_types": ["linear_attention", "full_attention"],
    },
    # Decoders of other models.
    "bart": DECODER,
    **dict.fromkeys(("bert", "electra"), IS_DECODER),
}


def write_model(tiny_llama: Path, folder: Path, kind: str, **changes) -> Path:
    """A random model of that architecture, with the tokenizer of `tiny_llama`."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    names = ("bos_token_id", "eos_token_id", "pad_token_id")
    given = {name: getattr(tokenizer, name) for name in names} | {"vocab_size": len(tokenizer)}
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **TINY | given | KINDS.get(kind, {}) | changes)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    for weight in model.parameters():
        if weight.ndim > 1:
            torch.nn.init.normal_(weight, std=0.3)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def load(folder: Path):
    from kosent_hub.evaluation.backends.local.backend import TransformersBackend
    from kosent_hub.models.locate import ModelRef, locate

    return TransformersBackend(locate(ModelRef(str(folder), dtype="float32")), NEW_TOKENS)


# Of five lengths, two of them twice.
SAMPLES = [
    Sample(f"{n}#1", str(n), n, [{"role": "user", "content": text}], "네.")
    for n, text in enumerate(
        ["가 나", "가 다", "abc " * 9, "오늘 abc 다라 " * 3, "b", "xyz " * 9, "다 " * 12]
    )
]


def one_at_a_time(backend) -> list[list[int]]:
    """Each sample's reply by transformers' own greedy decoding, with no settings of the model."""
    import torch
    from transformers import GenerationConfig

    backend.lm.generation_config = GenerationConfig()
    replies = []
    for sample in SAMPLES:
        ids = torch.tensor([backend.form.prompt(sample.messages)])
        out = backend.lm.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=NEW_TOKENS,
            eos_token_id=sorted(backend.stop),
            pad_token_id=backend.form.tokenizer.pad_token_id,
        )
        replies.append(out[0, ids.shape[1] :].tolist())
    return replies


def assert_as_one_at_a_time(backend) -> None:
    found = {reply.index: reply for reply in backend.replies(SAMPLES, range(len(SAMPLES)))}
    for place, tokens in enumerate(one_at_a_time(backend)):
        expected = backend._reply(place, tokens, found[place].path)
        assert found[place] == expected, place
    scores = list(backend.score_targets(SAMPLES, range(len(SAMPLES))))
    assert sorted(score.index for score in scores) == list(range(len(SAMPLES)))


@pytest.mark.parametrize("kind", KINDS)
def test_replies_in_batches_are_those_of_one_at_a_time(kind, tiny_llama, tmp_path):
    assert_as_one_at_a_time(load(write_model(tiny_llama, tmp_path / kind, kind)))


def test_a_state_is_not_padded(tiny_llama, tmp_path):
    assert load(write_model(tiny_llama, tmp_path / "a", "recurrent_gemma")).batches.padded is False
    assert load(write_model(tiny_llama, tmp_path / "b", "mamba")).reach.tokens == 0


def test_a_model_that_cannot_generate_is_one_line(tiny_llama, tmp_path):
    folder = write_model(tiny_llama, tmp_path / "broken", "xlstm", num_heads=4, chunk_size=8)
    with pytest.raises(KoSentError, match="cannot generate with a xLSTMForCausalLM here") as said:
        load(folder)
    assert said.value.remedy.endswith("name that server with --endpoint")


@pytest.mark.parametrize("kind", ["gpt2", "opt", "gptj"])
def test_a_table_of_positions_that_is_too_short_is_said_first(
    run, nobody, kind, tiny_llama, tmp_path
):
    write_model(tiny_llama, tmp_path / "short", kind, max_position_embeddings=64)
    write_dataset(tmp_path / "chat", 3)
    evaluate = ["kosent-eval", "--model", "short", "--dataset", "chat", "--embedder", "none"]
    done = run([*evaluate, "--max-new-tokens", "60", "--no-safety"], cwd=tmp_path, env=nobody)
    assert done.returncode == 2, done.stderr
    assert "short: has 64 positions, and the longest prompt and reply need" in done.stderr
    assert not list(tmp_path.glob("kosent-eval/*/completions*"))


def test_training_beyond_a_table_of_positions_names_max_length(
    run, nobody, workplace, tiny_llama, tmp_path
):
    write_model(tiny_llama, tmp_path / "short", "gpt2", max_position_embeddings=32)
    shutil.copytree(workplace / "dataset", tmp_path / "dataset")
    train = [sys.executable, "-m", "kosent_hub.train", "--config", "smollm2-135m/cpu"]
    train += ["--model_name_or_path", "short", "--dataset_name", "dataset", "--output_dir", "run"]
    done = run(train, cwd=tmp_path, env=nobody)
    assert done.returncode == 2, done.stderr
    assert "short: has 32 positions, and the longest sample has" in done.stderr.splitlines()[-1]
    assert done.stderr.splitlines()[-1].endswith("give --max_length 32")
