"""The memory of a replay: how much of it the rows of the sites may take, and whether two models fit into it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from ibtrack.tracking.measurement import ROW_BYTES, device_of

# shares of the free memory. What is left is for activations, logits and the readings, which work in chunks; on the CPU
# other programs want some as well
ROWS_ON_ACCELERATOR, ROWS_ON_CPU = 2, 4
BESIDE = 4  # times a model's size that must be free for another one to be loaded beside it
_CGROUP = Path("/sys/fs/cgroup")  # where Linux says how much memory a container may have


class Room(NamedTuple):
    """How the memory of a device is shared out.

    Attributes:
        row_bytes: Bytes for the rows of the sites that are measured in one pass over the probe.
        beside: Whether the next model may be loaded while one is measured.
    """

    row_bytes: int
    beside: bool


def share_out(model: nn.Module) -> Room:
    """Share out the memory of a model's device, on which a replay has no training beside it.

    On an accelerator the rows of the sites may take half of what is free once the model is there, so that a large
    probe does not cost a forward pass for every few sites; on the CPU they may take a quarter of it, and 1 GiB at
    least. How many passes there are moves numbers by the order of sums alone: on the CPU by 1e-15 of a number, and on
    an accelerator, where the sites of a pass are assigned together in float32, by 1e-6.

    The next model is loaded while this one is measured if four times its size is free, and if its weights have the
    type that torch makes new tensors in: transformers changes that type for the whole process while it makes a model
    of another one, and a measurement on another thread would make its tensors in it.

    Args:
        model: The first model, as it is on its device.
    """
    device, size = device_of(model), size_of(model)
    free = free_memory(device)
    beside = free >= BESIDE * size and has_usual_type(model)
    left = free - size if beside else free
    if device.type == "cpu":
        return Room(max(ROW_BYTES, left // ROWS_ON_CPU), beside)
    return Room(max(ROW_BYTES, left // ROWS_ON_ACCELERATOR), beside)


def size_of(model: nn.Module) -> int:
    """Return the bytes of a model's parameters and buffers.

    Args:
        model: The model.

    Example:
        >>> size_of(nn.Linear(3, 2))
        32
    """
    return sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))


def has_usual_type(model: nn.Module) -> bool:
    """Whether all weights have the type that torch makes new tensors in.

    Args:
        model: The model.

    Example:
        >>> has_usual_type(nn.Linear(2, 2)), has_usual_type(nn.Linear(2, 2, dtype=torch.bfloat16))
        (True, False)
    """
    types = {parameter.dtype for parameter in model.parameters() if parameter.is_floating_point()}
    return types <= {torch.get_default_dtype()}


def free_memory(device: torch.device) -> int:
    """Return the bytes that a process can still take on a device.

    Args:
        device: A CUDA device, whose memory that torch keeps for new tensors counts as free; of any other one that of
            the machine or of its container counts, as they share it.
    """
    if device.type != "cuda":
        return min([_of_machine(), *_of_container(_CGROUP)])
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def _of_machine() -> int:
    """Bytes that the machine has available; where it does not say, what it has, or nothing beyond the least."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):  # it is not Linux
        names = ("SC_PHYS_PAGES", "SC_PAGE_SIZE")
        known = hasattr(os, "sysconf") and all(name in os.sysconf_names for name in names)
        return os.sysconf(names[0]) * os.sysconf(names[1]) if known else 0


def _of_container(folder: Path) -> list[int]:
    """Bytes that the container has left, as the one entry of a list; empty where there is no limit."""
    try:
        limit, used = (int((folder / name).read_text()) for name in ("memory.max", "memory.current"))
        counts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # there is no such file, or it says "max"
        return []
    return [max(0, limit - used + int(counts.get("inactive_file", 0)))]  # copies of files on the disk give way
