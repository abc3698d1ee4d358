"""Engines over several nodes."""

from __future__ import annotations

from typing import Any

import pytest

from experiments.engines import sharded


def test_a_model_is_sharded_over_the_devices_of_all_nodes() -> None:
    strategy = sharded(devices=2, num_nodes=3, process_group_backend="gloo")
    assert (strategy._data_parallel_size, strategy._tensor_parallel_size) == (6, 1)
    assert strategy.process_group_backend == "gloo"


@pytest.mark.parametrize("devices", ["auto", 0])
def test_devices_that_are_no_number_are_refused(devices: Any) -> None:
    with pytest.raises(ValueError, match=r"trainer.devices must be the number of devices of a node for FSDP2, got"):
        sharded(devices=devices)
