"""Sites by a trial pass: what a tracker measures, what is refused, and that the model is as before."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ibtrack import InformationPlaneTracker, MeasurementWarning, Probe, find_sites, schedules
from ibtrack.capture.blocks import UnclearBlocks
from ibtrack.capture.traces import TraceError
from ibtrack.tracking.sites import needs_pass
from tests.models import VOCABULARY, Model, Module, probe, tokens
from tests.structures import FOUND, REFUSED, BatchStatistics, LastPosition, Skips, TimeFirst, Towers


@pytest.mark.parametrize("name", [name for name in FOUND if name != "nanoGPT"])
def test_a_tracker_measures_the_blocks_of_known_projects(name: str) -> None:
    make, blocks, _ = FOUND[name]
    follow = InformationPlaneTracker(probe())
    assert follow.measure(make()).failure is None
    sites = follow.protocol["sites"]
    assert [each for site, each in sites.items() if site != "embed"] == blocks


@pytest.mark.parametrize("name", REFUSED)
def test_a_tracker_does_not_start_where_the_blocks_are_not_clear(name: str) -> None:
    make, sentence = REFUSED[name]
    with pytest.raises(UnclearBlocks, match=sentence):
        InformationPlaneTracker(probe()).start(make())


def test_the_table_of_a_model() -> None:
    found = find_sites(Model(), probe(), ["auto"])
    assert found.sites == {"embed": "embed", "L00": "blocks.0", "L01": "blocks.1"}
    assert [(each.kind, each.shape, each.calls, each.parameters) for each in found.measured] == [
        ("Embedding", (1, 16, 16), 1, 368),
        ("Block", (1, 16, 16), 1, 304),
        ("Block", (1, 16, 16), 1, 304),
    ]
    assert [each.pattern for each in found.candidates] == ["blocks.*"]


def test_without_a_probe_tokens_are_made_up_or_the_structure_decides() -> None:
    assert find_sites(Model()).sites == find_sites(Model(), probe()).sites
    found = find_sites(nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), nn.Tanh()))
    assert found.sites == {"L00": "0.0", "L01": "0.1"}
    assert found.candidates == ()
    assert [(each.shape, each.calls) for each in found.measured] == [(None, None)] * 2


def test_a_pass_is_made_only_where_names_do_not_tell() -> None:
    calls: list[int] = []

    def forward(model: nn.Module, inputs: Tensor) -> Any:
        calls.append(len(inputs))
        return model(inputs)

    numbers = []
    for layers in ("auto", "blocks.*", ["embed", "blocks.*"]):
        calls.clear()
        InformationPlaneTracker(probe(), layers=layers, forward=forward).start(Model())
        numbers.append(list(calls))
    assert numbers == [[1, 1, 1, 1, 1, 2], [1, 1, 1, 1, 2], [1, 1, 1, 1, 1, 2]]
    assert [needs_pass(layers) for layers in ("auto", "blocks.*", ["embed", "blocks.*"])] == [True, False, True]


class _Moving(Model):
    def forward(self, ids: Tensor) -> Tensor:
        self.head.bias.data += 1
        return super().forward(ids)


def test_the_first_pass_leaves_no_trace_or_is_refused() -> None:
    with pytest.raises(TraceError, match=r"changes the parameter 'head\.bias'"):
        find_sites(_Moving())
    model = Model().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    find_sites(model)
    assert model.training
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())


def test_a_model_that_does_not_take_the_block_is_told_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"the model's forward does not take the probe \(.*pass forward="):
        find_sites(Model(), Probe(tokens(24, seed=0, vocabulary=VOCABULARY + 9)))


def test_an_ensemble_is_refused_by_its_reason() -> None:
    from tests.capture.wrappers import WAYS

    with pytest.raises(ValueError, match=r"run inside of torch.func.vmap"):
        find_sites(WAYS["an ensemble by `torch.func.vmap`"].make().model, probe())


def test_a_lightning_module_is_looked_into() -> None:
    assert find_sites(Module(Skips())).sites["L03"] == "model.blocks.3"


def test_the_ends_are_named_by_words_and_are_not_in_the_mean() -> None:
    follow = InformationPlaneTracker(probe(), layers=["final", "embed", "transformer.h.*"])
    with pytest.warns(MeasurementWarning, match="a loss needs one row per position"):
        follow.start(model := LastPosition())
    values = follow.measure(model).values
    assert follow.protocol["sites"] == {
        "embed": "transformer.wte",
        "L00": "transformer.h.0",
        "L01": "transformer.h.1",
        "final": "transformer.ln_f",
    }
    key = "ib/{}/token/complexity"
    blocks = (values[key.format("L00")] + values[key.format("L01")]) / 2
    assert values[key.format("mean")] == pytest.approx(blocks, rel=1e-6)
    assert len({values[key.format(site)] for site in ("embed", "L00", "L01", "final")}) == 4


def test_auto_and_final_together_and_final_alone() -> None:
    assert list(find_sites(LastPosition(), layers=["auto", "final"]).sites) == ["embed", "L00", "L01", "final"]
    assert find_sites(LastPosition(), layers="final").sites == {"final": "transformer.ln_f"}
    named = find_sites(LastPosition(), layers=["transformer.h.0", "final"])
    assert named.sites == {"L00": "transformer.h.0", "final": "transformer.h.1.norm"}


def test_ends_that_there_are_not() -> None:
    with pytest.raises(ValueError, match=r"'final' is the norm between the last block, 'blocks\.3', and the head, and"):
        find_sites(Skips(), layers=["auto", "final"])
    with pytest.raises(ValueError, match="'embed' is the token embedding, and the model has none that runs once"):
        find_sites(nn.Sequential(nn.Linear(16, 16)), Probe(torch.randn(30, 16), labels=_labels()), ["embed", "0"])


def _labels() -> dict[str, Tensor]:
    return {"input": torch.arange(30) % 5, "output": torch.arange(30) % 3}


def test_logits_of_the_last_position_cost_the_loss_and_not_the_points() -> None:
    """As of nanoGPT, whose forward without targets gives no others."""
    follow, model = InformationPlaneTracker(probe(), schedule=schedules.every(1)), LastPosition()
    with pytest.warns(MeasurementWarning, match=r"logits have shape \(1, 1, 23\) for a block of shape \(1, 16\)"):
        follow.step(model, 0)
    for step in (1, 2):  # without a further warning, which would be an error here
        follow.step(model, step)
    assert [point.failure for point in follow.trajectory.points] == [None] * 3
    for point in follow.trajectory.points:
        assert math.isfinite(point.values["ib/L01/token/complexity"])
        for name in ("probe_loss", "variational_floor"):
            assert math.isnan(point.values[f"ib/{name}"])
            assert "a loss needs one row per position" in point.notes[f"ib/{name}"]


def test_with_the_remedy_there_is_a_loss() -> None:
    follow = InformationPlaneTracker(probe(), forward=lambda model, inputs: model(inputs, inputs))
    assert 0 < follow.measure(LastPosition()).values["ib/probe_loss"] < 5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_that_takes_time_first_is_refused_and_reads_right_with_the_remedy(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = TimeFirst(dtype)
    with pytest.raises(ValueError, match=r"seems to take its inputs as \(T, B\).*forward=lambda model, inputs"):
        InformationPlaneTracker(probe()).start(model)
    follow = InformationPlaneTracker(probe(), forward=lambda model, inputs: model(inputs.T))
    assert follow.measure(model).failure is None
    assert follow.protocol["sites"]["L01"] == "encoder.layers.1"


def test_statistics_over_the_batch_are_said_once_and_noted() -> None:
    torch.manual_seed(0)
    follow = InformationPlaneTracker(probe(), schedule=schedules.every(1))
    model = BatchStatistics()
    with pytest.warns(MeasurementWarning, match=r"depend on the other blocks of its batch.*batch_size=1"):
        follow.step(model, 0)
    follow.step(model, 1)  # without a further warning, which would be an error here
    assert "depend on the other blocks" in follow.trajectory.points[1].notes["batch"]
    alone = InformationPlaneTracker(probe(), batch_size=1)
    assert "batch" not in alone.measure(model).notes


def test_of_a_replay_a_warning_does_not_speak_of_training() -> None:
    torch.manual_seed(0)
    replayed = InformationPlaneTracker(probe(), origin={"source": "checkpoints"})
    with pytest.warns(MeasurementWarning, match=r"depend on the other blocks of its batch.*; the replay goes on$"):
        replayed.step(BatchStatistics(), 0)


def test_a_model_whose_blocks_do_not_depend_on_each_other_has_no_such_note() -> None:
    assert "batch" not in InformationPlaneTracker(probe()).measure(Towers()).notes
