"""`kosent-data export`: the reference's JSONL, one `{"messages": [...]}` a line."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

from model_card.publishing.errors import KoSentError
from model_card.publishing.files import atomic_file

from .folder import read_splits


def export(dataset: Path, jsonl: Path, *, overwrite: bool = False) -> dict[Path, int]:
    """The files written, one for each split, and their numbers of lines.

    Raises:
        KoSentError: no dataset there, or a file is there already and `overwrite` is not given.
    """
    tables = read_splits(dataset)
    paths = {split: jsonl / f"{split}.jsonl" for split in tables}
    taken = next((path for path in paths.values() if path.exists()), None)
    if taken is not None and not overwrite:
        raise KoSentError(taken, "already there", "name another folder, or add --overwrite")
    with ExitStack() as together:  # all files or none
        for split, table in tables.items():
            file = together.enter_context(atomic_file(paths[split]))
            for batch in table.select(["messages"]).to_batches(max_chunksize=1000):
                for row in batch.to_pylist():
                    file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
    return {paths[split]: len(table) for split, table in tables.items()}
