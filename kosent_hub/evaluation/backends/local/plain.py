"""Greedy replies by a model's own `generate`, for models that the batcher is not right for."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import GenerationConfig

BATCH = 16


@torch.inference_mode()
def plain_replies(
    model: Any, prompts: Sequence[array], stop: frozenset[int], max_new_tokens: int, pad: int
) -> Iterator[tuple[int, list[int]]]:
    """Index and new token ids of each prompt's reply, in batches of prompts padded on the left.

    Greedy, whatever the model's own generation settings say.
    """
    settings = GenerationConfig(
        do_sample=False,
        max_new_tokens=max_new_tokens,
        eos_token_id=sorted(stop),
        pad_token_id=pad,
    )
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]), reverse=True)
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        width = len(prompts[chosen[0]])
        rows = [[pad] * (width - len(prompts[i])) + prompts[i].tolist() for i in chosen]
        mask = [[0] * (width - len(prompts[i])) + [1] * len(prompts[i]) for i in chosen]
        with _without_own_settings(model):
            out = model.generate(
                input_ids=torch.tensor(rows, device=model.device),
                attention_mask=torch.tensor(mask, device=model.device),
                generation_config=settings,
            )
        for i, row in zip(chosen, out[:, width:].tolist(), strict=True):
            end = next((n for n, token in enumerate(row, 1) if token in stop), len(row))
            yield i, row[:end]


@contextmanager
def _without_own_settings(model: Any) -> Iterator[None]:
    """`generate` fills what it is not told, such as penalties and beams, with the model's own
    settings; inside the `with` block the model has none."""
    own = model.generation_config
    model.generation_config = GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = own
