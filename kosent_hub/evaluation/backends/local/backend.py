"""The default engine: transformers in this process."""

from __future__ import annotations

import gc
from array import array
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers import GenerationConfig

from kosent_hub.evaluation.backends import Reply, TargetScore
from kosent_hub.evaluation.backends.local.attention import attention
from kosent_hub.evaluation.backends.local.batcher import Batcher, token_budget
from kosent_hub.evaluation.backends.local.likelihood import score_targets
from kosent_hub.evaluation.backends.local.probe import fast_path
from kosent_hub.evaluation.samples import Sample
from kosent_hub.models import prompts
from kosent_hub.models.load import load_model
from kosent_hub.models.locate import ModelRef
from kosent_hub.models.tokenizer import render, template_sha256

PLAIN_BATCH = 16


class TransformersBackend:
    """Replies and target scores of one model, in batches."""

    def __init__(self, model: ModelRef, max_new_tokens: int) -> None:
        loaded = load_model(model)
        self.lm: Any = loaded.model
        self.model = loaded.located.record(loaded.dtype)
        self.identity = loaded.located.identity
        self.tokenizer = loaded.located.tokenizer
        self.template_sha256 = template_sha256(self.tokenizer)
        self.template_example: str | None = render(self.tokenizer, prompts.EXAMPLE, reply=True)
        self.stop = prompts.stop_ids(self.tokenizer, self.lm.generation_config)
        self.generation: dict[str, Any] = {
            "do_sample": False,
            "max_new_tokens": max_new_tokens,
            "stop": self.tokenizer.convert_ids_to_tokens(sorted(self.stop)),
        }
        self.fast = fast_path(self.lm)

    def replies(self, samples: Sequence[Sample], wanted: Sequence[int]) -> Iterator[Reply]:
        """The wanted samples' replies as they end, longest prompts first."""
        encoded = list(prompts.encode(self.tokenizer, [samples[i].messages for i in wanted]))
        most = self.generation["max_new_tokens"]
        longest = max(map(len, encoded), default=0) + most
        fast = self.fast is not None and longest <= self.fast.length
        for index, tokens in self._fast(encoded, most) if fast else self._plain(encoded, most):
            text = self.tokenizer.decode(tokens, skip_special_tokens=True)
            yield Reply(wanted[index], str(text).strip(), len(tokens))

    def score_targets(
        self, samples: Sequence[Sample], wanted: Sequence[int]
    ) -> Iterator[TargetScore]:
        """Scores of the true replies, tokenised and counted as in training."""
        return score_targets(self.lm, self.tokenizer, samples, frozenset(wanted))

    def close(self) -> None:
        """Free the model's memory."""
        del self.lm
        gc.collect()

    def _fast(self, encoded: list[array], most: int) -> Iterator[tuple[int, list[int]]]:
        assert self.fast is not None
        with attention(self.lm, self.fast.attention):
            yield from Batcher(self.lm, encoded, self.stop, most, token_budget(self.lm)).run()

    @torch.inference_mode()
    def _plain(self, encoded: list[array], most: int) -> Iterator[tuple[int, list[int]]]:
        """Replies by `generate`, left-padded, for models whose cache only they understand."""
        pad = self.tokenizer.pad_token_id
        settings = GenerationConfig(
            do_sample=False, max_new_tokens=most, eos_token_id=sorted(self.stop), pad_token_id=pad
        )
        order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]), reverse=True)
        for start in range(0, len(order), PLAIN_BATCH):
            chosen = order[start : start + PLAIN_BATCH]
            width = len(encoded[chosen[0]])
            rows = [[pad] * (width - len(encoded[i])) + encoded[i].tolist() for i in chosen]
            shown = [[0] * (width - len(encoded[i])) + [1] * len(encoded[i]) for i in chosen]
            out = self.lm.generate(
                input_ids=torch.tensor(rows, device=self.lm.device),
                attention_mask=torch.tensor(shown, device=self.lm.device),
                generation_config=settings,
            )
            for i, row in zip(chosen, out[:, width:].tolist(), strict=True):
                end = next((n for n, token in enumerate(row, 1) if token in self.stop), len(row))
                yield i, row[:end]
