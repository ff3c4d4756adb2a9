"""Decoding in which replies read what they share once: their beginning, and their dialogue.

A decode step has one query a row, and most of its attention is reading keys and values. So none is
kept twice: the beginning that all prompts share is there once, a trunk once for all the replies
that follow it, and only a reply's own tokens are its own. The queries that look back on the same
keys, of several rows and of the heads that share keys, are one matrix; and all tensors are dense,
because matrix products in bfloat16 would copy others first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from transformers import Cache

from kosent_hub.evaluation.backends.local.cache import (
    Pair,
    PrefixCache,
    Row,
    Trunk,
    additive,
    moved,
)

# Trunks that are held beside each other: more are fewer products, but more padding.
TRUNKS = 32
# Tokens by which the room for the replies' own grows.
OWN_STEP = 16


@dataclass(frozen=True)
class Block:
    """What `slots` look back on, `most` of them on each of the keys and values, which are the
    `columns` of all that a slot sees."""

    pairs: Sequence[Pair]
    slots: slice
    most: int
    columns: slice


class SharedCache(Cache):
    """What the replies in the making look back on, for `attend` to read.

    A reply has a slot, beside those of its trunk's other replies. Where one ends, its slot stays
    empty until new replies come or no more than half of the slots are in use.
    """

    def __init__(self, like: PrefixCache) -> None:
        super().__init__(layers=[])
        self.prefix = like.prefix
        self.cut = like.prefix.length if like.prefix is not None else 0
        self.own = [(keys[:0, :, :0], values[:0, :, :0]) for keys, values in like.pairs]
        # Each trunk's layers of (trunks, kv heads, longest, width), and its place there.
        self.held: dict[Trunk, tuple[Sequence[Pair], int]] = {}
        self.slots: list[int] = []  # of each row that has been looked at
        self.longest = 0  # tokens of a trunk that a row sees
        self.trunks: list[Block] = []
        self.blocks: list[Block] = []
        self.of_row = self.of_slot = self.ends = torch.zeros(0, dtype=torch.long)

    @staticmethod
    def tokens(trunks: int, rows: int, length: int, own: int) -> int:
        """Tokens to hold for trunks of that length and rows of so many of their own."""
        return trunks * length + rows * own

    def put(self, computed: PrefixCache, trunks: Sequence[Trunk]) -> None:
        """Hold the trunks that were computed, for rows to follow."""
        self.held |= {trunk: (computed.pairs, place) for place, trunk in enumerate(trunks)}

    def look(self, rows: Sequence[Row]) -> torch.Tensor:
        """Make ready for a step of these rows; their additive mask, (slots, 1, 1, seen)."""
        slots, _, room, _ = self.own[0][0].shape
        needed = (max(len(row.reply) for row in rows) // OWN_STEP + 1) * OWN_STEP
        if len(self.slots) < len(rows) or len(rows) <= slots / 2:
            slots = len(rows)
            self._arrange(rows, needed)
        elif not room / 2 < needed <= room:
            self.own = moved(self.own, self.slots, self.slots, slots, needed)
        like = self.own[0][0]
        room, device = like.shape[2], like.device
        everyone, beyond = slice(0, slots), self.cut + self.longest
        self.blocks = [*self.trunks, Block(self.own, everyone, 1, slice(beyond, beyond + room))]
        if self.prefix is not None:
            self.blocks.append(Block(self.prefix.pairs, everyone, slots, slice(0, self.cut)))
        self.of_row = torch.tensor(self.slots, device=device)
        self.of_slot = torch.zeros(slots, dtype=torch.long, device=device)
        self.of_slot[self.of_row] = torch.arange(len(rows), device=device)
        self.ends = torch.tensor([len(row.reply) for row in rows], device=device)
        heads = torch.tensor([row.head for row in rows], device=device)[self.of_slot, None]
        seen = [
            torch.arange(beyond, device=device) < heads,
            torch.arange(room, device=device) <= self.ends[self.of_slot, None],
        ]
        return additive(torch.cat(seen, dim=1)[:, None, None], like.dtype)

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        layer_idx: int,
        *args: object,
        **kwargs: object,
    ) -> Pair:
        """Keep each row's token, and return it: what else it looks back on, `attend` reads."""
        keys, values = self.own[layer_idx]
        keys[self.of_row, :, self.ends] = key_states[:, :, 0]
        values[self.of_row, :, self.ends] = value_states[:, :, 0]
        return key_states, value_states

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Nothing that a model could use: it is given positions and a mask."""
        return 0

    def leave(self, place: int) -> None:
        """Forget row `place`; the last row takes its number."""
        self.slots[place] = self.slots[-1]
        self.slots.pop()

    def attend(self, layer: int, query: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Attention output of scaled queries to all that their rows look back on, both (rows,
        heads, width)."""
        rows, heads, width = query.shape
        slots, kv_heads = len(mask), self.own[layer][0].shape[1]
        query = query[self.of_slot].view(slots, kv_heads, -1, width)
        shared = query.shape[2]
        scores = query.new_zeros(slots, kv_heads, shared, mask.shape[-1])
        for block in self.blocks:
            keys = block.pairs[layer][0].flatten(0, 1)
            found = torch.bmm(_by_key(query[block.slots], block.most), keys.transpose(1, 2))
            scores[block.slots, ..., block.columns] = _by_slot(found, kv_heads, block.most)
        weights = torch.softmax(scores.add_(mask), dim=-1)
        shape = (slots, kv_heads, shared, self.own[layer][1].shape[3])
        mixed = torch.zeros(shape, dtype=torch.float32, device=query.device)
        for block in self.blocks:
            asked = weights[block.slots, ..., block.columns]
            values = block.pairs[layer][1].flatten(0, 1)
            found = torch.bmm(_by_key(asked, block.most), values)
            mixed[block.slots].add_(_by_slot(found, kv_heads, block.most))
        return mixed.to(query.dtype)[self.of_row].view(rows, heads, -1)

    def _arrange(self, rows: Sequence[Row], room: int) -> None:
        """Give every row a slot and stack the trunks that rows follow, those beside each other
        that have as many rows and are about as long."""
        followers: dict[Trunk, list[int]] = {}
        for i, row in enumerate(rows):
            followers.setdefault(row.trunk, []).append(i)
        reach = {
            trunk: max(0, *(rows[i].head - self.cut for i in mine))
            for trunk, mine in followers.items()
        }
        order = sorted(followers, key=lambda t: (len(followers[t]), reach[t]), reverse=True)
        slots = [0] * len(rows)
        for slot, i in enumerate(i for trunk in order for i in followers[trunk]):
            slots[i] = slot
        old = self.slots
        self.own = moved(self.own, old, slots[: len(old)], len(rows), room)
        self.slots, self.longest, self.trunks, start = slots, max(reach.values()), [], 0
        held: dict[Trunk, tuple[Sequence[Pair], int]] = {}
        for most, alike in groupby(order, key=lambda t: len(followers[t])):
            several = list(alike)
            for first in range(0, len(several), TRUNKS):
                beside = several[first : first + TRUNKS]
                length, stop = reach[beside[0]], start + most * len(beside)
                pairs = _stacked([(*self.held[trunk], reach[trunk]) for trunk in beside])
                held |= {trunk: (pairs, place) for place, trunk in enumerate(beside)}
                if length:
                    columns = slice(self.cut, self.cut + length)
                    self.trunks.append(Block(pairs, slice(start, stop), most, columns))
                start = stop
        self.held = held


