"""Peak memory of a LoRA training step from the base's sizes alone: no weights, no torch.

The formulas count what trainer.py's step keeps alive: a frozen base under bfloat16 (or float16)
autocast, an adapter, its gradients and AdamW's two moments in float32. The tests hold them against
the peaks of real steps.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from kosent_hub.training.planning.model_sizes import Matrix, ModelSizes, in_text
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

_DTYPES = ("auto", "bfloat16", "float16", "float32")
# Zero is a value of these.
_FROM_ZERO = ("lora_dropout", "max_steps")
# Lists, of which a flag with one name is text.
_LISTS = ("lora_modules_to_save", "lora_target_parameters")

# TRL's head on a GPU works on tiles of this many tokens times this much of the vocabulary.
_TILE_TOKENS, _TILE_VOCABULARY = 4096, 32768
# Learned tokens whose logits a training on a CPU computes at once: enough rows that reading the
# head's weights for them does not count.
CPU_HEAD_ROWS = 256


def checked(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with numbers as numbers; raises KoSentError for one that no training can have.

    YAML has `1e-1` as text, and TRL reads it as a number.
    """
    lists = {name: [settings[name]] for name in _LISTS if isinstance(settings.get(name), str)}
    found = dict(settings) | lists
    for name, default in DEFAULTS.items():
        value = settings[name]
        if isinstance(default, bool):
            fits, expected = value in (True, False), "true or false"
        elif name == "dtype":
            fits, expected = value in _DTYPES, " or ".join(_DTYPES)
        elif name == "lora_target_modules":
            names = value if isinstance(value, list) else [value or ""]
            fits = all(isinstance(one, str) for one in names)
            expected = "names of layers, or all-linear"
        elif isinstance(default, int | float) and not (name == "max_length" and value is None):
            whole = isinstance(default, int)
            found[name] = number = _number(value, whole=whole)
            least = "" if name in _FROM_ZERO else " above zero"
            fits = number is not None and (number > 0 or not least)
            expected = f"a {'whole ' if whole else ''}number{least}"
        else:
            continue
        if not fits:
            shown = str(value).lower() if isinstance(value, bool) else value
            raise KoSentError(f"--{name} {shown}", f"expected {expected}")
    return found


def _number(value: Any, *, whole: bool) -> float | None:
    """The value as a number, a whole one where that is asked for; None for what is none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    if isinstance(value, bool) or not math.isfinite(number):
        return None
    return number if not whole else int(number) if number.is_integer() else None


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter: its rank on each matrix that it changes, and its parameters.

    `on_tensors`: whether it changes experts that are one tensor.
    """

    ranks: dict[str, int]
    parameters: int
    lowest_block: int
    on_tensors: bool = False


def adapter(base: ModelSizes, settings: Mapping[str, Any]) -> Adapter:
    """The adapter that these settings put on this base, as peft chooses its layers.

    A vision tower beside the text model gets none, as in a training (see `outside_text`). Raises
    KoSentError where peft would find no layer.
    """
    target = settings["lora_target_modules"]
    if isinstance(target, list) and len(target) == 1:
        target = target[0]  # as TRL reads a list of one
    if target is None:
        target = base.lora_targets
    if target is None:
        raise KoSentError(
            None,
            f"peft has no layers of its own choice for models of type {base.model_type}",
            "name them: --lora_target_modules all-linear",
        )
    rank, chosen = settings["lora_r"], {}
    modules, parameters = _split_fused(base, target, settings.get("lora_target_parameters") or [])
    for matrix in base.matrices:
        if not in_text(base.blocks, matrix.name):
            continue
        times = [n for name, n in parameters.items() if _ends(_parameter_name(matrix), name)]
        if times:
            chosen[matrix.name] = rank * max(times)
        elif _is_target(modules, matrix) and matrix.name.split(".")[-1] != base.refused_target:
            chosen[matrix.name] = rank
    if not chosen:
        raise KoSentError(None, f"lora_target_modules {target!r} is on no layer of this model")
    added = {
        m.name: chosen[m.name] * m.copies * (m.inputs + m.outputs)
        for m in base.matrices
        if m.name in chosen
    }
    whole = settings.get("lora_modules_to_save") or []
    saved = sum(m.size for m in base.matrices if m.name.split(".")[-1] in whole)
    numbers = [base.block(m) for m in base.matrices if m.name in chosen]
    return Adapter(
        ranks=chosen,
        parameters=sum(added.values()) + saved,
        lowest_block=min((n for n in numbers if n is not None), default=0),
        on_tensors=any(m.kind == "parameter" and m.name in chosen for m in base.matrices),
    )


