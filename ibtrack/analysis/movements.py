"""Movements of a curve over training: its rises and falls, each larger than noise could make it.

A movement counts when two points differ by more standard errors than chance would make of *all* pairs of points, see
`ibtrack.analysis.bands`: of a hundred curves that stand still at most five are said to move. The error of a change is
that of two numbers read on the same documents, see `ibtrack.analysis.deviations`. It is about the probe: another
training seed is another run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ibtrack.analysis.curves import Curve


@dataclass(frozen=True, kw_only=True)
class Movement:
    """A change between two steps.

    Attributes:
        start: Step from which the curve moves: where it is highest before a fall, or lowest before a rise.
        end: Step at which the movement is over.
        change: Value at the end less the value at the start, in the unit of the curve.
        se: Standard error of the change.
        begins: Steps between which the movement begins, with 95 % certainty for all movements of a run together: the
            last measured step before any that may be the start, and the first one after. None if it was not worked out.
        beside: The same steps in the other unit of the plane, or None where there is no number.
        deviations: (C,) what each cause of error moves the change by; None where that is not known.

    Example:
        >>> Movement(start=256, end=4000, change=-0.05, se=0.01).num_se
        5.0
    """

    start: int
    end: int
    change: float
    se: float
    begins: tuple[int, int] | None = None
    beside: Movement | None = None
    deviations: NDArray[np.float64] | None = field(default=None, compare=False, repr=False)

    @property
    def num_se(self) -> float:
        """Size of the change in units of its standard error."""
        return abs(self.change) / self.se


@dataclass
class _Span:
    """A movement while it is looked for, by the indices of its points.

    Attributes:
        sign: 1 for a rise, -1 for a fall.
        start: Index of its first point.
        end: Index of its last point.
    """

    sign: int
    start: int
    end: int


def movement_between(curve: Curve, start: int, end: int) -> Movement:
    """Take the change from one point of a curve to another, with its standard error.

    Args:
        curve: The curve.
        start: Index of the earlier point.
        end: Index of the later point.
    """
    return Movement(
        start=curve.steps[start],
        end=curve.steps[end],
        change=float(curve.changes[start, end]),
        se=float(curve.errors[start, end]),
        deviations=curve.deviations[end] - curve.deviations[start] if curve.paired else None,
    )


def find_movements(curve: Curve, threshold: float) -> list[Movement]:
    """List alternating rises and falls, each of which is larger than noise.

    Each is the largest change between two points that differ beyond noise, from the end of the movement before it to
    the start of the one after it.

    Args:
        curve: The curve.
        threshold: Number of standard errors that a movement must exceed; see `ibtrack.analysis.bands.critical_value`.

    Example:
        >>> values = np.array([0.1, 0.4, 0.41, 0.2])
        >>> found = find_movements(Curve((0, 1, 2, 4), values, np.diag(np.full(4, 0.01)), 0), 2.0)
        >>> [(movement.start, movement.end, movement.begins) for movement in found]
        [(0, 2, (0, 1)), (2, 4, (0, 4))]
    """
    sizes = curve.changes / curve.errors
    spans = _spans(curve.values, sizes, threshold)
    movements = []
    for index, span in enumerate(spans):
        first = spans[index - 1].end if index else 0
        last = spans[index + 1].start if index + 1 < len(spans) else len(curve.values) - 1
        start, end = _largest(curve.changes, sizes, threshold, _Span(span.sign, first, last))
        before = spans[index - 1].start if index else 0
        begins = _begins(curve.steps, sizes, threshold, _Span(span.sign, before, end))
        movements.append(replace(movement_between(curve, start, end), begins=begins))
    return movements


def _spans(values: NDArray[np.float64], sizes: NDArray[np.float64], threshold: float) -> list[_Span]:
    """Go along a curve and note where it turns: where a point differs beyond noise from an earlier one, the other way.

    The end of a movement is its furthest point that differs beyond noise from its start; the next one starts there or
    later.
    """
    spans: list[_Span] = []
    for point in range(1, len(values)):
        current = spans[-1] if spans else None
        first = current.end if current else 0
        moves = [s for s in (1, -1) if current is None or s != current.sign]
        turns = [
            _Span(sign, first + int(np.argmin(sign * np.where(beyond, values[first:point], sign * np.inf))), point)
            for sign in moves
            if (beyond := sign * sizes[first:point, point] > threshold).any()
        ]
        if turns:
            spans.append(max(turns, key=lambda span: abs(values[point] - values[span.start])))
        elif current and current.sign * sizes[current.start, point] > threshold:
            further = current.sign * (values[point] - values[current.end]) > 0
            current.end = point if further else current.end
    return spans


def _largest(
    changes: NDArray[np.float64], sizes: NDArray[np.float64], threshold: float, span: _Span
) -> tuple[int, int]:
    """Find the two points of a span with the largest change beyond noise."""
    inside = slice(span.start, span.end + 1)
    beyond = np.triu(span.sign * sizes[inside, inside] > threshold)
    size = np.where(beyond, span.sign * changes[inside, inside], -np.inf)
    start, end = np.unravel_index(int(np.argmax(size)), size.shape)
    return span.start + int(start), span.start + int(end)


def _begins(steps: Sequence[int], sizes: NDArray[np.float64], threshold: float, span: _Span) -> tuple[int, int]:
    """Bound the step at which a fall begins: of all points of its span no other is higher beyond noise; a rise alike.

    This is a confidence set for the place of the maximum (multiple comparisons with the best; Hsu, Annals of
    Statistics 12, 1984). Between measured steps nothing is known, and so it reaches to the steps around it.
    """
    inside = slice(span.start, span.end + 1)
    beaten = (-span.sign * sizes[inside, inside] > threshold).any(1)
    unbeaten = span.start + np.flatnonzero(~beaten)
    return steps[max(unbeaten[0] - 1, 0)], steps[unbeaten[-1] + 1]
