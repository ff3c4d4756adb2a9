"""An adapter merged into its base: the one merge of evaluation, push and export."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel

from model_card.publishing.errors import KoSentError

# Largest change of the logits by rounding the merged weights, as a share of the adapter's effect.
ROUNDING = 0.5


@dataclass(frozen=True)
class Change:
    """What a merge changed in logits: the largest and the mean difference from the adapter's, the
    mean difference that the adapter itself makes, and the share of the two differences' norms."""

    largest: float
    mean: float
    adapter_mean: float
    share: float

    @property
    def is_small(self) -> bool:
        """Whether the adapter is still there: rounding undoes less than ROUNDING of its effect."""
        return self.share < ROUNDING


def merge(adapted: Any) -> PreTrainedModel:
    """The base of a PeftModel, its adapter added to the weights and removed.

    A weight in 16 bits is added to in float32 and rounded once, so that memory holds one layer more
    than the model. Raises what peft raises for an adapter that cannot be merged: RuntimeError,
    ValueError or NotImplementedError.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    adapted.base_model._check_merge_allowed()
    for layer in [found for found in adapted.modules() if isinstance(found, BaseTunerLayer)]:
        weight = getattr(layer.get_base_layer(), "weight", None)
        if not isinstance(weight, torch.Tensor) or weight.dtype not in (
            torch.bfloat16,
            torch.float16,
        ):
            continue  # float32, or packed: peft's own merge below
        dtype = weight.dtype
        weight.data = weight.data.float()
        layer.merge()
        weight.data = weight.data.to(dtype)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Aa]lready merged.*")
        return adapted.merge_and_unload()


def effect(
    adapted: Any, model_id: str, logits: Callable[[Any], torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The `logits` of a PeftModel with its adapter and without it.

    Raises KoSentError where they are the same.
    """
    active = logits(adapted)
    with adapted.disable_adapter():
        bare = logits(adapted)
    if torch.equal(active, bare):
        raise KoSentError(
            model_id,
            "with the adapter the model answers exactly as without it",
            "its weights are all zero or fit no layer of the base model",
        )
    return active, bare


def change(merged: torch.Tensor, active: torch.Tensor, bare: torch.Tensor) -> Change:
    """How far the merged model's logits are from the adapter's, all of the same shape; `bare` are
    those of the base without adapter."""
    off, effect = merged - active, bare - active
    return Change(
        off.abs().max().item(),
        off.abs().mean().item(),
        effect.abs().mean().item(),
        (off.norm() / effect.norm()).item(),
    )


@torch.inference_mode()
def next_logits(model: Any, prompts: Sequence[Sequence[int]]) -> torch.Tensor:
    """The logits of the token after each prompt, float32, of shape (prompts, vocabulary)."""
    rows = [
        model(input_ids=torch.tensor([list(prompt)], device=model.device)).logits[0, -1]
        for prompt in prompts
    ]
    return torch.stack(rows).float().cpu()
