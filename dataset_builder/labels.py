"""The label columns of a source under the taxonomy's names."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from . import columns, editions, taxonomy
from .losses import Labels


def name_labels(table: pa.Table, file: str, notes: Labels) -> dict[str, pa.Array]:
    """The label columns under the taxonomy's names; what it does not know is kept and noted."""
    lines = columns.numbers(table["line"])
    found = {
        kind: _named(kind, columns.trimmed(table[kind].combine_chunks()), lines, file, notes)
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
            both = f"{major} / {minor}"
            notes.add_unknown("emotion", both, int(times), file, int(lines[row]))
    return {
        "emotion_code": columns.texts(codes).take(columns.integers(inverse.astype(np.int64))),
        "emotion_major": found["major"],
        "emotion_minor": found["minor"],
        **{kind: found[kind] for kind in ("situation", "disease", "age", "gender")},
    }


def _named(kind: str, column: pa.Array, lines: np.ndarray, file: str, notes: Labels) -> pa.Array:
    """A label column with each label under its one name, a blank one null."""
    coded = column.dictionary_encode()
    indices = columns.numbers(coded.indices)
    counts = np.bincount(indices, minlength=len(coded.dictionary))
    names: list[str | None] = []
    for number, label in enumerate(coded.dictionary.to_pylist()):
        name = taxonomy.canonical(kind, label)
        if label in columns.BLANK_CELLS:
            names.append(None)
            notes.blank[kind] = notes.blank.get(kind, 0) + int(counts[number])
            continue
        names.append(name or label)
        if name is None:
            first = int(lines[np.argmax(indices == number)])
            notes.add_unknown(kind, label, int(counts[number]), file, first)
        elif name != label:
            notes.add_mapped(kind, label, int(counts[number]))
    return columns.texts(names).take(coded.indices)
