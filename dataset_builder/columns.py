"""Columns as Arrow arrays: made from Python's and numpy's values, and what counts as text in them.

`pa.array` makes such arrays too, but first imports pandas wherever that is installed: 0.3 to 0.5
seconds, longer than the build of a small corpus.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# What pandas, R, databases and spreadsheets write into an empty cell, in lower case.
MARKS = (
    *("na", "<na>", "n/a", "nan", "-nan", "nat", "none", "null", "nil", "\\n"),
    *("na_character_", "(null)", "[null]", "<null>", "undefined", '""', "''", "“”"),
    *("#n/a", "#n/a n/a", "#na", "#null!", "#ref!", "#value!", "#div/0!", "#name?", "#num!"),
    *("1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan"),
)
# Spaces of every kind, and characters that show nothing and that Python does not count among them.
INVISIBLE = "\u00ad\u115f\u1160\u180e\u200b\u200c\u200d\u200e\u200f\u2060\u3164\ufeff\uffa0"
BLANKS = "".join(c for c in map(chr, range(0x3001)) if c.isspace()) + INVISIBLE
SPACES = r"[\s\pZ]"


def texts(values: Iterable[str | None]) -> pa.StringArray:
    """A column of strings, None as null."""
    encoded = [None if value is None else value.encode() for value in values]
    lengths = np.fromiter((len(text or b"") for text in encoded), np.int64, len(encoded))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    valid = np.fromiter((text is not None for text in encoded), bool, len(encoded))
    data = b"".join(text or b"" for text in encoded)
    buffers = [_bits(valid), pa.py_buffer(offsets), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.string(), len(encoded), buffers)


def text(value: str) -> pa.StringScalar:
    """One string, for functions that take it beside a column."""
    return texts([value])[0]


def integers(values: np.ndarray) -> pa.Array:
    """A column of integers of the same width, without nulls."""
    type_ = pa.from_numpy_dtype(values.dtype)
    return pa.Array.from_buffers(
        type_, len(values), [None, pa.py_buffer(np.ascontiguousarray(values))]
    )


def booleans(values: np.ndarray) -> pa.BooleanArray:
    """A column of truth values, without nulls."""
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, _bits(values)])


def numbers(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """The integers of a column without nulls, as numpy has them."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    data = np.frombuffer(column.buffers()[1], column.type.to_pandas_dtype())
    return data[column.offset : column.offset + len(column)]


def mask(column: pa.BooleanArray) -> np.ndarray:
    """The truth values of a column without nulls, as numpy has them."""
    bits = np.frombuffer(column.buffers()[1], np.uint8)
    end = column.offset + len(column)
    return np.unpackbits(bits, count=end, bitorder="little")[column.offset :].view(bool)


def trimmed(column: pa.Array) -> pa.Array:
    """The texts without blanks around them."""
    return pc.utf8_trim(column, BLANKS)


def is_not_blank(column: pa.Array) -> pa.BooleanArray:
    """For each trimmed text, whether its cell holds anything: it is not empty and none of MARKS."""
    return pc.invert(pc.is_in(pc.utf8_lower(column), value_set=texts(["", *MARKS])))


def match_key(column: pa.Array) -> pa.Array:
    """The texts in lower case and without spaces: equal keys count as the same text."""
    lowered = pc.replace_substring(pc.utf8_lower(column), " ", "")
    if pc.any(pc.match_substring_regex(lowered, SPACES)).as_py():
        lowered = pc.replace_substring_regex(lowered, SPACES, "")
    return lowered


def _bits(values: np.ndarray) -> pa.Buffer:
    return pa.py_buffer(np.packbits(values, bitorder="little"))
