"""Configurations to plain values: what a training script puts into its hyperparameters, as strict JSON can hold it."""

from __future__ import annotations

import json
import math
import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

DEEPEST = 32  # levels of nesting that are kept; a value that holds itself would have no end
LARGEST = 1000  # numbers of an array that are kept, and letters of a text that stands for an object
LARGEST_BITS = 64  # of an integer that is kept as a number: readers in other languages know no larger ones


def plain(value: Any) -> Any:
    """Turn any value into one that strict JSON can hold, and that is the same after a restart.

    Numbers, texts, lists and mappings stay what they are. Numbers that are not finite, paths, bytes, enumerations,
    dtypes and objects become texts; sets are sorted; small arrays and tensors become lists, large ones a text with
    their shape. Classes and functions, and objects whose text holds an address in memory, become their names.

    Args:
        value: Any value.

    Returns:
        None, a bool, an int, a finite float, a str, or a list or dict of these.

    Example:
        >>> plain({"lr": float("inf"), "layers": {3, 1}, 5: (1.5, b"ab"), "loss": math.sqrt})
        {'lr': 'inf', 'layers': [1, 3], '5': [1.5, '6162'], 'loss': 'math.sqrt'}
    """
    return _plain(value, 0)


def _plain(value: Any, depth: int) -> Any:
    if depth > DEEPEST:
        return "nested too deeply"
    if not isinstance(value, type):  # a class may have all that its objects have
        for kinds, convert in _LEAVES.items():
            if isinstance(value, kinds):
                return convert(value)
        for kinds, unfold in _CONTAINERS.items():
            if isinstance(value, kinds):
                return unfold(value, depth + 1)
        if is_dataclass(value):
            return {each.name: _plain(getattr(value, each.name, None), depth + 1) for each in fields(value)}
        if hasattr(value, "tolist"):
            return _array(value, depth + 1)
    return _text(value)


def _integer(value: int) -> int | str:
    return int(value) if value.bit_length() <= LARGEST_BITS else hex(value)


def _float(value: float) -> float | str:
    return float(value) if math.isfinite(value) else str(float(value))


def _mapping(value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    """Read the items of a mapping; one that cannot be read, such as a missing entry of OmegaConf, says why."""
    items: dict[str, Any] = {}
    for key in value:
        try:
            item = _plain(value[key], depth)
        except Exception as error:
            item = f"unreadable: {type(error).__name__}"
        items[str(_plain(key, 0))] = item
    return items


def _array(value: Any, depth: int) -> Any:
    """Read an array of NumPy or a tensor; a large one becomes a text."""
    shape = tuple(getattr(value, "shape", ()))
    if math.prod(shape) > LARGEST:
        return f"{_name(type(value))} of shape {shape}"
    return _plain(value.tolist(), depth)


def _set(value: AbstractSet[Any], depth: int) -> list[Any]:
    return sorted((_plain(item, depth) for item in value), key=json.dumps)


_LEAVES: dict[Any, Callable[[Any], Any]] = {
    (bool, type(None)): lambda value: value,
    (Enum, str): str,
    int: _integer,
    float: _float,
    (bytes, bytearray): lambda value: bytes(value[:LARGEST]).hex(),
    os.PathLike: os.fsdecode,
}
_CONTAINERS: dict[Any, Callable[[Any, int], Any]] = {
    Mapping: _mapping,
    AbstractSet: _set,
    (Sequence, deque): lambda value, depth: [_plain(item, depth) for item in value],
}


def _text(value: Any) -> str:
    """Write an object as its text, or, where that would differ after a restart, as its name."""
    if isinstance(value, type) or hasattr(value, "__qualname__"):
        return _name(value)
    text = str(value)
    return _name(type(value)) if " at 0x" in text else text[:LARGEST]


def _name(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"