def _split_fused(
    base: ModelSizes, target: str | list[str], parameters: list[str]
) -> tuple[str | list[str], dict[str, int]]:
    """Target modules, and how many times the rank each targeted parameter has.

    Where transformers keeps the experts' layers in one tensor, peft takes the layers' old names as
    names of parameters, and only whole leaf names are left for modules.
    """
    found = dict.fromkeys(parameters, 1)
    if not base.fused:
        return target, found
    if isinstance(target, list):
        names = set(target)
    elif target.lower() == "all-linear":
        names = {m.name.split(".")[-1] for m in base.matrices if m.kind == "linear"}
        names |= base.fused.keys()
    else:
        names = _leaves(base, target)
    old = {name: name.split(".")[-1] for name in names if name.split(".")[-1] in base.fused}
    for new in {base.fused[leaf] for leaf in old.values()}:
        parts = {leaf for leaf, tensor in base.fused.items() if tensor == new}
        given = parts & set(old.values())
        if given != parts:
            raise KoSentError(
                f"lora_target_modules {', '.join(sorted(given))}",
                f"experts of this model keep {' and '.join(sorted(parts))} in one tensor",
                "name all of them, or none",
            )
        found[new] = len(parts)
    return sorted(names - old.keys()), found


def _leaves(base: ModelSizes, pattern: str) -> set[str]:
    """Last parts of the names that a pattern matches, the experts' old names among them."""
    found = set()
    for matrix in base.matrices:
        for name in {matrix.name, _parameter_name(matrix)}:
            if re.fullmatch(pattern, name):
                found.add(name.split(".")[-1])
        container, _, leaf = matrix.name.rpartition(".")
        for old, new in base.fused.items():
            if new == leaf and re.fullmatch(pattern, f"{container}.{old}"):
                found.add(old)
    return found


def _parameter_name(matrix: Matrix) -> str:
    return matrix.name if matrix.kind == "parameter" else f"{matrix.name}.weight"


def _ends(name: str, suffix: str) -> bool:
    return name == suffix or name.endswith(f".{suffix}")


def _is_target(target: str | list[str], matrix: Matrix) -> bool:
    """Whether peft puts an adapter on the layer: by list, by pattern, or on all that are linear."""
    if matrix.kind not in ("linear", "head", "embedding"):
        return False
    if isinstance(target, str):
        if target.lower() == "all-linear":
            return matrix.kind == "linear"
        return re.fullmatch(target, matrix.name) is not None
    return any(_ends(matrix.name, suffix) for suffix in target)


def is_dpo(settings: Mapping[str, Any]) -> bool:
    """Whether the settings are those of a training on preference pairs."""
    return settings.get("trainer") == "dpo"


def weights(base: ModelSizes, settings: Mapping[str, Any]) -> tuple[float, float]:
    """Bytes of the base's weights, and of the scales of those that bitsandbytes quantises."""
    size = 4 if settings["dtype"] == "float32" else 2
    each = 0.5 if settings["load_in_4bit"] else 1.0 if settings["load_in_8bit"] else size
    quantised = sum(m.size for m in base.matrices if m.bitsandbytes)
    in_repo = {m.name: m for m in base.matrices if m.packed is not None}
    rest = base.parameters - quantised - sum(m.size for m in in_repo.values())
    total = quantised * each + rest * size + base.buffer_bytes
    total += sum(m.size * (m.packed or 0.0) for m in in_repo.values())
    # NF4 keeps a float32 scale for 64 weights; double quantisation an 8-bit one, and a float32
    # scale for 256 of those. int8 keeps a float32 scale a row.
    scale = 1 / 64 + 4 / (64 * 256) if settings["use_bnb_nested_quant"] else 4 / 64
    return total, quantised * scale if settings["load_in_4bit"] else 0.0


