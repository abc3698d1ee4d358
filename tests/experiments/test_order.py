"""The order of training blocks: every block once, like torch's own, anywhere at once, and as even as chance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule
from torch import nn
from torch.utils.data import DataLoader

from experiments import order
from experiments.order import Order, encrypted
from tests.models import trainer

SIZES = [1, 2, 3, 15, 16, 17, 64, 65, 1000, 65_536, 65_537]


@pytest.fixture
def keyed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders of any size are encrypted ones."""
    monkeypatch.setattr(order, "DRAWN", 0)


@pytest.mark.parametrize("size", SIZES)
def test_every_block_comes_once_in_an_epoch(size: int) -> None:
    for epoch in (0, 3):
        assert sorted(Order(size, seed=1)(epoch, 0, size).tolist()) == list(range(size))


@pytest.mark.usefixtures("keyed")
@pytest.mark.parametrize("size", SIZES)
def test_every_block_comes_once_in_an_encrypted_epoch(size: int) -> None:
    for epoch in (0, 3):
        assert sorted(Order(size, seed=1)(epoch, 0, size).tolist()) == list(range(size))


class Recorder(LightningModule):
    """Writes down its batches."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.seen = nn.Parameter(torch.zeros(())), list[list[int]]()

    def training_step(self, batch: torch.Tensor, index: int) -> torch.Tensor:
        self.seen.append(batch.tolist())
        return self.weight * batch.sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*LeafSpec:FutureWarning")
def test_the_order_is_that_in_which_lightning_has_a_loader_of_torch_shuffle(tmp_path: object) -> None:
    size, batch_size, epochs, recorder = 37, 5, 4, Recorder()
    generator = torch.Generator().manual_seed(3)
    indices: Any = torch.arange(size)  # a tensor is a dataset of its rows
    loader = DataLoader[Any](indices, batch_size, shuffle=True, generator=generator, drop_last=True)
    trainer(str(tmp_path), max_epochs=epochs, max_steps=-1, log_every_n_steps=1).fit(recorder, loader)
    blocks = Order(size, seed=3)
    ours = [blocks(epoch, k * 5, k * 5 + 5).tolist() for epoch in range(epochs) for k in range(size // batch_size)]
    assert recorder.seen == ours


@pytest.mark.parametrize("drawn", [0, order.DRAWN])
def test_an_epoch_is_entered_anywhere(drawn: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "DRAWN", drawn)
    there = Order(100, seed=5)
    epochs = [there(epoch, 0, 100).tolist() for epoch in range(4)]
    assert there(1, 20, 30).tolist() == epochs[1][20:30], "back again"
    assert Order(100, seed=5)(3, 90, 100).tolist() == epochs[3][90:], "at once"
    assert len(set(map(tuple, epochs))) == 4
    assert Order(100, seed=6)(0, 0, 100).tolist() != epochs[0]


@pytest.mark.usefixtures("keyed")
def test_an_encrypted_order_is_as_even_as_chance() -> None:
    """Chi-squared of where a block stands and of which stand side by side; five deviations are chance of 1 in 10^6."""
    size, draws = 12, 6000
    orders = np.stack([Order(size, seed=seed)(epoch, 0, size) for seed in range(60) for epoch in range(100)])
    places = np.zeros((size, size))
    np.add.at(places, (np.broadcast_to(np.arange(size), orders.shape), orders), 1)
    neighbours = np.zeros((size, size))
    np.add.at(neighbours, (orders[:, :-1], orders[:, 1:]), 1)
    pairs = neighbours[~np.eye(size, dtype=bool)]
    for counts, freedom in ((places, (size - 1) ** 2), (pairs, (size - 1) ** 2 - size)):
        expected = counts.sum() / counts.size
        statistic = ((counts - expected) ** 2 / expected).sum()
        assert abs(statistic - freedom) < 5 * np.sqrt(2 * freedom) + 2 * size
    assert places.sum() == draws * size


@pytest.mark.usefixtures("keyed")
def test_an_encrypted_order_has_no_trend() -> None:
    size = 100_003
    found = Order(size, seed=0)(0, 0, size).astype(float)
    ranks = np.arange(size, dtype=float)
    for lag_correlation in (np.corrcoef(found, ranks), np.corrcoef(found[1:], found[:-1])):
        assert abs(lag_correlation[0, 1]) < 5 / np.sqrt(size)


def test_a_hundred_million_blocks_take_no_memory_for_their_order() -> None:
    huge = Order(10**8, seed=0)
    batch = huge(7, 10**8 - 512, 10**8)
    assert len(set(batch.tolist())) == 512
    assert 0 <= batch.min() < batch.max() < 10**8
    assert huge._permutation.size == 0
    assert Order(order.DRAWN + 1, seed=0)(0, 0, 4).tolist() != list(range(4))


def test_few_rounds_and_one_block_are_no_exception() -> None:
    assert encrypted(np.arange(1), 1, np.array([7], dtype=np.uint64)).tolist() == [0]


def test_positions_outside_an_epoch_are_refused() -> None:
    with pytest.raises(ValueError, match="num_blocks must be at least 1, got 0"):
        Order(0, seed=0)
    for epoch, start, stop in ((-1, 0, 1), (0, -1, 1), (0, 2, 1), (0, 0, 6)):
        with pytest.raises(ValueError, match=f"lie within 5 blocks, got epoch {epoch}, {start} to {stop}"):
            Order(5, seed=0)(epoch, start, stop)
