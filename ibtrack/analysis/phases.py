"""Phases of a run, with their evidence: fitting, then compression, each change in units of its standard error.

A movement counts when the two points that bound it differ by more than chance could do among *all* pairs of points:
the level is 5 % for the whole trajectory, divided by the number of pairs (Bonferroni). So of a hundred runs whose
complexity stands still at most five are said to move.

The error of a difference is sqrt(se_1² + se_2²), as if the two points were independent. They are not: the same probe is
read at both, its documents push both readings the same way, and the real error of the difference is smaller. The number
of standard errors given here is therefore conservative. It is about the probe: another training seed is another run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist
from typing import NamedTuple

from ibtrack.record.keys import metric_key
from ibtrack.record.trajectory import Trajectory

LEVEL = 0.05  # for the trajectory as a whole


class Reading(NamedTuple):
    """A value of the mean at a step, with its standard error."""

    step: int
    value: float
    se: float


@dataclass(frozen=True)
class Movement:
    """A change between two steps, in fractions of log K, with the standard error of the difference.

    Example:
        >>> fall = Movement(256, 4000, -0.05, 0.01)
        >>> fall.num_se
        5.0
    """

    start: int
    end: int
    change: float
    se: float

    @property
    def num_se(self) -> float:
        """Size of the change in units of its standard error."""
        return abs(self.change) / self.se


@dataclass(frozen=True)
class Phases:
    """What the mean trajectory of a run shows.

    Attributes:
        fitting: the rise of expressivity, up to the first step that cannot be told from its peak; None without one.
        compression: the fall of complexity after it had risen, or after fitting; None if none can be told from noise.
        collapse: a fall of complexity with nothing before it, as at the start of training; not compression.
        rebound: a rise of complexity after the compression.
        threshold: how many standard errors a movement needs; ``nan`` when it could not be computed.
        last: the last step that was looked at, or None.
        why_not: why nothing can be said, or None.
        num_left_out: points without a value or without a standard error.
    """

    fitting: Movement | None = None
    compression: Movement | None = None
    collapse: Movement | None = None
    rebound: Movement | None = None
    threshold: float = math.nan
    last: int | None = None
    why_not: str | None = None
    num_left_out: int = 0

    def sentence(self) -> str:
        """The phases in words, with their evidence.

        Example:
            >>> Phases(compression=Movement(256, 4000, -0.05, 0.01), last=4000).sentence()
            'No fitting phase can be told from noise. Compression since step 256: I(X;Z) -0.050 by step 4000 (5.0 se).'
        """
        if self.why_not:
            return self.why_not
        parts = [self._collapse(), self._fitting(), self._compression(), self._left_out()]
        return " ".join(part for part in parts if part)

    def short(self) -> str:
        """The phases in a few words, for a table.

        Example:
            >>> Phases(compression=Movement(256, 4000, -0.05, 0.01), last=4000).short()
            'compression since 256 (5.0 se)'
        """
        if self.why_not:
            return self.why_not
        if self.compression is not None:
            fall = self.compression
            when = f"since {fall.start}" if self.rebound is None else f"from {fall.start} to {fall.end}"
            return f"compression {when} ({_size(fall)} se)"
        if self.fitting is not None:
            return f"fitting until {self.fitting.end} ({_size(self.fitting)} se), no compression"
        return "none can be told from noise"

    def numbers(self) -> dict[str, float]:
        """The phases as numbers, for tables that sort and bars that compare; what was not found is not in it.

        Example:
            >>> Phases(compression=Movement(256, 4000, -0.05, 0.01), last=4000).numbers()
            {'compression': 0.05, 'compression_num_se': 5.0, 'compression_start': 256.0, 'compression_end': 4000.0}
        """
        numbers: dict[str, float] = {}
        for name, movement in (("fitting", self.fitting), ("compression", self.compression)):
            if movement is not None:
                numbers |= {
                    name: abs(movement.change),
                    f"{name}_num_se": movement.num_se,
                    f"{name}_start": float(movement.start),
                    f"{name}_end": float(movement.end),
                }
        return numbers

    def _collapse(self) -> str:
        if self.collapse is None:
            return ""
        if self.fitting and self.collapse.end >= self.fitting.end:
            fall = f"I(X;Z) falls along with the fitting, {_evidence(self.collapse)} to {self.collapse.end}"
            return f"{fall}; with neither a rise nor a fitting before it, it is not called compression."
        return f"First a collapse until step {self.collapse.end}: I(X;Z) {_evidence(self.collapse)}."

    def _fitting(self) -> str:
        if self.fitting is None:
            return "No fitting phase can be told from noise."
        end = "still going on at" if self.fitting.end == self.last else "until"
        return f"Fitting {end} step {self.fitting.end}: I(Y;Z) {_evidence(self.fitting)}."

    def _compression(self) -> str:
        fall, rise = self.compression, self.rebound
        if fall is None:
            return "No compression phase can be told from noise."
        if rise is None:
            return (
                f"Compression since step {fall.start}: I(X;Z) {fall.change:+.3f} by step {fall.end} ({_size(fall)} se)."
            )
        return (
            f"Compression from step {fall.start} to {fall.end}: I(X;Z) {fall.change:+.3f} ({_size(fall)} se); "
            f"since then it has risen again, {rise.change:+.3f} by step {rise.end} ({_size(rise)} se)."
        )

    def _left_out(self) -> str:
        if not self.num_left_out:
            return ""
        points = "point" if self.num_left_out == 1 else "points"
        return f"({self.num_left_out} {points} without a value or a standard error left out.)"


def find_phases(trajectory: Trajectory, order: str = "token") -> Phases:
    """Find fitting and compression on the mean over the layers, debiased reading.

    Args:
        trajectory: the run; its points may be few, failed or without standard errors.
        order: label set, such as ``token``.

    Returns:
        The phases. Where nothing can be said, `Phases.why_not` says why.

    Example:
        >>> from ibtrack.record.trajectory import Point
        >>> points = [
        ...     Point(step, {"ib/mean/token/complexity": x, "ib/mean/token/complexity_se": 0.002,
        ...                  "ib/mean/token/expressivity": y, "ib/mean/token/expressivity_se": 0.002})
        ...     for step, x, y in [(0, 0.1, 0.0), (100, 0.4, 0.1), (1000, 0.3, 0.2)]
        ... ]
        >>> phases = find_phases(Trajectory({}, {}, points))
        >>> phases.compression.start, round(phases.compression.num_se)
        (100, 35)
    """
    complexity = _readings(trajectory, "complexity", order)
    expressivity = _readings(trajectory, "expressivity", order)
    complete = [_usable(x) and _usable(y) for x, y in zip(complexity, expressivity, strict=True)]
    complexity, expressivity = _kept(complexity, complete), _kept(expressivity, complete)
    if len(complexity) < 2:
        return Phases(why_not=_too_few(trajectory, order), num_left_out=complete.count(False))

    threshold = noise_threshold(len(complexity))
    fitting = _fitting(expressivity, threshold)
    movements = _movements(complexity, threshold)
    compression = _compression(movements, complexity, fitting, threshold)
    falls_first = bool(movements) and movements[0].change < 0
    is_collapse = falls_first and not (compression and compression.end == movements[0].end)
    return Phases(
        fitting=fitting,
        compression=compression,
        collapse=movements[0] if is_collapse else None,
        rebound=next((rise for rise in movements if compression and rise.start == compression.end), None),
        threshold=threshold,
        last=complexity[-1].step,
        num_left_out=complete.count(False),
    )


def noise_threshold(num_points: int) -> float:
    """How many standard errors two of ``num_points`` points must differ by; `LEVEL` for all pairs together.

    Example:
        >>> [round(noise_threshold(n), 2) for n in (2, 14, 40)]
        [1.96, 3.46, 4.0]
    """
    num_pairs = num_points * (num_points - 1) / 2
    return NormalDist().inv_cdf(1 - LEVEL / (2 * num_pairs))


def _fitting(readings: Sequence[Reading], threshold: float) -> Movement | None:
    rises = [movement for movement in _movements(readings, threshold) if movement.change > 0]
    if not rises:
        return None
    largest = max(rises, key=lambda movement: movement.change)
    inside = [reading for reading in readings if largest.start <= reading.step <= largest.end]
    start, peak = inside[0], inside[-1]
    # a plateau has its highest point anywhere: fitting ends where the plateau begins
    end = next(reading for reading in inside[1:] if _between(reading, peak).num_se <= threshold)
    return _between(start, end)


def _compression(
    movements: Sequence[Movement], readings: Sequence[Reading], fitting: Movement | None, threshold: float
) -> Movement | None:
    """The largest fall after a rise of complexity or after fitting; the collapse of a fresh model has neither."""
    falls = [movement for movement in movements[1:] if movement.change < 0]
    if fitting and movements and movements[0].change < 0:
        late = _without_plateau(movements[0], readings, threshold)
        falls += [late] if late.start >= fitting.end else []
    return min(falls, key=lambda movement: movement.change, default=None)


def _without_plateau(movement: Movement, readings: Sequence[Reading], threshold: float) -> Movement:
    inside = [reading for reading in readings if movement.start <= reading.step <= movement.end]
    start = [reading for reading in inside[:-1] if _between(inside[0], reading).num_se <= threshold][-1]
    return _between(start, inside[-1])


def _movements(readings: Sequence[Reading], threshold: float) -> list[Movement]:
    """Alternating rises and falls, each larger than the threshold, and so is each turn between them."""
    turns: list[Reading] = []
    low = high = readings[0]
    rising = None
    for reading in readings[1:]:
        low, high = min(low, reading, key=_value), max(high, reading, key=_value)
        if rising is not False and _between(high, reading).num_se > threshold:
            turns, low, rising = [*turns, high], reading, False
        elif rising is not True and _between(low, reading).num_se > threshold:
            turns, high, rising = [*turns, low], reading, True
    turns += [high if rising else low] if turns else []
    return [_between(a, b) for a, b in pairwise(turns)]


def _between(a: Reading, b: Reading) -> Movement:
    return Movement(a.step, b.step, b.value - a.value, math.hypot(a.se, b.se))


def _value(reading: Reading) -> float:
    return reading.value


def _readings(trajectory: Trajectory, quantity: str, order: str) -> list[Reading]:
    key = metric_key(quantity, site="mean", order=order)
    columns = (trajectory.steps, trajectory.values(key), trajectory.values(f"{key}_se"))
    return [Reading(*row) for row in zip(*columns, strict=True)]


def _usable(reading: Reading) -> bool:
    return math.isfinite(reading.value) and math.isfinite(reading.se) and reading.se > 0


def _kept(readings: Sequence[Reading], complete: Sequence[bool]) -> list[Reading]:
    return [reading for reading, keep in zip(readings, complete, strict=True) if keep]


def _too_few(trajectory: Trajectory, order: str) -> str:
    values = [reading for reading in _readings(trajectory, "complexity", order) if math.isfinite(reading.value)]
    if not trajectory.points:
        return "No points yet."
    if not values:
        return f"No point has a value for {order} labels."
    if len(values) == 1:
        return "One point: no change to speak of."
    peak, last = max(values, key=_value), values[-1]
    fall = f"I(X;Z) {last.value - peak.value:+.3f} from step {peak.step}, its highest, to {last.step}"
    return f"{fall}; without standard errors no phase can be told from noise."


def _evidence(movement: Movement) -> str:
    return f"{movement.change:+.3f} from step {movement.start} ({_size(movement)} se)"


def _size(movement: Movement) -> str:
    return f"{movement.num_se:.1f}"
