"""AI Hub's emotional dialogues -> a chat dataset -> a Hub repository."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import datasets

__all__ = ["load"]


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
    `name` is `chat` or `as_is`; `options` are the fields of `corpus.Options`.

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
