import errno
import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    __version__,
    schedules,
)
from ibtrack.information.readings import ESTIMATOR_VERSION
from ibtrack.schedules import Progress
from ibtrack.tracking import measurement
from tests import models
from tests.models import Model, Module, probe, tokens


def tracker(**options: Any) -> InformationPlaneTracker:
    return InformationPlaneTracker(options.pop("probe", None) or probe(), **options)


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
            for quantity in ("complexity", "expressivity", "optimality", "regularity"):
                assert math.isfinite(point.values[f"ib/{site}/{order}/{quantity}"])
                assert point.values[f"ib/{site}/{order}/{quantity}_se"] > 0
    assert point.failure is None
    assert not point.notes
    assert follow.trajectory.steps == []


def test_batch_size_does_not_matter() -> None:
    model = Model()
    whole, pieces = (tracker(batch_size=size).measure(model).values for size in (24, 5))
    assert whole.keys() == pieces.keys()
    for key in whole:
        assert whole[key] == pytest.approx(pieces[key], abs=1e-5), key  # float32 products of another shape


def test_sites_measured_in_several_passes_read_the_same() -> None:
    model = Model()
    together = tracker(options=SoftOptions(anchor_draws=2)).measure(model).values
    sample = probe()
    one_site = 2 * sample.num_positions * 100 * 4
    apart = tracker(options=SoftOptions(anchor_draws=2), max_memory=one_site)
    assert apart.measure(model).values == pytest.approx(together, abs=1e-7)  # errors are worked out in single precision
    assert apart._measurement is not None
    assert [plane.sites for plane in apart._measurement._planes] == [["embed"], ["L00"], ["L01"]]


@pytest.mark.parametrize(("kept_bytes", "kept"), [(0, 0), (1 << 26, 1)])
def test_rows_are_given_back_after_a_measurement_unless_they_are_few(
    monkeypatch: pytest.MonkeyPatch, kept_bytes: int, kept: int
) -> None:
    monkeypatch.setattr(measurement, "KEPT_BYTES", kept_bytes)
    model, watched = Model(), tracker()
    first, second = (watched.measure(model).values for _ in range(2))
    of_readings = {key for key in first if "overhead" not in key and "time" not in key}
    assert {key: second[key] for key in of_readings} == {key: first[key] for key in of_readings}
    assert watched._measurement is not None
    (plane,) = watched._measurement._planes
    assert plane.assignments.nbytes == kept * plane.num_bytes


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_default_precision_of_the_process_does_not_matter(dtype: torch.dtype) -> None:
    model, tokens_of = Model(), probe().inputs
    readings = tracker(probe=Probe(tokens_of, orders=(1, 2))).measure(model).values
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(dtype)
        other = tracker(probe=Probe(tokens_of, orders=(1, 2))).measure(model).values
    finally:
        torch.set_default_dtype(before)
    assert other == pytest.approx(readings, abs=1e-6, nan_ok=True)


def test_batches_hold_each_kept_position_of_their_blocks() -> None:
    sample = probe()
    length = sample.grid[1]
    batches = measurement._batches(sample, 5, torch.device("cpu"))
    found = torch.cat([batch.positions for batch in batches])
    assert found.tolist() == list(range(sample.num_positions))
    begin = 0
    for batch in batches:
        tokens = batch.inputs.flatten()[batch.rows]
        kept = sample.positions[batch.positions]
        assert torch.equal(tokens, sample.inputs.flatten()[kept])
        assert torch.equal(batch.rows, kept - begin * length)
        begin += len(batch.inputs)


@pytest.mark.parametrize("transform", ["center", "whiten"])
def test_transformed_clouds_are_measured_around_their_own_mean(transform: str) -> None:
    model = Model()
    plain, moved = (
        tracker(options=SoftOptions(transform=t), batch_size=5).measure(model).values for t in ("none", transform)
    )
    assert abs(moved["ib/L01/mean_cosine"]) < 0.02
    assert moved["ib/L01/token/complexity"] != plain["ib/L01/token/complexity"]
    assert moved["ib/probe_loss"] == pytest.approx(plain["ib/probe_loss"])


