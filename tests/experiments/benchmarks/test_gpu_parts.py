"""Parts of a measurement on a GPU, as far as a CPU can run them; `test_gpu.py` runs those that a CPU can time."""

from __future__ import annotations

import math

import torch

from experiments.benchmarks.gpu import Decoder
from experiments.benchmarks.gpu_parts import largest_difference, measurement
from ibtrack.information.readings import Readings
from ibtrack.information.standard_errors import Estimate
from tests.models import probe


def _readings(value: float) -> Readings:
    numbers = torch.tensor([1.0, value])
    estimate = Estimate(value=numbers, influence=torch.zeros(2, 3), systematic=torch.zeros(2))
    return Readings(estimate, estimate, {}, {"token": numbers}, {}, {})


def test_the_largest_difference_of_readings_is_infinite_where_one_has_no_number() -> None:
    assert largest_difference(_readings(2.0), _readings(2.5)) == 0.5
    assert largest_difference(_readings(math.nan), _readings(math.nan)) == 0
    assert largest_difference(_readings(math.nan), _readings(2.0)) == math.inf


def test_a_measurement_is_that_of_a_tracker_with_and_without_its_loss() -> None:
    torch.manual_seed(0)
    model = Decoder(64, 2, 300).eval()
    with_loss, without = (measurement(model, probe(4), no_loss=no_loss)(model)[0] for no_loss in (False, True))
    assert with_loss["ib/probe_loss"] > 0
    assert math.isnan(without["ib/probe_loss"])
    assert with_loss["ib/L01/token/complexity"] == without["ib/L01/token/complexity"]
