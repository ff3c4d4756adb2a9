"""Matrix products by oneDNN on AMD's CPUs.

In float32 PyTorch takes MKL for them, which on AMD's processors is slow for few rows and a large
matrix, that is for each decode step. oneDNN, which PyTorch brings too, was measured there to be
1.3 to 3.6 times as fast for matrices of a million weights and more, with 1 to 256 rows.
"""

from __future__ import annotations

import platform
from functools import partial
from pathlib import Path
from typing import Any

import torch

LARGE = 2**20  # weights; smaller matrices gain nothing


def use_onednn(model: Any) -> None:
    """Have the model's large layers computed by oneDNN where they are in float32 and gradients are
    not wanted; only on a CPU of AMD's."""
    if not _on_amd() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return
    for layer in model.modules():
        if type(layer) is torch.nn.Linear and layer.weight.numel() >= LARGE:
            layer.forward = partial(_linear, layer)


def _linear(layer: torch.nn.Linear, rows: torch.Tensor) -> torch.Tensor:
    if (
        torch.is_grad_enabled()
        or torch.is_autocast_enabled("cpu")
        or {rows.dtype, layer.weight.dtype} != {torch.float32}
        or {rows.device.type, layer.weight.device.type} != {"cpu"}
        or not rows.numel()
    ):
        return torch.nn.functional.linear(rows, layer.weight, layer.bias)
    return torch.ops.mkldnn._linear_pointwise(
        rows.contiguous(), layer.weight, layer.bias, "none", [], ""
    )


def _on_amd() -> bool:
    found = Path("/proc/cpuinfo")
    return (
        torch.backends.mkldnn.is_available()
        and platform.machine() == "x86_64"
        and found.is_file()
        and "AuthenticAMD" in found.read_text()
    )
