"""Greedy replies for many prompts at once: the fast path of the transformers backend.

Prompts that share their beginning share its computation: the tokens common to all prompts (the
system message) are computed once for the run, and a dialogue's turns once for all its samples,
because an earlier prompt is a prefix of a later one. What a row needs is then copied into a cache
of fixed shape, one row per reply in the making; a reply that ends leaves its row to the next one.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from transformers import Cache, PreTrainedModel

# Attention reads the cache up to the longest row; rounding up keeps its shapes few.
LENGTH_STEP = 32
# On a CPU a step reads all weights once, however many rows share it; beyond a hundred or two
# they bring nothing but memory.
CPU_BYTES = 2**31
GPU_SHARE = 0.8
# However small the model is: a row's logits alone are a whole vocabulary.
MOST_ROWS = 1024
# Tokens of prompts that are computed at a time: fewer leave a GPU idle, more bring only padding.
TOGETHER = 1024


Tokens = array  # of "i": a list of ints would take ten times the memory


@dataclass(frozen=True)
class Trunk:
    """Token ids that are computed once, and the indices of the prompts they cover."""

    tokens: Tokens
    samples: list[int]


@dataclass
class Row:
    """One reply in the making: `position` is where its next token goes."""

    index: int
    position: int
    next_token: int
    reply: list[int]


class PrefixCache(Cache):
    """Keys and values of a shared prefix, read by a batch that appends its own."""

    def __init__(self, prefix: PrefixCache | None = None) -> None:
        super().__init__(layers=[])
        self.prefix = prefix
        self.pairs: list[tuple[torch.Tensor, torch.Tensor]] = []

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        layer_idx: int,
        *args: object,
        **kwargs: object,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values of prefix and batch, (batch, heads, length, width)."""
        pair = (key_states, value_states)
        if self.prefix is not None:
            before = self.prefix.pairs[layer_idx]
            count = key_states.shape[0]
            pair = tuple(  # type: ignore[assignment]
                torch.cat([old.expand(count, -1, -1, -1), new], dim=2)
                for old, new in zip(before, pair, strict=True)
            )
        self.pairs.append(pair)
        return pair

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Tokens the batch can look back on."""
        return self.prefix.pairs[0][0].shape[2] if self.prefix is not None else 0


class RowCache(Cache):
    """One row per reply in the making: (rows, heads, room, width), the first `active` in use.

    Attention reads the first `length` positions of a row, the rest is room to grow.
    """

    def __init__(self, like: PrefixCache) -> None:
        super().__init__(layers=[])
        self.pairs = [tuple(part[:0, :, :0] for part in pair) for pair in like.pairs]
        self.positions = torch.zeros(0, dtype=torch.long, device=self.pairs[0][0].device)
        self.active, self.length = 0, 0

    @property
    def room(self) -> int:
        """Positions that a row may come to hold."""
        return self.pairs[0][0].shape[2]

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        layer_idx: int,
        *args: object,
        **kwargs: object,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The active rows' keys and values after each row's token was put at its position."""
        rows = torch.arange(self.active, device=self.positions.device)
        keys, values = self.pairs[layer_idx]
        keys[rows, :, self.positions] = key_states[:, :, 0]
        values[rows, :, self.positions] = value_states[:, :, 0]
        return keys[: self.active, :, : self.length], values[: self.active, :, : self.length]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Positions that attention reads."""
        return self.length

    def grow(self, rows: int, room: int) -> None:
        """Make room for so many rows of that length, keeping what the active rows hold."""
        if rows <= self.pairs[0][0].shape[0] and room <= self.room:
            return
        kept = min(room, self.room)
        for i, pair in enumerate(self.pairs):
            resized = [part.new_zeros(rows, part.shape[1], room, part.shape[3]) for part in pair]
            for new, old in zip(resized, pair, strict=True):
                new[: self.active, :, :kept] = old[: self.active, :, :kept]
            self.pairs[i] = tuple(resized)

    def put(self, trunks: PrefixCache, sources: Sequence[int], places: Sequence[int]) -> None:
        """Copy the keys and values of the trunks `sources` into the rows `places`."""
        chosen = torch.tensor(sources, device=self.positions.device)
        rows = torch.tensor(places, device=self.positions.device)
        for store, computed in zip(self.pairs, trunks.pairs, strict=True):
            for into, part in zip(store, computed, strict=True):
                width = min(part.shape[2], self.room)
                into[rows, :, :width] = part[chosen, :, :width]

    def leave(self, place: int) -> None:
        """Free row `place` by moving the last active row into it."""
        self.active -= 1
        if place < self.active:
            for pair in self.pairs:
                for store in pair:
                    store[place] = store[self.active]


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
        self.cache: RowCache | None = None
        self.prefix: PrefixCache | None = None

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
        start = prefix.pairs[0][0].shape[2] if prefix is not None else 0
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
            attention_mask=_additive(
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
        most = self.max_new_tokens
        ends = [row.position - len(row.reply) + most for row in self.rows]
        room = max([len(self.waiting[-1].tokens) + most, *ends])
        capacity = min(max(1, self.budget // room), MOST_ROWS)
        free = capacity - len(self.rows)
        if self.rows and free < capacity / 4:
            return
        chosen: list[Trunk] = []
        while self.waiting and free > 0:
            trunk = self.waiting.pop()
            if len(trunk.samples) > free:
                self.waiting.append(Trunk(trunk.tokens, trunk.samples[free:]))
                trunk = Trunk(trunk.tokens, trunk.samples[:free])
            chosen.append(trunk)
            free -= len(trunk.samples)
        # Longest first, so that rows beside each other look back about equally far.
        fresh = [(index, i) for i, trunk in enumerate(chosen) for index in trunk.samples]
        places: list[list[int]] = [[] for _ in chosen]
        for index, i in sorted(fresh, key=lambda pair: -len(self.prompts[pair[0]])):
            prompt = self.prompts[index]
            places[i].append(len(self.rows))
            self.rows.append(Row(index, len(prompt) - 1, prompt[-1], []))
        cut, first = len(self.shared), 0
        for group in _of_a_length(chosen, cut):
            computed = self._forward([trunk.tokens[cut:] for trunk in group], self.prefix)
            if self.cache is None:
                self.cache = RowCache(computed)
            if first == 0:
                self.cache.grow(len(self.rows), room)
            sources = [i for i in range(len(group)) for _ in group[i].samples]
            mine = places[first : first + len(group)]
            self.cache.put(computed, sources, [place for rows in mine for place in rows])
            first += len(group)
        assert self.cache is not None
        self.cache.active = len(self.rows)

    def _step(self) -> list[tuple[int, list[int]]]:
        """Feed every row its next token; the replies that end leave and are returned."""
        cache = self.cache
        assert cache is not None
        longest = max(row.position for row in self.rows) + 1
        cache.length = min(-(-longest // LENGTH_STEP) * LENGTH_STEP, cache.room)
        device = self.model.device
        positions = torch.tensor([row.position for row in self.rows], device=device)
        cache.positions = positions
        mask = torch.arange(cache.length, device=device) <= positions[:, None]
        logits = self.model(
            input_ids=torch.tensor([[row.next_token] for row in self.rows], device=device),
            position_ids=positions[:, None],
            attention_mask=_additive(mask[:, None, None], self.model.dtype),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits
        tokens = logits[:, -1].argmax(dim=-1).tolist()
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


def _additive(seen: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """0 where attention may look and minus infinity where not."""
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, -torch.inf)


def _out_of_memory(error: RuntimeError) -> bool:
    """Whether a GPU or the system had no memory left (on a CPU PyTorch only says so)."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
