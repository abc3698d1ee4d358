"""The variational floor: below the information, and equal to it for the right head."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ibtrack.metrics import VariationalFloor
from tests.metrics.contract import LabelledContract, clouds, value


class TestVariationalFloor(LabelledContract):
    refusal = "logits must give every target a finite loss, got a sum of nan"
    rounding = 1e-6  # log-softmax is taken in float32

    def make(self) -> VariationalFloor:
        return VariationalFloor(5)

    def data(self) -> tuple[Tensor, ...]:
        rows, ids = clouds()
        return rows, ids % 5

    def reference(self, *data: Tensor) -> float:
        """Entropy of the targets' shares less the mean loss, row by row."""
        logits: list[list[float]] = data[0].tolist()
        targets: list[int] = data[1].tolist()
        shares = [targets.count(label) / len(targets) for label in range(5)]
        losses = [math.log(sum(map(math.exp, row))) - row[target] for row, target in zip(logits, targets, strict=True)]
        return -sum(share * math.log(share) for share in shares) - sum(losses) / len(losses)


def test_the_floor_is_below_the_information_and_reaches_it_for_the_right_head() -> None:
    """Y follows Z through a known table: the true posteriors as logits prove I(Y; Z), wrong ones less."""
    joint = torch.tensor([[0.3, 0.1], [0.05, 0.25], [0.1, 0.2]], dtype=torch.float64)
    counts = (joint * 1000).round().long()
    z, y = counts.nonzero(as_tuple=True)
    z, y = z.repeat_interleave(counts[z, y]), y.repeat_interleave(counts.flatten())
    entropy = torch.special.entr
    truth = float(entropy(joint.sum(0)).sum() + entropy(joint.sum(1)).sum() - entropy(joint).sum())
    posterior = (joint / joint.sum(1, keepdim=True)).log()[z]
    assert value(VariationalFloor(2), posterior, y) == pytest.approx(truth, abs=1e-6)
    assert value(VariationalFloor(2), 3 * posterior, y) < truth - 0.01
    assert value(VariationalFloor(2), -posterior, y) < 0


def test_at_least_two_classes() -> None:
    with pytest.raises(ValueError, match="num_classes must be an integer of at least 2, got 1"):
        VariationalFloor(1)
