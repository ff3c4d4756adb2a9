"""Models with a table of positions, beyond which they have nothing to say."""

from __future__ import annotations

from typing import Any

from torch import nn

# OPT's and BART's tables have two rows before the first position.
_ROWS_BEFORE = 8


def last_position(model: Any) -> int | None:
    """How many tokens a model with a table of positions (GPT-2, OPT, GPT-J, ...) can read; None for
    one that computes its positions."""
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if not isinstance(limit, int):
        return None
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding) and ("pos" in name or name.endswith("wpe")):
            if limit <= module.num_embeddings <= limit + _ROWS_BEFORE:
                padding = module.padding_idx if module.num_embeddings == limit else None
                return limit - (0 if padding is None else padding + 1)
        elif "Sinusoidal" not in type(module).__name__:  # XGLM's grows as needed
            tables = dict(module.named_buffers(recurse=False))
            if any("pos" in n and t.ndim == 2 and len(t) == limit for n, t in tables.items()):
                return limit
    return None
