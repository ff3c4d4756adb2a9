"""What counts as text: blanks around it do not, and a cell may hold nothing in several ways."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from . import arrays

# What spreadsheets and scripts write into a cell that holds nothing.
NOTHING = ("", "nan", "None")
# Spaces of every kind, and the two invisible marks that are not counted among them.
BLANKS = "".join(c for c in map(chr, range(0x3001)) if c.isspace()) + "\u200b\ufeff"
SPACES = r"[\s\pZ]"


def trimmed(texts: pa.Array) -> pa.Array:
    """The texts without blanks around them."""
    return pc.utf8_trim(texts, BLANKS)


def are_something(texts: pa.Array) -> pa.BooleanArray:
    """Which of the trimmed texts are more than nothing."""
    return pc.invert(pc.is_in(texts, value_set=arrays.texts(NOTHING)))


def loose(texts: pa.Array) -> pa.Array:
    """The texts without spaces and without letter case, for telling them apart."""
    lowered = pc.replace_substring(pc.utf8_lower(texts), " ", "")
    if pc.any(pc.match_substring_regex(lowered, SPACES)).as_py():
        lowered = pc.replace_substring_regex(lowered, SPACES, "")
    return lowered
