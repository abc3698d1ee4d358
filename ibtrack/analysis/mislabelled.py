"""Checkpoints that hold other weights than their names say, found from the numbers of a replay.

Published series have branches with the last weights under the names of early steps. Where the files are equal their
hashes tell, before anything is downloaded; where they are not, as after another sharding or a cast, the probe does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ibtrack.record.keys import metric_key
from ibtrack.record.quantities import SHARE_OF
from ibtrack.record.trajectory import Point, Trajectory

# shares of the fall of the loss along a run. Between neighbours late in a run the loss of a probe of 8,000 positions
# moves by .001 to .005 of it, and a checkpoint has to stand out of its neighbours by three times what "equal" allows
EQUAL, APART = 0.01, 0.03
FEWEST_AFTER = 3  # points far above the last loss that must follow, where none comes before
_CLOCK = metric_key("overhead_fraction")


def mislabelled(trajectory: Trajectory) -> dict[int, str]:
    """Find the checkpoints of a replay that seem to hold the weights of the last one, or weights near to it.

    Two rules are used. A point whose numbers all equal those of the last point, to the last digit, is of the same
    weights, wherever it stands. Otherwise a point is suspected if its probe loss equals that of the last point, within
    1 % of the fall of the loss along the run, while the next point that is not suspected is more than 3 % of the fall
    above the last, and so is the one before, which is not below the next: between the two the loss was not that low. A
    spike of the loss late in a run does not fit this, since the point after it is above the one before. At the
    beginning of a run, where there is no point before, three points high above the last one must follow.

    Late in a run, where the honest loss is within 3 % of the fall, nothing but equal numbers can be told. Points that
    failed, and runs without a probe loss or that do not fall, are left alone.

    Args:
        trajectory: A replay, whose points have the names of their checkpoints; of another run nothing is said.

    Returns:
        Step to a sentence that says why its checkpoint is suspected.

    Example:
        >>> losses = {0: 10.8, 1: 10.7, 8: 3.05, 64: 6.1, 512: 4.0, 1000: 3.0}
        >>> points = [Point(step, {"ib/probe_loss": loss}, checkpoint=f"step{step}") for step, loss in losses.items()]
        >>> list(mislabelled(Trajectory({}, {}, points)))
        [8]
    """
    points = [point for point in trajectory.points if point.checkpoint is not None and point.failure is None]
    if len(points) < 2:
        return {}
    found = _equal_to_last(points)
    key = metric_key("probe_loss")
    losses = {point.step: point.values.get(key, math.nan) for point in points if point.step not in found}
    names = {point.step: str(point.checkpoint) for point in points}
    for step in _jumps([*losses], [*losses.values()]):
        found[step] = (
            f"{names[step]} is probably mislabelled: its probe loss is {losses[step]:.3f}, that of the last checkpoint "
            f"is {losses[points[-1].step]:.3f}, and its neighbours are far above both"
        )
    return {step: found[step] for step in sorted(found)}


def with_doubts(trajectory: Trajectory) -> Trajectory:
    """Return a replay with a doubt on the numbers of every checkpoint that seems to be mislabelled.

    The file stays as it is: what is suspected of a point depends on those after it.

    Args:
        trajectory: Any trajectory; one without suspects is returned as it is.
    """
    suspected = mislabelled(trajectory)
    if not suspected:
        return trajectory
    return replace(
        trajectory,
        points=[
            _doubted(point, suspected[point.step]) if point.step in suspected else point for point in trajectory.points
        ],
    )


def _doubted(point: Point, why: str) -> Point:
    """Put a doubt under the keys that the plane shows, and under that of the loss."""
    sides = (*SHARE_OF, *SHARE_OF.values())
    shown = [key for key in point.values if key.rpartition("/")[2] in sides or key == metric_key("probe_loss")]
    return replace(point, notes={**point.notes, **dict.fromkeys(shown, why)})


def _equal_to_last(points: Sequence[Point]) -> dict[int, str]:
    """Find the points whose numbers all equal those of the last one."""
    last = points[-1]
    return {
        point.step: f"{point.checkpoint} is probably mislabelled: all its numbers equal those of {last.checkpoint}, "
        "the last checkpoint, to the last digit"
        for point in points[:-1]
        if _numbers(point) == _numbers(last)
    }


def _numbers(point: Point) -> dict[str, str]:
    """List the numbers of a point as text, in which a missing number equals itself."""
    return {key: repr(value) for key, value in point.values.items() if key != _CLOCK}


def _jumps(steps: Sequence[int], losses: Sequence[float]) -> list[int]:
    """List the steps whose loss equals the last one, between points at which it is far from it.

    Args:
        steps: Steps of the points, in their order.
        losses: Loss of each.
    """
    known = [(step, loss) for step, loss in zip(steps, losses, strict=True) if math.isfinite(loss)]
    if len(known) < 2:
        return []
    last = known[-1][1]
    fall = max(loss for _, loss in known) - last
    suspected: list[int] = []
    for index, (step, loss) in enumerate(known[:-1]):
        others = [
            [each for _, each in part if abs(each - last) > EQUAL * fall]
            for part in (known[:index], known[index + 1 :])
        ]
        before, after = others
        if abs(loss - last) > EQUAL * fall or not after or after[0] <= last + APART * fall:
            continue
        is_between = before[-1] >= after[0] - EQUAL * fall if before else len(_far(after, last, fall)) >= FEWEST_AFTER
        if is_between:
            suspected.append(step)
    return suspected


def _far(losses: Sequence[float], last: float, fall: float) -> list[float]:
    return [loss for loss in losses if loss > last + APART * fall]
