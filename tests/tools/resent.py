"""What of a dataset's Parquet travels again after an edit: `python -m tests.tools.resent`.

A corpus of AI Hub's size, made up of the sample's words, is written before and after an edit in
several ways, and both files go to the test Hub with the real hf-xet, whose own count of new bytes
is printed as a Markdown table (docs/data.md has it). A whole file is what LFS would send.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dataset_builder.cli import main as kosent_data
from dataset_builder.folder import PARQUET, data_path, read_splits
from tests.support import ROOT
from tests.support.hub import Hub

ROWS = 51_630
Rows = list[dict[str, Any]]

# Name: what differs from how kosent-data writes.
WAYS: dict[str, dict[str, Any]] = {
    "fixed pages, groups of 10,000 (before)": {
        "use_content_defined_chunking": False,
        "write_page_index": False,
        "row_group_size": 10_000,
    },
    "content-defined pages, groups of 1,000": {"row_group_size": 1_000},
    "content-defined pages, groups of 10,000": {"row_group_size": 10_000},
    "content-defined pages, one group (now)": {},
    "the same with pages of 16 to 64 KiB": {
        "use_content_defined_chunking": {
            "min_chunk_size": 1 << 14,
            "max_chunk_size": 1 << 16,
            "norm_level": 0,
        },
    },
}


def edits(rows: Rows, words: list[str]) -> dict[str, Rows]:
    """The rows after each edit; 1 % is `few` rows."""
    seeded, few, at = random.Random(1), len(rows) // 100, len(rows) // 3

    def changed(places: range | list[int]) -> Rows:
        new = list(rows)
        for place in places:
            *before, last = rows[place]["messages"]
            reply = {**last, "content": " ".join(seeded.choices(words, k=8))}
            new[place] = {**rows[place], "messages": [*before, reply]}
        return new

    return {
        "1 % changed, side by side": changed(range(at, at + few)),
        "1 % changed, all over": changed(seeded.sample(range(len(rows)), few)),
        "1 % removed, side by side": rows[:at] + rows[at + few :],
        "one row removed": rows[:at] + rows[at + 1 :],
        "1 % added at the end": rows + changed(range(few))[:few],
    }


def corpus(sample: Rows) -> tuple[Rows, list[str]]:
    """As many rows as AI Hub's train has, like the sample's, with words drawn from all of them;
    and those words."""
    seeded = random.Random(0)
    words = [w for row in sample for m in row["messages"][1:] for w in m["content"].split()]

    def said(message: dict[str, str]) -> dict[str, str]:
        if message["role"] == "system":
            return message
        count = len(message["content"].split())
        return {**message, "content": " ".join(seeded.choices(words, k=count))}

    rows = []
    for number in range(ROWS):
        row = seeded.choice(sample)
        messages = [said(message) for message in row["messages"]]
        named = {"dialogue_id": f"train-{number + 1:06}", "source_row": number + 1}
        rows.append({**row, **named, "messages": messages})
    return rows, words


@contextmanager
def storage() -> Iterator[Callable[[list[Path]], list[int]]]:
    """A function that uploads files one after the other to new storage: new bytes of each."""
    with tempfile.TemporaryDirectory() as home, Hub(Path(home) / "hub") as hub:
        os.environ["HF_XET_CACHE"] = home
        from hf_xet import XetSession

        session = XetSession()

        def sent(paths: list[Path]) -> list[int]:
            counts = []
            for path in paths:
                commit = session.new_upload_commit(
                    endpoint=hub.storage,
                    token=hub.signature("xet write"),
                    token_expiry_unix_secs=int(time.time()) + 3600,
                )
                commit.start_upload_file(str(path))
                counts.append(commit.wait_to_finish().dedup_metrics.new_bytes)
            return counts

        yield sent


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "dataset"
        assert kosent_data(["build", str(ROOT / "dataset_builder" / "sample"), str(folder)]) == 0
        table = read_splits(folder)["train"]
        schema = pq.read_schema(folder / data_path("train"))
        rows, words = corpus(table.to_pylist())
        after = edits(rows, words)
        versions = {"whole": rows, **after}
        tables = {name: pa.Table.from_pylist(new, schema) for name, new in versions.items()}
        print(f"| written with | whole file | {' | '.join(after)} |")
        print(f"|---|{'---:|' * len(versions)}")
        for way, options in WAYS.items():
            paths = []
            for number, found in enumerate(tables.values()):
                path = Path(scratch) / f"{number}.parquet"
                pq.write_table(found, path, **(PARQUET | options))
                paths.append(path)
            cells = []
            for path in paths[1:]:
                with storage() as sent:
                    first, second = sent([paths[0], path])
                cells.append(f"{second / 1e6:.2f}")
            print(f"| {way} | {first / 1e6:.2f} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