def peak(
    base: ModelSizes, settings: Mapping[str, Any], *, length: int, learned: float = 0.5
) -> dict[str, float]:
    """GiB by part at the peak of a step whose samples are all `length` tokens long.

    `learned` is the share of tokens with a loss. Their sum is the peak.
    """
    lora = adapter(base, settings)
    cpu, wide = settings["use_cpu"], settings["dtype"] == "float32"
    size = 4 if wide else 2
    # DPO has two sequences a pair; its reference is this model once more, without what is trained,
    # in a forward that keeps nothing.
    sequences = (1 + is_dpo(settings)) * settings["per_device_train_batch_size"]
    if settings["packing"]:
        sequences, length = settings["per_device_train_batch_size"], settings["max_length"]
    tokens = sequences * length
    trained = base.by_block[lora.lowest_block :]
    scans = [
        _scans(base, n, sequences, length, wide) for n in range(lora.lowest_block, base.layers)
    ]
    model, quantization = weights(base, settings)

    moments = 2 if "8bit" in settings["optim"] else 8
    folded = [_folded(block, lora) for block in trained]
    saved = [
        _saved_by_block(base, block, settings, lora, tokens) + size * sum(tensors) + scan
        for block, tensors, (scan, _) in zip(trained, folded, scans, strict=True)
    ]
    # Temporary tensors in the backward of the widest layer.
    passing = (10 * base.hidden + 6 * max(map(_inner, trained))) * tokens
    passing += size * max((max(tensors, default=0) for tensors in folded), default=0)
    if settings["load_in_4bit"] or base.packing:
        packed = (m.size for m in base.matrices if m.bitsandbytes or m.packed)
        passing += size * max(packed, default=0)
    # The backward of each block, that of a scan where it holds more.
    passings = [max(passing, scan) for _, scan in scans]
    logits = _logits(base, settings, tokens * learned, size)
    gradients = 4.0 * lora.parameters
    if settings["gradient_checkpointing"]:
        # Gradients appear as the kept inputs go, unless an earlier micro-batch left some.
        kept = size * base.hidden * tokens * len(trained)
        once = settings["gradient_accumulation_steps"] == 1
        gradients = max(0.0, gradients - kept) if once else gradients
        # The last block is done again after the head is through with its logits.
        activations = kept + max(0.0, max(map(sum, zip(saved, passings, strict=True))) - logits)
    else:
        # By a block's backward, what later ones saved is gone.
        widest = max(map(sum, zip(accumulate(saved), passings, strict=True)))
        activations = max(sum(saved), widest - logits)
        gradients = gradients if settings["gradient_accumulation_steps"] > 1 else 0.0

    parts = {
        "weights": model,
        "quantization": quantization,
        # An adapter that DPO goes on from is kept as it was.
        "adapter": 4.0 * lora.parameters * (2 if settings.get("adapter") else 1),
        "optimizer": moments * lora.parameters + gradients,
        "activations": activations,
        "logits": logits,
    }
    moving = parts["activations"] + parts["logits"]
    # Python and its libraries; or the CUDA context, cuBLAS, and blocks too small for reuse.
    parts["overhead"] = 0.75 * GIB if cpu else 0.7 * GIB + 0.05 * moving
    return {name: value / GIB for name, value in parts.items()}


# Layers whose output is added to the residual stream: their input is what the block computed.
_WRITES = re.compile(
    r".*\.(o_proj|out_proj|down_proj|c_proj|dense|dense_4h_to_h|fc2|fc_out|wo|w2|output_linear"
    r"|linear_fc2)(\.weight)?"
)


