"""Which checkpoints of a run are measured: those that a schedule asks for, or some at even distances."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ibtrack._checks import check_integer
from ibtrack.replay.checkpoint import Checkpoint
from ibtrack.schedules import Progress, Schedule


def due(checkpoints: Sequence[Checkpoint], schedule: Schedule) -> list[Checkpoint]:
    """Choose the checkpoints at which a schedule has something due, as a monitor would that is asked at each of them.

    Args:
        checkpoints: Checkpoints in the order of their steps, all of which are known.
        schedule: Schedule of `ibtrack.schedules`; the first checkpoint and the last are always taken.

    Raises:
        ValueError: The schedule counts seconds, or it counts tokens and those of a checkpoint are not known.

    Example:
        >>> from ibtrack import schedules
        >>> saved = [Checkpoint(f"step{step}", "runs/a", step) for step in range(0, 50, 5)]
        >>> [each.step for each in due(saved, schedules.every(20))]
        [0, 20, 40, 45]
    """
    if not schedule.by_step_alone:
        _check_tokens(checkpoints, schedule)
    moments = [Progress(each.step or 0, each.tokens or 0) for each in checkpoints]
    return [
        each
        for place, each in enumerate(checkpoints)
        if place in (0, len(checkpoints) - 1) or schedule.due(moments[place], since=moments[place - 1])
    ]


def evenly(checkpoints: Sequence[Checkpoint], max_points: int) -> list[Checkpoint]:
    """Choose checkpoints whose steps lie most evenly in the logarithm; the first and the last are always taken.

    Args:
        checkpoints: Checkpoints in the order of their steps, all of which are known.
        max_points: Greatest number of checkpoints to choose, at least 2.

    Raises:
        ValueError: ``max_points`` is no integer of at least 2.

    Example:
        >>> saved = [Checkpoint(f"step{step}", "runs/a", step) for step in range(0, 1001)]
        >>> [each.step for each in evenly(saved, 5)]
        [0, 1, 10, 100, 1000]
    """
    wanted = check_integer("max_points", max_points, minimum=2)
    if len(checkpoints) <= wanted:
        return [*checkpoints]
    steps = [each.step or 0 for each in checkpoints]
    logs = [math.log(max(step, 1)) for step in steps]
    begin = (
        1 if steps[0] == 0 and wanted > 2 else 0
    )  # step 0 has no logarithm: it is taken, and the rest begins after it
    places = [0] if begin else []
    targets = wanted - begin
    for number in range(targets):
        target = logs[begin] + (logs[-1] - logs[begin]) * number / max(targets - 1, 1)
        first = places[-1] + 1 if places else 0
        last = len(logs) - (targets - number)  # enough are left for the others
        places.append(min(range(first, last + 1), key=lambda place: abs(logs[place] - target)))
    return [checkpoints[place] for place in places]


def _check_tokens(checkpoints: Sequence[Checkpoint], schedule: Schedule) -> None:
    """Refuse a schedule that counts what the checkpoints do not tell.

    Raises:
        ValueError: It counts seconds, or tokens that are not known.
    """
    if any(getattr(rule, "unit", "step") == "seconds" for rule in schedule.rules):
        raise ValueError("schedule must count steps or tokens, as saved checkpoints tell no time, got one of seconds")
    unknown = next((each for each in checkpoints if each.tokens is None), None)
    if unknown is not None:
        raise ValueError(f"schedule must count steps, as the tokens of {unknown.name} are not known, got one of tokens")
