"""Arrow arrays from Python's and numpy's.

`pa.array` does this too, but imports pandas first wherever it is installed: longer than a build.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa


def texts(values: Iterable[str | None]) -> pa.StringArray:
    """Strings, None as null."""
    encoded = [None if value is None else value.encode() for value in values]
    lengths = np.fromiter((len(text or b"") for text in encoded), np.int64, len(encoded))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    there = np.fromiter((text is not None for text in encoded), bool, len(encoded))
    data = b"".join(text or b"" for text in encoded)
    buffers = [_bits(there), pa.py_buffer(offsets), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.string(), len(encoded), buffers)


def text(value: str) -> pa.StringScalar:
    """One string, for functions that take it beside an array."""
    return texts([value])[0]


def integers(values: np.ndarray) -> pa.Array:
    """Integers of the same width, none of them null."""
    type_ = pa.from_numpy_dtype(values.dtype)
    return pa.Array.from_buffers(
        type_, len(values), [None, pa.py_buffer(np.ascontiguousarray(values))]
    )


def booleans(values: np.ndarray) -> pa.BooleanArray:
    """Truth values, none of them null."""
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, _bits(values)])


def numbers(values: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """The integers, none of them null, as numpy has them."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    data = np.frombuffer(values.buffers()[1], values.type.to_pandas_dtype())
    return data[values.offset : values.offset + len(values)]


def mask(values: pa.BooleanArray) -> np.ndarray:
    """The truth values, none of them null, as numpy has them."""
    bits = np.frombuffer(values.buffers()[1], np.uint8)
    end = values.offset + len(values)
    return np.unpackbits(bits, count=end, bitorder="little")[values.offset :].view(bool)


def _bits(values: np.ndarray) -> pa.Buffer:
    return pa.py_buffer(np.packbits(values, bitorder="little"))
