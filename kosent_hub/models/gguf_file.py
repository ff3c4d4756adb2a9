"""A GGUF file as a model: read by transformers, out of a folder that holds nothing else.

Beside it could lie another model's tokenizer or chat template, which transformers would prefer.
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model_card.publishing.errors import KoSentError


def is_gguf(model_id: str) -> bool:
    """Whether the model is a GGUF file of this machine."""
    return model_id.endswith(".gguf") and Path(model_id).is_file()


@contextmanager
def opened(model_id: str) -> Iterator[tuple[str, dict[str, str]]]:
    """What `from_pretrained` is given for the model: its name, and of a GGUF file the keyword.

    Raises KoSentError without the package that reads such files, and for a file that is none.
    """
    if not is_gguf(model_id):
        yield model_id, {}
        return
    if importlib.util.find_spec("gguf") is None:
        raise KoSentError(
            model_id, "package gguf is missing", "run `pip install 'kosent-hub[export]'`"
        )
    path = Path(model_id).resolve()
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise KoSentError(model_id, "is no GGUF file", "copy or download it again")
    with tempfile.TemporaryDirectory(prefix="kosent-gguf-") as folder:
        (Path(folder) / path.name).symlink_to(path)
        yield folder, {"gguf_file": path.name}
