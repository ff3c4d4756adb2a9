"""Sequences that begin alike, computed at once: their common prefix only once."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from kosent_hub.evaluation.backends.local.cache import PrefillCache, Tokens
from kosent_hub.evaluation.backends.local.masks import Window, masks


def prefill(
    model: PreTrainedModel,
    sequences: Sequence[Tokens],
    common: PrefillCache | None,
    window: Window,
    logits_to_keep: int = 1,
) -> tuple[PrefillCache, torch.Tensor]:
    """Keys and values of sequences that continue the prefix in `common`, and the model's logits for
    the last `logits_to_keep` places, all if 0, of the longest; `window` is its sliding window.

    The model must compute shared-prefix attention.
    """
    device = model.device
    cache = PrefillCache(common, len(sequences), device)
    width = max(1, *(len(tokens) for tokens in sequences))
    # Padding is on the right, where causal attention never reads it.
    ids = torch.tensor([[*tokens, *[0] * (width - len(tokens))] for tokens in sequences])
    positions = torch.arange(cache.start, cache.start + width, device=device)
    gaps = positions[:, None] - torch.arange(cache.start + width, device=device)
    logits = model(
        input_ids=ids.to(device),
        position_ids=positions[None].expand(len(sequences), -1),
        attention_mask=masks(gaps[None, None], window, model.dtype),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=logits_to_keep,
    ).logits
    return cache, logits


def common_prefix(sequences: Sequence[Tokens]) -> Tokens:
    """The longest prefix of all sequences."""
    if not sequences:
        return array("i")
    low, high = min(sequences), max(sequences)
    for i, (a, b) in enumerate(zip(low, high, strict=False)):
        if a != b:
            return low[:i]
    return low
