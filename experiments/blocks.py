"""Blocks of token ids, cut out of one long row of them, as a dataset that a loader takes its batches from.

Letters: N tokens of a row, S blocks, T block length.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

_Array: TypeAlias = npt.NDArray[Any]


class TokenRow(Protocol):
    """A row of N token ids, in memory or on disk, of which parts are read: a NumPy array, or a `TokenFile`."""

    def __len__(self) -> int:
        """Return the number of tokens, N."""
        ...

    def __getitem__(self, part: slice, /) -> _Array:
        """Return a part of the row, an array of integers."""
        ...


class Blocks(Dataset[Tensor]):
    """The blocks of a row of tokens: block i holds tokens i T to (i + 1) T.

    Tokens at the end that do not fill a block are in none. The blocks hold no tokens themselves, so they are as cheap
    to send to a worker process as their row is.

    Args:
        row: The token ids, (N,).
        block_size: Number of tokens in a block, T.

    Raises:
        ValueError: ``block_size`` is below 1.

    Example:
        >>> blocks = Blocks(np.arange(8, dtype=np.uint16), block_size=3)
        >>> len(blocks), blocks[1], blocks.stacked().shape
        (2, tensor([3, 4, 5]), torch.Size([2, 3]))
    """

    def __init__(self, row: TokenRow, block_size: int) -> None:
        if operator.index(block_size) < 1:
            raise ValueError(f"block_size must be at least 1, got {block_size}")
        self.row = row
        self.block_size = block_size

    def __len__(self) -> int:
        """Return the number of blocks, S."""
        return len(self.row) // self.block_size

    @property
    def num_tokens(self) -> int:
        """Number of tokens that are in a block, S T."""
        return len(self) * self.block_size

    def __getitem__(self, index: int) -> Tensor:
        """Return a block: int64 token ids, (T,).

        Raises:
            IndexError: There is no such block.
        """
        number = operator.index(index)
        number += len(self) if number < 0 else 0
        if not 0 <= number < len(self):
            raise IndexError(f"block must be one of {len(self)}, got {index}")
        ids = self.row[number * self.block_size : (number + 1) * self.block_size]
        return torch.from_numpy(ids.astype(np.int64))

    def __getitems__(self, indices: Iterable[int]) -> list[Tensor]:
        """Return several blocks, as loaders ask for those of a batch."""
        return [self[index] for index in indices]

    def stacked(self) -> Tensor:
        """Return all blocks as one tensor, int64, (S, T); only for as many as memory holds."""
        return torch.from_numpy(self.row[: self.num_tokens].astype(np.int64)).view(len(self), self.block_size)
