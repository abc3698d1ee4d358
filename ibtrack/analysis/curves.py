"""Curves over training: the values of a number along a run, and how far any two of them differ beyond error.

Letters: T points, C coordinates of a deviation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ibtrack.analysis.deviations import number_of, stacked
from ibtrack.record.trajectory import Point, Trajectory

ROUNDING = 1e-6  # of any number: rows are float32, and influences are kept to a thousandth of a standard error


@dataclass(frozen=True)
class Curve:
    """A number along a run, at the points that have it.

    Attributes:
        steps: Step of each point, T.
        values: (T,) the number.
        deviations: (T, C) what each cause of error moves it by, see `ibtrack.analysis.deviations`. Where some point
            does not say what moves it, each point has a coordinate of its own, as if it had been read on documents of
            its own.
        num_documents: Number of groups of documents; 0 if points are taken as independent.
    """

    steps: tuple[int, ...]
    values: NDArray[np.float64]
    deviations: NDArray[np.float64]
    num_documents: int

    @property
    def paired(self) -> bool:
        """Whether the error of a difference is that of two numbers read on the same documents."""
        return self.num_documents > 0

    @property
    def se(self) -> NDArray[np.float64]:
        """(T,) standard error of each value."""
        error: NDArray[np.float64] = np.linalg.norm(self.deviations, axis=1)
        return error

    @cached_property
    def changes(self) -> NDArray[np.float64]:
        """(T, T) value of the second point less that of the first."""
        change: NDArray[np.float64] = self.values[None, :] - self.values[:, None]
        return change

    @cached_property
    def errors(self) -> NDArray[np.float64]:
        """(T, T) standard error of each change; it is never quite 0, as values are rounded."""
        products = self.deviations @ self.deviations.T
        own = np.diag(products)
        error: NDArray[np.float64] = np.sqrt(np.maximum(own[:, None] + own[None, :] - 2 * products, 0) + ROUNDING**2)
        return error

    def only(self, indices: Sequence[int]) -> Curve:
        """Keep some of the points."""
        at = list(indices)
        return Curve(tuple(self.steps[i] for i in at), self.values[at], self.deviations[at], self.num_documents)


def curve(trajectory: Trajectory, key: str) -> Curve:
    """Take a number along a run, from the points that have a value and a standard error.

    Args:
        trajectory: The run.
        key: Metric key of the debiased reading.

    Example:
        >>> values = [{"ib/mean/entropy": 0.5, "ib/mean/entropy_se": 0.03}, {"ib/mean/entropy": 0.1}]
        >>> run = Trajectory({}, {}, [Point(step, each) for step, each in enumerate(values)])
        >>> found = curve(run, "ib/mean/entropy")
        >>> found.steps, found.se, found.paired
        ((0,), array([0.03]), False)
    """
    return curves(trajectory, [key])[0]


def curves(trajectory: Trajectory, keys: Sequence[str]) -> list[Curve]:
    """Take several numbers along a run, from the points that have a value and a standard error of each.

    Args:
        trajectory: The run.
        keys: Metric keys of the debiased reading.

    Returns:
        One curve for each key, all of the same points.
    """
    points = [point for point in trajectory.points if all(is_usable(point, key) for key in keys)]
    rows = [[number_of(point, key) for point in points] for key in keys]
    together = stacked([None if number is None else number.deviations for row in rows for number in row])
    num_documents = len(rows[0][0].documents) if together is not None and rows[0][0] else 0
    steps = tuple(point.step for point in points)
    found = []
    for index, key in enumerate(keys):
        values, errors = (np.array([point.values[name] for point in points], np.float64) for name in (key, f"{key}_se"))
        own = np.diag(errors) if together is None else np.split(together, len(keys))[index]
        found.append(Curve(steps, values, own, num_documents))
    return found


def is_usable(point: Point, key: str) -> bool:
    """Say whether a point has a number with a standard error."""
    value, error = (point.values.get(name, math.nan) for name in (key, f"{key}_se"))
    return math.isfinite(value) and math.isfinite(error) and error > 0
