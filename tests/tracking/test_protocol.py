"""What is written down about how a run is measured."""

import json
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from ibtrack import (
    SoftOptions,
    __version__,
)
from ibtrack.information.readings import ESTIMATOR_VERSION
from ibtrack.record.protocol import protocol_differences
from ibtrack.tracking.protocol import attention_of
from tests import models
from tests.models import Model
from tests.tracking.test_tracker import tracker


def test_protocol_says_what_makes_numbers_comparable() -> None:
    follow = tracker()
    follow.start(Model(), precision="bf16-mixed")
    protocol = json.loads(json.dumps(follow.protocol))
    assert protocol["sites"] == {"embed": "embed", "L00": "blocks.0", "L01": "blocks.1"}
    assert protocol["widths"] == {"embed": 16, "L00": 16, "L01": 16}
    assert protocol["probe"]["hash"] == follow.probe.hash
    assert (protocol["num_anchors"], protocol["temperature"], protocol["precision"]) == (100, "exact", "bf16-mixed")
    assert protocol["weights"] == "as trained"
    assert protocol["bottleneck_curve"] == follow.probe.bottleneck_curve(num_anchors=100)


@pytest.mark.parametrize(
    ("model", "precision"),
    [
        (Model(), "32-true"),
        (Model().double(), "64-true"),
        (Model().bfloat16(), "bf16-true"),
    ],
)
def test_precision_of_a_plain_loop_is_that_of_the_weights(model: Model, precision: str) -> None:
    follow = tracker()
    assert follow.measure(model).failure is None
    assert follow.protocol["precision"] == precision


def test_precision_of_a_plain_loop_is_that_of_the_autocast_around_it() -> None:
    follow = tracker()
    with torch.autocast("cpu", torch.bfloat16):
        follow.start(Model())
    assert follow.protocol["precision"] == "bf16-mixed"


@pytest.mark.parametrize(("rows", "named"), [(0, None), (50, 50), (10**6, models.probe().num_positions)])
def test_the_protocol_names_the_rows_of_the_geometry_that_there_are(rows: int, named: int | None) -> None:
    follow = tracker(geometry_rows=rows)
    follow.start(Model())
    assert follow.protocol.get("geometry_rows") == named


def test_the_protocol_names_the_versions_of_estimator_and_package() -> None:
    follow = tracker()
    follow.start(Model())
    assert follow.protocol["estimator"] == ESTIMATOR_VERSION
    assert follow.protocol["versions"]["ibtrack"] == __version__
    assert follow.protocol.items() >= SoftOptions().protocol().items()


def test_the_weights_of_an_average_are_called_so() -> None:
    model = Model()
    average, beside = tracker(), tracker()
    average.start(AveragedModel(model))
    assert average.protocol["weights"] == "averaged"
    model.average = AveragedModel(model.head)
    beside.start(model)
    assert beside.protocol["weights"] == "as trained"
    assert protocol_differences({"one": average.protocol, "two": beside.protocol}) == [
        "weights: averaged in 'one', as trained in 'two'"
    ]
    old = {key: value for key, value in beside.protocol.items() if key != "weights"}
    assert protocol_differences({"one": old, "two": beside.protocol}) == []


def test_the_kernel_of_attention_is_named_where_the_model_names_it() -> None:
    plain, chosen = nn.Linear(2, 2), nn.Linear(2, 2)
    chosen.config = SimpleNamespace(_attn_implementation="eager")  # type: ignore[assignment]
    without = nn.Linear(2, 2)
    without.config = SimpleNamespace(_attn_implementation=None)  # type: ignore[assignment]
    assert attention_of(nn.Sequential(plain, chosen)) == "eager"
    assert attention_of(nn.Sequential(plain, without)) is None
    rules, watched = [tracker(), tracker()], [Model(), Model()]
    watched[1].config = chosen.config
    for rule, model in zip(rules, watched, strict=True):
        rule.start(model)
    assert "attention" not in rules[0].protocol
    assert rules[1].protocol["attention"] == "eager"
    assert protocol_differences({"a": rules[0].protocol, "b": rules[1].protocol}) == [], "one may lack it"
    other = {**rules[1].protocol, "attention": "sdpa"}
    (difference,) = protocol_differences({"a": other, "b": rules[1].protocol})
    assert difference.startswith("attention: sdpa in 'a', eager in 'b' (kernels add up in different orders")