def _stacked(trunks: Sequence[tuple[Sequence[Pair], int, int]]) -> Sequence[Pair]:
    """The trunks, of which the first is the longest, beside each other: where each is, its place
    there and its length."""
    stacked = []
    for layer in range(len(trunks[0][0])):
        pair = []
        for which in (0, 1):
            like = trunks[0][0][layer][which]
            into = like.new_zeros(len(trunks), like.shape[1], trunks[0][2], like.shape[3])
            for target, (pairs, place, length) in zip(into, trunks, strict=True):
                target[:, :length] = pairs[layer][which][place, :, :length]
            pair.append(into)
        stacked.append((pair[0], pair[1]))
    return stacked


def _by_key(parts: torch.Tensor, most: int) -> torch.Tensor:
    """(keys * kv heads, most * shared, n) of (keys * most, kv heads, shared, n)."""
    return parts.unflatten(0, (-1, most)).transpose(1, 2).flatten(2, 3).flatten(0, 1)


def _by_slot(parts: torch.Tensor, kv_heads: int, most: int) -> torch.Tensor:
    """(keys * most, kv heads, shared, n) of (keys * kv heads, most * shared, n)."""
    split = parts.view(-1, kv_heads, most, parts.shape[1] // most, parts.shape[2])
    return split.transpose(1, 2).flatten(0, 1)
