"""A GGUF file as a model: of this machine, or the only one that a repo holds.

transformers reads it out of a folder that holds nothing else: beside it could lie another model's
tokenizer or chat template, which transformers would prefer.
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from kosent_hub.models.repos.adapter_files import ADAPTER_CONFIG, cached, files_of
from kosent_hub.models.repos.repo import is_gguf
from model_card.publishing.errors import KoSentError

# GGUF's kind of a token that is never split.
USER_DEFINED = 4

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def gguf_of(model_id: str, revision: str | None) -> Path | None:
    """The GGUF file that is the model: that file itself, or the only one of a repo or folder that
    has no config.json, downloaded if need be; None for any other model.

    Raises KoSentError for a repo that holds several.
    """
    if is_gguf(model_id):
        return Path(model_id)
    if any(cached(model_id, name, revision) for name in (ADAPTER_CONFIG, "config.json")):
        return None
    names = sorted(name for name in files_of(model_id, revision) if name.endswith(".gguf"))
    if len(names) > 1:
        raise KoSentError(
            model_id,
            f"holds {len(names)} GGUF files ({', '.join(names[:3])}{', ...' if names[3:] else ''})",
            f"fetch one with `hf download {model_id} {names[0]} --local-dir .`, and name that file",
        )
    return cached(model_id, names[0], revision) if names else None


@contextmanager
def opened(
    model_id: str, revision: str | None
) -> Iterator[tuple[str, dict[str, str | None], Path | None]]:
    """What `from_pretrained` is given for the model: its name and keywords; and its GGUF file.

    Raises KoSentError as `gguf_of` does, without the package that reads such files, and for a file
    that is none.
    """
    found = gguf_of(model_id, revision)
    if found is None:
        yield model_id, {"revision": revision}, None
        return
    if importlib.util.find_spec("gguf") is None:
        raise KoSentError(
            model_id, "package gguf is missing", "run `pip install 'kosent-hub[export]'`"
        )
    with found.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise KoSentError(model_id, "is no GGUF file", "copy or download it again")
    with tempfile.TemporaryDirectory(prefix="kosent-gguf-") as folder:
        (Path(folder) / found.name).symlink_to(found.resolve())
        yield folder, {"gguf_file": found.name}, found


def split_as_written(tokenizer: PreTrainedTokenizerBase, file: Path) -> None:
    """Let the tokenizer of a GGUF file split texts as the file says, where transformers does not.

    It reads the vocabulary and leaves two things alone that llama.cpp's src/llama-vocab.cpp keeps:
    tokens that are never split (`USER_DEFINED`), such as Gemma's HTML tags, and `pre`, by which
    SmolLM2 takes each digit by itself.
    """
    from tokenizers import AddedToken, pre_tokenizers
    from transformers.integrations.gguf.reader import read_gguf_metadata

    metadata, _ = read_gguf_metadata(str(file), ("tokenizer.ggml.tokens",))
    kinds = metadata.get("tokenizer.ggml.token_type")
    tokens = metadata.get("tokenizer.ggml.tokens")
    if kinds is not None and tokens is not None:
        whole = [token for token, kind in zip(tokens, kinds, strict=True) if kind == USER_DEFINED]
        known = tokenizer.get_vocab()
        tokenizer.add_tokens([AddedToken(t, normalized=False) for t in whole if t in known])
    if metadata.get("tokenizer.ggml.pre") == "smollm":
        digits = pre_tokenizers.Digits(individual_digits=True)
        rest = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend = tokenizer.backend_tokenizer
        backend.pre_tokenizer = pre_tokenizers.Sequence([digits, rest])
