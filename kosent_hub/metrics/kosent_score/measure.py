"""A metric's value with each sample's contribution to it, so that it can be resampled."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Fold = Callable[[np.ndarray], float]


@dataclass(frozen=True)
class Measure:
    """One metric of one set of replies; `signature` says how it was computed.

    `rows` (samples x k) holds what each sample adds; `fold` turns a sum of rows into the score,
    so the score of any subset or resample is `fold` of its rows' sum.
    """

    rows: np.ndarray
    fold: Fold
    signature: str

    @property
    def value(self) -> float:
        """The score of all samples."""
        return self.fold(self.rows.sum(axis=0))

    @property
    def per_sample(self) -> list[float]:
        """Each sample's own score."""
        return [self.fold(row) for row in self.rows]


# A metric as a function of the replies and the true replies.
Score = Callable[[Sequence[str], Sequence[str]], Measure]


def ratio(total: np.ndarray) -> float:
    """First of two sums divided by the second; 0 where there is nothing to divide by."""
    return float(total[0] / total[1]) if total[1] else 0.0


def mean_of(values: Sequence[float], signature: str) -> Measure:
    """The measure that is the mean of one number per sample."""
    rows = np.column_stack([np.asarray(values, dtype=np.float64), np.ones(len(values))])
    return Measure(rows, ratio, signature)


def nfc(texts: Sequence[str]) -> list[str]:
    """The texts composed (NFC): the same Hangul decomposed would share no n-gram with it."""
    return [unicodedata.normalize("NFC", text) for text in texts]
