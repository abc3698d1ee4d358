"""Movements of a curve over training: its rises and falls, each larger than noise could make it.

A movement counts when the two points that bound it differ by more than chance could do among *all* pairs of points: the
level is 5 % for the whole curve, divided by the number of pairs (Bonferroni; Dunn 1961, Multiple comparisons among
means). So of a hundred curves that stand still at most five are said to move.

The error of a difference is sqrt(se_1² + se_2²), as if the two points were independent. They are not: the same probe is
read at both, its documents push both values the same way, and the real error of the difference is smaller. The number
of standard errors given here is therefore conservative. It is about the probe: another training seed is another run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist
from typing import NamedTuple

LEVEL = 0.05  # chance of a false movement in a whole curve: the customary level of a test


class CurvePoint(NamedTuple):
    """A point of a curve over training.

    Attributes:
        step: Optimizer steps taken.
        value: Value at that step.
        se: Standard error of the value.
    """

    step: int
    value: float
    se: float


@dataclass(frozen=True, kw_only=True)
class Movement:
    """A change between two steps.

    Attributes:
        start: Step from which the curve moves.
        end: Step at which the movement is over.
        change: Value at the end less the value at the start, in the unit of the curve.
        se: Standard error of the change.
        beside: The same steps in the other unit of the plane, or None where there is no number.

    Example:
        >>> Movement(start=256, end=4000, change=-0.05, se=0.01).num_se
        5.0
    """

    start: int
    end: int
    change: float
    se: float
    beside: Movement | None = None

    @property
    def num_se(self) -> float:
        """Size of the change in units of its standard error."""
        return abs(self.change) / self.se


def noise_threshold(num_points: int) -> float:
    """Compute by how many standard errors two points must differ; the level is `LEVEL` for all pairs together.

    Args:
        num_points: Number of points that are compared with each other, at least two.

    Example:
        >>> [round(noise_threshold(n), 2) for n in (2, 14, 40)]
        [1.96, 3.46, 4.0]
    """
    num_pairs = num_points * (num_points - 1) / 2
    return NormalDist().inv_cdf(1 - LEVEL / (2 * num_pairs))


def movement_between(start: CurvePoint, end: CurvePoint) -> Movement:
    """Take the change from one point to another, with its standard error.

    Args:
        start: Earlier point.
        end: Later point.
    """
    return Movement(start=start.step, end=end.step, change=end.value - start.value, se=math.hypot(start.se, end.se))


def find_movements(points: Sequence[CurvePoint], threshold: float) -> list[Movement]:
    """List alternating rises and falls, such that each, and each turn between two of them, is larger than noise.

    Args:
        points: Points of the curve in step order, at least one.
        threshold: Number of standard errors that a movement must exceed; see `noise_threshold`.

    Example:
        >>> curve = [CurvePoint(step, value, 0.01) for step, value in [(0, 0.1), (1, 0.4), (2, 0.41), (4, 0.2)]]
        >>> [(movement.start, movement.end) for movement in find_movements(curve, 2.0)]
        [(0, 2), (2, 4)]
    """
    turns: list[CurvePoint] = []
    low = high = points[0]
    rising = None
    for point in points[1:]:
        low, high = min(low, point, key=_value), max(high, point, key=_value)
        if rising is not False and movement_between(high, point).num_se > threshold:
            turns, low, rising = [*turns, high], point, False
        elif rising is not True and movement_between(low, point).num_se > threshold:
            turns, high, rising = [*turns, low], point, True
    turns += [high if rising else low] if turns else []
    return [movement_between(start, end) for start, end in pairwise(turns)]


def _value(point: CurvePoint) -> float:
    return point.value
