"""Where the documents of a probe come from, sequences, streams and datasets, and in which order they are taken."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch

Item = TypeVar("Item")


def in_random_order(items: Iterable[Item], generator: torch.Generator) -> Iterable[Item]:
    """Take a sequence in a random order, and a stream as it comes.

    Args:
        items: A sequence, which is shuffled, or any other iterable, which cannot be.
        generator: Source of the order; it is drawn from at once, not when the items are taken.

    Example:
        >>> sorted(in_random_order([1, 2, 3], torch.Generator().manual_seed(0)))
        [1, 2, 3]
    """
    if not isinstance(items, Sequence):
        return items
    return (items[i] for i in torch.randperm(len(items), generator=generator).tolist())


def column_texts(dataset: Any, column: str, seed: int) -> Iterator[str]:
    """Take the texts of one column of a Hugging Face dataset in a random order.

    Args:
        dataset: A ``datasets.Dataset``, or an ``IterableDataset``, which is shuffled by its buffer.
        column: Name of the column that holds the text.
        seed: Seed of the order.

    Raises:
        ValueError: The dataset has no such column.
    """
    columns = dataset.column_names
    if columns is not None and column not in columns:  # a stream may not say what its columns are
        raise ValueError(f"column must be one of {columns}, got {column!r}")
    return (row[column] for row in dataset.shuffle(seed=seed))


def shuffled_rows(rows: Any, seed: int) -> Iterable[Mapping[str, Any]]:
    """Take the rows of a dataset or of a sequence in a random order, and those of a stream as they come.

    Args:
        rows: A ``datasets.Dataset`` or ``IterableDataset``, a sequence of mappings, or any iterable of mappings.
        seed: Seed of the order.
    """
    if hasattr(rows, "column_names"):
        shuffled: Iterable[Mapping[str, Any]] = rows.shuffle(seed=seed)
        return shuffled
    return in_random_order(rows, torch.Generator().manual_seed(seed))
