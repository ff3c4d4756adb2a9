"""Matrix products by oneDNN on AMD's CPUs.

In float32 PyTorch takes MKL for them, which on AMD's processors is slow for few rows and a large
matrix: for each decode step, and for the head of a model in training. oneDNN, which PyTorch brings
too, was measured there with 1 to 256 rows: 1.3 to 3.6 times as fast for matrices of 28 million
weights and more, and from as fast to 3 times as fast for those of 1.3 million.
"""

from __future__ import annotations

import platform
from functools import partial
from pathlib import Path
from typing import Any

import torch

LARGE = 2**20  # weights; smaller matrices gain nothing


def use_onednn(model: Any) -> None:
    """Have the model's large layers computed by oneDNN where they are in float32 and not trained
    themselves; only on a CPU of AMD's."""
    if not _on_amd() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return
    for layer in model.modules():
        if type(layer) is torch.nn.Linear and layer.weight.numel() >= LARGE:
            layer.forward = partial(_linear, layer)  # type: ignore[method-assign]


class _Product(torch.autograd.Function):
    """rows @ weight.T + bias by oneDNN, for a weight and a bias that are not trained."""

    @staticmethod
    def forward(
        ctx: Any, rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        ctx.save_for_backward(weight)
        return torch.ops.mkldnn._linear_pointwise(rows.contiguous(), weight, bias, "none", [], "")

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        return gradients[0] @ weight, None, None


def _linear(layer: torch.nn.Linear, rows: torch.Tensor) -> torch.Tensor:
    trained = torch.is_grad_enabled() and any(part.requires_grad for part in layer.parameters())
    if (
        trained
        or torch.is_autocast_enabled("cpu")
        or {rows.dtype, layer.weight.dtype} != {torch.float32}
        or {rows.device.type, layer.weight.device.type} != {"cpu"}
        or not rows.numel()
    ):
        return torch.nn.functional.linear(rows, layer.weight, layer.bias)
    return _Product.apply(rows, layer.weight, layer.bias)


def _on_amd() -> bool:
    found = Path("/proc/cpuinfo")
    return (
        torch.backends.mkldnn.is_available()
        and platform.machine() == "x86_64"
        and found.is_file()
        and "AuthenticAMD" in found.read_text()
    )