def test_probe_loss_is_the_models_loss_on_the_kept_positions_and_bounds_the_information() -> None:
    model, sample = Model().eval(), probe()
    with torch.no_grad():
        losses = nn.functional.cross_entropy(
            model(sample.inputs)[:, :-1].flatten(0, 1), sample.inputs[:, 1:].flatten(), reduction="none"
        ).view(len(sample.inputs), -1)
    kept = torch.zeros(sample.inputs.shape, dtype=torch.bool).flatten().index_fill_(0, sample.positions, True)
    expected = losses[kept.view(sample.inputs.shape)[:, :-1]].mean()
    point = tracker(probe=sample).measure(model)
    assert point.values["ib/probe_loss"] == pytest.approx(float(expected), rel=1e-5)
    share = torch.bincount(sample.label_sets["output/token"]).double() / sample.num_positions
    entropy = float(torch.special.entr(share).sum())
    assert point.values["ib/variational_floor"] == pytest.approx(entropy - float(expected), rel=1e-5)


def test_protocol_says_what_makes_numbers_comparable() -> None:
    follow = tracker()
    follow.start(Model(), precision="bf16-mixed")
    protocol = json.loads(json.dumps(follow.protocol))
    assert protocol["sites"] == {"embed": "embed", "L00": "blocks.0", "L01": "blocks.1"}
    assert protocol["widths"] == {"embed": 16, "L00": 16, "L01": 16}
    assert protocol["probe"]["hash"] == follow.probe.hash
    assert (protocol["num_anchors"], protocol["temperature"], protocol["precision"]) == (100, "exact", "bf16-mixed")
    assert protocol["bottleneck_curve"] == follow.probe.bottleneck_curve(num_anchors=100)


def test_resume_goes_on_where_the_checkpoint_was(tmp_path: Path) -> None:
    path, model = tmp_path / "t.jsonl", Model()
    first = tracker(schedule=schedules.every(2), path=path)
    for step in range(7):
        first.step(model, step)
    second = tracker(schedule=schedules.every(2), path=path)
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
        ({"forward": lambda model, inputs: model(inputs, 1)}, r"does not take the probe \(TypeError"),
        ({"forward": lambda model, inputs: None}, "does not take the probe .* fired 0 times"),
        ({"forward": _wrong_shape}, r"does not take the probe .* must have shape \(1, 16, D\), got \(2, 16, 16\)"),
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
        MeasurementWarning, match=r"step 1 was not measured as a whole: L01: 2 of \d+ positions are zero or"
    ):
        point = due_point(follow, model, 1)  # one in each of two batches
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
    strict = tracker(schedule=schedules.every(1), strict=True)
    with pytest.raises((MeasurementError, ValueError), match=reason):
        strict.step(model, 0)


@dataclass
class _Output:
    last_hidden_state: torch.Tensor
    attentions: None = None


