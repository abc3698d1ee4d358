"""Hard bins: their information against a slow count, and how far they reach."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from experiments.tishby import bins
from experiments.tishby.bins import binned_information


def test_bins_against_a_slow_count() -> None:
    generator = torch.Generator().manual_seed(0)
    activations = torch.rand(200, 2, generator=generator) * 2 - 1
    labels = (activations[:, 0] > 0).long()
    cells = [tuple(math.ceil((float(value) + 1) / 2 * 30) for value in row) for row in activations]

    def entropy(things: list[Any]) -> float:
        shares = [things.count(thing) / len(things) for thing in set(things)]
        return -sum(share * math.log2(share) for share in shares)

    information_x = entropy(cells)
    joint = entropy(list(zip(cells, labels.tolist(), strict=True)))
    information_y = information_x + entropy(labels.tolist()) - joint
    assert binned_information(activations, labels, -1, 1) == pytest.approx((information_x, information_y))


def test_a_layer_that_tells_nothing_and_one_that_tells_all() -> None:
    labels = torch.arange(64) % 2
    assert binned_information(torch.zeros(64, 3), labels, 0, 0) == (0, 0)
    assert binned_information(torch.linspace(-1, 1, 64)[:, None], labels, -1, 1)[0] == pytest.approx(
        math.log2(30), abs=0.1
    )
    assert binned_information(labels[:, None].float(), labels, 0, 1) == pytest.approx((1, 1))


def test_bins_reach_as_far_as_the_activation_does() -> None:
    values = [torch.tensor([[0.0, 3.0]]), torch.tensor([[7.0, 1.0]])]
    assert bins.bounds(nn.Tanh(), values) == (-1, 1)
    assert bins.bounds(nn.Softmax(-1), values) == (0, 1)
    assert bins.bounds(nn.ReLU(), values) == (0, 7)