def _folded(block: Sequence[Matrix], lora: Adapter) -> list[int]:
    """Sizes of the experts' tensors that an adapter changes: peft adds it to a copy of each, which
    is saved for the backward and gets a gradient of its size there."""
    return [m.size for m in block if m.kind == "parameter" and m.name in lora.ranks]


def _inner(block: Sequence[Matrix]) -> float:
    """Width of a block at its widest, experts that a token uses side by side."""
    return max((m.used * m.inputs for m in block if _WRITES.fullmatch(m.name)), default=0.0)


def _saved_by_block(
    base: ModelSizes,
    block: Sequence[Matrix],
    settings: Mapping[str, Any],
    lora: Adapter,
    tokens: int,
) -> float:
    """Bytes that a block saves for its backward.

    A norm saves its input in float32, but PyTorch's own LayerNorm under a CPU's autocast. A layer's
    output is saved by what comes next, as is the input of one that writes to the residual stream;
    an adapter saves its layer's input. What is inside a state layer is counted with its scan, but
    for the adapters.
    """
    wide, cpu = settings["dtype"] == "float32", settings["use_cpu"]
    size, inside = 4 if wide else 2, tuple(f"{mixer.name}." for mixer in base.mixers)
    each = (4 if wide or not cpu else 2) * base.activation * _inner(block)
    for m in block:
        writes = _WRITES.fullmatch(m.name) is not None
        rank, counted = lora.ranks.get(m.name), m.name.startswith(inside)
        if counted and m.kind in ("norm", "layernorm"):
            continue
        if m.kind == "layernorm" and cpu and not wide:
            each += size * m.outputs
            continue
        if m.kind in ("norm", "layernorm"):
            each += 4 * m.outputs * _heads(block, m)
            # In float32 the adapters behind a norm share its output.
            each += 4 * m.outputs if wide and lora.ranks and m.outputs == base.hidden else 0
            continue
        each += 0 if counted else size * m.used * (m.inputs if writes else m.outputs)
        if rank is None:
            continue
        each += 7 * rank * m.used
        if not wide:
            # A dropout's mask is a byte an input on a GPU, a float on a CPU.
            mask = (4 if cpu else 1) if settings["lora_dropout"] else 0
            each += (2 + mask) * m.inputs * m.used
        elif writes and m.inputs == _inner(block):
            each += 4 * m.inputs * m.used
    return each * tokens


def _scans(
    base: ModelSizes, number: int, sequences: int, length: int, wide: bool
) -> tuple[float, float]:
    """Bytes that the state layers of a block save, and those more that their backward takes."""
    saved = more = 0.0
    for mixer in base.mixers:
        if base.block(mixer) == number:
            kept, most = mixer.held(length, wide=wide)
            saved, more = saved + sequences * kept, max(more, sequences * (most - kept))
    return saved, more


def _heads(block: Sequence[Matrix], norm: Matrix) -> float:
    """How many times a norm is applied to a token: a query's or key's once a head."""
    leaf = norm.name.split(".")[-1]
    part = "q" if leaf.startswith("q") else "k" if leaf.startswith("k") else None
    if part is None:
        return 1
    outputs = [m.outputs for m in block if m.name.endswith(f".{part}_proj")]
    return max(1, outputs[0] // norm.outputs) if outputs else 1


def _logits(base: ModelSizes, settings: Mapping[str, Any], scored: float, size: int) -> float:
    """Bytes of the head over the `scored` tokens: on a GPU one tile; on a CPU the logits of some
    rows in float32, and of a 16-bit model once more in its format, but with DPO all, three times.
    """
    if settings["use_cpu"]:
        if is_dpo(settings):
            return 12 * scored * base.vocabulary
        row = base.vocabulary * (4 if size == 4 else 4 + size)
        return min(scored, CPU_HEAD_ROWS) * row + 2 * size * scored * base.hidden
    tile = min(scored, _TILE_TOKENS) * min(base.vocabulary, _TILE_VOCABULARY) * size
    return tile + scored * base.hidden * (4 + size)
