import contextlib
import errno
import io
import math
import os
import resource
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ibtrack import (
    InformationPlaneTracker,
    MeasurementError,
    MeasurementWarning,
    Point,
    Probe,
    SoftOptions,
    Trajectory,
    schedules,
)
from ibtrack.analysis import Phases, find_phases
from ibtrack.record.influences import Influences
from ibtrack.record.writer import TrajectoryWriter
from ibtrack.schedules import Progress
from tests import models, trajectories
from tests.models import Model, probe
from tests.record.test_lock import Holder


def tracker(**options: Any) -> InformationPlaneTracker:
    return InformationPlaneTracker(options.pop("probe", None) or probe(), **options)


def run_to(follow: InformationPlaneTracker, model: nn.Module, last: int) -> None:
    for step in range(last + 1):
        follow.step(model, step)


def due_point(follow: InformationPlaneTracker, model: nn.Module, step: int) -> Point:
    """The point of a step that is due."""
    point = follow.step(model, step)
    assert point is not None
    return point


def test_a_plain_loop_measures_what_is_due_once(tmp_path: Path) -> None:
    follow = tracker(schedule=schedules.every(4), path=tmp_path / "t.jsonl", name="plain", config={"lr": 0.1})
    model = Model()
    returned = [
        follow.step(model, step, tokens_seen=step * 128, loss=1.0) for step in (0, 1, 2, 3, 4, 4, 5, 6, 7, 8, 9)
    ]
    last = follow.finish(model, 9, tokens_seen=9 * 128)
    assert [point.step for point in (*returned, last) if point] == [0, 4, 8, 9]
    trajectory = Trajectory.load(tmp_path / "t.jsonl")
    assert trajectory.steps == [0, 4, 8, 9]
    assert [point.tokens_seen for point in trajectory.points] == [0, 512, 1024, 1152]
    assert trajectory.run == {"name": "plain", "config": {"lr": 0.1}}
    assert trajectory.points[-1].values == follow.trajectory.points[-1].values


def test_measure_gives_all_quantities_and_records_nothing() -> None:
    follow = tracker()
    point = follow.measure(Model())
    for site in ("mean", "embed", "L00", "L01"):
        for order in ("token", "bigram"):
            for quantity in ("complexity", "expressivity", "kept", "told", "optimality", "regularity"):
                assert math.isfinite(point.values[f"ib/{site}/{order}/{quantity}"])
                assert point.values[f"ib/{site}/{order}/{quantity}_se"] > 0
    assert point.failure is None
    assert not point.notes
    assert follow.trajectory.steps == []


def test_resume_goes_on_where_the_checkpoint_was(tmp_path: Path) -> None:
    path, model = tmp_path / "t.jsonl", Model()
    first = tracker(schedule=schedules.every(2), path=path)
    for step in range(7):
        first.step(model, step)
    second = tracker(schedule=schedules.every(2), path=path)
    with pytest.warns(UserWarning, match=r"held 2 points after step 3, .* kept in t\.1\.jsonl"):
        second.start(model, resume_from=Progress(3))
    for step in range(3, 9):
        second.step(model, step)
    second.finish(model, 8)
    assert Trajectory.load(path).steps == second.trajectory.steps == [0, 2, 4, 6, 8]


def test_another_runs_folder_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    tracker(path=path, config={"lr": 1}).start(Model())
    with pytest.raises(FileExistsError, match=r"already holds another run's trajectory \(the run's config\)"):
        tracker(path=path, config={"lr": 2}).start(Model())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"probe": probe(12)}, r"probe\.hash: "),
        ({"options": SoftOptions(num_anchors=50)}, "num_anchors: 100 in 'the file', 50 in 'this run'"),
        ({"options": SoftOptions(seed=1)}, "seed: 0 in 'the file', 1 in 'this run'"),
        ({"layers": ["blocks.1"]}, r"sites\.L01: blocks\.1 in 'the file', — in 'this run'"),
        ({"options": SoftOptions(temperature="bounds")}, "temperature: exact in 'the file', bounds in 'this run'"),
    ],
)
def test_another_protocol_is_not_resumed(tmp_path: Path, options: dict[str, Any], sentence: str) -> None:
    path, model = tmp_path / "t.jsonl", Model()
    tracker(path=path).step(model, 0)
    with pytest.raises(ValueError, match=f"was measured under another protocol .*{sentence}"):
        tracker(path=path, **options).start(model, resume_from=Progress(0))


