"""Loaders of training batches that go on, after a cut, with the very next batch."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Trainer
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from experiments.order import Order
from experiments.stream_loader import StreamLoader


def training_loader(
    blocks: Any,
    *,
    batch_size: int,
    seed: int = 0,
    num_workers: int = 0,
    rank: int = 0,
    world_size: int = 1,
    num_batches: int | None = None,
) -> BlockLoader | StreamLoader:
    """Make the loader that fits some blocks: one that knows where it is in them, or in a stream of them.

    Args:
        blocks: Blocks with ``len`` and by index, or a stream of them, see `BlockLoader` and `StreamLoader`.
        batch_size: Number of blocks in a batch of one process, B.
        seed: Seed of the order of the blocks; a stream has an order of its own.
        num_workers: Number of worker processes that read ahead; 0 reads when a batch is wanted.
        rank: Index of this process.
        world_size: Number of processes, each of which takes its share of every batch.
        num_batches: Number of batches after which a stream is said to have come round, see `StreamLoader`.

    Example:
        >>> loader = training_loader(torch.arange(12).view(6, 2), batch_size=3)
        >>> [batch.shape for batch in loader]
        [torch.Size([3, 2]), torch.Size([3, 2])]
    """
    if isinstance(blocks, IterableDataset):
        return StreamLoader(blocks, batch_size=batch_size, num_workers=num_workers, num_batches=num_batches)
    return BlockLoader(
        blocks, batch_size=batch_size, seed=seed, num_workers=num_workers, rank=rank, world_size=world_size
    )


def place(trainer: Trainer | None) -> dict[str, Any]:
    """Return which share of the batches a trainer's process takes, and how many there are, for `training_loader`.

    Args:
        trainer: The trainer; None for a loader without one.

    Example:
        >>> place(None)
        {}
    """
    if trainer is None:
        return {}
    steps = trainer.max_steps * trainer.accumulate_grad_batches
    return {"rank": trainer.global_rank, "world_size": trainer.world_size, "num_batches": steps if steps > 0 else None}


class BlockLoader:
    """Batches of blocks, shuffled anew in each epoch, whose state is one number: the batches that were taken.

    Batch k of all processes together holds the blocks at positions k·B·W to (k + 1)·B·W of the order, W processes, and
    process r takes the r-th B of them. Which blocks these are depends on nothing that was read before, nor on workers
    or processes, so a run of another number of processes with the same batch of all together goes on with the next
    batch. Blocks at the end of an epoch that do not fill a batch are left out of that epoch.

    An epoch goes on where the last one, or an abandoned one, has ended. Workers read across the end of an epoch, and
    what they have read ahead is not counted as taken.

    Args:
        blocks: Blocks by index, int64 token ids (T,): a tensor (S, T), or what has ``len``, ``[i]`` and, for many at
            once, ``__getitems__``.
        batch_size: Number of blocks in a batch of one process, B.
        seed: Seed of the order of the blocks.
        num_workers: Number of worker processes that read ahead; 0 reads when a batch is wanted.
        rank: Index of this process.
        world_size: Number of processes.

    Raises:
        ValueError: The blocks do not fill one batch.

    Example:
        >>> loader = BlockLoader(torch.arange(6)[:, None], batch_size=2)
        >>> first = next(iter(loader))
        >>> state = loader.state_dict()
        >>> rest = [batch.flatten().tolist() for batch in loader]
        >>> again = BlockLoader(torch.arange(6)[:, None], batch_size=2)
        >>> again.load_state_dict(state)
        >>> [batch.flatten().tolist() for batch in again] == rest, len(rest), len(again)
        (True, 2, 3)
    """

    def __init__(
        self,
        blocks: Any,
        *,
        batch_size: int,
        seed: int = 0,
        num_workers: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.batch_size, self.rank, self.world_size = batch_size, rank, world_size
        if len(blocks) < batch_size * world_size:
            raise ValueError(
                f"blocks must fill one batch of {batch_size * world_size} of all {world_size} processes, "
                f"got {len(blocks)} blocks"
            )
        self.order = Order(len(blocks), seed=seed)
        self.num_workers = num_workers
        self.taken = 0
        self._blocks = blocks
        self._iterator: Iterator[Tensor] | None = None  # Lightning ends the workers of what has this name

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return self.order.num_blocks // (self.batch_size * self.world_size)

    def __iter__(self) -> Iterator[Tensor]:
        """Yield the batches that are left of the epoch, (B, T); all of the next one if none is left."""
        for _ in range(len(self) - self.taken % len(self)):
            if self._iterator is None:
                self._iterator = iter(self._ahead())
            batch = next(self._iterator)
            self.taken += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Return how many batches were taken, and of how many blocks: the same on every process."""
        return {"taken": self.taken, "batch": self.batch_size * self.world_size, "blocks": self.order.num_blocks}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on with the batch after those that were taken.

        Args:
            state_dict: State of a loader of the same blocks with the same batch of all processes together.

        Raises:
            ValueError: It is of another loader.
        """
        for name, now in self.state_dict().items():
            if name != "taken" and state_dict[name] != now:
                raise ValueError(f"the loader must be that of the state, {name} {state_dict[name]}, got {now}")
        self.taken = state_dict["taken"]
        self._iterator = None

    def _ahead(self) -> DataLoader[Tensor]:
        """Read the batches to come, without end; workers ask for them before they are wanted."""
        batch, share = self.batch_size * self.world_size, self.rank * self.batch_size
        return DataLoader(
            _Rows(self._blocks),
            batch_size=None,
            sampler=_rows(self.order, batch, slice(share, share + self.batch_size), self.taken),
            num_workers=self.num_workers,
            generator=torch.Generator(),  # it draws a seed for its workers, from the global state if it has none
        )


def _rows(order: Order, batch: int, share: slice, taken: int) -> Iterator[np.ndarray]:
    """Yield which blocks are in a process's share of each batch of all processes, from one batch on."""
    for number in itertools.count(taken):
        epoch, within = divmod(number, order.num_blocks // batch)
        yield order(epoch, within * batch + share.start, within * batch + share.stop)


class _Rows(Dataset[Tensor]):
    """Blocks by many indices at once, as one tensor; workers get a copy of this."""

    def __init__(self, blocks: Any) -> None:
        self._blocks = blocks

    def __len__(self) -> int:
        return len(self._blocks)

    def __getitem__(self, rows: np.ndarray) -> Tensor:
        if isinstance(self._blocks, Tensor):
            return self._blocks[torch.from_numpy(rows)]
        indices = rows.tolist()
        many = getattr(self._blocks, "__getitems__", None)
        found = many(indices) if many else [self._blocks[index] for index in indices]
        return found if isinstance(found, Tensor) else torch.stack(list(found))
