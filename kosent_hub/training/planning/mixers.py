"""What state layers (Mamba, linear attention) hold in a training step, measured without memory.

Their scans save far more than their matrices' sizes tell, each kind its own. So one layer of each
kind takes a step on PyTorch's fake tensors, which have shapes and a device and no memory, and the
bytes of all tensors alive are counted. It is the scan in PyTorch that is measured; the kernels of
mamba-ssm, causal-conv1d or flash-linear-attention hold less.
"""

from __future__ import annotations

import copy
import weakref
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Mixer:
    """A state layer by its path: bytes a token in 16 bits and in float32 (`wide`).

    `saved` are kept for the backward; `peak` is the most that is alive there, with those; all are
    zero for a layer that does not run on fake tensors. A sequence is filled up to whole chunks of
    `chunk` tokens.
    """

    name: str
    chunk: int
    saved: float
    peak: float
    wide_saved: float
    wide_peak: float


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
    """Chunk and bytes of a state layer; zeros where it does not run."""
    import torch
    from transformers.utils import logging

    # Mamba 1 goes token by token; 64 is the chunk of the gated delta rule.
    alone = hasattr(module, "dt_proj")
    chunk = 1 if alone else getattr(module, "chunk_size", None) or 64
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # of kernels that are not installed, the plan has a note
    try:
        tokens = max(8, 2 * chunk)
        found = [_step(module, hidden, tokens, kind) for kind in (torch.bfloat16, torch.float32)]
    except Exception:  # whatever a class of transformers does on tensors without values
        return chunk, 0.0, 0.0, 0.0, 0.0
    finally:
        logging.set_verbosity(verbosity)
    return chunk, *found[0], *found[1]


def _step(module: Any, hidden: int, tokens: int, dtype: Any) -> tuple[float, float]:
    """Bytes a token that a step saves, and at its peak; the layer's weights are not among them."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    alive, layer = _alive(), copy.deepcopy(module).train()
    with FakeTensorMode():
        for part in layer.modules():
            for store in (part._parameters, part._buffers):
                for name, tensor in store.items():
                    if tensor is not None:
                        made = torch.empty(tensor.shape, dtype=dtype, device="cpu")
                        store[name] = made if store is part._buffers else _frozen(made)
        given = torch.empty(1, tokens, hidden, dtype=dtype, device="cpu").requires_grad_()
        with alive, torch.autocast("cpu", torch.bfloat16, enabled=dtype != torch.float32):
            out = layer(given)
            out = (out[0] if isinstance(out, tuple) else out).sum()
            saved = alive.now
        with alive:
            out.backward()
    return saved / tokens, alive.most / tokens


def _frozen(tensor: Any) -> Any:
    import torch

    return torch.nn.Parameter(tensor, requires_grad=False)


def _alive() -> Any:
    """A mode that counts the bytes of the tensors made under it, now and at most."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_iter

    class Alive(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.now = self.most = 0
            self._seen: weakref.WeakSet[Any] = weakref.WeakSet()

        def _gone(self, size: int) -> None:
            self.now -= size

        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            out = func(*args, **(kwargs or {}))
            for value in tree_iter(out):
                if isinstance(value, torch.Tensor):
                    storage = value.untyped_storage()
                    if storage not in self._seen:
                        self._seen.add(storage)
                        self.now += storage.nbytes()
                        self.most = max(self.most, self.now)
                        weakref.finalize(storage, self._gone, storage.nbytes())
            return out

    return Alive()
