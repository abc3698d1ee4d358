"""Stages of training, such as fine-tuning and preference optimisation, that follow each other in one trajectory."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ibtrack.record.keys import metric_key
from ibtrack.record.trajectory import Point

_SAME_MODEL = 0.01  # relative; a model that is measured twice, on machines of two kinds, differs by far less


def check_stage(stage: str | None) -> str | None:
    """Check the name of a stage.

    Args:
        stage: Name of a stage of training, or None.

    Raises:
        ValueError: It is no text, or an empty one.
    """
    if stage is not None and not (isinstance(stage, str) and stage.strip()):
        raise ValueError(f"stage must be the name of a stage of training, such as 'dpo', got {stage!r}")
    return stage


def jump(before: Point, point: Point) -> str:
    """Say how far a point is from another one of what should be the same model, in entropy or loss on the probe.

    Args:
        before: Last point of the stage before.
        point: The model as it is where the stage begins.

    Returns:
        The sentence; empty if they agree within 1 %, or if nothing tells.

    Example:
        >>> jump(Point(8, {"ib/probe_loss": 2.0}), Point(8, {"ib/probe_loss": 2.5}))
        'ib/probe_loss was 2 there and is 2.5 here'
    """
    for key in (metric_key("entropy", site="mean"), metric_key("probe_loss")):
        was, now = before.values.get(key, math.nan), point.values.get(key, math.nan)
        if math.isfinite(was) and math.isfinite(now) and not math.isclose(was, now, rel_tol=_SAME_MODEL):
            return f"{key} was {was:.4g} there and is {now:.4g} here"
    return ""


def last_before(stage: str | None, points: Sequence[Point]) -> Point | None:
    """Find the last point of the stages before a stage of training: that before its first point, else the last one.

    Args:
        stage: Name of the stage; None is that of a run without stages.
        points: Points of the run in the order of their steps.

    Example:
        >>> points = [Point(0), Point(8), Point(9, stage="dpo")]
        >>> last_before("dpo", points), last_before("rl", points), last_before("sft", []), last_before(None, points)
        (Point(step=8, 0 values), Point(step=9, 0 values), None, None)
    """
    if stage is None:
        return None
    number = next((index for index, point in enumerate(points) if point.stage == stage), len(points))
    return points[number - 1] if number else None
