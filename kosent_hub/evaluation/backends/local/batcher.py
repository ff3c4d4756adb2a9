"""Greedy replies for many prompts at once: the fast path of the transformers backend.

Prompts that share their beginning share its computation: the tokens common to all prompts (the
system message) are computed once for the run, and a dialogue's turns once for all its samples,
because an earlier prompt is a prefix of a later one. Replies are made in rows, one token of each at
a time; a reply that ends leaves its row to the next one.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence

import torch
from transformers import PreTrainedModel

from kosent_hub.evaluation.backends.local.attention import GROUPED
from kosent_hub.evaluation.backends.local.cache import (
    PrefixCache,
    Row,
    RowCache,
    Tokens,
    Trunk,
    additive,
)
from kosent_hub.evaluation.backends.local.sharing import SharedCache

# On a CPU a step reads all weights once, however many rows share it; beyond a hundred or two
# they bring nothing but memory.
CPU_BYTES = 2**31
GPU_SHARE = 0.8
# However small the model is: a row's logits alone are a whole vocabulary.
MOST_ROWS = 1024
# Tokens of prompts that are computed at a time: fewer leave a GPU idle, more bring only padding.
TOGETHER = 1024


def plan(prompts: Sequence[Tokens], indices: Iterable[int]) -> list[Trunk]:
    """Trunks that cover the prompts of these indices, longest first.

    A prompt hangs on a trunk that begins with all but its last token; the last token is what
    generation feeds first, whatever the trunk goes on with.
    """
    heads = sorted(((prompts[i][:-1], i) for i in indices), reverse=True)
    trunks: list[Trunk] = []
    # Sorted backwards, a head directly follows those that begin with it.
    for head, index in heads:
        if not trunks or trunks[-1].tokens[: len(head)] != head:
            trunks.append(Trunk(head, []))
        trunks[-1].samples.append(index)
    return sorted(trunks, key=lambda trunk: len(trunk.tokens), reverse=True)


def token_budget(model: PreTrainedModel) -> int:
    """Tokens that the cache may hold: what a GPU has free, a fixed size on a CPU."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    a_token = 2 * config.num_hidden_layers * heads * width * model.dtype.itemsize
    if model.device.type != "cuda":
        return CPU_BYTES // a_token
    free, _ = torch.cuda.mem_get_info(model.device)
    # A batch's trunks are held twice for a moment: as computed, and in their rows.
    return max(1, int(free * GPU_SHARE / 2 / a_token))


