"""Models of Llama's class with random weights, made on the device, and a tokenizer of bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TINY = {
    "vocab_size": 512, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
    "max_position_embeddings": 1024, "bos_token_id": None, "eos_token_id": 257, "pad_token_id": 256,
}  # fmt: skip


def random_model(
    config: Any, device: str, dtype: Any, *, four_bit: bool = False, nested: bool = False
) -> Any:
    """A model of random weights on the device, one layer at a time; `four_bit`: NF4, but for
    embeddings and head, as transformers loads it."""
    import torch
    from transformers import AutoModelForCausalLM

    def drawn(like: Any) -> Any:
        made = torch.empty(like.shape, dtype=dtype, device=device)
        return made.fill_(1.0) if like.dim() == 1 else made.normal_(std=0.02)

    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(
            config, dtype=dtype, attn_implementation="sdpa"
        )
    if four_bit:
        from bitsandbytes.nn import Linear4bit, Params4bit

        head = model.get_output_embeddings()
        for name, module in list(model.named_modules()):
            if type(module) is torch.nn.Linear and module is not head:
                quantised = Linear4bit(
                    module.in_features, module.out_features, bias=False, compute_dtype=dtype,
                    quant_type="nf4", device="meta",
                )  # fmt: skip
                quantised.weight = Params4bit(
                    drawn(module.weight), requires_grad=False, quant_type="nf4",
                    compress_statistics=nested,
                ).to(device)  # fmt: skip
                model.set_submodule(name, quantised)
        model.is_loaded_in_4bit = True
    for name, parameter in list(model.named_parameters()):
        if parameter.is_meta:
            owner, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(owner), leaf, torch.nn.Parameter(drawn(parameter)))
    model.tie_weights()
    model.model.rotary_emb = type(model.model.rotary_emb)(config).to(device)
    return model


def byte_tokenizer() -> Any:
    """A tokenizer with a token a byte, padding, and the marks of ChatML."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE({letter: n for n, letter in enumerate(alphabet)}, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<|pad|>")
    tokenizer.add_special_tokens({"eos_token": "<|im_end|>"})
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>"]})
    tokenizer.chat_template = CHATML
    return tokenizer


def write_base(folder: Path) -> None:
    """A tiny base in float32, with its tokenizer, as a folder that kosent-train takes."""
    import torch
    from transformers import LlamaConfig

    torch.manual_seed(0)
    random_model(LlamaConfig(**TINY), "cpu", torch.float32).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)


def write_dialogues(folder: Path) -> None:
    """A dataset folder of short dialogues made up here."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    (folder / "data").mkdir(parents=True)
    for split, count in (("train", 24), ("validation", 2)):
        rows = [
            {"messages": [{"role": "user", "content": f"{n}번째 말이야."},
                          {"role": "assistant", "content": f"{n}번째 말이군요."}]}
            for n in range(count)
        ]  # fmt: skip
        path = folder / "data" / f"{split}-00000-of-00001.parquet"
        pq.write_table(pa.Table.from_pylist(rows), path)
