"""What every metric of rows must do, as tests that the tests of each metric inherit; and the rows that they share."""

from __future__ import annotations

import copy
import math
import pickle
from abc import ABC, abstractmethod
from typing import Any

import pytest
import torch
from torch import Tensor
from torchmetrics import Metric


def clouds(
    number: int = 600, width: int = 5, labels: int = 6, apart: float = 1.0, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Gaussian rows of unit variance around the means of their labels, which are ``apart`` times as far spread."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.arange(number) % labels
    means = apart * torch.randn(labels, width, generator=generator)
    return means[ids] + torch.randn(number, width, generator=generator), ids


def value(metric: Metric, *data: Tensor) -> float:
    """What a metric gives for some rows in one piece."""
    metric.update(*data)
    return float(metric.compute())


class OtherProcess:
    """Answers like the exchange between two processes, in the order in which a metric hands over its states."""

    def __init__(self, other: Metric) -> None:
        self.states: list[Tensor] = [getattr(other, name) for name in other._reductions]

    def __call__(self, state: Tensor, group: object) -> list[Tensor]:
        theirs = self.states.pop(0)
        assert theirs.shape == state.shape  # or the real exchange would hang
        assert theirs.dtype == state.dtype
        return [state, theirs]


class Contract(ABC):
    """Tests of a metric of (600, 5) rows, most with labels; inherit from it and say which metric and what it gives."""

    refusal = r"must be finite.* got 1 rows of 600 that are not"  # what a row that is not finite is answered with
    rounding = 1e-9  # of the reference, relative: both sum in float64, in another order

    @abstractmethod
    def make(self) -> Metric:
        """A new metric."""

    @abstractmethod
    def reference(self, *data: Tensor) -> float:
        """What the metric must give, by a slow way."""

    def data(self) -> tuple[Tensor, ...]:
        return clouds()

    def test_it_gives_what_the_reference_does(self) -> None:
        assert value(self.make(), *self.data()) == pytest.approx(self.reference(*self.data()), rel=self.rounding)

    def test_rows_in_parts_give_what_all_at_once_do(self) -> None:
        metric, data = self.make(), self.data()
        whole = value(metric, *data)
        metric.reset()
        for start in range(0, 600, 150):
            metric.update(*(part[start : start + 150] for part in data))
        assert float(metric.compute()) == pytest.approx(whole, rel=1e-9)

    def test_calls_accumulate_what_they_are_given(self) -> None:
        metric, data = self.make(), self.data()
        for half in (slice(0, 300), slice(300, 600)):
            metric(*(part[half] for part in data))
        result = metric.compute()
        assert float(result) == pytest.approx(value(self.make(), *data), rel=1e-9)
        assert result.dtype == torch.float64
        assert result.shape == ()

    def test_copies_give_what_the_original_does(self) -> None:
        metric = self.make()
        whole = value(metric, *self.data())
        for twin in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric)), metric.clone()):
            assert float(twin.compute()) == pytest.approx(whole, rel=1e-9)

    def test_two_processes_with_uneven_shares_give_what_one_does(self) -> None:
        one, other, data = self.make(), self.make(), self.data()
        one.update(*(part[:100] for part in data))
        other.update(*(part[100:] for part in data))
        exchange: Any = OtherProcess(other)
        one.dist_sync_fn, one.distributed_available_fn = exchange, lambda: True
        assert float(one.compute()) == pytest.approx(value(self.make(), *data), rel=1e-9)

    @pytest.mark.filterwarnings("ignore:The ``compute`` method of metric")
    def test_no_rows_are_an_error(self) -> None:
        metric = self.make()
        with pytest.raises(RuntimeError, match=rf"{type(metric).__name__}.compute\(\) needs at least"):
            metric.compute()

    @pytest.mark.filterwarnings("ignore:The ``compute`` method of metric")
    def test_bad_rows_add_nothing(self) -> None:
        metric, (rows, *labels) = self.make(), self.data()
        poisoned = rows.clone()
        poisoned[3, 1] = math.nan
        with pytest.raises(ValueError, match=self.refusal):
            metric.update(poisoned, *labels)
        with pytest.raises(ValueError, match=r"shape \(N, 5\), got torch.float32 of shape \(600, 4\)"):
            metric.update(rows[:, :4], *labels)
        with pytest.raises(RuntimeError, match="needs at least"):
            metric.compute()


class LabelledContract(Contract):
    """The contract of a metric whose rows have labels."""

    @pytest.mark.filterwarnings("ignore:The ``compute`` method of metric")
    def test_bad_labels_add_nothing(self) -> None:
        metric, (rows, labels) = self.make(), self.data()
        with pytest.raises(ValueError, match="labels must have one entry per row of activations, got 600 for 599"):
            metric.update(rows[1:], labels)
        with pytest.raises(ValueError, match=r"labels must lie in \[0, [56]\), got values from 0 to 99"):
            metric.update(rows, torch.where(labels == 0, 99, 0))
        with pytest.raises(RuntimeError, match="needs at least"):
            metric.compute()
