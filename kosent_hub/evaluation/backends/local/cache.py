"""Keys and values of tokens that the fast path has computed."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import Cache

Pair = tuple[torch.Tensor, torch.Tensor]
Tokens = array  # of "i": a list of ints would take ten times the memory

# Attention reads rows up to the longest; rounding up keeps its shapes few.
LENGTH_STEP = 32


@dataclass(frozen=True, eq=False)
class Trunk:
    """Token ids that are computed once, and the indices of the prompts they cover."""

    tokens: Tokens
    samples: list[int]


@dataclass
class Row:
    """One reply in the making: `position` is where its next token goes."""

    index: int
    trunk: Trunk
    position: int
    next_token: int
    reply: list[int]

    @property
    def head(self) -> int:
        """How many tokens the prompt has before its last, which generation feeds first."""
        return self.position - len(self.reply)


class PrefixCache(Cache):
    """Keys and values of a batch that looks back on a prefix, the same for all its sequences."""

    def __init__(self, prefix: PrefixCache | None = None) -> None:
        super().__init__(layers=[])
        self.prefix = prefix
        self.pairs: list[Pair] = []

    @property
    def length(self) -> int:
        """Tokens of its longest sequence, without the prefix."""
        return self.pairs[0][0].shape[2]

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        layer_idx: int,
        *args: object,
        **kwargs: object,
    ) -> Pair:
        """Keys and values of prefix and batch, (batch, kv heads, length, width)."""
        self.pairs.append((key_states, value_states))
        return self.whole(layer_idx)

    def whole(self, layer: int) -> Pair:
        """A layer's keys and values of prefix and batch."""
        keys, values = self.pairs[layer]
        if self.prefix is None:
            return keys, values
        before = (part.expand(len(keys), -1, -1, -1) for part in self.prefix.pairs[layer])
        return torch.cat([next(before), keys], dim=2), torch.cat([next(before), values], dim=2)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Tokens the batch can look back on."""
        return self.prefix.length if self.prefix is not None else 0


class RowCache(Cache):
    """All that each reply in the making looks back on in a row of its own, as attention usually
    reads it: (rows, kv heads, room, width), the first `active` rows in use.

    Attention reads the first `length` positions of a row, the rest is room to grow.
    """

    def __init__(self, like: PrefixCache) -> None:
        super().__init__(layers=[])
        self.pairs = [(keys[:0, :, :0], values[:0, :, :0]) for keys, values in like.pairs]
        self.positions = torch.zeros(0, dtype=torch.long, device=self.pairs[0][0].device)
        self.active, self.length = 0, 0

    @staticmethod
    def tokens(trunks: int, rows: int, length: int, own: int) -> int:
        """Tokens to hold for trunks of that length and rows of so many of their own."""
        return rows * (length + own)

    def grow(self, rows: int, room: int) -> None:
        """Make room for so many rows of that length, keeping what the active rows hold."""
        have = self.pairs[0][0].shape
        if rows > have[0] or room > have[2]:
            kept = range(self.active)
            self.pairs = moved(self.pairs, kept, kept, rows, room)

    def put(self, computed: PrefixCache, trunks: Sequence[Trunk]) -> None:
        """Add a row for each sample of the trunks that were computed, a copy of its trunk."""
        sources = [i for i, trunk in enumerate(trunks) for _ in trunk.samples]
        chosen = torch.tensor(sources, device=self.positions.device)
        stop = self.active + len(sources)
        for layer, store in enumerate(self.pairs):
            for into, part in zip(store, computed.whole(layer), strict=True):
                width = min(part.shape[2], into.shape[2])
                into[self.active : stop, :, :width] = part[chosen, :, :width]
        self.active = stop

    def look(self, rows: Sequence[Row]) -> torch.Tensor:
        """Make ready for a step of these rows; their additive mask, (rows, 1, 1, length)."""
        like, longest = self.pairs[0][0], max(row.position for row in rows) + 1
        self.length = min(-(-longest // LENGTH_STEP) * LENGTH_STEP, like.shape[2])
        self.positions = torch.tensor([row.position for row in rows], device=like.device)
        seen = torch.arange(self.length, device=like.device) <= self.positions[:, None]
        return additive(seen[:, None, None], like.dtype)

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        layer_idx: int,
        *args: object,
        **kwargs: object,
    ) -> Pair:
        """The active rows' keys and values after each row's token was put at its position."""
        rows = torch.arange(self.active, device=self.positions.device)
        keys, values = self.pairs[layer_idx]
        keys[rows, :, self.positions] = key_states[:, :, 0]
        values[rows, :, self.positions] = value_states[:, :, 0]
        return keys[: self.active, :, : self.length], values[: self.active, :, : self.length]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Positions that attention reads."""
        return self.length

    def leave(self, place: int) -> None:
        """Free row `place` by moving the last active row into it."""
        self.active -= 1
        if place < self.active:
            for pair in self.pairs:
                for store in pair:
                    store[place] = store[self.active]


def additive(seen: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """0 where attention may look and minus infinity where not."""
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, -torch.inf)


def moved(
    pairs: Sequence[Pair], sources: Sequence[int], targets: Sequence[int], rows: int, room: int
) -> list[Pair]:
    """Stores of so many rows and so much room, where rows `targets` hold what `sources` did."""
    like = pairs[0][0]
    kept = min(room, like.shape[2])
    source, target = (
        torch.tensor(places, dtype=torch.long, device=like.device) for places in (sources, targets)
    )
    fresh = []
    for pair in pairs:
        stores = [part.new_zeros(rows, part.shape[1], room, part.shape[3]) for part in pair]
        for into, part in zip(stores, pair, strict=True):
            into[target, :, :kept] = part[source, :, :kept]
        fresh.append((stores[0], stores[1]))
    return fresh
