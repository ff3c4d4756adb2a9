"""Continuous batching: replies to many prompts, the fast path of the transformers backend.

Prefixes are computed once: the tokens common to all prompts (the system message) once for the run,
and a dialogue's turns once for all its samples, because an earlier prompt is a prefix of a later
one. Then a decode step computes one token for each unfinished reply, with shared-prefix attention,
and replies that end make room for other prompts.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence

import torch
from transformers import PreTrainedModel

from kosent_hub.evaluation.backends.local.attention import shared_prefix
from kosent_hub.evaluation.backends.local.cache import (
    DecodeCache,
    PrefillCache,
    Prefix,
    Row,
    Tokens,
)
from kosent_hub.evaluation.backends.local.masks import NO_WINDOW, Window, masks
from kosent_hub.evaluation.backends.local.prefill import common_prefix, prefill
from kosent_hub.evaluation.backends.local.sampling import Sampling
from kosent_hub.models.machine.device import out_of_memory

# A decode step on a CPU reads all weights once, however many rows there are; more than a hundred
# or two make it no faster and take memory.
CPU_BYTES = 2**31
GPU_SHARE = 0.8
# Of any model, however small: a row's logits alone are as many numbers as the vocabulary has.
MAX_ROWS = 1024
# Prompt tokens computed at a time: fewer leave a GPU idle, more only add padding.
PREFILL_TOKENS = 1024


def plan(prompts: Sequence[Tokens], indices: Iterable[int]) -> list[Prefix]:
    """Prefixes that cover the prompts of these indices, longest first.

    A prefix covers the prompts that it begins with, but for their last token: generation feeds
    that one first, whatever follows it in the prefix.
    """
    heads = sorted(((prompts[i][:-1], i) for i in indices), reverse=True)
    prefixes: list[Prefix] = []
    # Sorted in reverse, each head directly follows those that begin with it.
    for head, index in heads:
        if not prefixes or prefixes[-1].tokens[: len(head)] != head:
            prefixes.append(Prefix(head, []))
        prefixes[-1].samples.append(index)
    return sorted(prefixes, key=lambda prefix: len(prefix.tokens), reverse=True)


def token_budget(model: PreTrainedModel) -> int:
    """Tokens that the cache may hold: as many as a GPU has memory for, a fixed size on a CPU."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    bytes_per_token = 2 * config.num_hidden_layers * heads * width * model.dtype.itemsize
    if model.device.type != "cuda":
        return CPU_BYTES // bytes_per_token
    free, _ = torch.cuda.mem_get_info(model.device)
    # Prefixes are in memory twice for a moment: as computed, and in their stacks.
    return max(1, int(free * GPU_SHARE / 2 / bytes_per_token))


