"""A metric's value with each sample's contribution to it, so that it can be resampled."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Fold = Callable[[np.ndarray], np.ndarray]
# A sample's true reply, or several that are as good.
Reference = str | Sequence[str]


@dataclass(frozen=True)
class Measure:
    """One metric of one set of replies; `signature` says how it was computed.

    `rows` (samples x k) holds what each sample adds; `fold` turns sums of rows, (..., k), into
    scores, (...), so the score of any subset or resample is `fold` of its rows' sum. A score is
    NaN where there is nothing to measure. `independent` says that the samples are cases of 0 or 1
    that do not depend on each other, whatever dialogue they are in.
    """

    rows: np.ndarray
    fold: Fold
    signature: str
    independent: bool = False

    @property
    def value(self) -> float:
        """The score of all samples; NaN if it was not measured or a row is not finite."""
        if not np.isfinite(self.rows).all():
            return float("nan")
        return float(self.fold(self.rows.sum(axis=0)))

    @property
    def per_sample(self) -> list[float]:
        """Each sample's own score; NaN where it was not measured."""
        finite = np.isfinite(self.rows).all(axis=1)
        scores = self.fold(np.where(finite[:, None], self.rows, 0))
        return [float(score) for score in np.where(finite, scores, np.nan)]

    @property
    def cases(self) -> int:
        """How many cases the score stands on: the second sum of a `ratio`, else the samples."""
        return int(self.rows[:, 1].sum()) if self.fold is ratio else len(self.rows)


# A metric as a function of the replies and the true replies.
Score = Callable[[Sequence[str], Sequence[Reference]], Measure]


def ratio(totals: np.ndarray) -> np.ndarray:
    """First of two sums divided by the second, (..., 2) -> (...); NaN where the second is 0.

    The second counts the cases: it is a mean or a share.
    """
    return divided(totals[..., 0], totals[..., 1], np.nan)


def quotient(totals: np.ndarray) -> np.ndarray:
    """A `ratio` of two sums of which neither counts the cases of the other."""
    return ratio(totals)


def divided(above: np.ndarray, below: np.ndarray, otherwise: float) -> np.ndarray:
    """`above` / `below`, and `otherwise` where there is nothing to divide by."""
    found = np.full(np.broadcast_shapes(above.shape, below.shape), otherwise)
    return np.divide(above, below, out=found, where=below != 0)


def mean_of(values: Sequence[float], signature: str, independent: bool = False) -> Measure:
    """The measure that is the mean of one number per sample."""
    rows = np.column_stack([np.asarray(values, dtype=np.float64), np.ones(len(values))])
    return Measure(rows, ratio, signature, independent)


def alternatives(references: Sequence[Reference]) -> list[list[str]]:
    """Each sample's true replies, composed (NFC)."""
    return [nfc([found] if isinstance(found, str) else found) for found in references]


def of_several(references: Sequence[Reference], how: str = "best") -> str:
    """What a signature says of samples with several true replies, "" where each has one."""
    most = max((1 if isinstance(found, str) else len(found) for found in references), default=1)
    return f"|refs:{how} of {most}" if most > 1 else ""


def nfc(texts: Sequence[str]) -> list[str]:
    """The texts composed (NFC): the same Hangul decomposed would share no n-gram with it."""
    return [unicodedata.normalize("NFC", text) for text in texts]
