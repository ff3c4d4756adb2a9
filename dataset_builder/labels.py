"""The label columns of a source under the taxonomy's names."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from . import columns, editions, taxonomy
from .losses import Notes


def name_labels(table: pa.Table, notes: Notes) -> dict[str, pa.Array]:
    """The label columns under the taxonomy's names; labels unknown to it are kept and noted."""
    found = {
        kind: _named(kind, columns.trimmed(table[kind].combine_chunks()), notes)
        for kind in editions.LABELS
    }
    majors, minors = (
        pc.fill_null(found[kind], columns.text("")).dictionary_encode()
        for kind in ("major", "minor")
    )
    pairs, first, inverse, counts = np.unique(
        columns.numbers(majors.indices) * np.int64(len(minors.dictionary))
        + columns.numbers(minors.indices),
        return_index=True,
        return_inverse=True,
        return_counts=True,
    )
    codes: list[str | None] = []
    for pair, row, times in zip(pairs, first, counts, strict=True):
        one, other = divmod(int(pair), len(minors.dictionary))
        major, minor = majors.dictionary[one].as_py(), minors.dictionary[other].as_py()
        codes.append(taxonomy.emotion_code(major, minor))
        known = major in taxonomy.ENGLISH and taxonomy.canonical("minor", minor) == minor
        if codes[-1] is None and known:
            notes.unknown("emotion", f"{major} / {minor}", int(times), row)
    return {
        "emotion_code": columns.texts(codes).take(columns.integers(inverse.astype(np.int64))),
        "emotion_major": found["major"],
        "emotion_minor": found["minor"],
        **{kind: found[kind] for kind in ("situation", "disease", "age", "gender")},
    }


def _named(kind: str, column: pa.Array, notes: Notes) -> pa.Array:
    """A label column with each label replaced by its one name, a blank one by null."""
    coded = column.dictionary_encode()
    indices = columns.numbers(coded.indices)
    counts = np.bincount(indices, minlength=len(coded.dictionary))
    holds_text = columns.mask(columns.is_not_blank(coded.dictionary))
    names: list[str | None] = []
    for number, label in enumerate(coded.dictionary.to_pylist()):
        name, count = taxonomy.canonical(kind, label), int(counts[number])
        if not holds_text[number]:
            names.append(None)
            notes.blank(kind, count)
            continue
        names.append(name or label)
        if name is None:
            notes.unknown(kind, label, count, int(np.argmax(indices == number)))
        elif name != label:
            notes.mapped(kind, label, count)
    return columns.texts(names).take(coded.indices)