class _Boxing(nn.Module):
    """A block that puts what it makes into something."""

    def __init__(self, block: nn.Module, box: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.block, self.box = block, box

    def forward(self, hidden: Tensor) -> Any:
        return self.box(self.block(hidden))


class _Boxed(Model):
    """Runs its blocks side by side, so that none has to open the box of another."""

    def __init__(self, box: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.boxing = [_Boxing(block, box) for block in self.blocks]
        self.blocks = nn.ModuleList(self.boxing)

    def forward(self, ids: Tensor) -> Tensor:
        hidden = self.embed(ids)
        for block in self.blocks:
            block(hidden)
        return self.head(hidden)


@pytest.mark.parametrize("box", [lambda hidden: (hidden, None), _Output, lambda hidden: {"hidden_states": hidden}])
def test_blocks_that_return_a_tuple_or_a_dataclass(box: Callable[[Tensor], Any]) -> None:
    model = _Boxed(lambda hidden: hidden)
    expected = tracker().measure(model).values
    for block in model.boxing:
        block.box = box
    assert tracker().measure(model).values == expected


def test_a_block_that_begins_to_return_something_else_is_a_failed_point() -> None:
    model, follow = _Boxed(lambda hidden: hidden), tracker(schedule=schedules.every(1))
    follow.step(model, 0)
    model.boxing[1].box = lambda hidden: {"loss": hidden}
    with pytest.warns(MeasurementWarning, match="CaptureError: L01 must return a tensor, .* got <class 'dict'>"):
        assert due_point(follow, model, 1).failure


class _Small:
    """Memory for so many blocks at once; says so as devices do."""

    def __init__(self, blocks: int, error: Exception) -> None:
        self.blocks, self.error = blocks, error
        self.tried: list[int] = []

    def __call__(self, model: nn.Module, inputs: Tensor) -> Any:
        self.tried.append(len(inputs))
        if len(inputs) > self.blocks:
            raise self.error
        return model(inputs)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("MPS backend out of memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
        MemoryError(),
    ],
)
def test_less_is_tried_at_once_when_memory_runs_out(error: Exception) -> None:
    model, small = Model(), _Small(24, error)
    expected = tracker(batch_size=3).measure(model).values
    follow = tracker(batch_size=12, schedule=schedules.every(1), forward=small)
    follow.step(model, 0)
    small.blocks, small.tried = 3, []
    with pytest.warns(MeasurementWarning, match="12 blocks at once did not fit into memory, 3 do; training goes on"):
        point = due_point(follow, model, 1)
    assert point.failure is None
    assert "did not fit" in point.notes["batch_size"]
    assert small.tried == [12, 6, *[3] * 8]
    assert {key: point.values[key] for key in expected} == pytest.approx(expected, abs=1e-12)
    assert "batch_size" not in due_point(follow, model, 2).notes  # three at a time from here on, without another word
    assert small.tried[10:] == [3] * 8


def test_not_even_one_block_is_a_failed_point() -> None:
    model, small = Model(), _Small(24, torch.OutOfMemoryError("CUDA out of memory"))
    follow = tracker(batch_size=4, schedule=schedules.every(1), forward=small)
    follow.step(model, 0)
    small.blocks, small.tried = 0, []
    with pytest.warns(
        MeasurementWarning, match="step 1 was not measured as a whole: MemoryExhausted: OutOfMemoryError: CUDA"
    ):
        follow.step(model, 1)
    assert small.tried == [4, 2, 1]
    small.blocks = 24
    with pytest.warns(MeasurementWarning, match="4 blocks at once did not fit into memory, 1 do"):
        assert due_point(follow, model, 2).failure is None


def test_another_fault_is_not_tried_again() -> None:
    small = _Small(1, RuntimeError("a bug"))
    follow = tracker(batch_size=4, forward=small)
    follow.start(Model())
    with pytest.raises(RuntimeError, match="a bug"):
        follow.measure(Model())
    assert small.tried == [1, 4]


class _TimeFirst(nn.Module):
    """As PyTorch's own layers have it: (T, B, D) inside, and outside too where ``all_the_way``."""

    def __init__(self, model: Model, all_the_way: bool) -> None:
        super().__init__()
        self.embed, self.head, self.all_the_way = model.embed, model.head, all_the_way
        self.blocks = nn.ModuleList(_Transposed(block) for block in model.blocks)

    def forward(self, ids: Tensor) -> Tensor:
        hidden = self.embed(ids).transpose(0, 1)
        for block in self.blocks:
            hidden = block(hidden)
        return self.head(hidden if self.all_the_way else hidden.transpose(0, 1))


class _Transposed(nn.Module):
    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, hidden: Tensor) -> Tensor:
        return self.block(hidden.transpose(0, 1)).transpose(0, 1)


