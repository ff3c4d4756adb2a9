"""Train, validation and test without shared dialogues, and the overlap that is left.

Two first utterances, or a dialogue of train and one of test, count as the same if their match keys
are equal. Few dialogues share the first utterance, so only those are compared as a whole.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from . import columns
from .chat import ROLES, Dialogues
from .losses import Notes


def remove_leaks(train: Dialogues, others: dict[str, Dialogues | None], notes: Notes) -> Dialogues:
    """Train without the dialogues of other splits and without its own exact duplicates.

    `others` are the splits under the reasons for which their dialogues go.
    """
    gone = np.zeros(len(train), bool)
    for reason, other in others.items():
        leaked = np.zeros(len(train), bool) if other is None else _in_other(train, other)
        notes.remove(reason, leaked & ~gone)
        gone |= leaked
    duplicate = _duplicates(train)
    notes.remove("duplicate", duplicate & ~gone)
    gone |= duplicate
    notes.count(in_removed_dialogues=2 * int(train.turns[gone].sum()))
    return train.pick(~gone)


def carve(train: Dialogues, fraction: float, seed: int) -> tuple[Dialogues, Dialogues | None]:
    """Train, and about `fraction` of it as validation, None if no group is small enough.

    Dialogues with the same persona or first utterance are one group and stay together. Groups are
    drawn in a seeded order, and each that still fits becomes validation.
    """
    wanted = round(fraction * len(train))
    group = groups(train)
    sizes = np.bincount(group)
    # RandomState's stream is frozen by numpy's policy; the newer generators' are not.
    taken, total = [], 0
    for candidate in np.random.RandomState(seed).permutation(len(sizes)):
        if total == wanted:
            break
        if total + sizes[candidate] <= wanted:
            taken.append(candidate)
            total += int(sizes[candidate])
    if not taken:
        return train, None
    chosen = np.isin(group, taken)
    return train.pick(~chosen), train.pick(chosen)


def groups(dialogues: Dialogues) -> np.ndarray:
    """The group number of each dialogue: a shared persona or first utterance makes a group."""
    first = _codes(dialogues.table["first"])
    persona = dialogues.table["persona"].combine_chunks()
    if persona.null_count == len(persona):
        return first
    parent = list(range(int(first.max()) + 1))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    utterance_of: dict[str, int] = {}
    for who, node in zip(persona.to_pylist(), first.tolist(), strict=True):
        if who is not None:
            parent[root(node)] = root(utterance_of.setdefault(who, node))
    return np.unique([root(node) for node in first.tolist()], return_inverse=True)[1]


def overlaps(splits: dict[str, Dialogues]) -> dict[str, dict[str, dict[str, int]]]:
    """For validation and test: their distinct utterances, and how many train has exactly so."""
    found: dict[str, dict[str, dict[str, int]]] = {}
    for split in ("validation", "test"):
        if split not in splits:
            continue
        found[split] = {}
        for role in ROLES:
            turns = [
                cells.take(columns.integers(rows)) for cells, rows in splits[split].turns_of(role)
            ]
            own = pa.chunked_array(turns).unique()
            met = np.zeros(len(own), bool)
            for cells, rows in splits["train"].turns_of(role):
                found_at = pc.index_in(cells, value_set=own).take(columns.integers(rows))
                met[columns.numbers(found_at.drop_null())] = True
            found[split][role] = {"distinct": len(own), "in_train": int(met.sum())}
    return found


def repeated(dialogues: Dialogues) -> int:
    """The number of dialogues that repeat an earlier one of them exactly."""
    return int(_duplicates(dialogues).sum())


def _in_other(dialogues: Dialogues, other: Dialogues) -> np.ndarray:
    """A mask of the dialogues that are in `other` too."""
    first = dialogues.table["first"].combine_chunks()
    found = columns.mask(pc.is_in(first, value_set=other.table["first"].unique()))
    if found.any():
        candidates = columns.match_key(_joined(dialogues.pick(found)))
        there = columns.match_key(_joined(other)).unique()
        found[found] = columns.mask(pc.is_in(candidates, value_set=there))
    return found


def _duplicates(dialogues: Dialogues) -> np.ndarray:
    """A mask of the dialogues that repeat an earlier one exactly."""
    first = _codes(dialogues.table["first"])
    found = np.bincount(first)[first] > 1
    if found.any():
        candidates = _codes(_joined(dialogues.pick(found)))
        repeats = np.ones(len(candidates), bool)
        repeats[np.unique(candidates, return_index=True)[1]] = False
        found[found] = repeats
    return found


def _joined(dialogues: Dialogues) -> pa.Array:
    """Each dialogue as one text."""
    messages = dialogues.messages()
    contents = pa.ListArray.from_arrays(messages.offsets, messages.values.field("content"))
    return pc.binary_join(contents, columns.text("\x1f"))


def _codes(texts: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """A number for each text; equal texts have equal numbers."""
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()
    return columns.numbers(texts.dictionary_encode().indices)
