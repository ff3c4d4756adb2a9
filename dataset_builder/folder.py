"""The dataset folder: Parquet, README.md, eval.yaml and report.json, all of it or nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from model_card.publishing.errors import KoSentError

from .chat import SCHEMA
from .corpus import SPLITS
from .sources import sha256

README, REPORT, EVAL = "README.md", "report.json", "eval.yaml"
DATA = "data"
# Small enough to read one part of a split from the Hub, large enough to compress.
ROWS_PER_GROUP = 10_000
REPEATING = [name for name in SCHEMA.names if name not in ("dialogue_id", "messages", "source_row")]


def data_path(split: str) -> str:
    """Where a split lies in the folder, in the Hub's naming."""
    return f"{DATA}/{split}-00000-of-00001.parquet"


def write_split(table: pa.Table, path: Path) -> None:
    """A split as Parquet; the same rows give the same bytes.

    No `huggingface` metadata: readers differ in the feature types they know, and the card's YAML
    has the types in a form that all of them read.
    """
    path.parent.mkdir(exist_ok=True)
    pq.write_table(
        table.replace_schema_metadata(None),
        path,
        row_group_size=ROWS_PER_GROUP,
        compression="zstd",
        use_dictionary=[*REPEATING, "messages.list.element.role"],
        write_statistics=REPEATING,
    )


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


def write_json(data: dict[str, Any], path: Path) -> None:
    """JSON as people read it: two spaces, Hangul unescaped, lists of numbers on one line."""
    path.write_text(dumps(data), encoding="utf-8")


def dumps(data: Any) -> str:
    """JSON text with a newline at its end."""
    return _dumps(data, "\n") + "\n"


def write_eval(folder: Path) -> None:
    """The benchmark's tasks, one for each metric."""
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
    """Refuse an OUT that holds something, unless it is a dataset of ours and may be replaced.

    What people wrote into its README is kept; other files of theirs would be lost, so none may be.
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
    """A new folder that becomes `out` when the block ends, and is gone if it fails.

    Call `recover` first, and keep others from `out` meanwhile.
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
    """Remove what a build that failed or was killed left beside `out`.

    One that came between its two renames has `out` put back as it was.
    """
    new, old = _scratch(out)
    if old.exists() and new.exists() and not out.exists():
        old.rename(out)
    shutil.rmtree(new, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def _scratch(out: Path) -> tuple[Path, Path]:
    """Where the new dataset is written, and where the old one waits until the new is in place."""
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
