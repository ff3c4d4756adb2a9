"""Linear layers whose weights are laid out once for matrix products on a CPU.

PyTorch keeps weights row by row, and oneDNN, which computes its products, reorders them at every
call: for the hundred rows of a decode step that takes half the time of the output layer. Here
oneDNN reorders them once, when the model is loaded.
"""

from __future__ import annotations

import torch
from transformers import PreTrainedModel

from kosent_hub.models import device

# Made for torch.compile and not documented, so they are looked for before they are used.
OPERATORS = ("_reorder_linear_weight", "_linear_pointwise")


class PackedLinear(torch.nn.Module):
    """A linear layer for inference only: the results of `torch.nn.Linear` up to rounding."""

    def __init__(self, layer: torch.nn.Linear) -> None:
        super().__init__()
        # Models may ask for its shape and number format; only products can read its values.
        self.weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach())
        self.bias = layer.bias

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(..., outputs) of (..., inputs)."""
        return torch.ops.mkldnn._linear_pointwise(input, self.weight, self.bias, "none", [], "")


def pack(model: PreTrainedModel) -> None:
    """Replace a model's linear layers by packed ones, where that makes it faster: on a CPU that
    computes in the model's number format, if the model is not quantised.

    One layer after another, so that memory never holds two copies of all weights.
    """
    if not _can_pack(model):
        return
    # By name: a list of the layers themselves would keep all their weights until the end.
    for name in [name for name, _ in model.named_modules()]:
        layer = model.get_submodule(name)
        # Not subclasses: they keep their weights in other ways.
        if type(layer) is torch.nn.Linear and layer.weight.dtype == model.dtype:
            model.set_submodule(name, PackedLinear(layer))


def _can_pack(model: PreTrainedModel) -> bool:
    return (
        model.device.type == "cpu"
        and getattr(model.config, "quantization_config", None) is None
        and model.dtype in (torch.float32, getattr(torch, device.compute_dtype(use_cpu=True)))
        and torch.backends.mkldnn.is_available()
        and torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
        and all(hasattr(torch.ops.mkldnn, name) for name in OPERATORS)
    )
