"""The shape of a training curve, as numbers for the card's sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from model_card.render.plots import series

MIN_POINTS = 8  # a curve with fewer has ends but no shape


@dataclass(frozen=True)
class Reading:
    """A curve's change from `first` to `last` over `steps` steps.

    `half` and `most` are the steps by which half and nine tenths of the change had come, None for
    too few points or hardly any change. `flat` says whether the last fifth of the steps brought
    less than a tenth of it.
    """

    first: float
    last: float
    steps: int
    half: int | None = None
    most: int | None = None
    flat: bool = False

    @property
    def moved(self) -> bool:
        """Whether it changed by more than one per cent."""
        return abs(self.first - self.last) > 0.01 * abs(self.first)


@dataclass(frozen=True)
class Validation:
    """The validation loss: its last value, its best one with the step, and the train loss then."""

    last: float
    best: float
    best_step: int
    train: float
    points: int

    @property
    def rose(self) -> bool:
        """Whether it ended more than one per cent above its best."""
        return self.last > 1.01 * self.best

    @property
    def gap(self) -> float:
        """The difference to the training loss, relative to that (0.1: 10 % above it)."""
        return (self.last - self.train) / self.train if self.train else 0.0


def read_curve(log_history: Sequence[dict[str, Any]], key: str) -> Reading | None:
    """The shape of one logged curve, smoothed over a twentieth of its points; None if unlogged."""
    points = series(log_history, key)
    if len(points) < 2:
        return None
    steps = [step for step, _ in points]
    smooth = _smoothed([value for _, value in points])
    reading = Reading(smooth[0], smooth[-1], steps[-1])
    if len(points) < MIN_POINTS or not reading.moved:
        return reading
    way = [(smooth[0] - value) / (smooth[0] - smooth[-1]) for value in smooth]
    half = next(step for step, part in zip(steps, way, strict=True) if part >= 0.5)
    most = next(step for step, part in zip(steps, way, strict=True) if part >= 0.9)
    flat = most <= steps[0] + 0.8 * (steps[-1] - steps[0])
    return Reading(smooth[0], smooth[-1], steps[-1], half, most, flat)


def read_validation(log_history: Sequence[dict[str, Any]]) -> Validation | None:
    """Validation loss against the training loss at its end; None unless both were logged."""
    points, train = series(log_history, "eval_loss"), read_curve(log_history, "loss")
    if not points or train is None:
        return None
    best_step, best = min(points, key=lambda point: point[1])
    return Validation(points[-1][1], best, best_step, train.last, len(points))


def _smoothed(values: list[float]) -> list[float]:
    """Centred means over about a twentieth of the points, narrower towards both ends."""
    reach = len(values) // 40
    means = []
    for index in range(len(values)):
        near = min(reach, index, len(values) - 1 - index)
        window = values[index - near : index + near + 1]
        means.append(sum(window) / len(window))
    return means
