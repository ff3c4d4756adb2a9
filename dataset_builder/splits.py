"""Dialogues kept apart: what is removed from train, what becomes validation, what still overlaps.

Two texts are the same here if they differ in spaces and letter case only.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from . import arrays
from .arrays import mask
from .chat import turn_names
from .report import Findings, places

SPACES = r"[\s\pZ]"
ROLES = {"user": "user", "assistant": "reply"}


def remove_leaks(train: pa.Table, test: pa.Table | None, file: str, findings: Findings) -> pa.Table:
    """Train without the dialogues that are in test, and without its own exact duplicates."""
    lines = arrays.numbers(train["line"])
    leaked = np.zeros(len(train), bool) if test is None else _in_other(train, test)
    first = np.zeros(len(train), bool)
    first[np.unique(_codes(_joined(train)), return_index=True)[1]] = True
    findings.removed.add("in_test", file, places(lines, leaked))
    findings.removed.add("duplicate", file, places(lines, ~first & ~leaked))
    keep = first & ~leaked
    if keep.all():
        return train
    gone = arrays.numbers(train["turns"])[~keep]
    findings.utterances["in_removed_dialogues"] += 2 * int(gone.sum())
    return train.filter(arrays.booleans(keep))


def carve(train: pa.Table, fraction: float, seed: int) -> tuple[pa.Table, pa.Table | None]:
    """Train and validation: about `fraction` of the dialogues, in whole groups.

    The same persona, or the same first utterance, is one group. Groups are taken in a seeded
    order while they fit; None if none does.
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
    return train.filter(arrays.booleans(~chosen)), train.filter(arrays.booleans(chosen))


def groups(table: pa.Table) -> np.ndarray:
    """A number for each dialogue, the same for those that a persona or a first utterance ties."""
    first = _codes(_loose(table["user1"].combine_chunks()))
    persona = table["persona"].combine_chunks()
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


def overlaps(tables: dict[str, pa.Table]) -> dict[str, dict[str, dict[str, int]]]:
    """For test and validation: how many of their distinct utterances stand in train too."""
    train = {role: _utterances(tables["train"], stem) for role, stem in ROLES.items()}
    found: dict[str, dict[str, dict[str, int]]] = {}
    for split in ("validation", "test"):
        if split not in tables:
            continue
        found[split] = {}
        for role, stem in ROLES.items():
            own = _utterances(tables[split], stem)
            shared = pc.sum(pc.is_in(own, value_set=train[role])).as_py() or 0
            found[split][role] = {"distinct": len(own), "in_train": shared}
    return found


def repeated(table: pa.Table) -> int:
    """How many dialogues are exact repetitions of an earlier one in the same table."""
    return len(table) - len(_joined(table).unique())


def _in_other(table: pa.Table, other: pa.Table) -> np.ndarray:
    """Which dialogues of `table` stand in `other` too; few share even the first utterance."""
    there = _loose(other["user1"].combine_chunks()).unique()
    found = mask(pc.is_in(_loose(table["user1"].combine_chunks()), value_set=there))
    if not found.any():
        return found
    candidates = _loose(_joined(table.filter(arrays.booleans(found))))
    found[found] = mask(pc.is_in(candidates, value_set=_loose(_joined(other)).unique()))
    return found


def _utterances(table: pa.Table, stem: str) -> pa.Array:
    columns = [table[n].combine_chunks() for n in turn_names(table) if n.startswith(stem)]
    distinct = pa.concat_arrays([column.unique() for column in columns]).unique()
    return _loose(distinct.filter(pc.not_equal(distinct, arrays.text("")))).unique()


def _joined(table: pa.Table) -> pa.Array:
    """Each dialogue as one text."""
    names = turn_names(table)
    joined = pc.binary_join_element_wise(
        *(table[n].combine_chunks() for n in names), arrays.text("\x1f")
    )
    # Editions differ in their number of turns; turns that are not there make no difference.
    return pc.utf8_rtrim(joined, "\x1f")


def _loose(texts: pa.Array) -> pa.Array:
    """The texts without spaces and without letter case."""
    lowered = pc.replace_substring(pc.utf8_lower(texts), " ", "")
    if pc.any(pc.match_substring_regex(lowered, SPACES)).as_py():
        lowered = pc.replace_substring_regex(lowered, SPACES, "")
    return lowered


def _codes(texts: pa.Array) -> np.ndarray:
    """A number for each text, the same for the same text."""
    return arrays.numbers(texts.dictionary_encode().indices)
