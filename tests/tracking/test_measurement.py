"""One measurement: batches, layouts, memory, transforms, and what the head says."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ibtrack import (
    MeasurementWarning,
    Probe,
    SoftOptions,
    schedules,
)
from ibtrack.capture.forward import default_forward
from ibtrack.capture.sharded import SharedPasses
from ibtrack.capture.sites import find_sites
from ibtrack.information import cloud_geometry
from ibtrack.tracking import measurement
from tests.models import Model, Module, probe
from tests.tracking.test_tracker import due_point, tracker


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


@pytest.mark.parametrize("transform", ["none", "center", "whiten"])
def test_the_geometry_is_that_of_the_activations_before_any_transform(transform: str) -> None:
    model, sample = Model().eval(), probe()
    values = tracker(options=SoftOptions(transform=transform), geometry_rows=10**6).measure(model).values
    with torch.no_grad():
        rows = model.blocks[0](model.embed(sample.inputs)).flatten(0, 1)[sample.positions]
    expected = cloud_geometry(rows, sample.documents)
    for name, estimate in expected.estimates.items():
        found = [values[f"ib/L00/{name}{suffix}"] for suffix in ("", "_se", "_half")]
        numbers = [estimate.value, estimate.standard_error, expected.halves[name]]
        assert found == pytest.approx([float(number) for number in numbers], rel=1e-4)


def test_the_geometry_changes_nothing_else_and_is_the_same_in_several_passes() -> None:
    model = Model()
    without, together = (tracker(geometry_rows=rows).measure(model).values for rows in (0, 150))
    assert not any("rankme" in key for key in without)
    assert {key: together[key] for key in without} == without
    sample = probe()
    one_site = sample.num_positions * 100 * 4 + 150 * 16 * 4
    apart = tracker(geometry_rows=150, max_memory=one_site)
    assert apart.measure(model).values == pytest.approx(together, abs=1e-7)
    assert apart._measurement is not None
    assert [plane.sites for plane in apart._measurement._planes] == [["embed"], ["L00"], ["L01"]]


def test_memory_is_shared_out_by_the_widest_site() -> None:
    model = nn.Sequential(nn.Embedding(23, 8), nn.Sequential(nn.Linear(8, 64), nn.Linear(64, 8)))
    wide = probe().num_positions * 100 * 4 + 100 * 64 * 4
    apart = tracker(layers=["0", "1.0", "1.1"], geometry_rows=100, max_memory=2 * wide)
    assert apart.measure(model).failure is None
    assert apart._measurement is not None
    assert [len(plane.sites) for plane in apart._measurement._planes] == [2, 1]


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
    model, layers = _Boxed(lambda hidden: hidden), ["embed", "blocks.*"]
    expected = tracker(layers=layers).measure(model).values
    for block in model.boxing:
        block.box = box
    assert tracker(layers=layers).measure(model).values == expected


def test_a_block_that_begins_to_return_something_else_is_a_failed_point() -> None:
    model, follow = _Boxed(lambda hidden: hidden), tracker(layers=["embed", "blocks.*"], schedule=schedules.every(1))
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
        MeasurementWarning, match="step 1 could not be measured: MemoryExhausted: OutOfMemoryError: CUDA"
    ):
        follow.step(model, 1)
    assert small.tried == [4, 2, 1]
    small.blocks = 24
    with pytest.warns(MeasurementWarning, match="4 blocks at once did not fit into memory, 1 do"):
        assert due_point(follow, model, 2).failure is None


def test_another_fault_is_not_tried_again() -> None:
    small = _Small(2, RuntimeError("a bug"))  # two are tried at the start
    model, follow = Model(), tracker(batch_size=4, forward=small)
    follow.start(model)
    small.tried = []
    with pytest.raises(RuntimeError, match="a bug"):
        follow.measure(model)
    assert small.tried == [4]


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


def test_a_classifier_with_labels_of_its_own() -> None:
    inputs = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    classes = (inputs[:, 0] > 0).long()
    sample = Probe(inputs, labels={"input": torch.arange(200) % 40, "output": classes})
    torch.manual_seed(0)
    model = nn.Sequential(nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 8)), nn.Linear(8, 2))
    point = tracker(probe=sample, layers=["0.*"]).measure(model)
    assert point.values["ib/L01/label/expressivity"] > 0.005
    assert "ib/probe_loss" not in point.values


def test_module_and_bare_model_read_the_same() -> None:
    model = Model()
    bare, wrapped = tracker().measure(model).values, tracker().measure(Module(model)).values
    assert bare == wrapped


class _Adding(nn.Module):
    """A block that goes on in the memory that was handed over to it."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden.add_(self.linear(hidden))


class _InPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.blocks = nn.Embedding(100, 8), nn.ModuleList([_Adding(), _Adding()])

    def forward(self, ids: Tensor) -> Tensor:
        hidden: Tensor = self.embed(ids)
        for block in self.blocks:
            hidden = block(hidden)
        return hidden


def test_sites_that_are_handed_over_together_are_kept_as_they_were_in_the_pass() -> None:
    torch.manual_seed(0)
    model, sample = _InPlace().eval(), probe(6)
    sites, passes = find_sites(model, "auto"), SharedPasses()
    layouts = measurement.find_layouts(model, sample, sites, default_forward, passes)
    measured = measurement.Measurement(
        sample,
        sites,
        layouts,
        options=SoftOptions(),
        forward=default_forward,
        passes=passes,
        batch_size=4,
        device=torch.device("cpu"),
    )
    (plane,) = measured._planes
    found = []
    for receive in (None, measurement._Together(plane, 4 * sample.inputs.shape[1])):
        plane.reset()
        if receive is None:
            measured._fill(model, plane)
        else:
            measured._run(model, plane.sites, receive)
        found.append((plane.assignments.clone(), plane.seen.clone()))
    torch.testing.assert_close(found[1][0], found[0][0], rtol=1e-5, atol=1e-7)
    assert torch.equal(found[1][1], found[0][1])
    assert found[1][1].eq(1).all()