class Batcher:
    """Replies of one model to many prompts, `budget` cached tokens at a time; greedy ones without
    `sampling`. `window` is the model's sliding window."""

    def __init__(
        self,
        model: PreTrainedModel,
        prompts: Sequence[Tokens],
        stop: frozenset[int],
        max_new_tokens: int,
        budget: int,
        sampling: Sampling | None = None,
        window: Window = NO_WINDOW,
    ) -> None:
        self.model, self.prompts, self.stop, self.window = model, prompts, stop, window
        self.max_new_tokens, self.budget, self.sampling = max_new_tokens, budget, sampling
        self.unfinished = set(range(len(prompts)))
        self.waiting = plan(prompts, self.unfinished)[::-1]
        self.common = common_prefix([prefix.tokens for prefix in self.waiting])
        self.common_cache: PrefillCache | None = None
        self.rows: list[Row] = []
        self.cache: DecodeCache | None = None

    @torch.inference_mode()
    def run(self) -> Iterator[tuple[int, list[int]]]:
        """Index and new token ids of each prompt's reply, as replies end."""
        with shared_prefix(self.model):
            if self.common:
                self.common_cache, _ = prefill(self.model, [self.common], None, self.window)
            while self.waiting or self.rows:
                try:
                    self._admit()
                    ended = self._step()
                except RuntimeError as error:
                    if not out_of_memory(error) or not self._halve():
                        raise
                    continue
                yield from ended

    def _halve(self) -> bool:
        """Start all unfinished replies again with half the budget; False if a row needs more."""
        longest = max(len(prompt) for prompt in self.prompts) + self.max_new_tokens
        self.budget //= 2
        if self.budget < longest:
            return False
        self.waiting = plan(self.prompts, self.unfinished)[::-1]
        self.rows, self.cache = [], None
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()
        print(f"out of memory: going on with {self.budget} tokens at a time", file=sys.stderr)
        return True

    def _admit(self) -> None:
        """Take the longest waiting prefixes into the cache, once a quarter of it is free."""
        if not self.waiting:
            return
        running, rows = {row.prefix for row in self.rows}, len(self.rows)
        longest = max(len(prefix.tokens) for prefix in {*running, self.waiting[-1]})

        def load(more: int, rows: int) -> float:
            """Share of the cache that `more` prefixes and that many rows take."""
            prefixes = len(running) + more
            tokens = DecodeCache.tokens(prefixes, longest, rows, self.max_new_tokens)
            return max(tokens / self.budget, rows / MAX_ROWS)

        if rows and load(0, rows) > 3 / 4:
            return
        chosen: list[Prefix] = []
        while self.waiting:
            prefix = self.waiting.pop()
            counts = range(len(prefix.samples), 0, -1)
            fitting = next((n for n in counts if load(len(chosen) + 1, rows + n) <= 1), 0)
            if rows == 0:
                fitting = max(fitting, 1)
            if fitting < len(prefix.samples):
                self.waiting.append(Prefix(prefix.tokens, prefix.samples[fitting:]))
            if fitting == 0:
                break
            chosen.append(Prefix(prefix.tokens, prefix.samples[:fitting]))
            rows += fitting
        skipped = len(self.common)
        for batch in _prefill_batches(chosen, skipped):
            rest = [prefix.tokens[skipped:] for prefix in batch]
            computed, _ = prefill(self.model, rest, self.common_cache, self.window)
            if self.cache is None:
                self.cache = DecodeCache(computed)
            self.cache.put(computed, batch)
            for prefix in batch:
                for index in prefix.samples:
                    prompt = self.prompts[index]
                    self.rows.append(
                        Row(index, prefix, len(prompt) - 1, prompt[-1], [], self._stream(prompt))
                    )

    def _stream(self, prompt: Tokens) -> torch.Generator | None:
        if self.sampling is None:
            return None
        return self.sampling.stream(prompt, self.model.device)

    def _step(self) -> list[tuple[int, list[int]]]:
        """Compute the next token of every row; return the replies that end with it."""
        cache, device = self.cache, self.model.device
        assert cache is not None
        gaps = cache.prepare_step(self.rows)
        positions = [[row.prefix_length + len(row.reply)] for row in self.rows]
        logits = self.model(
            input_ids=torch.tensor([[row.next_token] for row in self.rows], device=device),
            position_ids=torch.tensor(positions, device=device),
            attention_mask=masks(gaps, self.window, self.model.dtype),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits
        for row, token in zip(self.rows, self._chosen(logits[:, -1]).tolist(), strict=True):
            row.reply.append(token)
            row.next_token = token
        ended = [row for row in self.rows if self._has_ended(row)]
        self.rows = [row for row in self.rows if not self._has_ended(row)]
        self.unfinished -= {row.index for row in ended}
        return [(row.index, row.reply) for row in ended]

    def _chosen(self, logits: torch.Tensor) -> torch.Tensor:
        """Each row's next token."""
        if self.sampling is None:
            return logits.max(dim=-1).indices  # five times as fast on a CPU as argmax
        return self.sampling.draw(logits, [row.stream for row in self.rows if row.stream])

    def _has_ended(self, row: Row) -> bool:
        return row.next_token in self.stop or len(row.reply) == self.max_new_tokens


def _prefill_batches(prefixes: Sequence[Prefix], skipped: int) -> Iterator[list[Prefix]]:
    """The prefixes, longest first, in batches of about PREFILL_TOKENS and little padding; the
    first `skipped` tokens of each are not computed again."""
    batch: list[Prefix] = []
    for prefix in prefixes:
        batch.append(prefix)
        if len(batch) * (len(batch[0].tokens) - skipped) >= PREFILL_TOKENS:
            yield batch
            batch = []
    if batch:
        yield batch
