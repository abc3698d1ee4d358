"""The options of the soft estimator."""

import json
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest

from ibtrack import SoftOptions


def test_options_are_frozen_and_equal_by_value() -> None:
    options = SoftOptions(num_anchors=50)
    assert options == SoftOptions(num_anchors=50) != SoftOptions()
    with pytest.raises(FrozenInstanceError):
        options.seed = 3  # type: ignore[misc]


def test_the_protocol_names_all_of_them() -> None:
    assert SoftOptions(seed=7).protocol() == {
        "num_anchors": 100,
        "seed": 7,
        "temperature": "exact",
        "anchor_draws": 1,
        "transform": "none",
    }


def test_the_weights_of_labels_are_named_where_they_are_not_those_of_older_files() -> None:
    assert "label_weights" not in SoftOptions(label_weights="frequency").protocol()
    assert SoftOptions(label_weights="both").protocol()["label_weights"] == "both"


def test_integers_of_numpy_become_those_of_python_as_a_protocol_is_json() -> None:
    options = SoftOptions(num_anchors=np.int64(50), seed=np.int64(3), anchor_draws=np.int64(2))  # type: ignore[arg-type]
    assert json.loads(json.dumps(options.protocol())) == SoftOptions(num_anchors=50, seed=3, anchor_draws=2).protocol()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"num_anchors": 1}, "num_anchors must be an integer of at least 2, got 1"),
        ({"num_anchors": 2.5}, "num_anchors must be an integer of at least 2, got 2.5"),
        ({"seed": -1}, "seed must be an integer of at least 0, got -1"),
        ({"temperature": "hot"}, "temperature must be one of 'exact', 'bounds', 'leading_order', got 'hot'"),
        ({"anchor_draws": 0}, "anchor_draws must be an integer of at least 1, got 0"),
        ({"transform": "flat"}, "transform must be one of 'none', 'center', 'whiten', got 'flat'"),
        ({"label_weights": "equal"}, "label_weights must be one of 'frequency', 'both', got 'equal'"),
    ],
)
def test_an_option_out_of_its_range_is_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        SoftOptions(**options)


def test_options_have_no_place_by_position() -> None:
    with pytest.raises(TypeError, match="positional"):
        SoftOptions(100)  # type: ignore[call-arg]
