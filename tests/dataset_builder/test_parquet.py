"""How a split is written: the same bytes for the same rows, and pages that edits leave alone."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dataset_builder.chat import SCHEMA
from dataset_builder.folder import write_split


def rows(count: int) -> pa.Table:
    """Rows of made-up words, of the lengths of the corpus."""
    seeded = random.Random(0)
    words = ["".join(chr(seeded.randrange(0xAC00, 0xD7A3)) for _ in range(3)) for _ in range(500)]
    blank = dict.fromkeys(SCHEMA.names) | {"turns": 1, "source_row": 1}
    return pa.Table.from_pylist(
        [
            blank
            | {
                "dialogue_id": f"train-{number:06}",
                "messages": [
                    {"role": role, "content": " ".join(seeded.choices(words, k=8))}
                    for role in ("user", "assistant")
                ],
            }
            for number in range(count)
        ],
        SCHEMA,
    )


def written(table: pa.Table, path: Path) -> bytes:
    write_split(table, path)
    return path.read_bytes()


def test_a_row_removed_at_the_start_leaves_most_pages_as_they_are(tmp_path: Path) -> None:
    table = rows(12_000)
    whole = written(table, tmp_path / "data" / "whole.parquet")
    assert whole == written(table, tmp_path / "data" / "again.parquet")
    less = written(table.slice(1), tmp_path / "data" / "less.parquet")
    size = 1 << 14
    pieces = [whole[start : start + size] for start in range(0, len(whole) - size, size)]
    kept = sum(piece in less for piece in pieces)
    assert len(pieces) > 20
    assert kept > len(pieces) / 2, f"{kept} of {len(pieces)}"


def test_pages_have_an_index(tmp_path: Path) -> None:
    written(rows(10), tmp_path / "data" / "train.parquet")
    group = pq.read_metadata(tmp_path / "data" / "train.parquet").row_group(0)
    columns = [group.column(number) for number in range(group.num_columns)]
    assert all(column.has_offset_index for column in columns)
