"""Several processes that measure together: which one this is, sums over all of them, and errors that reach all.

Without a process group of ``torch.distributed`` all functions answer as for a single process. With one, all but `rank`
and `world_size` are collective: every process must call them, in the same order, or those that do wait for the rest.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


class MeasurementError(RuntimeError):
    """A measurement did not succeed."""


def rank() -> int:
    """Return the index of this process, 0 if it is the only one."""
    return dist.get_rank() if _several() else 0


def world_size() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if _several() else 1


def sum_over_processes(value: Tensor) -> Tensor:
    """Sum a tensor over all processes, in place, so that each of them has the sum.

    Args:
        value: A tensor of the same shape and type on every process, on the device that the processes exchange data on.

    Returns:
        ``value`` itself.

    Example:
        >>> sum_over_processes(torch.tensor([1, 2]))  # of one process
        tensor([1, 2])
    """
    if _several():
        dist.all_reduce(value)
    return value


def on_any_process(answer: bool, device: torch.device) -> bool:
    """Tell every process whether the answer is yes on at least one of them.

    Args:
        answer: The answer of this process.
        device: The device that the processes exchange data on.
    """
    return bool(sum_over_processes(torch.tensor(float(answer), device=device)) > 0)


def decided_by_first(answer: bool) -> bool:
    """Give every process the answer of the first one.

    Answers that depend on wall time differ between processes, and a measurement needs all of them.

    Args:
        answer: The answer of this process; it counts on the first one only.
    """
    if not _several():
        return answer
    answers = [answer]
    dist.broadcast_object_list(answers)
    return answers[0]


def raise_together(error: Exception | None, device: torch.device) -> None:
    """Raise on every process if one of them failed, so that none waits for a process that has stopped.

    Args:
        error: What went wrong on this process, or None.
        device: The device that the processes exchange data on.

    Raises:
        Exception: The error of this process.
        MeasurementError: This process is fine and another one failed.
    """
    failed = on_any_process(error is not None, device)
    if error is not None:
        raise error
    if failed:
        raise MeasurementError("it failed on another process")


def _several() -> bool:
    """Whether processes have joined a group."""
    return dist.is_available() and dist.is_initialized()
