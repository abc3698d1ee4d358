"""Every way of wrapping a model: training is bit for bit that without a tracker, or it is refused at the start."""

from __future__ import annotations

import contextlib

import pytest
import torch

from ibtrack import InformationPlaneTracker
from tests.capture.wrappers import STEPS, WAYS, group_of_one, train
from tests.models import probe

pytestmark = pytest.mark.filterwarnings("ignore:.*")  # of the frameworks, about each other and about small data


@pytest.mark.parametrize("name", [name for name, way in WAYS.items() if way.refusal is None])
def test_training_is_bit_for_bit_that_without_a_tracker(name: str) -> None:
    way = WAYS[name]
    with group_of_one() if way.grouped else contextlib.nullcontext():
        without, _ = train(way, follow=False)
        with_it, failures = train(way, follow=True)
    assert failures == [None] * (STEPS + 1)
    assert without.keys() == with_it.keys()
    assert without["weights"].keys() == with_it["weights"].keys()
    for what in without:
        torch.testing.assert_close(with_it[what], without[what], rtol=0, atol=0, equal_nan=True, msg=f"{what} differ")


@pytest.mark.parametrize("name", [name for name, way in WAYS.items() if way.refusal is not None])
def test_what_cannot_be_measured_without_a_trace_is_refused_at_the_start(name: str) -> None:
    way = WAYS[name]
    run = way.make()
    tracker = InformationPlaneTracker(**{"probe": probe(), **run.options})
    with pytest.raises(ValueError, match=way.refusal):
        tracker.start(run.measured or run.model)
    assert tracker.trajectory.steps == []
