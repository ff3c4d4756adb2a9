"""A model on this machine: base, quantised or adapter, from safetensors only."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from kosent_hub.models import device, prompts, untrusted
from kosent_hub.models.locate import Located, ModelRef, locate
from kosent_hub.models.packing import pack
from kosent_hub.models.untrusted import check_size, explained
from model_card.publishing.errors import KoSentError

if TYPE_CHECKING:
    from transformers import BitsAndBytesConfig, PreTrainedModel

# Of the adapter's effect, what rounding the merged weights may undo or add.
ROUNDING = 0.5


@dataclass(frozen=True)
class Loaded:
    """A model ready to generate, where its parts came from, and its number format."""

    model: PreTrainedModel
    located: Located
    dtype: str


def load_model(ref: ModelRef) -> Loaded:
    """The requested model in evaluation mode, an adapter active and merged unless quantised.

    Raises KoSentError, one line, for whatever `locate` refuses, and for a repo without
    safetensors or in need of its own code.
    """
    located = locate(ref)
    dtype = ref.dtype or device.compute_dtype(use_cpu=not torch.cuda.is_available())
    packed = getattr(located.config, "quantization_config", None) is not None
    each = 0.5 if packed else getattr(torch, dtype).itemsize
    check_size(located.base_id, located.config, each, device.memory())

    def load_base() -> PreTrainedModel:
        return _load_base(located, dtype, ref.trust_remote_code)

    model = _with_adapter(load_base, located) if located.adapter else load_base()
    method = quantization(model)
    told = f"{dtype}, {method}" if method else dtype
    if _is_emulated(model) and 8 * model.num_parameters() < device.free_memory():
        # The weights stay as they were rounded; PyTorch's stand-in for the missing instructions
        # takes many times as long as float32.
        model, told = model.float(), f"{told}, computed in float32"
    pack(model)
    return Loaded(model.eval(), located, told)


def _is_emulated(model: PreTrainedModel) -> bool:
    """Whether the model is in bfloat16 on a CPU that has no instructions for it."""
    return (
        model.device.type == "cpu"
        and model.dtype == torch.bfloat16
        and quantization(model) is None
        and device.compute_dtype(use_cpu=True) != "bfloat16"
    )


def _load_base(located: Located, dtype: str, trust_remote_code: bool) -> PreTrainedModel:
    with explained(located.base_id):
        return AutoModelForCausalLM.from_pretrained(
            located.base_id,
            revision=located.base.revision,
            config=located.config,
            dtype=getattr(torch, dtype),
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
            device_map="cuda" if torch.cuda.is_available() else "cpu",
        )


def _with_adapter(load_base: Callable[[], PreTrainedModel], located: Located) -> PreTrainedModel:
    """The base with the adapter in it, shown to change what the model says.

    Merged, which is faster, unless the base is quantised or rounding would undo the adapter.
    """
    from peft import PeftModel

    adapter_id, revision = located.model_id, located.repo.revision
    probe = _probe(located)

    def attach() -> Any:
        # None is no revision to peft: it would ask for the branch of that name.
        pinned: dict[str, Any] = {"revision": revision} if revision else {}
        base = load_base()
        with explained(adapter_id):
            return PeftModel.from_pretrained(base, adapter_id, **pinned).eval()

    adapted = attach()
    active = _logits(adapted, probe)
    with adapted.disable_adapter():
        bare = _logits(adapted, probe)
    if torch.equal(active, bare):
        raise KoSentError(
            adapter_id,
            "with the adapter the model answers exactly as without it",
            "its weights are all zero or fit no layer of the base model",
        )
    if quantization(adapted) is not None:
        return adapted.get_base_model()
    merged = adapted.merge_and_unload()
    if (_logits(merged, probe) - active).norm() < ROUNDING * (bare - active).norm():
        return merged
    print(
        f"{adapter_id}: kept apart from its base, whose number format would round it away",
        file=sys.stderr,
    )
    del adapted, merged
    return attach().get_base_model()


def _probe(located: Located) -> torch.Tensor:
    """Token ids of a prompt such as the model will see, (1, length)."""
    text = prompts.render(located.tokenizer, prompts.EXAMPLE)
    return located.tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]


@torch.inference_mode()
def _logits(model: Any, ids: torch.Tensor) -> torch.Tensor:
    return model(input_ids=ids.to(model.device)).logits.float()


def quantization(model: Any) -> str | None:
    """How the model's weights are quantised, None if they are not."""
    config = getattr(model.config, "quantization_config", None)
    if config is None:
        return None
    method = getattr(config, "quant_method", None)
    return str(getattr(method, "value", method))


def load_base(
    model_id: str,
    revision: str | None,
    *,
    dtype: str,
    attention: str,
    quantization: BitsAndBytesConfig | None = None,
) -> PreTrainedModel:
    """The base model in `dtype`, its linear layers quantised if asked, on this process's device."""
    import torch
    from accelerate import PartialState
    from transformers import AutoModelForCausalLM

    device = PartialState().device
    with untrusted.explained(model_id):
        return AutoModelForCausalLM.from_pretrained(
            model_id,
            revision=revision,
            dtype=getattr(torch, dtype),
            attn_implementation=attention,
            quantization_config=quantization,
            use_safetensors=True,
            trust_remote_code=False,
            # A quantised model cannot be moved afterwards; DeepSpeed and FSDP place the others.
            device_map={"": device} if quantization else None,
        )
