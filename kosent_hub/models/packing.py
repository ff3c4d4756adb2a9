"""Linear layers laid out for matrix products on a CPU.

PyTorch keeps weights row by row, and its products bring them into the order the processor wants at
every call: with the hundred rows of a decode step that is half the time of a vocabulary's layer.
oneDNN, which PyTorch ships, can do it once.
"""

from __future__ import annotations

import torch
from transformers import PreTrainedModel

from kosent_hub.models import device

# torch.compile's own operators for this: not documented, so looked for before they are used.
OPERATORS = ("_reorder_linear_weight", "_linear_pointwise")


class PackedLinear(torch.nn.Module):
    """A linear layer for inference: as `torch.nn.Linear`, up to rounding."""

    def __init__(self, layer: torch.nn.Linear) -> None:
        super().__init__()
        # Of the weight's shape and type, as models may ask, but only for products.
        self.weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach())
        self.bias = layer.bias

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(..., inputs) to (..., outputs)."""
        return torch.ops.mkldnn._linear_pointwise(input, self.weight, self.bias, "none", [], "")


def pack(model: PreTrainedModel) -> None:
    """Replace the linear layers of a model on a CPU by packed ones, where that CPU computes in
    their number format; one after another, so that their weights are not held twice."""
    if not _can_pack(model.dtype):
        return
    # By name: a list of the layers themselves would keep all their weights until the end.
    for name in [name for name, _ in model.named_modules()]:
        layer = model.get_submodule(name)
        # Not what is derived from it: such layers keep their weights in ways of their own.
        if type(layer) is torch.nn.Linear and layer.weight.dtype == model.dtype:
            model.set_submodule(name, PackedLinear(layer))


def _can_pack(dtype: torch.dtype) -> bool:
    quick = (torch.float32, getattr(torch, device.compute_dtype(use_cpu=True)))
    return (
        dtype in quick
        and torch.backends.mkldnn.is_available()
        and torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
        and all(hasattr(torch.ops.mkldnn, name) for name in OPERATORS)
    )
