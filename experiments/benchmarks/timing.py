"""Seconds that tasks take, measured side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median


def interleaved(
    tasks: Mapping[str, Callable[[], object]], repetitions: int, *, wait: Callable[[], object] = lambda: None
) -> dict[str, list[float]]:
    """Run every task once to warm up and then in rounds, so that what else the machine does meets all of them alike.

    Args:
        tasks: by name.
        repetitions: rounds that are timed.
        wait: called after each task, within its time: for devices that work on while the processor goes ahead.

    Returns:
        name to the seconds of every round.

    Example:
        >>> calls = []
        >>> found = interleaved({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2)
        >>> "".join(calls), len(found["a"])
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
    """The median and the extremes.

    Example:
        >>> described([3.0, 1.0, 2.0])
        'median 2.0000 s of 3, 1.0000 to 3.0000'
    """
    return f"median {median(seconds):.4f} s of {len(seconds)}, {min(seconds):.4f} to {max(seconds):.4f}"