def _wrong_shape(model: nn.Module, inputs: Tensor) -> Any:
    return model(inputs.repeat(2, 1))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"layers": "blok.*"}, "nothing fits 'blok"),
        ({"probe": Probe(torch.full((2, 8), 23))}, "must lie below the model's vocabulary of 23, got 23"),
        ({"schedule": schedules.every(100)}, "schedule has nothing due within the 10 steps of this run"),
        (
            {"forward": lambda model, inputs: model(inputs, 1)},
            r"does not take the probe \(TypeError.*\); pass forward=.*or make the probe with blocks that fit",
        ),
        (
            {"layers": "blocks.*", "forward": lambda model, inputs: None},
            r"layers: 'blocks\.0', 'blocks\.1' are not run by the model's forward; name others",
        ),
        (
            {"layers": ["blocks.1", "head"], "forward": lambda model, inputs: model.head(model.embed(inputs))},
            r"layers: 'blocks\.1' is not run by the model's forward; name another",
        ),
        (
            {
                "layers": "blocks.*",
                "forward": lambda model, inputs: model.blocks[0](model(inputs) @ model.head.weight),
            },
            r"layers: every site must fire once per forward pass, but L00 \(blocks\.0\) fired 2 times; name others",
        ),
        (
            {"layers": "blocks.*", "forward": _wrong_shape},
            r"does not take the probe .* must have shape \(1, 16, D\), got \(2, 16, 16\)",
        ),
        ({"forward": lambda model, inputs: None}, r"'auto' found no list of repeated blocks .*'blocks\.\*' .*0 calls"),
        (
            {"forward": lambda model, inputs: model.blocks[0](model(inputs) @ model.head.weight)},
            r"'auto' found no list of repeated blocks .*'blocks\.\*' .*are called up to 2 times",
        ),
        ({"forward": _wrong_shape}, r"'auto' found no list of repeated blocks .*not one row per position"),
    ],
)
def test_a_wrong_configuration_raises_at_the_start_and_leaves_nothing(
    tmp_path: Path, options: dict[str, Any], sentence: str
) -> None:
    path = tmp_path / "t.jsonl"
    with pytest.raises(ValueError, match=sentence):
        tracker(path=path, **options).start(Model(), max_steps=10)
    assert not path.exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"schedule": 100}, r"schedule must come from ibtrack\.schedules, got int"),
        ({"max_overhead": 1.5}, "max_overhead must lie between 0 and 1, got 1.5"),
        ({"log": "some"}, "log must be one of 'few', 'all', got 'some'"),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1, got 0"),
        ({"options": {"num_anchors": 50}}, r"options must be ibtrack\.SoftOptions, got dict"),
        ({"probe": torch.zeros(2, 2)}, r"probe must be an ibtrack\.Probe, got Tensor"),
    ],
)
def test_bad_arguments(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        InformationPlaneTracker(**{"probe": probe(), **options})


def _poison(value: float) -> Callable[[nn.Module, Any, Tensor], Tensor]:
    def hook(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        output = output.clone()
        output[0, 5] = value
        return output

    return hook


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0])
def test_bad_rows_are_a_failed_point_that_says_so(tmp_path: Path, value: float) -> None:
    model = Model()
    follow = tracker(path=tmp_path / "t.jsonl", schedule=schedules.every(1))
    follow.step(model, 0)
    model.blocks[1].register_forward_hook(_poison(value))
    with pytest.warns(
        MeasurementWarning, match=r"step 1 could not be measured in full: L01: 2 of \d+ positions are zero or"
    ) as caught:
        point = due_point(follow, model, 1)  # one in each of two batches
    assert [warning.filename for warning in caught] == [__file__]
    assert math.isnan(point.values["ib/L01/token/complexity"])
    assert math.isnan(point.values["ib/mean/entropy"])
    assert math.isfinite(point.values["ib/L00/token/complexity"])
    assert Trajectory.load(tmp_path / "t.jsonl").points[1].failure == point.failure


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda model: setattr(model, "forward", lambda ids: 1 / 0), "ZeroDivisionError"),
        (lambda model: setattr(model.blocks[0], "mix", nn.Linear(16, 8)), "RuntimeError"),
        (lambda model: setattr(model, "forward", lambda ids: model.blocks[0](model.embed(ids))), "fired 0 times"),
        (
            lambda model: setattr(model, "forward", lambda ids: model.blocks[0](model.blocks[0](model.embed(ids)))),
            r"L00 \(blocks\.0\) fired 2 times",
        ),
        (
            lambda model: setattr(model.blocks[1], "forward", lambda hidden: hidden[..., :8].contiguous()),
            "(activations must be .* shape .N, 16.|RuntimeError)",
        ),
    ],
)
def test_a_fault_while_measuring_is_a_warning_and_a_failed_point(damage: Callable[[Model], None], reason: str) -> None:
    model, follow = Model(), tracker(schedule=schedules.every(1))
    follow.step(model, 0)
    damage(model)
    with pytest.warns(MeasurementWarning, match=reason):
        point = due_point(follow, model, 1)
    assert point.failure
    assert not any(key.startswith("ib/mean") for key in point.values)
    strict = tracker(schedule=schedules.every(1), strict=True, layers="blocks.*")
    with pytest.raises((MeasurementError, ValueError), match=reason):
        strict.step(model, 0)


