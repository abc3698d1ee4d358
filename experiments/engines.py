"""Engines that need numbers worked out: a strategy over all processes of all nodes."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.strategies import ModelParallelStrategy


def sharded(*, devices: int, num_nodes: int = 1, **settings: Any) -> ModelParallelStrategy:
    """Make the strategy that shards a model over all devices of all nodes (FSDP2).

    Args:
        devices: Number of devices of a node.
        num_nodes: Number of nodes.
        settings: Further arguments of Lightning's ``ModelParallelStrategy``.

    Returns:
        The strategy.

    Raises:
        ValueError: ``devices`` is no number, which the strategy needs.

    Example:
        >>> sharded(devices=8, num_nodes=2)._data_parallel_size
        16
    """
    if not isinstance(devices, int) or devices < 1:
        raise ValueError(f"trainer.devices must be the number of devices of a node for FSDP2, got {devices!r}")
    return ModelParallelStrategy(data_parallel_size=devices * num_nodes, tensor_parallel_size=1, **settings)
