"""A base model's sizes: counted on its transformers class, without weights, or packaged.

The class is built on PyTorch's meta device, where tensors have shapes and no memory. What is
packaged was counted in the same way, so plans of those bases need neither torch nor the network.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from kosent_hub.models.repos.untrusted import MAX_LAYERS, explained
from kosent_hub.training.planning.mixers import Mixer, mixers
from model_card.publishing.errors import KoSentError

# Names of the number of experts that a token uses, in the configs of transformers.
_USED_EXPERTS = (
    "num_experts_per_tok", "num_experts_per_token", "num_experts_per_topk", "moe_topk",
    "moe_top_k", "top_k_experts", "experts_per_token", "num_selected_experts", "top_k",
)  # fmt: skip
# Model types whose `out_proj` peft refuses: their kernels read its weight directly.
_NO_OUT_PROJ = ("falcon_h1", "mamba", "mamba2", "falcon_mamba", "nemotron_h")
# Methods whose quantised repos hold experts in few bits as well, not just linear layers.
_WITH_EXPERTS = ("fp8", "mxfp4", "compressed-tensors", "modelopt", "gptq", "awq")


@dataclass(frozen=True)
class Matrix:
    """A weight matrix by its module's path (its own path where it is no linear layer's).

    `copies` matrices of `inputs` x `outputs` are one tensor (experts), of which a token uses
    `used`. `kind`: linear, embedding, head, norm or layernorm (a vector of `outputs`), or
    parameter. `bitsandbytes`: whether it would be quantised. `packed`: bytes a weight in a repo
    that is already quantised, None where it is not. `shared`: its weights are those of a matrix
    before it, as in Zamba's blocks; an adapter of it is its own.
    """

    name: str
    kind: str
    inputs: int
    outputs: int
    copies: int = 1
    used: float = 1.0
    bitsandbytes: bool = False
    packed: float | None = None
    shared: bool = False

    @property
    def size(self) -> int:
        """Its weights, 0 where they are counted already."""
        return 0 if self.shared else self.copies * self.inputs * self.outputs


@dataclass(frozen=True)
class ModelSizes:
    """The sizes of a causal language model, as transformers builds it.

    `parameters` are all of them, tied ones once; `blocks` is the path of the list of its blocks.
    `activation` is how many tensors of a block's inner width its activation function saves beyond
    its input: 3 where it is computed in Python, as GPT-2's GELU. `lora_targets` are peft's own
    where a recipe names none, `fused` peft's names for layers that transformers keeps as one
    tensor. `packing` names the quantisation that the repo has. `mixers` are the state layers.
    """

    model_class: str
    model_type: str
    parameters: int
    buffer_bytes: int
    hidden: int
    vocabulary: int
    layers: int
    activation: int
    blocks: str
    tied: bool
    lora_targets: list[str] | str | None
    fused: dict[str, str]
    packing: str | None
    matrices: tuple[Matrix, ...] = field(repr=False)
    mixers: tuple[Mixer, ...] = ()

    def block(self, part: Matrix | Mixer) -> int | None:
        """The number of the block that the part is in, None outside of the blocks."""
        if not part.name.startswith(f"{self.blocks}."):
            return None
        return int(part.name[len(self.blocks) + 1 :].split(".", 1)[0])

    @cached_property
    def by_block(self) -> list[list[Matrix]]:
        """The matrices of each block."""
        found: list[list[Matrix]] = [[] for _ in range(self.layers)]
        for matrix in self.matrices:
            number = self.block(matrix)
            if number is not None:
                found[number].append(matrix)
        return found

    @property
    def active_parameters(self) -> float:
        """Weights that a token of text is multiplied by: of experts those used, and the head."""
        each = (m.used * m.inputs * m.outputs for block in self.by_block for m in block)
        return sum(each) + self.vocabulary * self.hidden

    @property
    def unquantised_experts(self) -> int:
        """Weights of experts that bitsandbytes leaves as they are, being no linear layers."""
        return sum(m.size for m in self.matrices if m.copies > 1 and m.packed is None)

    @property
    def refused_target(self) -> str | None:
        """The layer that peft's all-linear includes and its LoRA refuses, if the class has one."""
        named = any(m.kind == "linear" and m.name.endswith(".out_proj") for m in self.matrices)
        return "out_proj" if self.model_type in _NO_OUT_PROJ and named else None


