"""Replies by a model's own `generate`, for models that the batcher is not right for."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from kosent_hub.evaluation.backends.local.sampling import Sampling
from kosent_hub.models.generation import generate

BATCH = 16


@dataclass(frozen=True)
class Batches:
    """Which prompts may be one batch: up to `rows`, and if not `padded`, only those of one length.

    A model that carries a state from token to token would carry that of the padding, too.
    """

    rows: int = BATCH
    padded: bool = True

    def of(self, prompts: Sequence[array]) -> Iterator[list[int]]:
        """The prompts' indices in batches, longest first."""
        batch: list[int] = []
        for i in sorted(range(len(prompts)), key=lambda i: len(prompts[i]), reverse=True):
            other = batch and not self.padded and len(prompts[i]) != len(prompts[batch[0]])
            if other or len(batch) == self.rows:
                yield batch
                batch = []
            batch.append(i)
        if batch:
            yield batch


@torch.inference_mode()
def plain_replies(
    model: Any,
    prompts: Sequence[array],
    stop: frozenset[int],
    max_new_tokens: int,
    pad: int,
    sampling: Sampling | None = None,
    batches: Batches = Batches(),
    **watching: Any,
) -> Iterator[tuple[int, list[int]]]:
    """Index and new token ids of each prompt's reply, in batches padded on the left if at all.

    Greedy without `sampling`, whatever the model's own generation settings say. `watching` is what
    `generate` takes to be followed or stopped: `streamer`, `stopping_criteria`.
    """
    settings = GenerationConfig(
        do_sample=False,
        max_new_tokens=max_new_tokens,
        eos_token_id=sorted(stop),
        pad_token_id=pad,
    )
    for chosen in batches.of(prompts):
        drawn = _Drawn(sampling, [prompts[i] for i in chosen], model.device) if sampling else None
        out = generate(
            model,
            [prompts[i] for i in chosen],
            pad,
            generation_config=settings,
            logits_processor=LogitsProcessorList([drawn] if drawn else []),
            **watching,
        )
        width = len(prompts[chosen[0]])
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