class Batcher:
    """Replies of one model to many prompts, `budget` cached tokens at a time."""

    def __init__(
        self,
        model: PreTrainedModel,
        prompts: Sequence[Tokens],
        stop: frozenset[int],
        max_new_tokens: int,
        budget: int,
    ) -> None:
        self.model, self.prompts, self.stop = model, prompts, stop
        self.max_new_tokens, self.budget = max_new_tokens, budget
        self.unfinished = set(range(len(prompts)))
        self.waiting = plan(prompts, self.unfinished)[::-1]
        self.shared = _common_prefix([trunk.tokens for trunk in self.waiting])
        self.rows: list[Row] = []
        self.cache: RowCache | SharedCache | None = None
        self.prefix: PrefixCache | None = None
        grouped = model.config._attn_implementation == GROUPED
        self.kind = SharedCache if grouped else RowCache

    @torch.inference_mode()
    def run(self) -> Iterator[tuple[int, list[int]]]:
        """Index and new token ids of each prompt's reply, as replies end."""
        if self.shared:
            self.prefix = self._forward([self.shared], None)
        while self.waiting or self.rows:
            try:
                self._admit()
                ended = self._step()
            except RuntimeError as error:
                if not _out_of_memory(error) or not self._halve():
                    raise
                continue
            yield from ended

    def _halve(self) -> bool:
        """Start the unfinished rows again under half the budget; False if that leaves no row."""
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

    def _forward(self, sequences: list[Tokens], prefix: PrefixCache | None) -> PrefixCache:
        """The cache of right-padded sequences that continue `prefix`."""
        start = prefix.length if prefix is not None else 0
        width = max(1, *(len(tokens) for tokens in sequences))
        device = self.model.device
        # Padding goes right, where causal attention never looks back at it.
        ids = torch.tensor([[*tokens, *[0] * (width - len(tokens))] for tokens in sequences])
        positions = torch.arange(start, start + width, device=device)
        mask = torch.arange(start + width, device=device) <= positions[:, None]
        cache = PrefixCache(prefix)
        self.model(
            input_ids=ids.to(device),
            position_ids=positions[None].expand(len(sequences), -1),
            attention_mask=additive(
                mask[None, None].expand(len(sequences), -1, -1, -1), self.model.dtype
            ),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return cache

    def _admit(self) -> None:
        """Give rows to the longest waiting trunks once a quarter of the budget is free."""
        if not self.waiting:
            return
        most, rows = self.max_new_tokens, len(self.rows)
        running = {row.trunk for row in self.rows}
        length = max(len(trunk.tokens) for trunk in {*running, self.waiting[-1]})

        def held(trunks: int, rows: int) -> float:
            """How much of what may be held that is."""
            tokens = self.kind.tokens(len(running) + trunks, rows, length, most)
            return max(tokens / self.budget, rows / MOST_ROWS)

        if rows and held(0, rows) > 3 / 4:
            return
        chosen: list[Trunk] = []
        while self.waiting:
            trunk = self.waiting.pop()
            counts = range(len(trunk.samples), 0, -1)
            fit = next((n for n in counts if held(len(chosen) + 1, rows + n) <= 1), 0)
            if rows == 0:
                fit = max(fit, 1)
            if fit < len(trunk.samples):
                self.waiting.append(Trunk(trunk.tokens, trunk.samples[fit:]))
            if fit == 0:
                break
            chosen.append(Trunk(trunk.tokens, trunk.samples[:fit]))
            rows += fit
        cut = len(self.shared)
        for group in _of_a_length(chosen, cut):
            computed = self._forward([trunk.tokens[cut:] for trunk in group], self.prefix)
            if self.cache is None:
                self.cache = self.kind(computed)
            if isinstance(self.cache, RowCache) and group[0] is chosen[0]:
                self.cache.grow(rows, length + most)
            self.cache.put(computed, group)
            for trunk in group:
                for index in trunk.samples:
                    prompt = self.prompts[index]
                    self.rows.append(Row(index, trunk, len(prompt) - 1, prompt[-1], []))

    def _step(self) -> list[tuple[int, list[int]]]:
        """Feed every row its next token; the replies that end leave and are returned."""
        cache, device = self.cache, self.model.device
        assert cache is not None
        mask = cache.look(self.rows)
        logits = self.model(
            input_ids=torch.tensor([[row.next_token] for row in self.rows], device=device),
            position_ids=torch.tensor([[row.position] for row in self.rows], device=device),
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
            **({"shared": cache} if isinstance(cache, SharedCache) else {}),
        ).logits
        # Five times as fast on a CPU as argmax.
        tokens = logits[:, -1].max(dim=-1).indices.tolist()
        ended = []
        for place in reversed(range(len(tokens))):
            row = self.rows[place]
            row.reply.append(tokens[place])
            row.position += 1
            row.next_token = tokens[place]
            if row.next_token in self.stop or len(row.reply) == self.max_new_tokens:
                ended.append((row.index, row.reply))
                self.unfinished.remove(row.index)
                last = self.rows.pop()
                if last is not row:
                    self.rows[place] = last
                cache.leave(place)
        return ended


def _of_a_length(trunks: Sequence[Trunk], cut: int) -> Iterator[list[Trunk]]:
    """The trunks, longest first, in groups that are computed together: enough tokens to keep a
    processor busy, and little padding."""
    group: list[Trunk] = []
    for trunk in trunks:
        group.append(trunk)
        if len(group) * (len(group[0].tokens) - cut) >= TOGETHER:
            yield group
            group = []
    if group:
        yield group


def _common_prefix(sequences: Sequence[Tokens]) -> Tokens:
    """The longest beginning that all sequences share."""
    if not sequences:
        return array("i")
    low, high = min(sequences), max(sequences)
    for i, (a, b) in enumerate(zip(low, high, strict=False)):
        if a != b:
            return low[:i]
    return low


def _out_of_memory(error: RuntimeError) -> bool:
    """Whether a GPU or the system had no memory left (on a CPU PyTorch only says so)."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
