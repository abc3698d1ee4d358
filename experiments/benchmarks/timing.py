"""Timing of several tasks in turn, so that the load of the machine meets all of them equally."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median


def interleaved(
    tasks: Mapping[str, Callable[[], object]], repetitions: int, *, wait: Callable[[], object] = lambda: None
) -> dict[str, list[float]]:
    """Run every task once to warm up, and then time all of them in rounds.

    Args:
        tasks: Name to task.
        repetitions: Number of rounds that are timed.
        wait: Function that is called after each task, within its time. For a device that works on after a call has
            returned, it waits until the device is done.

    Returns:
        Name of a task to its seconds in every round.

    Example:
        >>> calls = []
        >>> seconds = interleaved({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2)
        >>> "".join(calls), len(seconds["a"])
        ('ababab', 2)
    """
    for task in tasks.values():
        task()
        wait()
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(repetitions):
        for name, task in tasks.items():
            began = time.perf_counter()
            task()
            wait()
            seconds[name].append(time.perf_counter() - began)
    return seconds


def described(seconds: Sequence[float]) -> str:
    """Write the median and the extremes of several times.

    Example:
        >>> described([3.0, 1.0, 2.0])
        'median 2.0000 s of 3, 1.0000 to 3.0000'
    """
    return f"median {median(seconds):.4f} s of {len(seconds)}, {min(seconds):.4f} to {max(seconds):.4f}"
