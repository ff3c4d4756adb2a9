"""A model's own `generate`, without the model's own settings."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import GenerationConfig


def generate(model: Any, prompts: Sequence[Sequence[int]], pad: int, **settings: Any) -> Any:
    """What the model's own `generate` returns for one batch, the longest prompt of which is first:
    token ids, padded on the left to the longest prompt."""
    width = len(prompts[0])
    rows = [[pad] * (width - len(prompt)) + list(prompt) for prompt in prompts]
    mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    given = {"input_ids": rows}
    if "attention_mask" in inspect.signature(model.forward).parameters:
        given["attention_mask"] = mask
    tensors = {name: torch.tensor(ids, device=model.device) for name, ids in given.items()}
    with _without_own_settings(model):
        return model.generate(**tensors, **settings)


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
