"""Peak memory of a LoRA training step from the base's config alone: no weights, no torch.

The formulas count what trainer.py's step keeps alive: a frozen base under bfloat16 (or float16)
autocast, an adapter, its gradients and AdamW's two moments in float32. The tests hold them against
the peaks of real steps.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from model_card.publishing.errors import KoSentError

GIB = 2**30
# TRL's defaults of the settings a plan reads; a test compares them with TRL's dataclasses.
DEFAULTS: dict[str, Any] = {
    "dtype": "float32",
    "gradient_accumulation_steps": 1,
    "gradient_checkpointing": True,
    "load_in_4bit": False,
    "load_in_8bit": False,
    "lora_dropout": 0.05,
    "lora_r": 16,
    "lora_target_modules": None,
    "max_length": 1024,
    "max_steps": -1,
    "num_train_epochs": 3.0,
    "optim": "adamw_torch_fused",
    "packing": False,
    "per_device_train_batch_size": 8,
    "use_bnb_nested_quant": False,
    "use_cpu": False,
}

# TRL's head on a GPU works on tiles of this many tokens times this much of the vocabulary.
_TILE_TOKENS, _TILE_VOCABULARY = 4096, 32768


@dataclass(frozen=True)
class Base:
    """The sizes of a causal language model of Llama's build."""

    hidden: int
    inner: int
    layers: int
    queries: int
    keys: int
    vocabulary: int
    tied: bool

    @property
    def linear(self) -> dict[str, tuple[int, int]]:
        """Input and output width of each linear layer in a block."""
        h, i, q, k = self.hidden, self.inner, self.queries, self.keys
        return {
            "self_attn.q_proj": (h, q),
            "self_attn.k_proj": (h, k),
            "self_attn.v_proj": (h, k),
            "self_attn.o_proj": (q, h),
            "mlp.gate_proj": (h, i),
            "mlp.up_proj": (h, i),
            "mlp.down_proj": (i, h),
        }

    @property
    def linear_parameters(self) -> int:
        """Parameters in all blocks' linear layers: what quantisation makes smaller."""
        return self.layers * sum(a * b for a, b in self.linear.values())

    @property
    def other_parameters(self) -> int:
        """Embeddings, head and norms: what stays in 16 bits."""
        embeddings = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return embeddings + (2 * self.layers + 1) * self.hidden