class _Broken:
    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        raise ConnectionError("no route")


def test_a_logger_or_disk_that_fails_costs_a_warning_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    follow = tracker(path=tmp_path / "t.jsonl", schedule=schedules.every(1), loggers=[_Broken()])
    with pytest.warns(MeasurementWarning, match="_Broken did not take the point of step 0: ConnectionError: no route"):
        follow.step(Model(), 0)
    cast(Any, follow)._recorder.logs.clear()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.warns(
            MeasurementWarning,
            match=r"t\.jsonl did not take the point of step 1: OSError: .*No space left.*; points wait in memory",
        ):
            follow.step(Model(), 1)
        assert Trajectory.load(tmp_path / "t.jsonl").steps == [0]  # whole lines only
    follow.step(Model(), 2)
    assert follow.trajectory.steps == [0, 1, 2]
    assert Trajectory.load(tmp_path / "t.jsonl").steps == [0, 1, 2]
    with pytest.raises(ConnectionError):
        tracker(loggers=[_Broken()], strict=True).step(Model(), 0)


@contextlib.contextmanager
def no_room() -> Iterator[None]:
    """Nothing can be written to any file, as on a full disk; the error is another one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("resumed", [False, True])
def test_a_disk_that_is_full_at_the_start_costs_a_warning_and_no_point(tmp_path: Path, resumed: bool) -> None:
    path, model = tmp_path / "t.jsonl", Model()
    options: dict[str, Any] = {"path": path, "schedule": schedules.every(1)}
    if resumed:
        first = tracker(**options)
        for step in range(3):
            first.step(model, step)
        first.close()
    before, steps = path.read_text() if resumed else None, [0, 1, 2] if resumed else []
    last = steps[-1] if resumed else -1
    lines: list[str] = []
    follow = tracker(say=lines.append, **options)
    with no_room():
        with pytest.warns(
            MeasurementWarning, match=r"t\.jsonl did not take the file: OSError.*; points wait in memory"
        ):
            follow.start(model, resume_from=Progress(last) if resumed else None)
        with pytest.warns(MeasurementWarning, match=rf"did not take the point of step {last + 1}: OSError"):
            follow.step(model, last + 1)
        assert (path.read_text() if path.exists() else None) == before
        assert [name for name in os.listdir(tmp_path) if name != ".t.jsonl.lock"] == (["t.jsonl"] if resumed else [])
    told = len(lines)
    follow.step(model, last + 2)
    assert Trajectory.load(path).steps == follow.trajectory.steps == [*steps, last + 1, last + 2]
    assert lines[told] == f"ibtrack: {path} holds all points again"
    follow.close()
    assert os.listdir(tmp_path) == ["t.jsonl"]


def test_a_strict_tracker_raises_where_the_disk_is_full(tmp_path: Path) -> None:
    follow = tracker(path=tmp_path / "t.jsonl", schedule=schedules.every(1), strict=True)
    with no_room(), pytest.raises(OSError, match="too large"):
        follow.start(Model())
    follow.step(Model(), 0)
    with no_room(), pytest.raises(OSError, match="too large"):
        follow.step(Model(), 1)


def test_points_that_wait_at_the_end_are_written_by_the_next_start(tmp_path: Path) -> None:
    follow, model = tracker(path=tmp_path / "t.jsonl", schedule=schedules.every(1), verbose=False), Model()
    follow.step(model, 0)
    with no_room():
        with pytest.warns(MeasurementWarning, match="did not take the point of step 1"):
            follow.step(model, 1)
        with pytest.warns(MeasurementWarning, match="did not take the last points"):
            follow.finish(model, 1)
    follow.start(model, resume_from=Progress(1))
    assert Trajectory.load(tmp_path / "t.jsonl").steps == follow.trajectory.steps == [0, 1]


def test_a_file_that_another_process_is_writing_is_refused_with_its_name(tmp_path: Path) -> None:
    holder = Holder(tmp_path / "t.jsonl")
    with pytest.raises(FileExistsError, match=rf"t\.jsonl is being written by process {holder.process.pid} on "):
        tracker(path=tmp_path / "t.jsonl").start(Model())
    holder.kill()
    tracker(path=tmp_path / "t.jsonl").start(Model())


def test_a_cell_that_is_run_again_begins_anew_and_keeps_what_it_had(tmp_path: Path) -> None:
    model = Model()
    first = tracker(path=tmp_path / "t.jsonl", schedule=schedules.every(1))
    first.step(model, 0)
    again = tracker(path=tmp_path / "t.jsonl", schedule=schedules.every(1))
    with pytest.warns(UserWarning, match=r"held an earlier start of this run, with 1 point .* moved to t\.1\.jsonl"):
        again.step(model, 0)
    with pytest.warns(MeasurementWarning, match="did not take the point of step 1: FileExistsError: .* been replaced"):
        first.step(model, 1)
    again.step(model, 1)
    with pytest.warns(UserWarning, match=r"held an earlier start of this run, with 2 points .* to t\.2\.jsonl"):
        again.start(model)
    assert [len(Trajectory.load(tmp_path / name).steps) for name in ("t.1.jsonl", "t.2.jsonl", "t.jsonl")] == [1, 2, 0]


@pytest.mark.filterwarnings("ignore:.*holds no trajectory to go on with")
def test_a_checkpoint_of_another_run_does_not_go_on_with_the_file(tmp_path: Path) -> None:
    model = Model()
    runs = {name: tracker(path=tmp_path / f"{name}.jsonl", schedule=schedules.every(1)) for name in ("old", "new")}
    for run in runs.values():
        for step in range(4):
            run.step(model, step)
    again = tracker(path=tmp_path / "new.jsonl", schedule=schedules.every(1))
    with pytest.warns(UserWarning, match=r"new\.jsonl held") as caught:
        again.start(model, resume_from=Progress(2), run_id=runs["old"].run_id)
    assert [str(warning.message).partition("new.jsonl ")[2].partition(":")[0] for warning in caught] == [
        "held 4 points up to step 3 of another run than the checkpoint's; it is moved to new.1.jsonl",
        "holds no trajectory to go on with",
    ]
    for step in (2, 3):
        again.step(model, step)
    files = [Trajectory.load(tmp_path / f"{name}.jsonl").steps for name in ("old", "new.1", "new")]
    assert files == [[0, 1, 2, 3], [0, 1, 2, 3], [2, 3]]


def test_wall_time_never_goes_back_after_a_restart(tmp_path: Path) -> None:
    """The seconds of a checkpoint are those before the point of its step was measured, or are not known at all."""
    first, model = tracker(path=tmp_path / "t.jsonl", schedule=schedules.every(1)), Model()
    first.step(model, 0)
    cast(Any, first)._began -= 1000
    first.step(model, 1)
    again = tracker(path=tmp_path / "t.jsonl", schedule=schedules.every(1))
    again.start(model, resume_from=Progress(1, seconds=900.0))
    again.step(model, 2)
    times = [point.wall_time for point in Trajectory.load(tmp_path / "t.jsonl").points]
    assert times == sorted(times)
    assert times[2] > 1000


def test_points_in_memory_go_on_from_the_checkpoint() -> None:
    follow, model = tracker(schedule=schedules.every(1)), Model()
    for step in range(4):
        follow.step(model, step)
    follow.start(model, resume_from=Progress(1))
    for step in range(1, 4):
        follow.step(model, step)
    assert follow.trajectory.steps == [0, 1, 2, 3]


@pytest.mark.parametrize("kind", [np.int64, np.array, torch.tensor, float, lambda step: torch.tensor([float(step)])])
def test_any_whole_number_is_a_step(tmp_path: Path, kind: Callable[[int], Any]) -> None:
    follow, model = tracker(path=tmp_path / "t.jsonl", schedule=schedules.every(2)), Model()
    for step in range(4):
        follow.step(model, kind(step), tokens_seen=kind(8 * step))
    follow.finish(model, kind(3), tokens_seen=kind(24))
    trajectory = Trajectory.load(tmp_path / "t.jsonl")
    assert trajectory.steps == [0, 2, 3]
    assert [point.tokens_seen for point in trajectory.points] == [0, 16, 24]


@pytest.mark.parametrize("step", [-1, 0.5, "3", None, torch.ones(2), math.nan])
def test_what_is_no_number_of_steps_is_refused(step: Any) -> None:
    with pytest.raises(ValueError, match="step must be an integer of at least 0, got"):
        tracker().step(Model(), step)
    with pytest.raises(ValueError, match="step must be an integer of at least 0, got"):
        tracker().finish(Model(), step)
    if step is not None:
        with pytest.raises(ValueError, match="tokens_seen must be an integer of at least 0, got"):
            tracker().step(Model(), 0, tokens_seen=step)


@pytest.mark.parametrize("loss", ["low", torch.ones(3), 1j, [1.0, 2.0]])
def test_a_loss_that_is_not_one_number_is_refused_before_anything_is_measured(loss: Any) -> None:
    follow, model = tracker(schedule=schedules.every(1)), Model()
    follow.step(model, 0)
    with pytest.raises(ValueError, match="loss must be one number, such as the mean over the batch, got"):
        follow.step(model, 1, loss=loss)
    point = follow.step(model, 1, loss=torch.tensor([2.5]))
    assert point is not None
    assert point.loss == 2.5


def test_steps_that_begin_again_with_every_epoch_are_named_once() -> None:
    follow, model = tracker(schedule=schedules.every(2)), Model()
    with pytest.warns(MeasurementWarning, match="step went back from 4 to 0") as caught:
        steps = [follow.step(model, step) for _ in range(3) for step in range(5)]
    assert "pass the number of optimizer steps since training began" in str(caught[0].message)
    assert [warning.filename for warning in caught] == [__file__]
    assert [point.step for point in steps if point] == [0, 2, 4]


def test_the_overhead_is_logged() -> None:
    follow, model = tracker(schedule=schedules.every(1)), Model()
    follow.step(model, 0)
    point = due_point(follow, model, 1)
    assert 0 < point.values["ib/overhead_fraction"] <= 1
    assert point.measure_time <= follow.measure_seconds


def test_a_budget_leaves_points_out_and_says_which() -> None:
    follow, model = tracker(schedule=schedules.every(1), max_overhead=0.01), Model()
    for step in range(6):
        follow.step(model, step)  # nothing but measuring: the budget is spent at once
    assert follow._began is not None
    follow._began -= 1e6  # as after eleven days of training
    follow.step(model, 6)
    follow.finish(model, 7)
    assert follow.trajectory.steps == [0, 6, 7]
    assert follow.trajectory.points[1].notes["schedule"] == "left out to keep max_overhead=0.01: steps 1, 2, 3, 4, 5"
    assert "schedule" not in follow.trajectory.points[2].notes


def test_the_last_step_is_not_said_to_be_left_out_when_it_is_measured_at_the_end() -> None:
    follow, model = tracker(schedule=schedules.every(1), max_overhead=0.01), Model()
    for step in range(4):
        follow.step(model, step)
    point = follow.finish(model, 3)
    assert point is not None
    assert point.notes["schedule"] == "left out to keep max_overhead=0.01: steps 1, 2"


def test_two_trackers_do_not_disturb_each_other() -> None:
    model = Model()
    first, second = tracker(), tracker(probe=Probe(models.tokens(8, seed=5), orders=(1,)))
    alone = tracker().measure(model).values
    first.start(model)
    second.measure(model)
    assert first.measure(model).values == alone


def test_wall_time_before_the_start_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(RuntimeError, match=r"seconds begins with start\(\); call start\(\) or step\(\) first"):
        _ = tracker().seconds


def test_a_loss_that_requires_a_gradient_is_read_without_a_word() -> None:
    loss = torch.tensor(2.5, requires_grad=True)
    point = tracker(schedule=schedules.every(1)).step(Model(), 1, loss=loss)
    assert point is not None
    assert point.loss == 2.5


def test_the_first_line_says_where_the_points_go_and_the_last_where_they_are(tmp_path: Path) -> None:
    lines: list[str] = []
    path, model = tmp_path / "of one run" / "t.jsonl", Model()
    follow = tracker(path=path, say=lines.append, schedule=schedules.every(1))
    run_to(follow, model, 1)
    assert lines[0] == f"ibtrack: points go to {path}"
    assert [line.partition(":")[0] for line in lines[1:]] == ["ibtrack step 0", "ibtrack step 1"]
    follow.finish(model, 1)
    follow.close()  # which is all done by then
    assert lines[3].startswith("ibtrack: following the run took ")
    assert lines[4:] == [f"ibtrack: 2 points in {path}; to see them: ibtrack show '{path}'"]
    lines.clear()
    follow = tracker(say=lines.append, prefix="code")
    follow.step(model, 0)
    follow.close()
    assert lines[0] == "ibtrack code: points stay in memory; path= names a file for them"
    assert lines[3:] == ["ibtrack code: 1 point, in memory only"]


def test_lines_are_printed_unless_nothing_is_to_be_shown(capsys: pytest.CaptureFixture[str]) -> None:
    model = Model()
    tracker().step(model, 0)
    assert [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()] == ["ibtrack", "ibtrack step 0"]
    tracker(verbose=False).step(model, 0)
    tracker().measure(model)  # which records nothing
    assert capsys.readouterr() == ("", "")


class _Terminal:
    """What stands behind ``print``, as it has become."""

    def __init__(self, error: Exception) -> None:
        self.error, self.calls = error, 0

    def __call__(self, line: str) -> None:
        self.calls += 1
        raise self.error


@pytest.mark.parametrize(
    "error",
    [ValueError("I/O operation on closed file"), BrokenPipeError(errno.EPIPE, "Broken pipe"), RuntimeError("\x1b[0m")],
    ids=lambda error: type(error).__name__,
)
def test_a_line_that_cannot_be_shown_does_not_end_training(error: Exception, tmp_path: Path) -> None:
    terminal = _Terminal(error)
    follow = tracker(say=terminal, schedule=schedules.every(1), path=tmp_path / "t.jsonl")
    model = Model()
    with pytest.warns(MeasurementWarning, match=rf"a line could not be shown: {type(error).__name__}: "):
        run_to(follow, model, 2)
    assert terminal.calls >= 4  # the first says where the points go; a phase may have begun
    assert Trajectory.load(tmp_path / "t.jsonl").steps == [0, 1, 2]
    with pytest.raises(type(error)):
        tracker(say=terminal, strict=True).step(model, 0)


def test_a_terminal_without_a_letter_gets_the_line_in_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.TextIOWrapper(written := io.BytesIO(), encoding="ascii")
    follow = tracker(say=lambda line: print(line, file=terminal), schedule=schedules.every(1))
    for step in range(2):
        follow.step(Model(), step)
    terminal.flush()
    lines = written.getvalue().decode("ascii").splitlines()
    measured = [line for line in lines if line.startswith("ibtrack step ")]
    assert [line.partition(":")[0] for line in measured] == ["ibtrack step 0", "ibtrack step 1"]
    assert all(" \\xb1 " in line for line in measured)


def test_a_warning_that_cannot_be_shown_does_not_end_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*args: Any, **kwargs: Any) -> None:
        raise ValueError("I/O operation on closed file")

    model = Model()
    follow = tracker(say=closed, schedule=schedules.every(1))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(warnings, "showwarning", closed)
        for step in range(2):
            follow.step(model, step)
    assert follow.trajectory.steps == [0, 1]


def test_what_a_failure_says_is_one_printable_line(tmp_path: Path) -> None:
    class Unspeakable(RuntimeError):
        def __str__(self) -> str:
            raise ZeroDivisionError

    errors = iter([RuntimeError("\x1b]0;stolen\x07\nsecond line"), Unspeakable()])

    def forward(model: nn.Module, inputs: Tensor) -> Any:
        raise next(errors)

    follow = tracker(schedule=schedules.every(1), path=tmp_path / "t.jsonl", name="a\x1b[2Jb")
    model = Model()
    follow.start(model)
    follow.forward = forward
    cast(Any, follow)._measurement._forward = forward
    with pytest.warns(MeasurementWarning, match="could not be measured"):
        run_to(follow, model, 1)
    held = Trajectory.load(tmp_path / "t.jsonl")
    assert [point.failure for point in held.points] == [r"RuntimeError: \x1b]0;stolen\x07 second line", "Unspeakable"]
    assert held.run["name"] == held.name == r"a\x1b[2Jb"


def test_a_folder_is_no_trajectory_file(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"path must name a trajectory file, got the folder .*; take .*trajectory\.jsonl"
    ):
        tracker(path=tmp_path).start(Model())


def test_going_on_takes_a_progress_and_misses_a_file_that_is_not_there(tmp_path: Path) -> None:
    follow = tracker(path=tmp_path / "t.jsonl")
    with pytest.raises(ValueError, match=r"resume_from must be an ibtrack\.schedules\.Progress, got int"):
        follow.start(Model(), resume_from=4)  # type: ignore[arg-type]  # what is refused
    sentence = r"t\.jsonl holds no trajectory to go on with: its points begin at step 4, that of the checkpoint"
    with pytest.warns(MeasurementWarning, match=sentence) as caught:
        follow.start(Model(), resume_from=Progress(4))
    assert [warning.filename for warning in caught] == [__file__]
    assert Trajectory.load(tmp_path / "t.jsonl").steps == []
    assert due_point(follow, Model(), 4).step == 4
    assert follow.step(Model(), 4) is None


@pytest.mark.parametrize("strict", [False, True])
def test_a_value_outside_of_its_bracket_is_a_warning_and_a_doubt(
    strict: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where faults raise: nothing has failed, and the numbers are there to look at."""
    path, key = tmp_path / "t.jsonl", "ib/L00/token/complexity"
    follow = tracker(path=path, strict=strict)
    follow.start(Model())
    measured = cast(Any, follow)._measurement

    def lowered(model: nn.Module) -> tuple[dict[str, float], dict[str, str], Influences | None]:
        values, faults, influences = measured(model)
        return {**values, key: values[f"{key}_low"] - 0.5}, faults, influences

    lowered.batch_size = follow.batch_size  # type: ignore[attr-defined]
    monkeypatch.setattr(follow, "_measurement", lowered)
    with pytest.warns(
        MeasurementWarning, match=f"step 0: 1 of the values are in doubt, the first is {key}: this value"
    ):
        follow.step(Model(), 0)
    (point,) = Trajectory.load(path).points
    assert list(point.doubts) == [key]
    assert point.failure is None


