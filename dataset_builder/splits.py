"""Dialogues kept apart: what is removed from train, what becomes validation, what still overlaps.

Two texts are the same here if they differ in spaces and letter case only.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .report import Findings, places

SPACES = r"[\s\pZ]"
ROLES = {"user": "user", "assistant": "reply"}


def remove_leaks(train: pa.Table, test: pa.Table | None, file: str, findings: Findings) -> pa.Table:
    """Train without the dialogues that are in test, and without its own exact duplicates."""
    lines = train["line"].to_numpy()
    exact = _joined(train)
    first = np.zeros(len(train), bool)
    first[_first_of_each(exact)] = True
    leaked = np.zeros(len(train), bool)
    if test is not None:
        leaked = _true(pc.is_in(_loose(exact), value_set=_loose(_joined(test)).unique()))
    findings.removed.add("in_test", file, places(lines, leaked))
    findings.removed.add("duplicate", file, places(lines, ~first & ~leaked))
    keep = first & ~leaked
    if keep.all():
        return train
    gone = train["turns"].to_numpy()[~keep]
    findings.utterances["in_removed_dialogues"] += 2 * int(gone.sum())
    return train.filter(pa.array(keep))


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
    return train.filter(pa.array(~chosen)), train.filter(pa.array(chosen))


def groups(table: pa.Table) -> np.ndarray:
    """A number for each dialogue, the same for those that a persona or a first utterance ties."""
    first = _loose(table["user1"].combine_chunks()).dictionary_encode().indices.to_numpy()
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


def _utterances(table: pa.Table, stem: str) -> pa.Array:
    columns = [table[name].combine_chunks() for name in table.column_names if name[:-1] == stem]
    distinct = pa.concat_arrays([column.unique() for column in columns]).unique()
    return _loose(distinct.filter(pc.not_equal(distinct, ""))).unique()


def _joined(table: pa.Table) -> pa.Array:
    """Each dialogue as one text."""
    names = [n for n in table.column_names if n[:-1] in ROLES.values()]
    joined = pc.binary_join_element_wise(*(table[n].combine_chunks() for n in names), "\x1f")
    # Editions differ in their number of turns; turns that are not there make no difference.
    return pc.utf8_rtrim(joined, "\x1f")


def _loose(texts: pa.Array) -> pa.Array:
    """The texts without spaces and without letter case."""
    lowered = pc.replace_substring(pc.utf8_lower(texts), " ", "")
    if pc.any(pc.match_substring_regex(lowered, SPACES)).as_py():
        lowered = pc.replace_substring_regex(lowered, SPACES, "")
    return lowered


def _first_of_each(texts: pa.Array) -> np.ndarray:
    return np.unique(texts.dictionary_encode().indices.to_numpy(), return_index=True)[1]


def _true(mask: pa.BooleanArray) -> np.ndarray:
    return mask.to_numpy(zero_copy_only=False)
