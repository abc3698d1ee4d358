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
from dataclasses import replace
from typing import NamedTuple

from ibtrack._checks import check_option
from ibtrack.analysis.bands import critical_value
from ibtrack.analysis.curves import Curve, curves
from ibtrack.analysis.movements import Movement, find_movements, movement_between
from ibtrack.analysis.phase_words import Phases, other_unit
from ibtrack.record.keys import metric_key
from ibtrack.record.quantities import PLANE_UNITS, Z95
from ibtrack.record.trajectory import Trajectory

_WHY_LOG_K = "Told in fractions of log K, which fall also where the cloud of activations only narrows, as"
NO_SHARES = f"{_WHY_LOG_K} this run has no shares of the ceiling with standard errors."
# A run is looked at again and again while it goes on. What few points ask for would let 6 to 8 % of runs that stand
# still show a phase at some look; with not less than this it is 5 % at most (experiments/benchmarks/claims.py).
LEAST = 3.1
NOT_ALL_SHARES = f"{_WHY_LOG_K} not all of these runs have shares of the ceiling with standard errors."


def find_phases(trajectory: Trajectory, order: str = "token", *, unit: str | None = None, site: str = "mean") -> Phases:
    """Find fitting, compression and narrowing on the mean over the layers or on one of them, debiased reading.

    Args:
        trajectory: Trajectory of the run; its points may be few, failed or without standard errors.
        order: Label set, such as ``token``.
        unit: ``share`` of the ceiling or ``log_k``, fraction of log K. None is share, and log_k for a run whose shares
            have no standard errors, as in files of older versions; then a remark says so. Narrowing is found wherever
            a run has both, whatever the unit, and is not called compression in either.
        site: ``mean``, or a site of the protocol, such as ``L03``.

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
        return _find(trajectory, (site, order), check_option("unit", unit, tuple(PLANE_UNITS)))
    phases = _find(trajectory, (site, order), "share")
    if phases.why_not is None:
        return phases
    in_log_k = _find(trajectory, (site, order), "log_k")
    if in_log_k.why_not is None:
        return replace(in_log_k, remark=NO_SHARES)
    return phases if _values(trajectory, _keys((site, order), "share")[0]) else in_log_k


def phases_of_runs(
    runs: Mapping[str, Trajectory], order: str = "token", *, unit: str | None = None, site: str = "mean"
) -> dict[str, Phases]:
    """Find the phases of several runs in one unit, so that they can be compared.

    Args:
        runs: Name of each run to its trajectory.
        order: Label set, such as ``token``.
        unit: ``share`` or ``log_k``, as in `find_phases`. None is share, and log_k for all if one of the runs has no
            shares with standard errors; then a remark says so.
        site: ``mean``, or a site of the protocol, such as ``L03``.

    Returns:
        Name of each run to its phases.

    Raises:
        ValueError: There is no such unit.

    Example:
        >>> phases_of_runs({"a": Trajectory({}, {}, [])})["a"].sentence()
        'No points yet.'
    """
    found = {name: find_phases(run, order, unit=unit, site=site) for name, run in runs.items()}
    return in_one_unit(found, runs, order, site)


def in_one_unit(
    phases: Mapping[str, Phases], runs: Mapping[str, Trajectory], order: str, site: str = "mean"
) -> dict[str, Phases]:
    """Bring the phases of several runs, each found by itself, to one unit.

    Args:
        phases: Name of each run to its phases, as from `find_phases`.
        runs: Name of each run to its trajectory, or to its `ibtrack.analysis.outline.outline`.
        order: Label set of the phases.
        site: Site of the phases; an outline has the mean over the layers alone.

    Returns:
        The phases as they are, or all in fractions of log K if one of the runs has no shares with standard errors; then
        a remark says so.
    """
    if {each.unit for each in phases.values() if each.why_not is None} != {"share", "log_k"}:
        return dict(phases)
    in_log_k = {name: find_phases(run, order, unit="log_k", site=site) for name, run in runs.items()}
    return {name: replace(each, remark=NOT_ALL_SHARES) for name, each in in_log_k.items()}


def _find(trajectory: Trajectory, of: tuple[str, str], unit: str) -> Phases:
    pairs = {name: curves(trajectory, _keys(of, name)) for name in PLANE_UNITS}
    complexity, expressivity = pairs[unit]
    num_left_out = len(trajectory.points) - len(complexity.steps)
    if len(complexity.steps) < 2:
        return Phases(unit=unit, why_not=_why_too_few(trajectory, of, unit), num_left_out=num_left_out)

    kept_beside, told_beside = pairs[other_unit(unit)]
    threshold = critical_value([complexity, expressivity, kept_beside], at_least=LEAST)
    fitting = _fitting(expressivity, threshold)
    movements = find_movements(complexity, threshold)
    shares = _Beside(trajectory, _keys(of, "share")[0], pairs["share"][0])
    narrowing = _narrowing(pairs["log_k"][0], shares, threshold)
    # a narrowing is a fall of this curve only in log_k; its steps are those of a movement, as both come from one curve
    narrowing_steps = {(fall.start, fall.end) for fall in narrowing} if unit == "log_k" else set()
    losses = [each for each in movements if each.change < 0 and (each.start, each.end) not in narrowing_steps]
    compression = _compression(losses, complexity, fitting, threshold)
    # a fall whose end is the compression's is that fall, begun later
    others = [fall for fall in losses if compression is None or fall.end < compression.end]
    rises = [movement for movement in movements if movement.change > 0]
    kept, told = (
        _Beside(trajectory, key, curve)
        for key, curve in zip(_keys(of, other_unit(unit)), (kept_beside, told_beside), strict=True)
    )
    return Phases(
        unit=unit,
        fitting=told.put_to(fitting),
        compression=kept.put_to(compression),
        collapse=kept.put_to(
            min((fall for fall in others if _is_collapse(fall, complexity)), key=_change, default=None)
        ),
        rebound=next((rise for rise in rises if compression and rise.start >= compression.end), None),
        narrowing=narrowing,
        threshold=threshold,
        last=complexity.steps[-1],
        num_left_out=num_left_out,
        num_documents=complexity.num_documents,
    )


class _Beside(NamedTuple):
    """A curve whose changes are put beside those of another one.

    Attributes:
        trajectory: The run.
        key: Metric key of the curve.
        curve: Its points with a value and a standard error.
    """

    trajectory: Trajectory
    key: str
    curve: Curve

    def put_to(self, movement: Movement | None) -> Movement | None:
        """Put the same steps of this curve beside a movement, where it has a value at both."""
        if movement is None:
            return None
        steps = (movement.start, movement.end)
        if set(steps) <= set(self.curve.steps):
            return replace(movement, beside=movement_between(self.curve, *map(self.curve.steps.index, steps)))
        values = _values(self.trajectory, self.key)
        if not set(steps) <= set(values):
            return movement
        change = values[movement.end] - values[movement.start]
        return replace(movement, beside=Movement(start=movement.start, end=movement.end, change=change, se=math.nan))


def _narrowing(complexity: Curve, kept: _Beside, threshold: float) -> tuple[Movement, ...]:
    """List falls of the fraction of log K along which the share of the ceiling does not fall beyond noise.

    A fall of the share that began before or ends after the same steps counts as well.
    """
    falls = [fall for fall in find_movements(complexity, threshold) if fall.change < 0]
    losses = [loss for loss in find_movements(kept.curve, threshold) if loss.change < 0]
    with_shares = [
        kept.put_to(fall)
        for fall in falls
        if not any(loss.start < fall.end and fall.start < loss.end for loss in losses)
    ]
    return tuple(fall for fall in with_shares if fall and _stands_still(fall.beside))


def _stands_still(share: Movement | None) -> bool:
    """Say whether a share does not fall; one that rises does not, whether or not its error is known.

    That it stands still is the claim here, so a fall need not be proved: one beyond its own 95 % interval is enough.
    """
    return share is not None and (share.change >= 0 or (share.se > 0 and share.num_se <= Z95))


def _fitting(curve: Curve, threshold: float) -> Movement | None:
    """Find the largest rise of expressivity, up to where its plateau begins."""
    rises = [movement for movement in find_movements(curve, threshold) if movement.change > 0]
    if not rises:
        return None
    largest = max(rises, key=_change)
    start, peak = curve.steps.index(largest.start), curve.steps.index(largest.end)
    sizes = curve.changes / curve.errors
    # noise may put the highest point anywhere on a plateau, so fitting ends where the plateau begins
    end = next(i for i in range(start + 1, peak + 1) if sizes[i, peak] <= threshold < sizes[start, i])
    return replace(movement_between(curve, start, end), begins=largest.begins)


def _compression(
    losses: Sequence[Movement], curve: Curve, fitting: Movement | None, threshold: float
) -> Movement | None:
    """Find the fall from the top of the largest gain to the lowest point after it, or a larger one after fitting.

    A fall before that top has been made good. The fall of a fresh model takes what was never gained, and labels tell
    nothing yet: it is a collapse.
    """
    takes_back = [fall for fall in losses if not _is_collapse(fall, curve)]
    top = max(takes_back, key=lambda fall: _gain(fall, curve), default=None)
    falls = [_to_the_lowest(top, curve, threshold)] if top else []
    if fitting:
        late = [_without_plateau(fall, curve, threshold) for fall in losses if _is_collapse(fall, curve)]
        falls += [fall for fall in late if fall.start >= fitting.end]
    return min(falls, key=_change, default=None)


def _gain(fall: Movement, curve: Curve) -> float:
    """Work out how far the start of a fall lies above the lowest value before it."""
    start = curve.steps.index(fall.start)
    return float(curve.values[start] - curve.values[: start + 1].min())


def _to_the_lowest(fall: Movement, curve: Curve, threshold: float) -> Movement:
    """Let a fall go on to the lowest point after its start, though it may rise in between."""
    start = curve.steps.index(fall.start)
    beyond = curve.changes[start] / curve.errors[start] < -threshold
    later = [i for i in range(start + 1, len(curve.steps)) if beyond[i]]
    return replace(movement_between(curve, start, min(later, key=curve.values.__getitem__)), begins=fall.begins)


def _is_collapse(fall: Movement, curve: Curve) -> bool:
    """Say whether less than half of a fall takes back what had been gained before it."""
    return _gain(fall, curve) < -fall.change / 2


def _without_plateau(fall: Movement, curve: Curve, threshold: float) -> Movement:
    """Let a fall start at the last point that cannot be told from its first one."""
    first, end = curve.steps.index(fall.start), curve.steps.index(fall.end)
    sizes = -curve.changes / curve.errors
    start = [i for i in range(first, end) if sizes[first, i] <= threshold < sizes[i, end]][-1]
    return replace(movement_between(curve, start, end), begins=fall.begins)


def _change(movement: Movement) -> float:
    return movement.change


def _keys(of: tuple[str, str], unit: str) -> list[str]:
    """Name I(X;Z) and I(Y;Z), debiased, of a site and an order."""
    names, (site, order) = PLANE_UNITS[unit], of
    return [metric_key(name, site=site, order=order) for name in (names.complexity, names.expressivity)]


def _values(trajectory: Trajectory, key: str) -> dict[int, float]:
    """Look up the value at each step that has one."""
    return {p.step: p.values[key] for p in trajectory.points if math.isfinite(p.values.get(key, math.nan))}


def _why_too_few(trajectory: Trajectory, of: tuple[str, str], unit: str) -> str:
    values = _values(trajectory, _keys(of, unit)[0])
    if not trajectory.points:
        return "No points yet."
    if not values:
        return f"No point has a value for {of[1]} labels."
    if len(values) == 1:
        return "One point: no change to speak of."
    peak, last = max(values, key=values.__getitem__), max(values)
    size = f"I(X;Z) {values[last] - values[peak]:+.3f} of {PLANE_UNITS[unit].whole}"
    return f"{size} from step {peak}, its highest, to {last}; without standard errors no phase can be told from noise."
