"""The loader of training batches: shares of processes, states that workers do not run ahead of, epochs."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from experiments.loader import BlockLoader, training_loader
from experiments.stream_loader import StreamLoader
from tests.experiments.test_stream_loader import Counting

BLOCKS = torch.arange(2 * 50).view(50, 2)


class Rows:
    """Blocks one by one, as a dataset has them."""

    def __len__(self) -> int:
        return len(BLOCKS)

    def __getitem__(self, index: int) -> torch.Tensor:
        return BLOCKS[index]


class ManyRows(Rows):
    """Blocks that can be had many at once."""

    def __getitems__(self, indices: Sequence[int]) -> torch.Tensor:
        return BLOCKS[list(indices)]


def batches(loader: BlockLoader, number: int) -> list[list[int]]:
    """Take batches, across epochs."""
    found: list[list[int]] = []
    while len(found) < number:
        for batch in loader:
            found.append(batch[:, 0].tolist())
            if len(found) == number:
                break
    return found


def loader(**settings: Any) -> BlockLoader:
    return BlockLoader(BLOCKS, **{"batch_size": 4, "seed": 3, **settings})


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("cut", [0, 1, 11, 12, 13, 30])
def test_a_state_goes_on_with_the_next_batch(workers: int, cut: int) -> None:
    whole = batches(loader(), 40)
    first = loader(num_workers=workers)
    assert batches(first, cut) == whole[:cut]
    state = first.state_dict()
    assert state == {"taken": cut, "batch": 4, "blocks": 50}, "whatever the workers have read ahead"
    second = loader(num_workers=workers)
    second.load_state_dict(state)
    assert batches(second, 40 - cut) == whole[cut:]


def test_processes_share_each_batch_whatever_their_number() -> None:
    whole = batches(loader(batch_size=4), 30)
    for world in (2, 4):
        parts = [batches(loader(batch_size=4 // world, rank=rank, world_size=world), 30) for rank in range(world)]
        assert [list(itertools.chain(*shares)) for shares in zip(*parts, strict=True)] == whole


def test_another_number_of_processes_goes_on_with_the_next_batch() -> None:
    one = loader(batch_size=4)
    whole = batches(loader(batch_size=4), 20)
    batches(one, 14)
    shares = []
    for rank in range(2):
        half = loader(batch_size=2, rank=rank, world_size=2)
        half.load_state_dict(one.state_dict())
        shares.append(batches(half, 6))
    assert [first + second for first, second in zip(*shares, strict=True)] == whole[14:]


def test_an_epoch_has_every_block_that_fills_a_batch_once() -> None:
    epochs = loader(batch_size=8)
    assert len(epochs) == 6
    first, second = ([index for batch in epochs for index in batch[:, 0].tolist()] for _ in range(2))
    assert len(set(first)) == len(set(second)) == 48
    assert first != second


def test_an_abandoned_epoch_is_gone_on_with() -> None:
    there = loader()
    first = next(iter(there))
    assert [first[:, 0].tolist(), *batches(there, 11)] == batches(loader(), 12)
    assert there.taken == len(there) == 12


@pytest.mark.parametrize("blocks", [Rows(), ManyRows()])
@pytest.mark.parametrize("workers", [0, 2])
def test_any_dataset_gives_what_a_tensor_gives(blocks: Rows, workers: int) -> None:
    there = BlockLoader(blocks, batch_size=4, seed=3, num_workers=workers)
    batch = next(iter(there))
    assert batch.dtype == torch.int64
    assert torch.equal(batch, next(iter(loader())))


def test_the_global_random_state_is_neither_read_nor_moved() -> None:
    state = torch.get_rng_state()
    batches(loader(num_workers=1), 3)
    assert torch.equal(torch.get_rng_state(), state)


def test_too_few_blocks_and_the_state_of_another_loader_are_refused() -> None:
    with pytest.raises(ValueError, match="blocks must fill one batch of 60 of all 3 processes, got 50 blocks"):
        loader(batch_size=20, world_size=3)
    with pytest.raises(ValueError, match="the loader must be that of the state, batch 8, got 4"):
        loader().load_state_dict(loader(batch_size=8).state_dict())
    with pytest.raises(ValueError, match="the loader must be that of the state, blocks 40, got 50"):
        loader().load_state_dict(BlockLoader(BLOCKS[:40], batch_size=4).state_dict())


def test_a_stream_gets_a_loader_of_streams() -> None:
    there = training_loader(Counting(20), batch_size=4, num_batches=3)
    assert isinstance(there, StreamLoader)
    assert len(there) == 3
    assert isinstance(training_loader(BLOCKS, batch_size=4), BlockLoader)
