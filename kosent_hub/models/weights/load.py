"""Loading a causal language model: base, quantised, or base and adapter; from safetensors only."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from kosent_hub.models.chat_format import EXAMPLE
from kosent_hub.models.locate import Located
from kosent_hub.models.machine import device
from kosent_hub.models.machine.products import use_onednn
from kosent_hub.models.repos.untrusted import check_size, explained
from kosent_hub.models.weights.attach import attach
from kosent_hub.models.weights.gguf_file import opened
from kosent_hub.models.weights.merge import change, effect, merge


@dataclass(frozen=True)
class Loaded:
    """A model ready to generate, where its parts came from, and its number format.

    `without_adapter` gives a `with` block inside which the model is its base; None for a model
    without an adapter, or with a merged one. `unused` counts the adapter's weights that fit no
    layer of the base.
    """

    model: PreTrainedModel
    located: Located
    dtype: str
    without_adapter: Callable[[], AbstractContextManager[None]] | None = None
    unused: int = 0


def load_model(located: Located, *, merge: bool = True) -> Loaded:
    """The located model in evaluation mode, an adapter active, and merged if `merge` unless the
    base is quantised.

    Raises KoSentError, one line, for a repo without safetensors or in need of its own code, and
    for an adapter that changes nothing.
    """
    ref = located.ref
    dtype = ref.dtype or device.compute_dtype(use_cpu=not torch.cuda.is_available())
    packed = getattr(located.config, "quantization_config", None) is not None
    each = 0.5 if packed else getattr(torch, dtype).itemsize
    check_size(located.base_id, located.config, each, device.memory())

    def load_base() -> PreTrainedModel:
        return load_causal_model(
            located.base_id,
            located.base.revision,
            dtype,
            config=located.config,
            trust_remote_code=ref.trust_remote_code,
            device_map="cuda" if torch.cuda.is_available() else "cpu",
        )

    switch, unused = None, 0
    if not located.adapter:
        model = load_base()
    else:
        model, switch, unused = _with_adapter(load_base, located, merged=merge)
    method = quantization(model)
    format_name = f"{dtype}, {method}" if method else dtype
    if _is_emulated(model) and 8 * model.num_parameters() < device.free_memory():
        # The weights keep their rounded values. PyTorch emulates the missing instructions, which
        # takes many times as long as float32.
        model, format_name = model.float(), f"{format_name}, computed in float32"
    return Loaded(model.eval(), located, format_name, switch, unused)


def count_parameters(located: Located) -> int:
    """The number of weights of the located base, found without loading them."""
    trusted = located.ref.trust_remote_code
    with torch.device("meta"), explained(located.base_id, trusted):
        model = AutoModelForCausalLM.from_config(located.config, trust_remote_code=trusted)
    return model.num_parameters()


def _is_emulated(model: PreTrainedModel) -> bool:
    """Whether the model is in bfloat16 on a CPU that has no instructions for it."""
    return (
        model.device.type == "cpu"
        and model.dtype == torch.bfloat16
        and quantization(model) is None
        and device.compute_dtype(use_cpu=True) != "bfloat16"
    )


def load_causal_model(
    model_id: str,
    revision: str | None,
    dtype: str,
    *,
    trust_remote_code: bool = False,
    **options: Any,
) -> PreTrainedModel:
    """A base or whole model from safetensors, or from a GGUF file, whose weights are unpacked;
    `options` are those of `from_pretrained`.

    Raises KoSentError, one line, for whatever transformers cannot load.
    """
    with explained(model_id, trust_remote_code), opened(model_id, revision) as (place, which, _):
        model = AutoModelForCausalLM.from_pretrained(
            place,
            **which,
            dtype=getattr(torch, dtype),
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
            **options,
        )
    use_onednn(model)
    return model


def _with_adapter(
    load_base: Callable[[], PreTrainedModel], located: Located, *, merged: bool
) -> tuple[PreTrainedModel, Callable[[], AbstractContextManager[None]] | None, int]:
    """The base with the adapter; what switches it off, if it stays beside the base's weights for
    that; and how many of its weights fit no layer.

    Merged if `merged`, unless the base is quantised, the adapter cannot be merged, or rounding
    would undo it. Raises KoSentError for an adapter that does not change the logits.
    """
    attached = attach(load_base(), located)
    for note in attached.notes:
        print(f"{located.model_id}: {note}", file=sys.stderr)
    adapted, unused = attached.model, attached.unused
    probe = _probe(located)
    active, bare = effect(adapted, located.model_id, lambda model: _logits(model, probe))
    if not merged:
        return adapted.get_base_model(), adapted.disable_adapter, unused
    if quantization(adapted) is not None:
        return adapted.get_base_model(), None, unused
    try:
        model = merge(adapted)
    except (NotImplementedError, RuntimeError, ValueError) as error:
        why = " ".join(str(error).split())
    else:
        if change(_logits(model, probe), active, bare).is_small:
            return model, None, unused
        dtype = str(model.dtype).removeprefix("torch.")
        why = f"in {dtype}, merging would round its weights away"
        del model
    print(f"{located.model_id}: adapter not merged: {why}", file=sys.stderr)
    del attached, adapted  # before the base is in memory once more
    return attach(load_base(), located).model.get_base_model(), None, unused


def _probe(located: Located) -> torch.Tensor:
    """Token ids of an example prompt, shape (1, length)."""
    return torch.tensor([located.form.prompt(EXAMPLE)])


@torch.inference_mode()
def _logits(model: Any, ids: torch.Tensor) -> torch.Tensor:
    return model(input_ids=ids.to(model.device)).logits.float()


def quantization(model: Any) -> str | None:
    """The quantisation method of the model's weights, None if they are not quantised."""
    config = getattr(model.config, "quantization_config", None)
    if config is None:
        return None
    method = getattr(config, "quant_method", None)
    return str(getattr(method, "value", method))
