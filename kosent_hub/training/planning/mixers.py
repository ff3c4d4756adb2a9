"""What state layers (Mamba, linear attention) hold in a training step, measured without memory.

Their scans save far more than their matrices' sizes tell, each kind its own. So one layer of each
kind takes a step on PyTorch's fake tensors, which have shapes and a device and no memory, and the
bytes of all tensors alive are counted. It is the scan in PyTorch that is measured; the kernels of
mamba-ssm, causal-conv1d or flash-linear-attention hold less.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

# Bytes a token, and those a chunk of tokens, to which a sequence is filled up.
Bytes = tuple[float, float]


@dataclass(frozen=True)
class Mixer:
    """A state layer by its path: what it holds in 16 bits, and in float32 (`wide`).

    `saved` is kept for the backward; `peak` is the most that is alive there, with that; all are
    zero for a layer that does not run on fake tensors. A chunk has `chunk` tokens.
    """

    name: str
    chunk: int
    saved: Bytes = (0.0, 0.0)
    peak: Bytes = (0.0, 0.0)
    wide_saved: Bytes = (0.0, 0.0)
    wide_peak: Bytes = (0.0, 0.0)

    def held(self, length: int, *, wide: bool) -> tuple[float, float]:
        """Bytes of a sequence of `length` tokens: those saved, and those at the peak."""
        chunks = -(-length // self.chunk)
        both = (self.wide_saved, self.wide_peak) if wide else (self.saved, self.peak)
        saved, peak = (each * length + more * chunks for each, more in both)
        return saved, peak


def mixers(model: Any, blocks: str, hidden: int) -> tuple[Mixer, ...]:
    """The state layers of a model on the meta device: those with a convolution along the tokens.

    `blocks` is the path of the list of its blocks, `hidden` the width of what they are given.
    """
    import torch

    found: list[Mixer] = []
    known: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for name, module in model.named_modules():
        convolves = any(isinstance(child, torch.nn.Conv1d) for child in module.children())
        if not convolves or not name.startswith(f"{blocks}."):
            continue
        kind = (type(module), *(tuple(p.shape) for p in module.parameters()))
        if kind not in known:
            known[kind] = _measured(module, hidden)
        found.append(Mixer(name, *known[kind]))
    return tuple(found)


def _measured(module: Any, hidden: int) -> tuple[Any, ...]:
    """Chunk and bytes of a state layer; the chunk alone where it does not run."""
    import torch
    from transformers.utils import logging

    # Mamba 1 goes token by token; 64 is the chunk of the gated delta rule.
    alone = hasattr(module, "dt_proj")
    chunk = 1 if alone else getattr(module, "chunk_size", None) or 64
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # of kernels that are not installed, the plan has a note
    try:
        found: list[Bytes] = []
        for kind in (torch.bfloat16, torch.float32):
            if alone:
                found += [(held / 8, 0.0) for held in _step(module, hidden, 8, kind)]
                continue
            whole, part = (
                _step(module, hidden, tokens, kind)
                for tokens in (2 * chunk, 2 * chunk - chunk // 2)
            )
            for most, less in zip(whole, part, strict=True):
                each = (most - less) / (chunk // 2)
                found.append((each, most / 2 - each * chunk))
    except Exception:  # whatever a class of transformers does on tensors without values
        return (chunk,)
    finally:
        logging.set_verbosity(verbosity)
    return chunk, *found


def _step(module: Any, hidden: int, tokens: int, dtype: Any) -> tuple[float, float]:
    """Bytes that a step saves, and at its peak; the layer's weights are not among them."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    from kosent_hub.training.planning.alive import Alive

    alive, layer = Alive(), copy.deepcopy(module).train()
    with FakeTensorMode():
        for part in layer.modules():
            for store in (part._parameters, part._buffers):
                for name, tensor in store.items():
                    if tensor is not None:
                        made = torch.empty(tensor.shape, dtype=dtype, device="cpu")
                        alive.leave_out(made)
                        if store is part._parameters:
                            made = torch.nn.Parameter(made, requires_grad=False)
                        store[name] = made
        given = torch.empty(1, tokens, hidden, dtype=dtype, device="cpu").requires_grad_()
        with alive, torch.autocast("cpu", torch.bfloat16, enabled=dtype != torch.float32):
            out = layer(given)
            out = (out[0] if isinstance(out, tuple) else out).sum()
            saved = alive.now
        with alive:
            out.backward()
    return saved, alive.most
