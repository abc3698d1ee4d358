"""Phases of a run, with their evidence: fitting, then compression, each change in units of its standard error.

What counts as a change is said in `ibtrack.analysis.movements`. Source of the two phases: Shwartz-Ziv and Tishby, arXiv
1703.00810; for language models Conklin et al., arXiv 2604.07569.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ibtrack.analysis.movements import CurvePoint, Movement, find_movements, movement_between, noise_threshold
from ibtrack.record.keys import metric_key
from ibtrack.record.trajectory import Trajectory


@dataclass(frozen=True, kw_only=True)
class Phases:
    """What the mean over the layers shows of a run.

    Attributes:
        fitting: Rise of expressivity, up to the first step that cannot be told from its peak; None without one.
        compression: Fall of complexity after it had risen, or after fitting; None if none can be told from noise.
        collapse: Fall of complexity with nothing before it, as at the start of training; it is not compression.
        rebound: Rise of complexity after the compression.
        threshold: Number of standard errors that a movement needs; ``nan`` where it could not be computed.
        last: Step of the last point that has a value and an error, or None.
        why_not: Reason why nothing can be said, or None.
        num_left_out: Number of points without a value or without a standard error.
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
        """Say the phases in words, with their evidence.

        Example:
            >>> fall = Movement(start=256, end=4000, change=-0.05, se=0.01)
            >>> Phases(compression=fall, last=4000).sentence()
            'No fitting phase can be told from noise. Compression since step 256: I(X;Z) -0.050 by step 4000 (5.0 se).'
        """
        if self.why_not:
            return self.why_not
        parts = [self._collapse(), self._fitting(), self._compression(), self._left_out()]
        return " ".join(part for part in parts if part)

    def short(self) -> str:
        """Say the phases in a few words, for a table.

        Example:
            >>> fall = Movement(start=256, end=4000, change=-0.05, se=0.01)
            >>> Phases(compression=fall, last=4000).short()
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
        """Give the phases as numbers, for tables that sort and bars that compare; a phase that is None is left out.

        Example:
            >>> fall = Movement(start=256, end=4000, change=-0.05, se=0.01)
            >>> Phases(compression=fall, last=4000).numbers()
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
        trajectory: Trajectory of the run; its points may be few, failed or without standard errors.
        order: Label set, such as ``token``.

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
    complexity, expressivity = (_curve(trajectory, quantity, order) for quantity in ("complexity", "expressivity"))
    pairs = list(zip(complexity, expressivity, strict=True))
    usable = [pair for pair in pairs if all(map(_is_usable, pair))]
    num_left_out = len(pairs) - len(usable)
    if len(usable) < 2:
        return Phases(why_not=_why_too_few(trajectory, complexity, order), num_left_out=num_left_out)

    complexity, expressivity = map(list, zip(*usable, strict=True))
    threshold = noise_threshold(len(usable))
    fitting = _fitting(expressivity, threshold)
    movements = find_movements(complexity, threshold)
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
        num_left_out=num_left_out,
    )


def _fitting(curve: Sequence[CurvePoint], threshold: float) -> Movement | None:
    """Find the largest rise of expressivity, up to where its plateau begins."""
    rises = [movement for movement in find_movements(curve, threshold) if movement.change > 0]
    if not rises:
        return None
    start, *later = _inside(curve, max(rises, key=_change))
    # noise may put the highest point anywhere on a plateau, so fitting ends where the plateau begins
    end = next(point for point in later if movement_between(point, later[-1]).num_se <= threshold)
    return movement_between(start, end)


def _compression(
    movements: Sequence[Movement], curve: Sequence[CurvePoint], fitting: Movement | None, threshold: float
) -> Movement | None:
    """Find the largest fall after a rise of complexity or after fitting; the collapse of a fresh model has neither."""
    falls = [movement for movement in movements[1:] if movement.change < 0]
    if fitting and movements and movements[0].change < 0:
        late = _without_plateau(movements[0], curve, threshold)
        falls += [late] if late.start >= fitting.end else []
    return min(falls, key=_change, default=None)


def _without_plateau(movement: Movement, curve: Sequence[CurvePoint], threshold: float) -> Movement:
    """Let a movement start at the last point that cannot be told from its first one."""
    inside = _inside(curve, movement)
    start = [point for point in inside[:-1] if movement_between(inside[0], point).num_se <= threshold][-1]
    return movement_between(start, inside[-1])


def _inside(curve: Sequence[CurvePoint], movement: Movement) -> list[CurvePoint]:
    return [point for point in curve if movement.start <= point.step <= movement.end]


def _change(movement: Movement) -> float:
    return movement.change


def _curve(trajectory: Trajectory, quantity: str, order: str) -> list[CurvePoint]:
    """Take the debiased mean over the layers; values and errors that a point lacks are ``nan``."""
    key = metric_key(quantity, site="mean", order=order)
    return [
        CurvePoint(step=point.step, value=point.values.get(key, math.nan), se=point.values.get(f"{key}_se", math.nan))
        for point in trajectory.points
    ]


def _is_usable(point: CurvePoint) -> bool:
    return math.isfinite(point.value) and math.isfinite(point.se) and point.se > 0


def _why_too_few(trajectory: Trajectory, complexity: Sequence[CurvePoint], order: str) -> str:
    points = [point for point in complexity if math.isfinite(point.value)]
    if not trajectory.points:
        return "No points yet."
    if not points:
        return f"No point has a value for {order} labels."
    if len(points) == 1:
        return "One point: no change to speak of."
    peak, last = max(points, key=lambda point: point.value), points[-1]
    fall = f"I(X;Z) {last.value - peak.value:+.3f} from step {peak.step}, its highest, to {last.step}"
    return f"{fall}; without standard errors no phase can be told from noise."


def _evidence(movement: Movement) -> str:
    return f"{movement.change:+.3f} from step {movement.start} ({_size(movement)} se)"


def _size(movement: Movement) -> str:
    return f"{movement.num_se:.1f}"
