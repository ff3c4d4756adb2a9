"""Shared-prefix attention: keys that several sequences attend to are read once for all of them.

A decode step has one query for each sequence and head, and most of its attention is reading keys
and values. Here the queries that attend to the same keys, of several sequences and of the heads of
a key-value head, are one matrix. This is the decomposition of Hydragen (arXiv 2402.05099), also
known as cascade attention. All tensors are dense: matrix products in bfloat16 would copy others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from transformers import AttentionInterface, PreTrainedModel

SHARED_PREFIX = "kosent_shared_prefix"

Pair = tuple[torch.Tensor, torch.Tensor]  # keys and values


@dataclass(frozen=True)
class Segment:
    """Keys and values that `slots` attend to, each of n of them shared by `group` neighbours.

    `pairs` has (n, kv heads, length, width) for each layer. `columns` is their part of the mask.
    """

    pairs: Sequence[Pair]
    slots: slice
    group: int
    columns: slice


@dataclass(frozen=True)
class Context:
    """What the sequences of a batch attend to in one layer: a cache's `update` returns it instead
    of tensors.

    Each sequence has a slot. `slot_of` is that of each sequence, `sequence_of` the sequence in each
    slot (any, in an empty one).
    """

    segments: Sequence[Segment]
    layer: int
    slot_of: torch.Tensor
    sequence_of: torch.Tensor


def shared_prefix_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: Context,
    value: Context,
    attention_mask: torch.Tensor,
    scaling: float | None = None,
    **kwargs: object,
) -> tuple[torch.Tensor, None]:
    """Attention output (batch, length, heads, width) of a query (batch, heads, length, width).

    `attention_mask` is additive, (slots or 1, 1, length, columns).
    """
    batch, heads, length, width = query.shape
    like = key.segments[0].pairs[key.layer][1]
    slots, kv_heads = len(key.sequence_of), like.shape[1]
    query = query * (width**-0.5 if scaling is None else scaling)
    query = query[key.sequence_of].reshape(slots, kv_heads, -1, width)
    scores = query.new_zeros(slots, kv_heads, query.shape[2], attention_mask.shape[-1])
    for part in key.segments:
        keys = part.pairs[key.layer][0].transpose(2, 3)
        scores[part.slots, ..., part.columns] = _products(query[part.slots], keys, part.group)
    scores.unflatten(2, (-1, length)).add_(attention_mask[:, :, None])
    weights = torch.softmax(scores, dim=-1)
    # In float32, as a matrix product would sum over all columns.
    output = like.new_zeros((*query.shape[:3], like.shape[3]), dtype=torch.float32)
    for part in key.segments:
        asked = weights[part.slots, ..., part.columns]
        output[part.slots].add_(_products(asked, part.pairs[key.layer][1], part.group))
    output = output.to(query.dtype)[key.slot_of].view(batch, heads, length, -1)
    return output.transpose(1, 2).contiguous(), None


def _products(left: torch.Tensor, right: torch.Tensor, group: int) -> torch.Tensor:
    """Matrix products of `left`, (n * group, kv heads, m, k), with the n that its groups share in
    `right`, (n, kv heads, k, j): (n * group, kv heads, m, j)."""
    count, kv_heads, rows, _ = left.shape
    stacked = left.unflatten(0, (-1, group)).transpose(1, 2).flatten(2, 3).flatten(0, 1)
    found = torch.bmm(stacked, right.flatten(0, 1))
    return found.view(count // group, kv_heads, group, rows, -1).transpose(1, 2).flatten(0, 1)


AttentionInterface.register(SHARED_PREFIX, shared_prefix_attention)


@contextmanager
def shared_prefix(model: PreTrainedModel) -> Iterator[None]:
    """The model computes shared-prefix attention inside the `with` block."""
    usual = model.config._attn_implementation
    model.set_attn_implementation(SHARED_PREFIX)
    try:
        yield
    finally:
        model.set_attn_implementation(usual)
