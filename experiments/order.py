"""The order of training blocks: a pure function of seed, epoch and position, so that a number says where a run is."""

from __future__ import annotations

import numpy as np
import torch

DRAWN = 1 << 24  # blocks up to which an order is a drawn permutation: 64 MiB at 4 bytes each, and some .3 s an epoch
_ROUNDS = 8  # twice what Luby and Rackoff need with random functions, as these are only well mixed ones


class Order:
    """All blocks of a corpus, once in every epoch, in an order that is new in each.

    Up to `DRAWN` blocks the order is `torch.randperm` of a generator that goes on from epoch to epoch, which is the
    very order in which torch's own loader has one process shuffle under Lightning. A permutation of more blocks would
    take memory on every process, so there a position is encrypted: a Feistel network over the least even power of two
    that holds all positions, applied again until it falls among the blocks (cycle-walking; Black and Rogaway, Ciphers
    with arbitrary finite domains, 2002). It takes no memory, and an epoch is entered anywhere at once.

    Args:
        num_blocks: Number of blocks, S.
        seed: Seed of all orders.

    Raises:
        ValueError: There are no blocks.

    Example:
        >>> order = Order(5, seed=0)
        >>> sorted(order(0, 0, 5).tolist()), order(0, 0, 5).tolist() == order(1, 0, 5).tolist()
        ([0, 1, 2, 3, 4], False)
        >>> order(3, 2, 4).tolist() == order(3, 0, 5).tolist()[2:4]
        True
    """

    def __init__(self, num_blocks: int, *, seed: int) -> None:
        if num_blocks < 1:
            raise ValueError(f"num_blocks must be at least 1, got {num_blocks}")
        self.num_blocks, self.seed = num_blocks, seed
        self._generator = torch.Generator()
        self._epoch = -1
        self._permutation = np.empty(0, dtype=np.int32)

    def __call__(self, epoch: int, start: int, stop: int) -> np.ndarray:
        """Return which blocks stand at some positions of an epoch.

        Args:
            epoch: Number of the epoch, from 0.
            start: First position.
            stop: Position after the last; at most the number of blocks.

        Returns:
            Indices of blocks, int64, (stop - start,).

        Raises:
            ValueError: There are no such positions.
        """
        if not (epoch >= 0 and 0 <= start <= stop <= self.num_blocks):
            raise ValueError(
                f"positions must be of an epoch from 0 on and lie within {self.num_blocks} blocks, "
                f"got epoch {epoch}, {start} to {stop}"
            )
        if self.num_blocks <= DRAWN:
            return self._drawn(epoch)[start:stop].astype(np.int64)
        return encrypted(np.arange(start, stop), self.num_blocks, self._keys(epoch))

    def _drawn(self, epoch: int) -> np.ndarray:
        """Draw on to an epoch, from the one that was asked for last or from the first."""
        if epoch < self._epoch or self._epoch < 0:
            self._generator.manual_seed(self.seed)
            self._epoch = -1
        while self._epoch < epoch:
            # a loader of torch draws a seed of its workers first, and then its sampler draws the order
            torch.empty((), dtype=torch.int64).random_(generator=self._generator)
            drawn = torch.randperm(self.num_blocks, dtype=torch.int32, generator=self._generator)
            self._epoch, self._permutation = self._epoch + 1, drawn.numpy()
        return self._permutation

    def _keys(self, epoch: int) -> np.ndarray:
        return np.random.SeedSequence([self.seed, epoch]).generate_state(_ROUNDS, np.uint64)


def encrypted(positions: np.ndarray, num_blocks: int, keys: np.ndarray) -> np.ndarray:
    """Map positions one to one to blocks, by a Feistel network with cycle-walking.

    Args:
        positions: Positions, from 0 to below ``num_blocks``.
        num_blocks: Number of blocks, at least 1.
        keys: One key of 64 bits for each round.

    Returns:
        Indices of blocks, int64, of the shape of ``positions``.

    Example:
        >>> keys = np.array([3, 1, 4], dtype=np.uint64)
        >>> sorted(encrypted(np.arange(6), 6, keys).tolist())
        [0, 1, 2, 3, 4, 5]
    """
    width = np.uint64(max(1, -(-(num_blocks - 1).bit_length() // 2)))  # bits of a half
    values = _network(positions.astype(np.uint64), width, keys)
    while (outside := values >= num_blocks).any():  # one in four is inside at the least, so some rounds of this do
        values[outside] = _network(values[outside], width, keys)
    return values.astype(np.int64)


def _network(values: np.ndarray, width: np.uint64, keys: np.ndarray) -> np.ndarray:
    mask = (np.uint64(1) << width) - np.uint64(1)
    left, right = values >> width, values & mask
    for key in keys:
        left, right = right, left ^ (_mixed(right ^ key) & mask)
    mixed: np.ndarray = left << width | right
    return mixed


def _mixed(values: np.ndarray) -> np.ndarray:
    """Mix the bits of numbers of 64 bits, as SplitMix64 does (Steele, Lea and Flood, 2014)."""
    values = (values ^ values >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ values >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = values ^ values >> np.uint64(31)
    return mixed
