"""How close a reply's meaning is to the true reply's."""

from __future__ import annotations

import numpy as np

from kosent_hub.metrics.kosent_score.measure import Measure, mean_of


def cosine_similarity(predictions: np.ndarray, references: np.ndarray, signature: str) -> Measure:
    """Mean cosine of the sentence embeddings of replies and true replies, -1 to 1.

    Both are (n, d) arrays. Levels differ between sentence encoders: `signature` names the one.
    """
    cosines = np.einsum("ij,ij->i", _unit_vectors(predictions), _unit_vectors(references))
    return mean_of(cosines.tolist(), signature)


def _unit_vectors(vectors: np.ndarray) -> np.ndarray:
    """The (n, d) vectors, each of length one; zero vectors stay zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths == 0, 1, lengths)
