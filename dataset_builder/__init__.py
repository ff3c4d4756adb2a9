"""AI Hub's emotional dialogues -> a chat dataset -> a Hub repository.

    from dataset_builder import BuildOptions, build, push

    report = build(BuildOptions(source="018.감성대화", out="dataset"))
    url = push("dataset", "org/name")

This folder is flat because of its loading script. datasets 2 and 3 copy the script elsewhere, and
with it the files beside it that the script's own import lines name: `from .corpus import ...` takes
corpus.py along. They look neither into those files nor into sub-folders (`get_imports` and
`_download_additional_modules` in datasets 3.6). So every module that the script needs, directly or
not, is beside it and is named by a line there, and none of these modules imports model_card.

What the script needs:

    kosent_dialogues    the loading script, a thin shell
    options             how a corpus is read and a dataset built
    corpus              SOURCE -> splits: one source for each split
    sources             the files under SOURCE, archives opened
    formats             files that are not what their name says
    limits              limits on input files
    editions            which file is one of the corpus, and its rows
    tables, workbook    delimited text, JSON lists and xlsx -> columns of text
    chat                rows -> dialogues
    labels, taxonomy    labels -> the corpus's own names and codes
    splits              leaks and duplicates removed, validation carved out
    losses              the findings: every lost row or turn, with reason and line
    personal            personal data, found and masked
    columns             Arrow arrays, and what counts as text in them

What only the commands need:

    cli                 `kosent-data`
    builder, publish    `build` and `push`
    folder              the dataset folder: Parquet, report.json, JSONL
    card, counts        the dataset's card, and the counts in it
    near                near-duplicates between splits
    provenance          the origin and licence of the rows

And `bench/`, KoSent-Bench's files and the package that reads them, which share nothing with these.
"""

from __future__ import annotations

import hashlib
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .options import BuildOptions

if TYPE_CHECKING:
    import datasets

    from .builder import build
    from .publish import push

__all__ = ["BuildOptions", "build", "load", "push"]

# Imported when they are asked for, because they import pyarrow or the Hub's client.
LAZY = {"build": ".builder", "push": ".publish"}


def __getattr__(name: str) -> Any:
    if name in LAZY:
        return getattr(import_module(LAZY[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def load(
    source: str | Path,
    name: str = "chat",
    *,
    streaming: bool = False,
    cache_dir: str | Path | None = None,
    **options: Any,
) -> datasets.DatasetDict | datasets.IterableDatasetDict:
    """The splits of the corpus under `source`, as the loading script makes them.

    What `load_dataset("dataset_builder/kosent_dialogues.py", data_dir=source)` gives where the
    datasets library still runs scripts. Cached by the content of `source` and of our code.
    `name` is `chat` or `as_is`; `options` are the fields of `options.CorpusOptions`.

    Raises:
        SourceError: nothing to read, or something damaged.
    """
    from .kosent_dialogues import KosentDialogues

    code = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    builder = KosentDialogues(
        config_name=name,
        data_dir=str(source),
        cache_dir=None if cache_dir is None else str(cache_dir),
        hash=hashlib.sha256(code).hexdigest()[:16],
        **options,
    )
    if streaming:
        return builder.as_streaming_dataset()
    builder.download_and_prepare()
    return builder.as_dataset()