def in_text(blocks: str, name: str) -> bool:
    """Whether a step on text uses the layer: not one of a vision tower beside the decoder.

    `blocks` is the path of the decoder's list of blocks.
    """
    text = blocks.rpartition(".")[0]
    return not text or name.startswith(f"{text}.") or name.count(".") < 2


def outside_text(model: Any) -> str | None:
    """A pattern of the layers that a step on text does not use; None where it uses all."""
    import torch

    blocks, _ = _blocks(model)
    found = set()
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and not in_text(blocks, name):
            parts = name.split(".")
            paths = (".".join(parts[:n]) for n in range(1, len(parts) + 1))
            found.add(next(path for path in paths if not f"{blocks}.".startswith(f"{path}.")))
    return rf"({'|'.join(map(re.escape, sorted(found)))})\..*" if found else None


def count(config: Any, model_id: str, *, trust_remote_code: bool = False) -> ModelSizes:
    """The sizes of the class that AutoModelForCausalLM makes of a transformers config.

    Raises KoSentError, one line, for a config that is no causal language model's, or of which
    transformers cannot build one.
    """
    import torch
    from transformers import AutoModelForCausalLM

    _check_layers(config, model_id)
    quantised = _as_dict(getattr(config, "quantization_config", None))
    if quantised:
        del config.quantization_config
    try:
        with torch.device("meta"), explained(model_id), _whole():
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)
            sizes = _sizes(model, quantised)
        return replace(sizes, mixers=mixers(model, sizes.blocks, sizes.hidden))
    except KoSentError as error:
        if "own to load" in error.what or "Unrecognized configuration class" not in error.what:
            raise
        raise KoSentError(
            model_id,
            f"{type(config).__name__.removesuffix('Config')} is no causal language model of "
            "transformers",
            "choose a base that writes text",
        ) from None


@contextmanager
def _whole() -> Iterator[None]:
    """A block in which transformers does not share out with ZeRO-3 what it builds."""
    from transformers.integrations import deepspeed

    kept = deepspeed._hf_deepspeed_config_weak_ref
    deepspeed.unset_hf_deepspeed_config()
    try:
        yield
    finally:
        deepspeed._hf_deepspeed_config_weak_ref = kept


def read(path: Path, model_id: str, *, trust_remote_code: bool = False) -> ModelSizes:
    """The sizes of the model whose config.json this is; raises KoSentError as `count` does."""
    from transformers import AutoConfig

    with explained(model_id):
        config = AutoConfig.from_pretrained(path.parent, trust_remote_code=trust_remote_code)
    return count(config, model_id, trust_remote_code=trust_remote_code)


def _text(config: Any) -> Any:
    """The config of the part that writes text."""
    return config.get_text_config(decoder=True)


def _check_layers(config: Any, model_id: str) -> None:
    """Raise KoSentError for a config with more layers than any model has."""
    layers = getattr(_text(config), "num_hidden_layers", None) or 0
    if not isinstance(layers, int) or layers > MAX_LAYERS:
        raise KoSentError(model_id, f"a model of {layers} layers, and none has that many")


def _sizes(model: Any, quantised: Mapping[str, Any]) -> ModelSizes:
    from peft.utils import transformers_weight_conversion as conversion
    from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as TARGETS

    text, kind = _text(model.config), model.config.model_type
    blocks, layers = _blocks(model)
    pattern = str(conversion._MODEL_TO_CONVERSION_PATTERN.get(kind))
    embedding = _embedding(model)
    head = model.get_output_embeddings()
    targets = TARGETS.get(kind)
    sizes = ModelSizes(
        model_class=type(model).__name__,
        model_type=kind,
        parameters=model.num_parameters(),
        buffer_bytes=sum(buffer.nbytes for buffer in model.buffers()),
        hidden=getattr(text, "hidden_size", None) or embedding[1],
        vocabulary=embedding[0],
        layers=layers,
        activation=3 * any(type(m).__name__ == "NewGELUActivation" for m in model.modules()),
        blocks=blocks,
        tied=head is not None and head.weight is model.get_input_embeddings().weight,
        lora_targets=targets if targets is None or isinstance(targets, str) else list(targets),
        fused=dict(conversion._MOE_TARGET_MODULE_MAPPING.get(pattern, {})),
        packing=_packing(quantised),
        matrices=(),
    )
    return replace(sizes, matrices=tuple(_matrices(model, quantised)))


def _embedding(model: Any) -> tuple[int, int]:
    """Rows and columns of the input embedding."""
    import torch

    try:
        rows, columns = model.get_input_embeddings().weight.shape
    except (AttributeError, NotImplementedError):
        tables = [m for m in model.modules() if isinstance(m, torch.nn.Embedding)]
        largest = max(tables, key=lambda table: table.weight.numel())
        rows, columns = largest.weight.shape
    return rows, columns