def test_a_sound_measurement_is_not_in_doubt() -> None:
    point = tracker(probe=probe(64), options=SoftOptions(anchor_draws=2)).measure(Model())
    assert point.doubts == {}


class _Alerting:
    """What of a wandb run takes numbers, phases and alerts."""

    def __init__(self) -> None:
        self.phases: list[Phases] = []
        self.alerts: list[str] = []
        self.logger = self

    def log(self, point: Point, trajectory: Trajectory) -> None: ...

    def finish(self, trajectory: Trajectory) -> None: ...

    def tell(self, phases: Phases) -> None:
        self.phases.append(phases)

    def alert(self, title: str, text: str) -> bool:
        self.alerts.append(f"{title} | {text}")
        return True


def following(monkeypatch: pytest.MonkeyPatch, **options: Any) -> tuple[InformationPlaneTracker, _Alerting, list[str]]:
    """A tracker whose measurements are the points of a made-up run."""
    lines: list[str] = []
    log = _Alerting()
    follow = tracker(say=lines.append, name="demo", **options)
    follow.start(Model())
    monkeypatch.setattr(cast(Any, follow)._recorder, "logs", [log])
    return follow, log, lines


def play(follow: InformationPlaneTracker, run: Trajectory) -> None:
    follow.protocol["orders"] = run.protocol["orders"]
    for point in run.points:
        cast(Any, follow)._recorder.take(replace(point, wall_time=1000.0 * (1 + point.step)))
    follow.close()


