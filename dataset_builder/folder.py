"""The dataset folder, written whole or not at all: Parquet, README.md, eval.yaml, report.json.

And what is read from one: its splits, its report, and its dialogues as JSONL.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from model_card.publishing.errors import KoSentError
from model_card.publishing.files import atomic_file

from .chat import SCHEMA
from .corpus import SPLITS
from .sources import sha256

README, REPORT, EVAL = "README.md", "report.json", "eval.yaml"
DATA = "data"
REPEATING = [name for name in SCHEMA.names if name not in ("dialogue_id", "messages", "source_row")]
# How a split is written, as `datasets` writes it too. Pages end where the content says so: an edit
# changes the pages around it, and Xet sends only those again. A group ends after so many rows,
# which moves at every edit before, so the corpus's train is one (docs/data.md has what that saves).
# The index lets a reader fetch single pages.
PARQUET: dict[str, Any] = {
    "row_group_size": 100_000,
    "use_content_defined_chunking": {
        "min_chunk_size": 256 << 10,
        "max_chunk_size": 1 << 20,
        "norm_level": 0,
    },
    "write_page_index": True,
    "compression": "zstd",
    "use_dictionary": [*REPEATING, "messages.list.element.role"],
    "write_statistics": REPEATING,
}


def data_path(split: str) -> str:
    """The path of a split's file in the folder, named as the Hub names such files."""
    return f"{DATA}/{split}-00000-of-00001.parquet"


def write_split(table: pa.Table, path: Path) -> None:
    """Write a split as Parquet; the same rows give the same bytes.

    There is no `huggingface` metadata: readers differ in the feature types they know, and the
    card's YAML has the types in a form that all of them read.
    """
    path.parent.mkdir(exist_ok=True)
    pq.write_table(table.replace_schema_metadata(None), path, **PARQUET)


def read_splits(folder: Path) -> dict[str, pa.Table]:
    """Split -> rows of a dataset folder; raises KoSentError if it is none."""
    paths = {split: sorted((folder / DATA).glob(f"{split}-*.parquet")) for split in SPLITS}
    found = {split: parts for split, parts in paths.items() if parts}
    if not found:
        raise KoSentError(folder, "no dataset here", "make one with: kosent-data build SOURCE OUT")
    try:
        return {
            split: pa.concat_tables(pq.read_table(part, schema=SCHEMA) for part in parts)
            for split, parts in found.items()
        }
    except pa.ArrowException as error:
        raise KoSentError(folder, f"damaged ({error})", "build it again") from None


def read_report(folder: Path) -> dict[str, Any]:
    """report.json of a dataset folder; raises KoSentError if it is missing or no JSON."""
    path = folder / REPORT
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise KoSentError(
            path,
            "missing, so this is no dataset of ours",
            "make one with: kosent-data build SOURCE OUT",
        ) from None
    except ValueError as error:
        raise KoSentError(path, f"not JSON ({error})", "build the dataset again") from None
    if not isinstance(report, dict) or not {"splits", "outputs"} <= report.keys():
        raise KoSentError(path, "not a report of kosent-data", "build the dataset again")
    return report


def export(dataset: Path, jsonl: Path, *, overwrite: bool = False) -> dict[Path, int]:
    """Write one JSONL file for each split, `{"messages": [...]}` a line: file -> number of lines.

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


def write_json(data: dict[str, Any], path: Path) -> None:
    """Write JSON for people: two spaces, Hangul unescaped, lists of numbers on one line."""
    path.write_text(dumps(data), encoding="utf-8")


def dumps(data: Any) -> str:
    """JSON text with a newline at its end."""
    return _dumps(data, "\n") + "\n"


def write_eval(folder: Path) -> None:
    """Write eval.yaml, the benchmark's tasks: one for each metric."""
    text = resources.files("dataset_builder").joinpath(EVAL).read_text(encoding="utf-8")
    (folder / EVAL).write_text(text, encoding="utf-8")


def hashes(folder: Path) -> list[dict[str, Any]]:
    """Path, size and SHA-256 of every file in the folder, sorted by path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [
        {
            "file": path.relative_to(folder).as_posix(),
            "bytes": path.stat().st_size,
            "sha256": sha256(path),
        }
        for path in files
    ]


def check_free(out: Path, overwrite: bool) -> None:
    """Raise KoSentError unless `out` is empty, or a dataset of ours that may be replaced.

    A new build keeps what people wrote into the README; any other file of theirs would be lost.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not overwrite:
        raise KoSentError(
            out, "already there", "name another folder, or replace it with --overwrite"
        )
    ours = {one["file"] for one in read_report(out)["outputs"]} | {REPORT}
    for path in sorted(out.rglob("*")):
        if path.is_file() and path.relative_to(out).as_posix() not in ours:
            raise KoSentError(path, "kosent-data did not write this", "move it away first")


@contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """A new folder that becomes `out` when the block ends, and is removed if it fails.

    The caller has called `recover` and holds the lock of `out`.
    """
    new, old = _scratch(out)
    new.mkdir()
    try:
        yield new
        if out.exists():
            out.rename(old)
        new.rename(out)
    finally:
        recover(out)


def recover(out: Path) -> None:
    """Remove what a failed or killed build left beside `out`.

    A build killed between its two renames left no `out`: the old dataset is put back.
    """
    new, old = _scratch(out)
    if old.exists() and new.exists() and not out.exists():
        old.rename(out)
    shutil.rmtree(new, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def _scratch(out: Path) -> tuple[Path, Path]:
    """The folders beside `out` for the dataset being written and for the one it replaces."""
    return out.parent / f".{out.name}.new", out.parent / f".{out.name}.old"


def _dumps(data: Any, newline: str) -> str:
    deeper = newline + "  "
    if isinstance(data, dict) and data:
        items = (
            f"{json.dumps(k, ensure_ascii=False)}: {_dumps(v, deeper)}" for k, v in data.items()
        )
        return "{" + deeper + ("," + deeper).join(items) + newline + "}"
    if isinstance(data, list) and data and not isinstance(data[0], int):
        return "[" + deeper + ("," + deeper).join(_dumps(v, deeper) for v in data) + newline + "]"
    return json.dumps(data, ensure_ascii=False)