def _blocks(model: Any) -> tuple[str, int]:
    """Path and length of the list of the text decoder's blocks: the one with most parameters."""
    import torch

    decoder = model.get_decoder() if hasattr(model, "get_decoder") else model
    found: dict[str, Any] = {}
    for name, module in model.named_modules():
        inside = any(name.startswith(f"{outer}.") for outer in found)
        if isinstance(module, torch.nn.ModuleList) and len(module) and not inside:
            found[name] = module
    own = {id(module) for module in decoder.modules()} if decoder is not None else set()
    inner = {name: module for name, module in found.items() if id(module) in own} or found

    def parameters(name: str) -> int:
        return sum(parameter.numel() for parameter in inner[name].parameters())

    largest = max(inner, key=parameters)
    return largest, len(inner[largest])


def _matrices(model: Any, quantised: Mapping[str, Any]) -> Iterator[Matrix]:
    """All matrices of the model, and the vectors of its norms."""
    import torch
    from transformers.pytorch_utils import Conv1D
    from transformers.quantizers.base import get_keys_to_not_convert
    from transformers.quantizers.quantizers_utils import should_convert_module

    kept = get_keys_to_not_convert(model)
    skipped = [*kept, *_skipped(quantised)]
    packed = _bytes_a_weight(quantised)
    experts_too = _packing(quantised) in _WITH_EXPERTS
    head, used, own = model.get_output_embeddings(), _used_experts(model), set()
    several = _listed_experts(model)
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear | Conv1D):
            shared = id(module.weight) in own and module is not head
            own.add(id(module.weight))
            outputs, inputs = module.weight.shape
            if isinstance(module, Conv1D):
                inputs, outputs = outputs, inputs
            exact = type(module) in (torch.nn.Linear, Conv1D)
            small = should_convert_module(name, skipped) and module is not head
            yield Matrix(
                name, "head" if module is head else "linear", inputs, outputs,
                used=_share(name, several, used),
                bitsandbytes=exact and not quantised and should_convert_module(name, kept),
                packed=packed if small else None, shared=shared,
            )  # fmt: skip
        elif isinstance(module, torch.nn.Embedding):
            own.add(id(module.weight))
            rows, columns = module.weight.shape
            yield Matrix(name, "embedding", rows, columns, used=0)
        elif "norm" in type(module).__name__.lower():
            weight = getattr(module, "weight", None)
            if weight is not None and weight.dim() == 1:
                plain = isinstance(module, torch.nn.LayerNorm)
                yield Matrix(name, "layernorm" if plain else "norm", 1, weight.numel())
        else:
            for short, parameter in module.named_parameters(recurse=False):
                if parameter.dim() in (2, 3) and id(parameter) not in own:
                    path = f"{name}.{short}" if name else short
                    turned = getattr(module, "is_transposed", False)
                    in_repo = packed if experts_too else None
                    yield _parameter(path, parameter, used, in_repo, turned)


def _parameter(
    name: str, parameter: Any, used: float, packed: float | None, turned: bool
) -> Matrix:
    """A tensor of two or three dimensions that is no layer's: experts, or a router.

    `turned`: whether its experts have their inputs first.
    """
    if parameter.dim() == 2:
        return Matrix(name, "parameter", parameter.shape[1], parameter.shape[0])
    copies, outputs, inputs = parameter.shape
    if turned:
        inputs, outputs = outputs, inputs
    if ".conv" in name:
        return Matrix(name, "parameter", inputs, copies * outputs)
    share = min(used, copies) if copies > 1 else 1.0
    return Matrix(name, "parameter", inputs, outputs, copies, share, packed=packed)


def _used_experts(model: Any) -> float:
    """Experts that a token uses; 1 where the config says nothing of them."""
    text = _text(model.config)
    for config in (text, getattr(text, "ffn_config", None)):
        for name in _USED_EXPERTS:
            value = getattr(config, name, None)
            if isinstance(value, list | tuple) and value:
                value = max(value)
            if isinstance(value, int) and value > 0:
                return float(value)
    return 1.0


_LISTED = re.compile(r"(.*\.experts)\.(\d+)\.")


def _listed_experts(model: Any) -> dict[str, int]:
    """Number of experts of each list of them, by its path."""
    found: dict[str, int] = {}
    for name, _ in model.named_modules():
        if match := _LISTED.match(f"{name}."):
            found[match[1]] = max(found.get(match[1], 0), int(match[2]) + 1)
    return found


