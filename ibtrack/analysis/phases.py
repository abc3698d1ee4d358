"""Phases of a run, with their evidence: fitting, then compression, each change in units of its standard error.

I(X;Z) falls in fractions of log K for two reasons. Labels explain less of what a position tells, or the cloud of
activations narrows, so that a position tells less of anything at all. The second is called narrowing: a fall of the
fraction of log K while the share of the ceiling does not fall. What counts as a change is said in
`ibtrack.analysis.movements`. Source of the two phases: Shwartz-Ziv and Tishby, arXiv 1703.00810; for language models
Conklin et al., arXiv 2604.07569.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ibtrack._checks import check_option
from ibtrack.analysis.movements import CurvePoint, Movement, find_movements, movement_between, noise_threshold
from ibtrack.record.keys import metric_key
from ibtrack.record.quantities import PLANE_UNITS
from ibtrack.record.trajectory import Trajectory

_WHY_LOG_K = "Told in fractions of log K, which fall also where the cloud of activations only narrows, as"
NO_SHARES = f"{_WHY_LOG_K} this run has no shares of the ceiling with standard errors."
NOT_ALL_SHARES = f"{_WHY_LOG_K} not all of these runs have shares of the ceiling with standard errors."
_SUFFIXES = {"share": "", "log_k": "_log_k"}  # of the names of numbers


@dataclass(frozen=True, kw_only=True)
class Phases:
    """What the mean over the layers shows of a run.

    Attributes:
        unit: Unit of all changes but those of ``narrowing``: ``share`` of the ceiling, or ``log_k``, fraction of log K.
        fitting: Rise of expressivity, up to the first step that cannot be told from its peak; None without one.
        compression: Fall of complexity after it had risen, or after fitting; None if none can be told from noise.
        collapse: Fall of complexity with nothing before it, as at the start of training; it is not compression.
        rebound: Rise of complexity after the compression.
        narrowing: Falls of complexity in fractions of log K along which its share of the ceiling does not fall beyond
            noise, in the order of their steps. They are neither compression nor collapse.
        threshold: Number of standard errors that a movement needs; ``nan`` where it could not be computed.
        last: Step of the last point that has a value and an error, or None.
        why_not: Reason why nothing can be said, or None.
        num_left_out: Number of points without a value or without a standard error.
        remark: Sentence on why the unit is not the usual one, or an empty text.
    """

    unit: str = "share"
    fitting: Movement | None = None
    compression: Movement | None = None
    collapse: Movement | None = None
    rebound: Movement | None = None
    narrowing: tuple[Movement, ...] = ()
    threshold: float = math.nan
    last: int | None = None
    why_not: str | None = None
    num_left_out: int = 0
    remark: str = ""

    def sentence(self) -> str:
        """Say the phases in words, with their evidence.

        Example:
            >>> in_log_k = Movement(start=256, end=4000, change=-0.02, se=0.004)
            >>> fall = Movement(start=256, end=4000, change=-0.05, se=0.01, beside=in_log_k)
            >>> print(Phases(compression=fall, last=4000).sentence())  # doctest: +NORMALIZE_WHITESPACE
            No fitting phase can be told from noise.
            Compression since step 256: I(X;Z) -0.050 of the ceiling by step 4000 (5.0 se; -0.020 of log K).
        """
        if self.why_not:
            return self.why_not
        narrowing = map(self._narrowing, self.narrowing)
        parts = [*narrowing, self._collapse(), self._fitting(), self._compression(), self._left_out(), self.remark]
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
        if self.narrowing:
            return f"narrowing until {self.narrowing[-1].end} ({_size(self.narrowing[-1])} se), no compression"
        return "none can be told from noise"

    def numbers(self) -> dict[str, float]:
        """Give the phases as numbers, for tables that sort and bars that compare; a phase that is None is left out.

        ``fitting`` is how much I(Y;Z) rises, ``compression`` and ``narrowing`` how much I(X;Z) falls, in shares of the
        ceiling; with ``_log_k`` in fractions of log K, whichever unit the phases were found in. Of several narrowings
        it is the one with the largest fall.

        Example:
            >>> fall = Movement(start=256, end=4000, change=-0.05, se=0.01)
            >>> Phases(compression=fall, last=4000).numbers()
            {'compression': 0.05, 'compression_num_se': 5.0, 'compression_start': 256.0, 'compression_end': 4000.0}
        """
        numbers: dict[str, float] = {}
        narrowing = min(self.narrowing, key=_change, default=None)
        for name, movement, unit, sign in (
            ("fitting", self.fitting, self.unit, 1),
            ("compression", self.compression, self.unit, -1),
            ("narrowing", narrowing, "log_k", -1),
        ):
            if movement is not None:
                numbers[name + _SUFFIXES[unit]] = sign * movement.change
                if movement.beside is not None:
                    numbers[name + _SUFFIXES[_other(unit)]] = sign * movement.beside.change
                numbers |= {
                    f"{name}_num_se": movement.num_se,
                    f"{name}_start": float(movement.start),
                    f"{name}_end": float(movement.end),
                }
        return numbers

    def _narrowing(self, fall: Movement) -> str:
        size = f"I(X;Z) {_change_of(fall, 'log_k')} from step {fall.start} ({_size(fall)} se)"
        share = fall.beside.change if fall.beside else 0.0
        beside = f"its share of the ceiling does not fall{' beyond noise' if share < 0 else ''} ({share:+.3f})"
        return f"Narrowing until step {fall.end}: {size}, while {beside}."

    def _collapse(self) -> str:
        fall = self.collapse
        if fall is None:
            return ""
        if self.fitting and fall.end >= self.fitting.end:
            words = f"I(X;Z) falls along with the fitting, {self._evidence(fall)} to {fall.end}"
            return f"{words}; with neither a rise nor a fitting before it, it is not called compression."
        return f"First a collapse until step {fall.end}: I(X;Z) {self._evidence(fall)}."

    def _fitting(self) -> str:
        if self.fitting is None:
            return "No fitting phase can be told from noise."
        end = "still going on at" if self.fitting.end == self.last else "until"
        return f"Fitting {end} step {self.fitting.end}: I(Y;Z) {self._evidence(self.fitting)}."

    def _compression(self) -> str:
        fall, rise = self.compression, self.rebound
        if fall is None:
            return "No compression phase can be told from noise."
        size = f"I(X;Z) {_change_of(fall, self.unit)}"
        if rise is None:
            return f"Compression since step {fall.start}: {size} by step {fall.end} ({self._beside(fall)})."
        return (
            f"Compression from step {fall.start} to {fall.end}: {size} ({self._beside(fall)}); "
            f"since then it has risen again, {rise.change:+.3f} by step {rise.end} ({_size(rise)} se)."
        )

    def _evidence(self, movement: Movement) -> str:
        return f"{_change_of(movement, self.unit)} from step {movement.start} ({self._beside(movement)})"

    def _beside(self, movement: Movement) -> str:
        """Say how many standard errors a change has, and what it is in the other unit."""
        beside = f"; {_change_of(movement.beside, _other(self.unit))}" if movement.beside else ""
        return f"{_size(movement)} se{beside}"

    def _left_out(self) -> str:
        if not self.num_left_out:
            return ""
        points = "point" if self.num_left_out == 1 else "points"
        return f"({self.num_left_out} {points} without a value or a standard error left out.)"


def find_phases(trajectory: Trajectory, order: str = "token", *, unit: str | None = None) -> Phases:
    """Find fitting, compression and narrowing on the mean over the layers, debiased reading.

    Args:
        trajectory: Trajectory of the run; its points may be few, failed or without standard errors.
        order: Label set, such as ``token``.
        unit: ``share`` of the ceiling or ``log_k``, fraction of log K. None is share, and log_k for a run whose shares
            have no standard errors, as in files of older versions; then a remark says so. Narrowing is found wherever
            a run has both, whatever the unit, and is not called compression in either.

    Returns:
        The phases. Where nothing can be said, `Phases.why_not` says why.

    Raises:
        ValueError: There is no such unit.

    Example:
        >>> from ibtrack.record.trajectory import Point
        >>> points = [
        ...     Point(step, {"ib/mean/token/kept": x, "ib/mean/token/kept_se": 0.002,
        ...                  "ib/mean/token/told": y, "ib/mean/token/told_se": 0.002})
        ...     for step, x, y in [(0, 0.1, 0.0), (100, 0.4, 0.1), (1000, 0.3, 0.2)]
        ... ]
        >>> phases = find_phases(Trajectory({}, {}, points))
        >>> phases.unit, phases.compression.start, round(phases.compression.num_se)
        ('share', 100, 35)
    """
    if unit is not None:
        return _find(trajectory, order, check_option("unit", unit, tuple(PLANE_UNITS)))
    phases = _find(trajectory, order, "share")
    if phases.why_not is None:
        return phases
    in_log_k = _find(trajectory, order, "log_k")
    if in_log_k.why_not is None:
        return replace(in_log_k, remark=NO_SHARES)
    kept, _ = _curves(trajectory, order, "share")
    return phases if any(math.isfinite(point.value) for point in kept) else in_log_k


def phases_of_runs(
    runs: Mapping[str, Trajectory], order: str = "token", *, unit: str | None = None
) -> dict[str, Phases]:
    """Find the phases of several runs in one unit, so that they can be compared.

    Args:
        runs: Name of each run to its trajectory.
        order: Label set, such as ``token``.
        unit: ``share`` or ``log_k``, as in `find_phases`. None is share, and log_k for all if one of the runs has no
            shares with standard errors; then a remark says so.

    Returns:
        Name of each run to its phases.

    Raises:
        ValueError: There is no such unit.

    Example:
        >>> phases_of_runs({"a": Trajectory({}, {}, [])})["a"].sentence()
        'No points yet.'
    """
    phases = {name: find_phases(run, order, unit=unit) for name, run in runs.items()}
    if {each.unit for each in phases.values() if each.why_not is None} != {"share", "log_k"}:
        return phases
    in_log_k = {name: find_phases(run, order, unit="log_k") for name, run in runs.items()}
    return {name: replace(each, remark=NOT_ALL_SHARES) for name, each in in_log_k.items()}


def _find(trajectory: Trajectory, order: str, unit: str) -> Phases:
    complexity, expressivity = _usable_curves(trajectory, order, unit)
    num_left_out = len(trajectory.points) - len(complexity)
    if len(complexity) < 2:
        return Phases(unit=unit, why_not=_why_too_few(trajectory, order, unit), num_left_out=num_left_out)

    threshold = noise_threshold(len(complexity))
    fitting = _fitting(expressivity, threshold)
    movements = find_movements(complexity, threshold)
    narrowing = _narrowing(trajectory, order)
    # a narrowing is a fall of this curve only in log_k; its steps are those of a movement, as both come from one curve
    narrowing_steps = {(fall.start, fall.end) for fall in narrowing} if unit == "log_k" else set()
    losses = [each for each in movements if each.change < 0 and (each.start, each.end) not in narrowing_steps]
    compression = _compression(movements, losses, complexity, fitting, threshold)
    falls_first = bool(losses) and losses[0] is movements[0]
    is_collapse = falls_first and not (compression and compression.end == movements[0].end)
    rebound = next((rise for rise in movements if compression and rise.start == compression.end), None)
    kept_beside, told_beside = _curves(trajectory, order, _other(unit))
    return Phases(
        unit=unit,
        fitting=_with_beside(fitting, told_beside),
        compression=_with_beside(compression, kept_beside),
        collapse=_with_beside(movements[0], kept_beside) if is_collapse else None,
        rebound=rebound,
        narrowing=narrowing,
        threshold=threshold,
        last=complexity[-1].step,
        num_left_out=num_left_out,
    )


def _narrowing(trajectory: Trajectory, order: str) -> tuple[Movement, ...]:
    """List falls of the fraction of log K along which the share of the ceiling does not fall beyond noise.

    A fall of the share that began before or ends after the same steps counts as well.
    """
    complexity, _ = _usable_curves(trajectory, order, "log_k")
    kept, _ = _curves(trajectory, order, "share")
    if len(complexity) < 2:
        return ()
    threshold = noise_threshold(len(complexity))
    falls = [fall for fall in find_movements(complexity, threshold) if fall.change < 0]
    shares, _ = _usable_curves(trajectory, order, "share")
    losses = [loss for loss in find_movements(shares, threshold) if loss.change < 0] if len(shares) > 1 else []
    with_shares = [
        _with_beside(fall, kept)
        for fall in falls
        if not any(loss.start < fall.end and fall.start < loss.end for loss in losses)
    ]
    return tuple(fall for fall in with_shares if fall and _stands_still(fall.beside, threshold))


def _stands_still(share: Movement | None, threshold: float) -> bool:
    """Say whether a share does not fall beyond noise; one that rises does not, whether or not its error is known."""
    return share is not None and (share.change >= 0 or (share.se > 0 and share.num_se <= threshold))


def _with_beside(movement: Movement | None, curve: Sequence[CurvePoint]) -> Movement | None:
    """Put the same steps of the curve in the other unit beside a movement, where it has a value at both."""
    if movement is None:
        return None
    start, end = (next(p for p in curve if p.step == step) for step in (movement.start, movement.end))
    beside = movement_between(start, end)
    return replace(movement, beside=beside) if math.isfinite(beside.change) else movement


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
    movements: Sequence[Movement],
    losses: Sequence[Movement],
    curve: Sequence[CurvePoint],
    fitting: Movement | None,
    threshold: float,
) -> Movement | None:
    """Find the largest loss after a rise of complexity or after fitting; the collapse of a fresh model has neither."""
    falls = [fall for fall in losses if fall is not movements[0]]
    if fitting and losses and losses[0] is movements[0]:
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


def _curves(trajectory: Trajectory, order: str, unit: str) -> tuple[list[CurvePoint], list[CurvePoint]]:
    """Take I(X;Z) and I(Y;Z), debiased, mean over the layers; values and errors that a point lacks are ``nan``."""

    def curve(quantity: str) -> list[CurvePoint]:
        key = metric_key(quantity, site="mean", order=order)
        return [
            CurvePoint(
                step=point.step, value=point.values.get(key, math.nan), se=point.values.get(f"{key}_se", math.nan)
            )
            for point in trajectory.points
        ]

    return curve(PLANE_UNITS[unit].complexity), curve(PLANE_UNITS[unit].expressivity)


def _usable_curves(trajectory: Trajectory, order: str, unit: str) -> tuple[list[CurvePoint], list[CurvePoint]]:
    """Take the points of both curves that have a value and a standard error in both."""
    pairs = [pair for pair in zip(*_curves(trajectory, order, unit), strict=True) if all(map(_is_usable, pair))]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def _is_usable(point: CurvePoint) -> bool:
    return math.isfinite(point.value) and math.isfinite(point.se) and point.se > 0


def _why_too_few(trajectory: Trajectory, order: str, unit: str) -> str:
    points = [point for point in _curves(trajectory, order, unit)[0] if math.isfinite(point.value)]
    if not trajectory.points:
        return "No points yet."
    if not points:
        return f"No point has a value for {order} labels."
    if len(points) == 1:
        return "One point: no change to speak of."
    peak, last = max(points, key=lambda point: point.value), points[-1]
    size = f"I(X;Z) {last.value - peak.value:+.3f} of {PLANE_UNITS[unit].whole}"
    fall = f"{size} from step {peak.step}, its highest, to {last.step}"
    return f"{fall}; without standard errors no phase can be told from noise."


def _other(unit: str) -> str:
    return "log_k" if unit == "share" else "share"


def _change_of(movement: Movement, unit: str) -> str:
    return f"{movement.change:+.3f} of {PLANE_UNITS[unit].whole}"


def _size(movement: Movement) -> str:
    return f"{movement.num_se:.1f}"
