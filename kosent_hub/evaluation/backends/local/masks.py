"""Attention masks by position: who sees which keys, in layers with a sliding window or without."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

FULL, SLIDING = "full_attention", "sliding_attention"  # as `layer_types` of a config names them


@dataclass(frozen=True)
class Window:
    """Tokens that layers with a sliding window see, the query's own among them; None: all see all.

    `kinds` names the kinds of layers of a model that takes a mask for each; it is empty for one
    that takes one mask for all its layers.
    """

    tokens: int | None = None
    kinds: tuple[str, ...] = ()


NO_WINDOW = Window()


def window_of(model: PreTrainedModel) -> Window:
    """The sliding window that the model's config names."""
    config = model.config.get_text_config()
    kinds = tuple(sorted(set(getattr(config, "layer_types", None) or ())))
    tokens = getattr(config, "sliding_window", None)
    if tokens is None or (kinds and SLIDING not in kinds):
        return NO_WINDOW
    return Window(tokens, kinds)


def masks(gaps: torch.Tensor, window: Window, dtype: torch.dtype) -> torch.Tensor | dict:
    """Additive masks of the shape of `gaps`, which holds the query's position less the key's and
    is negative where the key is not to be seen; a dict by kind of layer where the model has
    kinds."""
    seen = gaps >= 0
    if window.tokens is None:
        return _additive(seen, dtype)
    near = seen & (gaps < window.tokens)
    if not window.kinds:
        return _additive(near, dtype)
    by_kind = {FULL: seen, SLIDING: near}
    return {kind: _additive(by_kind[kind], dtype) for kind in window.kinds if kind in by_kind}


def _additive(seen: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """0 where `seen` is true, minus infinity elsewhere."""
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, -torch.inf)
