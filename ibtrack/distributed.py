"""Several processes: who this one is, and sums over all of them."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


class MeasurementError(RuntimeError):
    """A measurement did not succeed."""


def rank() -> int:
    return dist.get_rank() if _several() else 0


def world_size() -> int:
    return dist.get_world_size() if _several() else 1


def sum_over_processes(value: Tensor) -> Tensor:
    """``value`` summed over processes, in place."""
    if _several():
        dist.all_reduce(value)
    return value


def on_any_process(answer: bool, device: torch.device) -> bool:
    """Whether it is so on one process at least, told to all."""
    return bool(sum_over_processes(torch.tensor(float(answer), device=device)) > 0)


def decided_by_first(answer: bool) -> bool:
    """The answer of the first process, on all: clocks differ, and a measurement needs everyone."""
    if not _several():
        return answer
    said = [answer]
    dist.broadcast_object_list(said)
    return said[0]


def raise_together(error: Exception | None, device: torch.device) -> None:
    """Raise on every process if one of them failed, so that none waits for another.

    Raises:
        Exception: this process's own error.
        MeasurementError: another process came with one.
    """
    failed = on_any_process(error is not None, device)
    if error is not None:
        raise error
    if failed:
        raise MeasurementError("it failed on another process")


def _several() -> bool:
    return dist.is_available() and dist.is_initialized()
