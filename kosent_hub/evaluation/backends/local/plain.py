"""Replies by a model's own `generate`, for models that the batcher is not right for."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from kosent_hub.evaluation.backends.local.sampling import Sampling
from kosent_hub.models.load import without_own_settings

BATCH = 16


@torch.inference_mode()
def plain_replies(
    model: Any,
    prompts: Sequence[array],
    stop: frozenset[int],
    max_new_tokens: int,
    pad: int,
    sampling: Sampling | None = None,
    **watching: Any,
) -> Iterator[tuple[int, list[int]]]:
    """Index and new token ids of each prompt's reply, in batches of prompts padded on the left.

    Greedy without `sampling`, whatever the model's own generation settings say. `watching` is what
    `generate` takes to be followed or stopped: `streamer`, `stopping_criteria`.
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
        with without_own_settings(model):
            out = model.generate(
                input_ids=torch.tensor(rows, device=model.device),
                attention_mask=torch.tensor(mask, device=model.device),
                generation_config=settings,
                logits_processor=LogitsProcessorList(
                    [_Drawn(sampling, [prompts[i] for i in chosen], model.device)]
                    if sampling
                    else []
                ),
                **watching,
            )
        for i, row in zip(chosen, out[:, width:].tolist(), strict=True):
            end = next((n for n, token in enumerate(row, 1) if token in stop), len(row))
            yield i, row[:end]


class _Drawn(LogitsProcessor):
    """Leaves each row one token, the one that is drawn, for the greedy choice after it."""

    def __init__(self, sampling: Sampling, prompts: Sequence[array], device: torch.device) -> None:
        self.sampling = sampling
        self.streams = [sampling.stream(prompt, device) for prompt in prompts]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        tokens = self.sampling.draw(scores, self.streams)
        return torch.full_like(scores, -torch.inf).scatter_(1, tokens[:, None], 0)
