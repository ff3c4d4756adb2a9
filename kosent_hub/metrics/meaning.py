"""How close a reply's meaning is to the true reply's."""

from __future__ import annotations

import numpy as np

from kosent_hub.metrics.kosent_score.measure import Measure, mean_of


def cosine_similarity(predictions: np.ndarray, references: np.ndarray, signature: str) -> Measure:
    """Mean cosine of the sentence embeddings of replies and true replies, -1 to 1.

    Replies are (n, d), true replies as well or, where each sample has k of them, (k, n, d): then
    the nearest counts. Levels differ between sentence encoders: `signature` names the one.
    """
    several = references if references.ndim == 3 else references[None]
    cosines = np.einsum("ij,kij->ki", _unit_vectors(predictions), _unit_vectors(several))
    said = f"|refs:best of {len(several)}" if len(several) > 1 else ""
    return mean_of(cosines.max(axis=0).tolist(), signature + said)


def _unit_vectors(vectors: np.ndarray) -> np.ndarray:
    """The (..., d) vectors, each of length one; zero vectors stay zero."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(lengths == 0, 1, lengths)
