"""Where runs are compared: at one step, after as many tokens, or at one loss; and the numbers that a run has there.

A place of a run is a step, a whole one where all runs have a point at it, else between two of its points. Numbers are
interpolated linearly between these two.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ibtrack._checks import check_option
from ibtrack.analysis.deviations import Vector, number_of, stacked
from ibtrack.analysis.groups import listed
from ibtrack.record.keys import metric_key
from ibtrack.record.quantities import quantity_key
from ibtrack.record.trajectory import Point, Trajectory

WAYS = ("step", "tokens", "loss")


class Reading(NamedTuple):
    """A number of a run at its place.

    Attributes:
        value: The number; ``nan`` where there is none.
        se: Standard error over the documents of the probe, from those of the points; ``nan`` where there is none. That
            of a fall is as if its two points were independent.
        why: Reason why there is no value, or an empty text.
        key: Metric key of the number, or an empty text where it is none of a point.
        parts: Points that the number is made of, each with its weight.
    """

    value: float
    se: float = math.nan
    why: str = ""
    key: str = ""
    parts: tuple[tuple[Point, float], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Match:
    """The places at which runs are compared.

    Attributes:
        at: ``step``, ``tokens`` or ``loss``.
        target: What all places have in common: a step, a number of tokens, or a loss.
        loss: Which loss is meant: ``probe_loss``, or ``loss``, that of training, where a run has no other.
        places: Name of each run to its step, which lies between two points where it is no whole number of theirs.
        left_out: Name of each run that has no such place to the reason.
        remark: Sentence on runs that go on beyond the place, as where one of them has not finished; or an empty text.
    """

    at: str
    target: float
    loss: str
    places: Mapping[str, float]
    left_out: Mapping[str, str]
    remark: str = ""

    def words(self) -> str:
        """Name the place in a sentence.

        Example:
            >>> Match(at="tokens", target=4096.0, loss="loss", places={}, left_out={}).words()
            'after 4,096 tokens'
        """
        if self.at == "loss":
            return f"at a {'loss on the probe' if self.loss == 'probe_loss' else 'training loss'} of {self.target:.3f}"
        return f"at step {self.target:.0f}" if self.at == "step" else f"after {self.target:,.0f} tokens"


def match_runs(runs: Mapping[str, Trajectory], at: str = "step", *, step: int | None = None) -> Match:
    """Find where runs are compared: the last place that all of them reach.

    Args:
        runs: Name of each run to its trajectory.
        at: ``step``: the last step at which all runs have a point. ``tokens``: the largest number of training tokens
            that all reach. ``loss``: the lowest loss that all come down to, each at the first place of its curve; on
            the probe, or in training where a run has no other.
        step: A step in place of the last, only with ``at="step"``.

    Returns:
        The places. Runs without a point, without a number of tokens or a loss, or without the step that was given are
        left out, with the reason, and so are runs that were first measured past the number of tokens or the loss.

    Raises:
        ValueError: There is no such way, a step is given with another one, no run has it, or nothing is left.

    Example:
        >>> a, b = ([Point(step, tokens_seen=step * batch) for step in (0, 8)] for batch in (1, 2))
        >>> match_runs({"a": Trajectory({}, {}, a), "b": Trajectory({}, {}, b)}, "tokens").places
        {'a': 8.0, 'b': 4.0}
    """
    check_option("at", at, WAYS)
    if step is not None and at != "step":
        raise ValueError(f"step is for at='step', got at={at!r}")
    left_out = {name: "it has no points yet" for name, run in runs.items() if not run.points}
    young = [name for name in runs if name in left_out]
    rest = {name: run for name, run in runs.items() if name not in young}
    loss = "probe_loss" if all(_along(run, "probe_loss") for run in rest.values()) else "loss"
    if at == "step":
        target, places = _at_step(rest, step)
        left_out |= {name: _without_step(run, target) for name, run in rest.items() if name not in places}
    else:
        curves = {name: _along(run, "tokens" if at == "tokens" else loss) for name, run in rest.items()}
        lacks = "it does not say how many tokens it has seen" if at == "tokens" else "it has no loss"
        left_out |= {name: lacks for name, curve in curves.items() if not curve}
        target, places = _at_level({name: curve for name, curve in curves.items() if curve}, falling=at == "loss")
        late = [name for name in places if _is_past(curves[name][0][1], target, falling=at == "loss")]
        left_out |= {name: f"its first point, at step {curves[name][0][0]}, is past that already" for name in late}
        places = {name: place for name, place in places.items() if name not in late}
    if not places:
        raise ValueError(f"no run can be compared by {at}: {'; '.join(sorted(set(left_out.values())))}")
    remark = _remark(target, rest) if at == "step" and step is None else ""
    return Match(at=at, target=target, loss=loss, places=places, left_out=left_out, remark=remark)


def read_at(run: Trajectory, place: float, read: Callable[[Point], Reading]) -> Reading:
    """Read a number of a run at a place; between two points it is interpolated, and its error as well.

    Args:
        run: Trajectory of the run.
        place: Step between the first and the last.
        read: What gives the number of a point.

    Returns:
        The number. Without one at a point that it needs, there is none, for the reason of that point.
    """
    end = bisect_left(run.steps, place)
    last = read(run.points[end])
    if run.steps[end] == place or last.why:
        return last
    first = read(run.points[end - 1])
    if first.why:
        return first
    share = (place - run.steps[end - 1]) / (run.steps[end] - run.steps[end - 1])
    value, se = ((1 - share) * a + share * b for a, b in ((first.value, last.value), (first.se, last.se)))
    return Reading(value, se, key=last.key, parts=(*_scaled(first, 1 - share), *_scaled(last, share)))


def fall_at(run: Trajectory, place: float, read: Callable[[Point], Reading]) -> Reading:
    """Read by how much a curve has fallen at a place since the top of its largest rise; 0 where it still rises.

    A fall with which a run begins, a collapse, has no rise before it and does not count. A run whose points show no
    rise at all has no number: it may have been measured too late to see one.

    Args:
        run: Trajectory of the run.
        place: Step between the first and the last.
        read: What gives the number of a point; points without one are passed over.

    Returns:
        The fall, with the error of a difference of two independent numbers.
    """
    end = read_at(run, place, read)
    if end.why:
        return end
    earlier = [read(point) for point in run.points if point.step < place]
    top, low, rise = end, math.inf, -math.inf
    for reading in [*(each for each in earlier if not each.why), end]:
        low = min(low, reading.value)
        if reading.value - low >= rise:
            top, rise = reading, reading.value - low
    if rise <= 0:
        return Reading(math.nan, why="no rise of it was measured, from the top of which it could have fallen")
    parts = (*top.parts, *_scaled(end, -1))
    return Reading(top.value - end.value, math.hypot(top.se, end.se), key=end.key, parts=parts)


def moved_by(reading: Reading) -> Vector | None:
    """Work out what each cause of error moves a number of a run by, see `ibtrack.analysis.deviations`.

    Args:
        reading: Number of a run at its place.

    Returns:
        (C,) deviations; None where a point does not say what moves it.
    """
    numbers = [number_of(point, reading.key) for point, _ in reading.parts]
    table = stacked([None if number is None else number.deviations for number in numbers])
    return None if table is None else np.array([weight for _, weight in reading.parts]) @ table


def reader(quantity: str, order: str, site: str = "mean") -> Callable[[Point], Reading]:
    """Make what reads a quantity of a point, debiased reading.

    Args:
        quantity: Name in `ibtrack.record.quantities.QUANTITIES`.
        order: Label set, such as ``token``.
        site: ``mean`` over the layers, or a site of the protocol, such as ``L03``.
    """
    key = quantity_key(quantity, site, order, "debiased")

    def read(point: Point) -> Reading:
        value = _finite(point.loss) if quantity == "loss" else point.values.get(key, math.nan)
        if not math.isfinite(value):
            return Reading(math.nan, why=f"its point at step {point.step} has no value: {point.why_missing(key)}")
        return Reading(value, point.values.get(f"{key}_se", math.nan), key=key, parts=((point, 1.0),))

    return read


def _scaled(reading: Reading, weight: float) -> tuple[tuple[Point, float], ...]:
    return tuple((point, weight * own) for point, own in reading.parts)


def _at_step(runs: Mapping[str, Trajectory], step: int | None) -> tuple[float, dict[str, float]]:
    """Choose the last step that all runs have, or take the one that is given.

    Raises:
        ValueError: The runs have no step in common, or none has that one.
    """
    steps = {name: set(run.steps) for name, run in runs.items()}
    known = sorted(set().union(*steps.values()))
    if step is None:
        common = [each for each in known if all(each in own for own in steps.values())]
        if known and not common:
            raise ValueError("the runs have no step in common; compare them at tokens or at a loss")
        step = common[-1] if common else 0
    elif step not in known:
        near = ", ".join(str(each) for each in sorted(sorted(known, key=lambda each: abs(each - step))[:3]))
        raise ValueError(f"no run has a point at step {step}; near are {near}")
    return float(step), {name: float(step) for name, own in steps.items() if step in own}


def _remark(target: float, runs: Mapping[str, Trajectory]) -> str:
    """Say which runs have come no further than a step, where others have; or nothing, where all end there."""
    ends = {name: run.steps[-1] for name, run in runs.items()}
    furthest = max(ends.values())
    if furthest <= target:
        return ""
    first = [name for name, end in ends.items() if end == target]
    if not first:
        return f"Step {target:.0f} is the last at which all runs have a point; the longest has come to step {furthest}."
    have = "has" if len(first) == 1 else "have"
    return (
        f"{listed(first)} {have} come to step {target:.0f} so far and the longest run to step {furthest}, so all are "
        f"compared at step {target:.0f}."
    )


def _without_step(run: Trajectory, step: float) -> str:
    return f"it has no point at step {step:.0f}, its last is {run.steps[-1]}"


def _along(run: Trajectory, name: str) -> list[tuple[int, float]]:
    """List the step and the tokens or the loss of each point that has them."""
    pairs = [(point.step, _of(point, name)) for point in run.points]
    return [(step, value) for step, value in pairs if math.isfinite(value)]


def _of(point: Point, name: str) -> float:
    if name == "loss":
        return _finite(point.loss)
    if name == "tokens":
        seen = point.tokens_seen
        return float(seen) if seen is not None else point.values.get(metric_key("tokens_seen"), math.nan)
    return point.values.get(metric_key(name), math.nan)


def _finite(value: float | None) -> float:
    return math.nan if value is None else value


def _at_level(curves: Mapping[str, Sequence[tuple[int, float]]], *, falling: bool) -> tuple[float, dict[str, float]]:
    """Choose the furthest value that all curves reach, and find the first place of each that does."""
    sign = -1 if falling else 1
    target = sign * min((max(sign * value for _, value in curve) for curve in curves.values()), default=math.nan)
    return target, {name: _first_place(curve, target, sign) for name, curve in curves.items()}


def _is_past(value: float, target: float, *, falling: bool) -> bool:
    """Say whether a value lies beyond the target, so that nothing tells where a curve that begins there came to it."""
    return value < target if falling else value > target


def _first_place(curve: Sequence[tuple[int, float]], target: float, sign: int) -> float:
    """Find the first step at which a curve has come to a value, on the line between the two points around it."""
    first, value = curve[0]
    if sign * value >= sign * target:
        return float(first)
    return next(
        start + (target - before) / (after - before) * (end - start)
        for (start, before), (end, after) in pairwise(curve)
        if sign * after >= sign * target
    )