@pytest.mark.parametrize("all_the_way", [False, True])
@pytest.mark.parametrize("batch_size", [5, 16])  # 16 blocks of 16 tokens: the shape alone does not tell
def test_activations_with_time_first_are_read_as_they_are_meant(all_the_way: bool, batch_size: int) -> None:
    model = Model()
    expected = tracker(batch_size=batch_size).measure(model).values
    found = tracker(batch_size=batch_size).measure(_TimeFirst(model, all_the_way)).values
    assert found == pytest.approx(expected, abs=1e-9)


def test_hidden_states_are_not_taken_for_logits() -> None:
    point = tracker(forward=lambda model, ids: model.blocks[1](model.blocks[0](model.embed(ids)))).measure(Model())
    assert point.failure is None
    assert "ib/probe_loss" not in point.values


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


class _Broken:
    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        raise ConnectionError("no route")


def test_a_logger_or_disk_that_fails_costs_a_warning_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    follow = tracker(path=tmp_path / "t.jsonl", schedule=schedules.every(1), loggers=[_Broken()])
    with pytest.warns(MeasurementWarning, match="_Broken did not take the point of step 0: ConnectionError: no route"):
        follow.step(Model(), 0)
    follow._logs.clear()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.warns(
            MeasurementWarning, match=r"t\.jsonl did not take the point of step 1: OSError: .*No space left"
        ):
            follow.step(Model(), 1)
    follow.step(Model(), 2)
    assert follow.trajectory.steps == [0, 1, 2]
    assert Trajectory.load(tmp_path / "t.jsonl").steps == [0, 2]  # whole lines only
    with pytest.raises(ConnectionError):
        tracker(loggers=[_Broken()], strict=True).step(Model(), 0)


def test_distinct_labels_are_noted() -> None:
    ids = torch.arange(2 * 11).view(2, 11) % 23
    point = tracker(probe=Probe(ids, orders=(1, 4))).measure(Model())
    assert math.isnan(point.values["ib/L00/quadgram/complexity"])
    assert "all labels are distinct" in point.notes["quadgram/complexity"]


def test_one_document_has_no_standard_error() -> None:
    sample = Probe(tokens(4, seed=1), orders=(1,), documents=torch.zeros(4, dtype=torch.long))
    readings = tracker(probe=sample).measure(Model()).values
    assert math.isnan(readings["ib/mean/token/optimality_se"])
    assert math.isfinite(readings["ib/mean/token/optimality"])


def test_a_classifier_with_labels_of_its_own() -> None:
    inputs = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    classes = (inputs[:, 0] > 0).long()
    sample = Probe(inputs, labels={"input": torch.arange(200) % 40, "output": classes})
    model = nn.Sequential(nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 8)), nn.Linear(8, 2))
    point = tracker(probe=sample, layers=["0.*"]).measure(model)
    assert point.values["ib/L01/label/expressivity"] > 0.005
    assert "ib/probe_loss" not in point.values


def test_module_and_bare_model_read_the_same() -> None:
    model = Model()
    bare, wrapped = tracker().measure(model).values, tracker().measure(Module(model)).values
    assert bare == wrapped


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


def test_the_protocol_names_the_versions_of_estimator_and_package() -> None:
    follow = tracker()
    follow.start(Model())
    assert follow.protocol["estimator"] == ESTIMATOR_VERSION
    assert follow.protocol["versions"]["ibtrack"] == __version__
    assert follow.protocol.items() >= SoftOptions().protocol().items()


def test_a_loss_that_requires_a_gradient_is_read_without_a_word() -> None:
    loss = torch.tensor(2.5, requires_grad=True)
    point = tracker(schedule=schedules.every(1)).step(Model(), 1, loss=loss)
    assert point is not None
    assert point.loss == 2.5
