"""A GGUF file as a model: read by transformers, out of a folder that holds nothing else.

Beside it could lie another model's tokenizer or chat template, which transformers would prefer.
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from model_card.publishing.errors import KoSentError

# GGUF's kind of a token that is never split.
USER_DEFINED = 4

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


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