def base_from_config(config: Mapping[str, Any], where: str) -> Base:
    """The sizes in a config.json; raises KoSentError naming the key that is missing."""
    config = config.get("text_config") or config

    def size(name: str) -> int:
        value = config.get(name) if isinstance(config, Mapping) else None
        if not isinstance(value, int) or value < 1:
            raise KoSentError(
                where,
                f"its config has no {name!r}, so its memory cannot be planned",
                "plans know models of Llama's build",
            )
        return value

    hidden, heads = size("hidden_size"), size("num_attention_heads")
    head = size("head_dim") if config.get("head_dim") else hidden // heads
    return Base(
        hidden=hidden,
        inner=size("intermediate_size"),
        layers=size("num_hidden_layers"),
        queries=head * heads,
        keys=head * (size("num_key_value_heads") if config.get("num_key_value_heads") else heads),
        vocabulary=size("vocab_size"),
        tied=bool(config.get("tie_word_embeddings", False)),
    )


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter: its parameters, and the blocks and layers it is on."""

    parameters: int
    lowest_layer: int
    layers_per_block: float


def adapter(base: Base, settings: Mapping[str, Any]) -> Adapter:
    """The adapter that these settings put on this base, as peft chooses its layers."""
    target = settings["lora_target_modules"]
    names = [(layer, name) for layer in range(base.layers) for name in base.linear]
    chosen = [
        (layer, name) for layer, name in names if _is_target(target, f"model.layers.{layer}.{name}")
    ]
    if not chosen:
        raise KoSentError(None, f"lora_target_modules {target!r} is on no layer of this model")
    lowest = min(layer for layer, _ in chosen)
    rank = settings["lora_r"]
    return Adapter(
        parameters=rank * sum(sum(base.linear[name]) for _, name in chosen),
        lowest_layer=lowest,
        layers_per_block=len(chosen) / (base.layers - lowest),
    )


def _is_target(target: str | list[str] | None, name: str) -> bool:
    """Whether peft puts an adapter on the layer: by list, by pattern, or by its defaults."""
    if target is None:
        target = ["q_proj", "v_proj"]
    if target in ("all-linear", ["all-linear"]):
        return True
    if isinstance(target, str):
        return re.fullmatch(target, name) is not None
    return any(name == suffix or name.endswith(f".{suffix}") for suffix in target)


def peak(
    base: Base, settings: Mapping[str, Any], *, length: int, learned: float = 0.5
) -> dict[str, float]:
    """GiB by part at the peak of a step whose samples are all `length` tokens long.

    `learned` is the share of tokens with a loss. Their sum is the peak.
    """
    lora = adapter(base, settings)
    cpu, wide = settings["use_cpu"], settings["dtype"] == "float32"
    size = 4 if wide else 2
    tokens = settings["per_device_train_batch_size"] * length
    if settings["packing"]:
        tokens = settings["per_device_train_batch_size"] * settings["max_length"]
    trained = base.layers - lora.lowest_layer

    per_linear = 0.5 if settings["load_in_4bit"] else 1.0 if settings["load_in_8bit"] else size
    weights = base.linear_parameters * per_linear + base.other_parameters * size
    # NF4 keeps a float32 scale for 64 weights; double quantisation an 8-bit one, and a float32
    # scale for 256 of those. int8 keeps a float32 scale a row.
    scale = 1 / 64 + 4 / (64 * 256) if settings["use_bnb_nested_quant"] else 4 / 64
    quantization = base.linear_parameters * scale if settings["load_in_4bit"] else 0.0

    moments = 2 if "8bit" in settings["optim"] else 8
    block = _saved_by_block(base, settings, lora, wide, cpu) * tokens
    # Temporary tensors in the backward of the widest layer.
    passing = (10 * base.hidden + 6 * base.inner) * tokens
    if settings["load_in_4bit"]:
        passing += size * base.hidden * base.inner
    logits = _logits(base, tokens, learned, size, cpu)
    gradients = 4.0 * lora.parameters
    if settings["gradient_checkpointing"]:
        # Gradients appear as the kept inputs go, unless an earlier micro-batch left some.
        kept = size * base.hidden * tokens * trained
        once = settings["gradient_accumulation_steps"] == 1
        gradients = max(0.0, gradients - kept) if once else gradients
        # The last block is done again after the head is through with its logits.
        activations = kept + max(0.0, block + passing - logits)
    else:
        activations = block * trained + max(0.0, passing - logits)
        gradients = gradients if settings["gradient_accumulation_steps"] > 1 else 0.0

    parts = {
        "weights": weights,
        "quantization": quantization,
        "adapter": 4.0 * lora.parameters,
        "optimizer": moments * lora.parameters + gradients,
        "activations": activations,
        "logits": logits,
    }
    moving = parts["activations"] + parts["logits"]
    # Python and its libraries; or the CUDA context, cuBLAS, and blocks too small for reuse.
    parts["overhead"] = 0.75 * GIB if cpu else 0.7 * GIB + 0.05 * moving
    return {name: value / GIB for name, value in parts.items()}


def _saved_by_block(
    base: Base, settings: Mapping[str, Any], lora: Adapter, wide: bool, cpu: bool
) -> float:
    """Bytes a transformer block saves a token for its backward.

    16-bit: norms 8h (float32 inputs), adapter inputs 2 each, attention 4h + 4k, MLP 6i; float32
    shares the adapters' inputs. h hidden, i inner, k width of the keys.
    """
    h, i, k = base.hidden, base.inner, base.keys
    share = lora.layers_per_block / len(base.linear)
    rank = 7 * settings["lora_r"] * lora.layers_per_block
    if wide:
        return 24 * h + 8 * k + 16 * i + rank
    inputs = (6 * h + i) * share
    # A dropout's mask is a byte an input on a GPU, a float on a CPU.
    mask = (4 if cpu else 1) * inputs if settings["lora_dropout"] else 0
    return 12 * h + 4 * k + 6 * i + 2 * inputs + mask + rank


def _logits(base: Base, tokens: int, learned: float, size: int, cpu: bool) -> float:
    """Bytes of the head: on a CPU the learned tokens' logits three times, on a GPU one tile."""
    scored = tokens * learned
    if cpu:
        return 12 * scored * base.vocabulary
    tile = min(scored, _TILE_TOKENS) * min(base.vocabulary, _TILE_VOCABULARY) * size
    return tile + scored * base.hidden * (4 + size)
