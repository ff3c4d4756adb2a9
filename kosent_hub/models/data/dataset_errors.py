"""Why datasets cannot read a dataset of somebody else's, in one line with a way out."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kosent_hub.models.repos.untrusted import is_lfs_pointer
from model_card.publishing.errors import KoSentError, user_error

REBUILD = "see kosent-data build"
_TEXT = (".jsonl", ".json", ".csv", ".tsv", ".txt")
_READ = 1 << 20


@contextmanager
def explained(dataset: str, config_flag: str) -> Iterator[None]:
    """Raise what datasets raises as a KoSentError; the Hub's own errors and full disks pass.

    `config_flag` is the one that names a configuration.
    """
    from datasets.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)  # it would print a bad file's whole schema
    try:
        yield
    except Exception as error:
        if known := user_error(error):
            raise known from None
        raise _explained(dataset, error, config_flag) from error
    finally:
        logging.set_verbosity(before)


def _explained(dataset: str, error: BaseException, config_flag: str) -> KoSentError:
    causes = list(_causes(error))
    found = _of_the_whole(dataset, " ".join(str(causes[0]).split()), config_flag)
    if found is None and Path(dataset).is_dir():
        files = (path for path in sorted(Path(dataset).rglob("*")) if path.is_file())
        found = next((bad for path in files if (bad := _bad_file(path))), None)
    if found is None:
        found = _of_a_file(dataset, causes)
    return found


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what caused it, the first one last."""
    while error is not None:
        yield error
        error = error.__cause__


def _of_the_whole(dataset: str, said: str, config_flag: str) -> KoSentError | None:
    """What is wrong with how the dataset is laid out, by what datasets says of it."""
    if "Config name is missing" in said or ("BuilderConfig" in said and "not found" in said):
        listed = re.search(r"\[(.*?)\]", said)
        names = listed[1].replace("'", "") if listed else "its README.md names them"
        what = f"has several configurations ({names})"
        return KoSentError(dataset, what, f"name one of them with {config_flag} NAME")
    if "Dataset scripts are no longer supported" in said:
        copy = "write what it gives as JSON lines or Parquet"
        if not Path(dataset).exists():
            copy = (
                "take the Parquet copy that the Hub made, if it did: hf download --repo-type "
                f"dataset --revision refs/convert/parquet --local-dir DIR {dataset}"
            )
        return KoSentError(
            dataset, "a loading script, which is not run", f"{copy}, and name that folder"
        )
    if "save_to_disk" in said:
        return KoSentError(
            dataset,
            "written with save_to_disk, for one version of datasets",
            "write each split as Parquet: load_from_disk(DIR)[SPLIT].to_parquet('SPLIT.parquet')",
        )
    return None


def _bad_file(path: Path) -> KoSentError | None:
    """What is wrong with a file of the dataset, as far as one can see by reading it alone."""
    kind = path.suffix.lower()
    if kind not in (".parquet", *_TEXT):
        return None
    if is_lfs_pointer(path):
        return KoSentError(path, "a Git LFS pointer, not the file itself", "run git lfs pull there")
    if path.stat().st_size == 0:
        return KoSentError(path, "is empty", "remove it, or write it again with rows")
    if kind == ".parquet":
        return _bad_parquet(path)
    return _bad_text(path)


def _bad_parquet(path: Path) -> KoSentError | None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.ParquetFile(path).metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        why = " ".join(str(error).split())[:200]
        return KoSentError(path, f"no whole Parquet file ({why})", "copy or write it again")
    if rows == 0:
        return KoSentError(path, "has no rows", "remove it, or write it again with rows")
    return None


def _bad_text(path: Path) -> KoSentError | None:
    codec = next((name for name in ("utf-8", "cp949", "utf-16") if _decodes(path, name)), None)
    if codec != "utf-8":
        seems = f", it seems to be {codec.upper()}" if codec else ""
        return KoSentError(
            path,
            f"is not UTF-8{seems}",
            f"convert it: iconv -f {codec or 'ENCODING'} -t utf-8 {path} > NEW",
        )
    if path.suffix == ".jsonl":
        with path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    row = json.loads(line) if line.strip() else {}
                except (ValueError, RecursionError) as error:
                    return KoSentError(f"{path}, line {number}", f"not JSON ({error})", "mend it")
                if not isinstance(row, dict):
                    return KoSentError(f"{path}, line {number}", "no JSON object", "mend it")
    return None


def _decodes(path: Path, codec: str) -> bool:
    decoder = codecs.getincrementaldecoder(codec)()
    try:
        with path.open("rb") as file:
            while block := file.read(_READ):
                decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeError:
        return False
    return True


def _of_a_file(dataset: str, causes: list[BaseException]) -> KoSentError:
    """What the first cause says of a file, which it does not name."""
    from datasets.table import CastError

    for cause in causes:
        if isinstance(cause, CastError):
            return _other_columns(
                dataset, set(cause.table_column_names), set(cause.requested_column_names)
            )
    first = causes[-1]
    said = " ".join(str(first).split())[:300] or type(first).__name__
    if isinstance(first, UnicodeDecodeError) or "UTF8" in said:
        return KoSentError(dataset, f"a file is not UTF-8 ({said})", "convert it with iconv")
    if said.startswith("Couldn't cast"):
        return KoSentError(
            dataset,
            f"its files disagree about a column's type ({said})",
            "write them with the same columns and types, and its README.md too if that lists them",
        )
    if isinstance(causes[0], FileNotFoundError | ValueError):
        return KoSentError(dataset, f"not a dataset ({said})", REBUILD)
    return KoSentError(dataset, f"cannot be read ({said})", REBUILD)


def _other_columns(dataset: str, there: set[str], expected: set[str]) -> KoSentError:
    parts = [("not in all", there - expected), ("missing in some", expected - there)]
    differing = "; ".join(f"{what}: {', '.join(sorted(names))}" for what, names in parts if names)
    remedy = "give them the same columns, and its README.md too if that lists them (dataset_info)"
    if any(name.startswith("__index_level_") for name in there - expected):
        remedy = "write it with to_parquet(..., index=False), since pandas added its index"
    what = f"its files do not have the same columns ({differing or 'or types'})"
    return KoSentError(dataset, what, remedy)
