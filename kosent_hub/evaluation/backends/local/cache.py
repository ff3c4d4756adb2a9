"""Key-value caches of the batcher: one for prefill, one for decode steps.

Both hold keys and values that sequences share once, and hand them to shared-prefix attention.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from transformers import Cache

from kosent_hub.evaluation.backends.local.attention import Context, Pair, Segment

Tokens = array  # of "i": a list of ints would take ten times the memory

# Prefixes that one matrix product reads: more make fewer products, but more padding.
STACK = 32
# Tokens by which the room for a reply grows.
REPLY_STEP = 16


@dataclass(frozen=True, eq=False)
class Prefix:
    """Token ids that are computed once, and the indices of the prompts that they are a prefix of
    (or would be with a shorter end)."""

    tokens: Tokens
    samples: list[int]


@dataclass(eq=False)
class Row:
    """One unfinished reply: `next_token` will be fed after the first `prefix_length` tokens of
    `prefix` and those of `reply`. `stream` has its random numbers, None for a greedy reply."""

    index: int
    prefix: Prefix
    prefix_length: int
    next_token: int
    reply: list[int]
    stream: torch.Generator | None = None


class PrefillCache(Cache):
    """Keys and values of right-padded sequences that all continue one common prefix."""

    def __init__(self, common: PrefillCache | None, count: int, device: torch.device) -> None:
        """An empty cache for `count` sequences."""
        super().__init__(layers=[])
        self.common = common
        self.start = common.length if common is not None else 0
        self.pairs: list[Pair] = []
        everyone = slice(0, count)
        self.segments = [Segment(self.pairs, everyone, 1, slice(self.start, None))]
        if common is not None:
            self.segments.append(Segment(common.pairs, everyone, count, slice(0, self.start)))
        self.slots = torch.arange(count, device=device)

    @property
    def length(self) -> int:
        """Tokens of the longest sequence, without the common prefix."""
        return self.pairs[0][0].shape[2]

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        layer_idx: int,
        *args: object,
        **kwargs: object,
    ) -> tuple[Any, Any]:
        """Store a layer's keys and values; return a Context of it, twice."""
        self.pairs.append((key_states, value_states))
        context = Context(self.segments, layer_idx, self.slots, self.slots)
        return context, context

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Tokens before the sequences: the common prefix."""
        return self.start


class DecodeCache(Cache):
    """Keys and values that unfinished replies attend to: of the prefix common to all, of each
    dialogue's prefix, and of each reply's own tokens.

    Each reply has a slot. Replies to one prefix are neighbours, and so are prefixes with as many
    replies: one matrix product reads up to STACK such prefixes. The slot of a reply that ended is
    empty until new replies come or half of the slots are empty; then all are assigned anew.

    The batcher calls `put` after each prefill; for each decode step `prepare_step`, with the
    replies that are unfinished, and the model, which calls `update` in each layer.
    """

    def __init__(self, like: PrefillCache) -> None:
        """An empty cache with the common prefix, layers, number format and device of `like`."""
        super().__init__(layers=[])
        self.common, self.start = like.common, like.start
        # Each layer's (slots, kv heads, room, width).
        self.replies = [(keys[:0, :, :0], values[:0, :, :0]) for keys, values in like.pairs]
        # The stack that has a prefix's keys and values, and its number there.
        self.prefixes: dict[Prefix, tuple[Sequence[Pair], int]] = {}
        self.slots: dict[Row, int] = {}
        self.stacks: list[Segment] = []
        self.longest = 0  # tokens of the longest prefix, without the common one
        # Of the next step:
        self.segments: list[Segment] = []
        self.slot_of = self.sequence_of = self.ends = torch.zeros(0, dtype=torch.long)

    @staticmethod
    def tokens(prefixes: int, prefix_length: int, rows: int, reply_length: int) -> int:
        """Tokens that the cache holds for so many prefixes and replies of those lengths."""
        return prefixes * prefix_length + rows * reply_length

    def put(self, computed: PrefillCache, prefixes: Sequence[Prefix]) -> None:
        """Add prefixes, which were computed in that order, for rows to attend to."""
        self.prefixes |= {prefix: (computed.pairs, i) for i, prefix in enumerate(prefixes)}

    def prepare_step(self, rows: Sequence[Row]) -> torch.Tensor:
        """Give each row a slot with room for its next token, and forget what no row needs.

        Returns how far before it each key stands, negative for those that it does not see:
        (slots, 1, 1, columns).
        """
        slots, _, room, _ = self.replies[0][0].shape
        before = self.slots
        if 2 * len(rows) <= slots or any(row not in before for row in rows):
            self._assign(rows)
            slots = len(rows)
        needed = (max(len(row.reply) for row in rows) // REPLY_STEP + 1) * REPLY_STEP
        if self.slots is not before or not room / 2 < needed <= room:
            self._move_replies(before, slots, needed)
        like = self.replies[0][0]
        room, device = like.shape[2], like.device
        everyone, prompt = slice(0, slots), self.start + self.longest
        columns = slice(prompt, prompt + room)
        self.segments = [*self.stacks, Segment(self.replies, everyone, 1, columns)]
        if self.common is not None:
            part = Segment(self.common.pairs, everyone, slots, slice(0, self.start))
            self.segments.append(part)
        self.slot_of = torch.tensor([self.slots[row] for row in rows], device=device)
        self.sequence_of = torch.zeros(slots, dtype=torch.long, device=device)
        self.sequence_of[self.slot_of] = torch.arange(len(rows), device=device)
        self.ends = torch.tensor([len(row.reply) for row in rows], device=device)
        lengths = torch.tensor([row.prefix_length for row in rows], device=device)
        lengths, ends = lengths[self.sequence_of, None], self.ends[self.sequence_of, None]
        keys = torch.arange(prompt, device=device)
        in_prompt = torch.where(keys < lengths, lengths + ends - keys, -1)
        in_reply = ends - torch.arange(room, device=device)
        return torch.cat([in_prompt, in_reply], dim=1)[:, None, None]

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        layer_idx: int,
        *args: object,
        **kwargs: object,
    ) -> tuple[Any, Any]:
        """Store each row's token after its reply; return the layer's Context, twice."""
        keys, values = self.replies[layer_idx]
        keys[self.slot_of, :, self.ends] = key_states[:, :, 0]
        values[self.slot_of, :, self.ends] = value_states[:, :, 0]
        context = Context(self.segments, layer_idx, self.slot_of, self.sequence_of)
        return context, context

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """0: the batcher tells the model positions and mask."""
        return 0

    def _assign(self, rows: Sequence[Row]) -> None:
        """Give the rows the first slots, and stack their prefixes."""
        rows_of: dict[Prefix, list[Row]] = {}
        for row in rows:
            rows_of.setdefault(row.prefix, []).append(row)
        lengths = {
            prefix: max(0, *(row.prefix_length - self.start for row in mine))
            for prefix, mine in rows_of.items()
        }
        order = sorted(rows_of, key=lambda p: (len(rows_of[p]), lengths[p]), reverse=True)
        in_order = (row for prefix in order for row in rows_of[prefix])
        self.slots = {row: slot for slot, row in enumerate(in_order)}
        self.longest = max(lengths.values())
        kept: dict[Prefix, tuple[Sequence[Pair], int]] = {}
        self.stacks, start = [], 0
        for group, alike in groupby(order, key=lambda p: len(rows_of[p])):
            for stack in _batched(list(alike), STACK):
                pairs = self._stacked({prefix: lengths[prefix] for prefix in stack})
                kept |= {prefix: (pairs, i) for i, prefix in enumerate(stack)}
                slots = slice(start, start + group * len(stack))
                columns = slice(self.start, self.start + lengths[stack[0]])
                if lengths[stack[0]]:
                    self.stacks.append(Segment(pairs, slots, group, columns))
                start = slots.stop
        self.prefixes = kept

    def _stacked(self, lengths: Mapping[Prefix, int]) -> list[Pair]:
        """Copies of each layer's keys and values of prefixes of these lengths, longest first."""
        longest = max(lengths.values())

        def stacked(layer: int, which: int) -> torch.Tensor:
            like = self.replies[layer][which]
            stack = like.new_zeros(len(lengths), like.shape[1], longest, like.shape[3])
            for target, (prefix, length) in zip(stack, lengths.items(), strict=True):
                pairs, i = self.prefixes[prefix]
                target[:, :length] = pairs[layer][which][i, :, :length]
            return stack

        return [(stacked(layer, 0), stacked(layer, 1)) for layer in range(len(self.replies))]

    def _move_replies(self, before: Mapping[Row, int], slots: int, room: int) -> None:
        """Move the replies' keys and values from the slots `before` into so many new ones."""
        moving = [row for row in self.slots if row in before]
        sources, targets = [before[r] for r in moving], [self.slots[r] for r in moving]

        def moved(store: torch.Tensor) -> torch.Tensor:
            new = store.new_zeros(slots, store.shape[1], room, store.shape[3])
            kept = min(room, store.shape[2])
            new[targets, :, :kept] = store[sources, :, :kept]
            return new

        self.replies = [(moved(keys), moved(values)) for keys, values in self.replies]


def _batched(prefixes: Sequence[Prefix], size: int) -> Iterator[Sequence[Prefix]]:
    for first in range(0, len(prefixes), size):
        yield prefixes[first : first + size]
