"""The difference of two points, with the error of a difference: both were read on the same documents.

A difference is of two steps of one run, or of two runs on one probe. Its error has up to three parts: of the documents
that the probe happens to hold, of what the bias correction may be off, and of the draw of the anchors. Each is the part
of the two numbers' own errors that does not cancel, see `ibtrack.analysis.deviations`. It says what another probe would
show of the same two models; what another training seed would show, only runs of several seeds tell, see
`ibtrack.analysis.effects`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ibtrack.analysis.comparison import refusal, why_not_comparable
from ibtrack.analysis.curves import ROUNDING
from ibtrack.analysis.deviations import Number, number_of
from ibtrack.record.quantities import Z95
from ibtrack.record.trajectory import Point, Trajectory


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The value of a number at one point less its value at another.

    Attributes:
        key: Metric key of the number.
        first: Name and step of the point that is subtracted.
        second: Name and step of the other point.
        value: The difference, in the unit of the number.
        se: Its standard error, of all parts together.
        sampling: Part of the error that is due to the probe holding these documents; ``nan`` where it is not known
            apart, as the points are not paired.
        correction: Part that is due to the bias correction; ``nan`` likewise.
        anchors: Part that is due to the draw of the anchors; ``nan`` for a single draw, and then no part of ``se``.
        paired: Whether the error is that of two numbers read on the same documents. Where a point does not say what
            each document adds, the errors of both are added up as if they were independent.
    """

    key: str
    first: str
    second: str
    value: float
    se: float
    sampling: float
    correction: float
    anchors: float
    paired: bool

    @property
    def num_se(self) -> float:
        """Size of the difference in units of its standard error."""
        return abs(self.value) / self.se

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the difference."""
        return self.value - Z95 * self.se, self.value + Z95 * self.se

    def sentence(self) -> str:
        """Say the difference in words, with its interval.

        Example:
            >>> nan = math.nan
            >>> change = dict(value=-0.03, se=0.01, sampling=0.01, correction=0.0, anchors=nan, paired=True)
            >>> Difference(key="ib/mean/entropy", first="a at step 8", second="a at step 64", **change).sentence()
            'ib/mean/entropy: -0.0300 from a at step 8 to a at step 64, 95 % interval -0.0496 to -0.0104 (3.0 se).'
        """
        low, high = self.interval
        size = f"{self.key}: {self.value:+.4f} from {self.first} to {self.second}"
        words = "" if self.paired else " Both are taken as independent, as not both say what each document adds."
        return f"{size}, 95 % interval {low:+.4f} to {high:+.4f} ({self.num_se:.1f} se).{words}"


def difference(a: Trajectory, b: Trajectory, key: str) -> Difference:
    """Subtract a number at one point from the same number at another, with the error of the difference.

    Args:
        a: Trajectory with a single point, as from ``trajectory.at(step)``.
        b: Another, of the same run or of a run that was measured under the same protocol.
        key: Metric key of a number of the debiased reading that has a standard error, such as
            ``ib/mean/token/kept``.

    Returns:
        The number at ``b`` less that at ``a``.

    Raises:
        ValueError: One of the two does not have a single point, they were measured on different probes or under
            protocols that differ otherwise, or a point has no value, or no standard error, as with one document.
        KeyError: There is no such key; the message names the nearest ones.

    Example:
        >>> values = {"ib/mean/entropy": 0.5, "ib/mean/entropy_se": 0.03}
        >>> run = Trajectory({}, {"name": "a"}, [Point(step, values) for step in (8, 64)])
        >>> found = difference(run.at(8), run.at(64), "ib/mean/entropy")
        >>> round(found.se, 4), found.paired
        (0.0424, False)
    """
    if len(a.points) != 1 or len(b.points) != 1:
        raise ValueError(f"a and b must be of one point each, as trajectory.at(step) is, got {a!r} and {b!r}")
    for run in (a, b):
        run.values(key)  # raises where no point has the key
    differences = why_not_comparable({_label(a, b, "a"): a, _label(b, a, "b"): b})
    if differences:
        raise ValueError(refusal(differences, "measure both under one"))
    (one,), (other,) = a.points, b.points
    first, second = (_checked(run, point, key) for run, point in ((a, one), (b, other)))
    numbers = number_of(one, key), number_of(other, key)
    parts = _parts(*numbers)
    known = [part for part in parts or (first, second) if not math.isnan(part)]
    sampling, correction, anchors = parts or (math.nan, math.nan, math.nan)
    return Difference(
        key=key,
        first=f"{a.name} at step {one.step}",
        second=f"{b.name} at step {other.step}",
        value=other.values[key] - one.values[key],
        se=math.hypot(ROUNDING, *known),
        sampling=sampling,
        correction=correction,
        anchors=anchors,
        paired=parts is not None,
    )


def _label(run: Trajectory, other: Trajectory, letter: str) -> str:
    return run.name if run.name != other.name else f"{run.name} ({letter})"


def _checked(run: Trajectory, point: Point, key: str) -> float:
    """Return the standard error of a number of a point.

    Raises:
        ValueError: The point has no value, or no standard error.
    """
    for name, what in ((key, "value"), (f"{key}_se", "standard error")):
        if not math.isfinite(point.values.get(name, math.nan)):
            raise ValueError(f"{run.name} at step {point.step} has no {what} of {key}: {point.why_missing(name)}")
    return point.values[f"{key}_se"]


def _parts(first: Number | None, second: Number | None) -> tuple[float, float, float] | None:
    """Work out the three parts of the error of a difference; None if the two do not have the same causes of error."""
    if first is None or second is None or first.deviations.shape != second.deviations.shape:
        return None
    change = second.minus(first)
    parts = [float(np.linalg.norm(part)) for part in (change.documents, change.correction, change.anchors)]
    return parts[0], parts[1], parts[2] if len(change.anchors) else math.nan
