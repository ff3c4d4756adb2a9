"""How close a reply's meaning is to the true reply's."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from kosent_hub.metrics.kosent_score.measure import Measure, mean_of, nfc

Encode = Callable[[list[str]], np.ndarray]


def cosine_similarity(
    predictions: Sequence[str], references: Sequence[str], encode: Encode, signature: str
) -> Measure:
    """Mean cosine of the sentence embeddings of reply and true reply, -1 to 1.

    `encode` maps n texts to an (n, d) array. Levels differ between encoders: `signature` names it.
    """
    ours, theirs = (unit_vectors(encode(nfc(texts))) for texts in (predictions, references))
    cosines = np.einsum("ij,ij->i", ours, theirs)
    return mean_of(cosines.tolist(), unit="cosine", signature=signature)


def unit_vectors(vectors: np.ndarray) -> np.ndarray:
    """The (n, d) vectors, each of length one; zero vectors stay zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths == 0, 1, lengths)
