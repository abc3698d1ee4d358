"""Stages of training that go on in one trajectory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ibtrack import InformationPlaneTracker, MeasurementWarning, Trajectory, schedules
from ibtrack.record.trajectory import Point
from ibtrack.schedules import Progress
from ibtrack.tracking.stage import check_stage, jump, last_before
from tests.models import Model, probe

SCHEDULE = schedules.every(2)


def _model(seed: int = 3) -> Model:
    torch.manual_seed(seed)
    return Model()


def _train(
    path: Path | None, model: nn.Module, steps: int, stage: str | None, begin: int = 0, **options: Any
) -> Trajectory:
    """Train for some steps of a stage, from a checkpoint of it unless ``begin`` is 0."""
    config = options.pop("config", {"stage of the config": stage})
    tracker = InformationPlaneTracker(probe(), path=path, schedule=SCHEDULE, stage=stage, config=config, **options)
    tracker.start(model, resume_from=Progress(begin, 10 * begin, 5.0) if begin else None)
    optimizer = torch.optim.SGD(model.parameters(), 1e-2)
    tracker.step(model, begin, tokens_seen=10 * begin)
    for step in range(begin + 1, steps + 1):
        model(torch.arange(64).view(4, 16) % 23).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        tracker.step(model, step, tokens_seen=10 * step)
    tracker.finish(model, steps, tokens_seen=10 * steps)
    return tracker.trajectory


def test_a_stage_counts_on_from_the_last_step_before_it(tmp_path: Path) -> None:
    path, model = tmp_path / "trajectory.jsonl", _model()
    first = _train(path, model, 5, "sft")
    both = _train(path, model, 3, "dpo")
    assert first.steps == [0, 2, 4, 5]
    assert both.steps == [0, 2, 4, 5, 7, 8]
    assert [point.stage for point in both.points] == ["sft"] * 4 + ["dpo"] * 2
    assert [point.tokens_seen for point in both.points] == [0, 20, 40, 50, 70, 80]
    assert both.points[:4] == first.points
    loaded = Trajectory.load(path)
    assert loaded.steps == both.steps
    assert [point.stage for point in loaded.points] == [point.stage for point in both.points]
    assert loaded.run["config"] == {"stage of the config": "sft"}
    assert not any("stage" in point.notes for point in loaded.points)
    measured = sum(point.measure_time for point in loaded.points)
    last = loaded.points[-1]
    assert last.values["ib/overhead_fraction"] * last.wall_time >= measured * 0.99  # of both stages


def test_a_stage_follows_one_without_a_name_and_can_be_the_third(tmp_path: Path) -> None:
    path, model = tmp_path / "t.jsonl", _model()
    for steps, stage in ((2, None), (2, "sft"), (2, "dpo")):
        trajectory = _train(path, model, steps, stage)
    assert trajectory.steps == [0, 2, 4, 6]
    assert [point.stage for point in trajectory.points] == [None, None, "sft", "dpo"]
    assert Trajectory.load(path).stages == {"sft": 2, "dpo": 4}


def test_a_stage_goes_on_from_its_own_checkpoint(tmp_path: Path) -> None:
    path, model = tmp_path / "t.jsonl", _model()
    _train(path, model, 4, "sft")
    at_4 = [weight.clone() for weight in model.parameters()]
    _train(path, model, 4, "dpo")
    whole = Trajectory.load(path)
    with torch.no_grad():
        for weight, old in zip(model.parameters(), at_4, strict=True):
            weight.copy_(old)
    with pytest.warns(UserWarning, match=r"held 1 point after step 6, from which training goes on; they are kept in"):
        resumed = _train(path, model, 5, "dpo", begin=2)
    assert whole.steps == [0, 2, 4, 6, 8]
    assert resumed.steps == [0, 2, 4, 6, 8, 9]
    assert [point.tokens_seen for point in resumed.points] == [0, 20, 40, 60, 80, 90]
    assert Trajectory.load(tmp_path / "t.1.jsonl").steps == [8]


def test_a_stage_that_begins_again_leaves_the_stages_before_it(tmp_path: Path) -> None:
    path, model = tmp_path / "t.jsonl", _model()
    _train(path, model, 4, "sft")
    state = {name: value.clone() for name, value in model.state_dict().items()}
    _train(path, model, 4, "dpo")
    model.load_state_dict(state)
    with pytest.warns(UserWarning, match=r"held 2 points after step 4, from which training goes on; they are kept in"):
        again = _train(path, model, 2, "dpo")
    assert again.steps == [0, 2, 4, 6]
    with pytest.warns(UserWarning, match=r"held an earlier start of this run, with 4 points up to step 6"):
        first = _train(path, _model(), 2, "sft")
    assert first.steps == [0, 2]
    assert first.stages == {"sft": 0}


def test_a_stage_of_another_model_says_so_once(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    _train(path, _model(), 2, "sft")
    other = _model(7)
    with torch.no_grad():
        for weight in other.parameters():
            weight.mul_(3)
    with pytest.warns(MeasurementWarning, match=r"stage 'dpo' does not begin with the model of step 2: ib/\S+ was \S+"):
        trajectory = _train(path, other, 4, "dpo")
    assert trajectory.steps == [0, 2, 4, 6]
    notes = [point.notes.get("stage", "") for point in trajectory.points]
    assert notes[2].startswith("stage 'dpo' does not begin with the model of step 2")
    assert not any([*notes[:2], *notes[3:]])


def test_a_stage_whose_beginning_cannot_be_measured_warns(tmp_path: Path) -> None:
    path, model = tmp_path / "t.jsonl", _model()
    _train(path, model, 2, "sft")
    tracker = InformationPlaneTracker(probe(), path=path, schedule=SCHEDULE, stage="dpo", config={})
    tracker.start(model)
    with pytest.warns(MeasurementWarning, match=r"stage 'dpo' could not be measured where it begins: .*; training"):
        assert tracker.step(nn.Sequential(nn.Linear(2, 2)), 0) is None
    strict = InformationPlaneTracker(probe(), path=path, schedule=SCHEDULE, stage="dpo", config={}, strict=True)
    strict.start(model)
    with pytest.raises(Exception, match=r"embed"):
        strict.step(nn.Sequential(nn.Linear(2, 2)), 0)


def test_tokens_after_a_stage_that_did_not_count_them_are_not_known(tmp_path: Path) -> None:
    path, model = tmp_path / "t.jsonl", _model()
    tracker = InformationPlaneTracker(probe(), path=path, schedule=SCHEDULE, stage="sft")
    tracker.step(model, 0)
    tracker.finish(model, 2)
    assert [point.tokens_seen for point in _train(path, model, 2, "dpo").points] == [None, None, None]


def test_left_out_steps_are_those_of_the_run(tmp_path: Path) -> None:
    path, model = tmp_path / "t.jsonl", _model()
    _train(path, model, 4, "sft")
    trajectory = _train(path, model, 5, "dpo", max_overhead=1e-9)
    assert trajectory.points[-1].notes["schedule"].endswith("steps 6, 8")


def test_the_file_of_another_run_is_no_stage_before(tmp_path: Path) -> None:
    path, model = tmp_path / "t.jsonl", _model()
    _train(path, model, 4, "sft")
    tracker = InformationPlaneTracker(probe(), path=path, schedule=SCHEDULE, stage="dpo")
    with (
        pytest.warns(MeasurementWarning, match=r"holds no trajectory to go on with: its points begin at step 3"),
        pytest.warns(UserWarning, match=r"held 3 points up to step 4 of another run than the checkpoint's"),
    ):
        tracker.start(model, resume_from=Progress(3), run_id="of another")
    tracker.step(model, 3)
    assert tracker.trajectory.steps == [3]


def test_a_damaged_file_is_no_stage_before(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text("no trajectory\n")
    with pytest.raises(FileExistsError, match=r"t\.jsonl is not a trajectory file"):
        InformationPlaneTracker(probe(), path=path, schedule=SCHEDULE, stage="dpo").start(_model())
    assert path.read_text() == "no trajectory\n"


def test_a_stage_needs_the_protocol_of_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    _train(path, _model(), 2, "sft")
    tracker = InformationPlaneTracker(probe(12), path=path, schedule=SCHEDULE, stage="dpo")
    with pytest.raises(ValueError, match=r"was measured under another protocol"):
        tracker.start(_model())


@pytest.mark.parametrize("stage", ["", "  ", 3])
def test_a_stage_has_a_name(stage: Any) -> None:
    with pytest.raises(ValueError, match=r"stage must be the name of a stage of training, such as 'dpo', got "):
        InformationPlaneTracker(probe(), stage=stage)
    assert check_stage(None) is None
    assert check_stage("dpo") == "dpo"


def test_points_without_a_stage_have_the_lines_that_they_had() -> None:
    assert "stage" not in json.loads(Point(3).to_json())
    assert json.loads(Point(3, stage="dpo").to_json())["stage"] == "dpo"
    assert Point.from_json(Point(3, stage="dpo").to_json()).stage == "dpo"
    assert Point.from_json(Point(3).to_json()).stage is None
    assert Point(3, stage="a\nb").stage == "a b"


def test_last_before_and_jump() -> None:
    points = [Point(0, stage="a"), Point(4, stage="b"), Point(6, stage="a")]
    assert last_before("b", points) is points[0]
    assert last_before("a", points) is None
    assert last_before("c", points) is points[2]
    assert jump(Point(0), Point(0, {"ib/probe_loss": 2.0})) == ""
    assert jump(Point(0, {"ib/probe_loss": 2.0}), Point(0, {"ib/probe_loss": 2.01})) == ""
    assert jump(Point(0, {"ib/mean/entropy": 0.5}), Point(0, {"ib/mean/entropy": 0.6})).startswith("ib/mean/entropy")
