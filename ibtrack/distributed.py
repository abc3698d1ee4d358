"""Several processes that measure together: which one this is, sums over all of them, and errors that reach all.

Without a process group of ``torch.distributed`` all functions answer as for a single process. With one, all but `rank`
and `world_size` are collective: every process must call them, in the same order, or those that do wait for the rest.
`meet` is the one that waits for a bounded time only, so it comes first.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ibtrack.record.texts import reason

SAY_AFTER = timedelta(seconds=30)  # how long a process waits for the others to start before it says so
PATIENCE = timedelta(minutes=5)  # and before it gives up: below the timeouts of torch, 10 minutes (NCCL), 30 (Gloo)
SETTLING = 0.05  # seconds in which threads that wait for the interpreter get it
_NUM_REASONS = 3  # that a sentence names: if many processes fail, most often for the same reason


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


def decided_by_first(answer: bool, device: torch.device) -> bool:
    """Give every process the answer of the first one.

    Answers that depend on wall time differ between processes, and a measurement needs all of them.

    Args:
        answer: The answer of this process; it counts on the first one only.
        device: The device that the processes exchange data on.
    """
    return bool(sum_over_processes(torch.tensor(float(answer and rank() == 0), device=device)) > 0)


def of_every_process(value: Any, device: torch.device) -> list[Any]:
    """Gather a value of every process, in the order of their ranks.

    Args:
        value: What this process gives; it must be picklable, and small.
        device: The device that the processes exchange data on.

    Example:
        >>> of_every_process("one", torch.device("cpu"))  # of one process
        ['one']
    """
    if not _several():
        return [value]
    values: list[Any] = [None] * world_size()
    with torch.cuda.device(device if device.type == "cuda" else -1):  # torch takes the current one, and -1 changes none
        dist.all_gather_object(values, value)
    return values


def raise_together(error: Exception | None, device: torch.device) -> None:
    """Raise on every process if one of them failed, so that none waits for a process that has stopped.

    Args:
        error: What went wrong on this process, or None.
        device: The device that the processes exchange data on.

    Raises:
        Exception: The error of this process.
        MeasurementError: This process is fine and others failed; it says which of them and why.
    """
    if not on_any_process(error is not None, device):
        return
    sentence = what_failed(error, device)
    if error is not None:
        raise error
    raise MeasurementError(sentence)


def what_failed(error: Exception | None, device: torch.device) -> str:
    """Say which processes failed and why; the same sentence on all of them.

    Args:
        error: What went wrong on this process, or None.
        device: The device that the processes exchange data on.

    Example:
        >>> what_failed(ValueError("a bad row"), torch.device("cpu"))  # of one process
        'it failed on process 0: ValueError: a bad row'
    """
    by_reason: dict[str, list[int]] = {}
    own = None if error is None else reason(error)
    for index, said in enumerate(of_every_process(own, device)):
        if said is not None:
            by_reason.setdefault(said, []).append(index)
    parts = [
        f"it failed on process{'es' if len(ranks) > 1 else ''} {', '.join(map(str, ranks))}: {said}"
        for said, ranks in by_reason.items()
    ]
    more = len(parts) - _NUM_REASONS
    return "; ".join(parts[:_NUM_REASONS]) + (f"; and for {more} more reasons on others" if more > 0 else "")


@contextlib.contextmanager
def together(device: torch.device) -> Iterator[None]:
    """Run a block of code that may fail on some of the processes, and raise after it on all, see `raise_together`.

    Args:
        device: The device that the processes exchange data on.

    Raises:
        Exception: The error of this process.
        MeasurementError: This process is fine and others failed.
    """
    error: Exception | None = None
    try:
        yield
    except Exception as problem:
        error = problem
    raise_together(error, device)


def meet(call: str, say: Callable[[str], None]) -> None:
    """Wait until every process has come here, for `PATIENCE` at the longest.

    Everything else in this module waits as long as the process group does, which tells nobody why. So what is called
    by all processes begins with this. It asks the store at which the processes have met, not the network between
    their devices, and so it goes with every backend.

    Args:
        call: Name of the call that every process has to make, for the messages.
        say: Takes a sentence if others have not come after `SAY_AFTER`.

    Raises:
        MeasurementError: A process has not come; the sentence says which.
    """
    if not _several():
        return
    store = dist.distributed_c10d._get_default_store()
    name = f"ibtrack/{call}/{store.add(f'ibtrack/{call}/of {rank()}', 1)}"  # the first, second … of this process
    store.set(f"{name}/{rank()}", "here")
    if store.add(name, 1) == world_size():
        store.set(f"{name}/all", "here")

    def absent(patience: timedelta) -> str:
        """Name the processes that have not come after some time; empty if all have."""
        try:
            store.wait([f"{name}/all"], patience)
        except RuntimeError:  # whichever store it is
            return ", ".join(str(index) for index in range(world_size()) if not store.check([f"{name}/{index}"]))
        return ""

    if late := absent(SAY_AFTER):
        say(f"{call} waits for the processes {late} to call it, as every process must")
    if late and (missing := absent(PATIENCE - SAY_AFTER)):
        raise MeasurementError(
            f"every process must call {call}, and what follows it, not the first one alone: of {world_size()} "
            f"processes {missing} did not within {PATIENCE.total_seconds():.0f} s"
        )


def settle() -> None:
    """Give the threads of the process group time to drop what was exchanged last, so that the group can be ended.

    A script may destroy its group while a model lives that is wrapped for data parallel training. The wrapper then ends
    the group when it goes, and waits for those threads without letting go of the interpreter, which they need to drop
    a tensor (torch 2.13, Gloo): one run in 150 that ended right after a measurement waited for ever.
    """
    if world_size() > 1:
        time.sleep(SETTLING)


@contextlib.contextmanager
def buffers_of_first(model: nn.Module) -> Iterator[None]:
    """Give a model that is wrapped for data parallel training the first process's buffers, and run it without exchange.

    The wrapper does the same at the first forward pass after each training step. A pass without gradients would use
    that up, and the next training step would go on with buffers that differ. And a process that failed before the
    model would leave the others waiting. The buffers stay as they become: `ibtrack.capture.isolation.undisturbed`
    around this puts them back.

    Args:
        model: The model, with ``DistributedDataParallel`` anywhere in it or not.
    """
    wrappers = [module for module in model.modules() if isinstance(module, DistributedDataParallel)]
    before = [wrapper.require_forward_param_sync for wrapper in wrappers]
    try:
        for wrapper in wrappers:
            if wrapper.will_sync_module_buffers():
                _broadcast_buffers(wrapper)
            wrapper.require_forward_param_sync = False
        yield
    finally:
        for wrapper, wanted in zip(wrappers, before, strict=True):
            wrapper.require_forward_param_sync = wanted


def _broadcast_buffers(wrapper: DistributedDataParallel) -> None:
    group = wrapper.process_group
    for name, buffer in wrapper.module.named_buffers():
        if name not in wrapper.parameters_to_ignore:
            dist.broadcast(buffer, src=dist.get_global_rank(group, 0), group=group)


def _several() -> bool:
    """Whether processes have joined a group."""
    return dist.is_available() and dist.is_initialized()