def _share(name: str, several: Mapping[str, int], used: float) -> float:
    """Part of its time that a layer is used: less than 1 for one expert of many."""
    match = _LISTED.match(name)
    return min(1.0, used / several[match[1]]) if match else 1.0


def _as_dict(settings: Any) -> dict[str, Any]:
    if not settings:
        return {}
    return dict(settings if isinstance(settings, Mapping) else settings.to_dict())


def _packing(quantised: Mapping[str, Any]) -> str | None:
    """The quantisation method of a repo, by transformers' name."""
    if not quantised:
        return None
    method = quantised.get("quant_method") or ("bitsandbytes" if _bnb_bits(quantised) else "")
    return str(getattr(method, "value", method)) or "unknown"


def _bnb_bits(quantised: Mapping[str, Any]) -> int | None:
    if quantised.get("load_in_4bit") or quantised.get("_load_in_4bit"):
        return 4
    return 8 if quantised.get("load_in_8bit") or quantised.get("_load_in_8bit") else None


def _bytes_a_weight(quantised: Mapping[str, Any]) -> float | None:
    """Bytes a weight of a quantised repo, its scales with it; None where it is not quantised.

    The formats are those of transformers' quantizers: a scale of 16 or 32 bits for a group of
    weights, and a zero point for a group where weights are integers.
    """
    method = _packing(quantised)
    if method is None:
        return None
    if method == "bitsandbytes":
        if _bnb_bits(quantised) == 8:
            return 1.0
        nested = quantised.get("bnb_4bit_use_double_quant")
        return 0.5 + (1 / 64 + 4 / (64 * 256) if nested else 4 / 64)
    if method in ("fp8", "fbgemm_fp8"):
        return 1.0 + 4 / 128**2
    if method == "mxfp4":
        return 0.5 + 1 / 32
    if method == "bitnet":
        return 0.25
    bits, group = quantised.get("bits"), quantised.get("group_size")
    for settings in (quantised.get("config_groups") or {}).values():
        weights = settings.get("weights") or {}
        bits, group = weights.get("num_bits", bits), weights.get("group_size", group)
    bits = bits or quantised.get("w_bit") or quantised.get("nbits") or quantised.get("num_bits")
    if not isinstance(bits, int | float) or bits <= 0:
        return None
    scales = (2 + bits / 8) / group if isinstance(group, int) and group > 0 else 0.0
    return bits / 8 + scales


def _skipped(quantised: Mapping[str, Any]) -> list[str]:
    """Paths of the layers that a quantised repo keeps in 16 bits, as transformers matches them."""
    names: list[str] = []
    for key in ("modules_to_not_convert", "llm_int8_skip_modules", "ignore", "ignored_layers"):
        names += quantised.get(key) or []
    return [name.removeprefix("re:") for name in names if isinstance(name, str)]


def packaged(folder: Path) -> ModelSizes:
    """The sizes that are packaged beside a base's config.json, as `to_json` writes them."""
    stored = json.loads((folder / "sizes.json").read_text(encoding="utf-8"))
    matrices = []
    for name, numbers, *values in stored.pop("matrices"):
        for number in range(numbers):
            matrices.append(Matrix(name.replace("*", str(number), 1), *values))
    return ModelSizes(**stored, matrices=tuple(matrices))


def to_json(sizes: ModelSizes) -> str:
    """The sizes as text, one row for a matrix that all blocks have (`*` for the number)."""
    rows: dict[tuple[Any, ...], list[str]] = {}
    for matrix in sizes.matrices:
        pattern = re.sub(r"\.\d+\.", ".*.", matrix.name, count=1)
        rows.setdefault((pattern, *astuple(matrix)[1:]), []).append(matrix.name)
    lines = []
    for (pattern, *values), names in rows.items():
        whole = [pattern.replace("*", str(number), 1) for number in range(len(names))]
        if names == whole:
            lines.append([pattern, len(names), *values])
        else:
            lines += [[name, 1, *values] for name in names]
    apart = ("matrices", "mixers")  # no packaged base has state layers
    facts = {f.name: getattr(sizes, f.name) for f in fields(sizes) if f.name not in apart}
    head = json.dumps(facts, indent=2)[:-2]
    return f'{head},\n  "matrices": [\n    ' + ",\n    ".join(map(json.dumps, lines)) + "\n  ]\n}\n"
