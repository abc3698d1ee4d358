"""What depends on the device: how many rows are worked on together, and how structures of tensors move.

On a CPU few rows are worked on together, so that they stay in the cache of a core. On an accelerator a call costs more
than what it does, so as much is done in each as the memory allows.

Letters: N rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

ROWS_AT_ONCE = 1 << 11  # rows that are worked on together: 2048 x 100 anchors in float32 stay in a core's cache
ACCELERATOR_NUMBERS = 1 << 27  # numbers of one table that are worked on together on an accelerator: 512 MB in float32

_Structure = TypeVar("_Structure")


def in_pieces(rows: Tensor) -> tuple[Tensor, ...]:
    """Split a table (N, ...) into pieces of rows that are worked on together."""
    return rows.split(ROWS_AT_ONCE if rows.device.type == "cpu" else rows_on_accelerator(rows[0].numel()))


def rows_on_accelerator(numbers: int) -> int:
    """Say how many rows of so many numbers each are worked on together on an accelerator, at least one."""
    return max(1, ACCELERATOR_NUMBERS // numbers)


def to_device(structure: _Structure, device: torch.device) -> _Structure:
    """Move every tensor of a structure to a device.

    Args:
        structure: A tensor, or a dataclass, a tuple or a dictionary of structures; anything else in them stays.
        device: The device.
    """
    return _map_tensors(structure, lambda tensor: tensor.to(device))


def to_cpu_at_once(structure: _Structure) -> _Structure:
    """Bring every tensor of a structure into the CPU's memory, in one transfer, as each waits for the accelerator.

    Args:
        structure: As for `to_device`; its tensors are float64.

    Example:
        >>> to_cpu_at_once({"a": torch.zeros(1).double(), "b": (torch.ones(1, 2).double(), "word")})
        {'a': tensor([0.], dtype=torch.float64), 'b': (tensor([[1., 1.]], dtype=torch.float64), 'word')}
    """
    parts: list[Tensor] = []

    def collect(tensor: Tensor) -> Tensor:
        parts.append(tensor)
        return tensor

    _map_tensors(structure, collect)
    if all(part.device.type == "cpu" for part in parts):
        return structure
    together = torch.cat([part.flatten() for part in parts]).cpu()
    moved = iter(together.split([part.numel() for part in parts]))
    return _map_tensors(structure, lambda tensor: next(moved).view(tensor.shape))


def _map_tensors(structure: _Structure, change: Callable[[Tensor], Tensor]) -> _Structure:
    """Change every tensor of a structure, always in the same order."""
    changed: Any = structure
    if isinstance(structure, Tensor):
        changed = change(structure)
    elif isinstance(structure, tuple):
        changed = tuple(_map_tensors(part, change) for part in structure)
    elif isinstance(structure, dict):
        changed = {name: _map_tensors(part, change) for name, part in structure.items()}
    elif is_dataclass(structure) and not isinstance(structure, type):
        changed = replace(
            structure,
            **{field.name: _map_tensors(getattr(structure, field.name), change) for field in fields(structure)},
        )
    return changed