@pytest.mark.parametrize("alert", [False, True])
def test_a_phase_that_begins_is_said_and_raises_an_alert_where_asked(
    alert: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    follow, log, lines = following(monkeypatch, alert=alert)
    play(follow, trajectories.make())
    begun = [line for line in lines if "has begun" in line]
    assert [line.split()[1] for line in begun] == ["narrowing", "fitting", "compression"]
    assert begun[2].startswith("ibtrack: compression has begun, between steps ")
    assert len(log.alerts) == (3 if alert else 0)
    assert all(entry.startswith("demo: ") for entry in log.alerts)
    assert log.phases[-1].compression is not None
    assert len(log.phases) > 10


def test_an_alert_that_no_logger_can_raise_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    follow, log, _ = following(monkeypatch, alert=True)
    monkeypatch.setattr(log, "alert", lambda title, text: False)
    with pytest.warns(MeasurementWarning, match="demo: .* has begun; none of the loggers can raise an alert"):
        play(follow, trajectories.make())


def test_a_logger_that_takes_no_phases_and_no_alerts_keeps_them_from_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    follow, log, lines = following(monkeypatch, alert=True)
    broken = _Alerting()
    monkeypatch.setattr(broken, "tell", lambda phases: 1 / 0)
    monkeypatch.setattr(broken, "alert", lambda title, text: 1 / 0)
    monkeypatch.setattr(cast(Any, follow)._recorder, "logs", [broken, log])
    with pytest.warns(MeasurementWarning) as caught:
        play(follow, trajectories.make())
    said = {str(each.message).partition(":")[2].partition(":")[0] for each in caught}
    assert {" _Alerting did not take the phases", " _Alerting did not raise an alert"} <= said
    assert len(log.alerts) == 3
    assert len(log.phases) > 10
    assert len([line for line in lines if "has begun" in line]) == 3


def test_phases_that_began_before_a_restart_are_no_news(tmp_path: Path) -> None:
    run = trajectories.make()
    lines: list[str] = []
    follow = tracker(path=tmp_path / "t.jsonl", say=lines.append)
    follow.start(Model())
    writer = TrajectoryWriter.resume(tmp_path / "t.jsonl", follow.protocol, last_step=0)
    for point in run.points:
        writer.append(point)
    again = tracker(path=tmp_path / "t.jsonl", say=lines.append)
    again.start(Model(), resume_from=Progress(4000))
    again.close()
    assert find_phases(again.trajectory).compression is not None
    assert not any("has begun" in line for line in lines)


def test_a_last_step_can_be_measured_before_the_end_and_only_once() -> None:
    model, follow = Model(), tracker(schedule=schedules.at(2))
    assert follow.measure_last(model, 1) is None  # nothing has been started
    follow.step(model, 0)
    assert follow.measure_last(model, 1) is not None
    assert follow.measure_last(model, 1) is None
    assert follow.finish(model, 1) is None
    assert follow.trajectory.steps == [0, 1]


def test_a_last_step_whose_weights_are_gone_is_a_failed_point() -> None:
    model, follow = Model(), tracker(schedule=schedules.at(2))
    follow.step(model, 0)
    with pytest.warns(MeasurementWarning, match="step 1 could not be measured: gone"):
        point = follow.finish(model, 1, failure="gone")
    assert point is not None
    assert point.failure == "gone"
    assert point.values.keys() == {"ib/overhead_fraction"}
    assert follow.finish(model, 1, failure="gone") is None


def test_checkpoints_are_other_objects_each_and_their_points_have_their_names(tmp_path: Path) -> None:
    origin = {"left_out": {"step2": "it is damaged"}}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        follow = tracker(schedule=schedules.every(1), path=tmp_path / "t.jsonl", origin=origin)
        points = [follow.step(Model(), step, checkpoint=f"step{step}") for step in (0, 1)]
    with pytest.warns(MeasurementWarning, match="step 2 could not be measured: it is damaged; the replay goes on"):
        failed = follow.fail(2, "it is damaged", tokens_seen=64, checkpoint="step2\x1b[31m")
    assert [point.notes.get("model") for point in points if point is not None] == [None, None]
    assert (failed.failure, failed.tokens_seen, failed.checkpoint) == ("it is damaged", 64, "step2\\x1b[31m")
    read = Trajectory.load(tmp_path / "t.jsonl")
    assert [point.checkpoint for point in read.points] == ["step0", "step1", "step2\\x1b[31m"]
    assert read.run["replay"] == origin
    other = follow.step(Model(), 3)
    assert other is not None
    assert "another object" in other.notes["model"], "of a model that was not loaded"
    assert '"checkpoint"' not in (tmp_path / "t.jsonl").read_text().splitlines()[-1], "which older versions refuse"


def test_only_a_later_step_of_a_started_tracker_can_have_failed() -> None:
    follow = tracker(schedule=schedules.every(1))
    with pytest.raises(RuntimeError, match=r"call start\(\) or step\(\) first"):
        follow.fail(0, "it is damaged")
    follow.step(Model(), 4)
    with pytest.raises(ValueError, match="step must be after 4, the last one, got 4"):
        follow.fail(4, "it is damaged")
