"""Several processes (gloo): the points are those of one, and none waits for another that failed."""

from __future__ import annotations

import time
import warnings
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import Strategy
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.multiprocessing.spawn import ProcessRaisedException

from ibtrack import (
    InformationPlaneMonitor,
    InformationPlaneTracker,
    MeasurementError,
    MeasurementWarning,
    Probe,
    Trajectory,
    distributed,
    schedules,
)
from tests import models
from tests.processes import join, leave, spawn_bounded

CPU = torch.device("cpu")


def _call_every_function(rank: int, world: int, port: int, folder: Path) -> None:
    assert (distributed.rank(), distributed.world_size()) == (0, 1)  # nobody has joined yet
    join(rank, world, port)
    assert (distributed.rank(), distributed.world_size()) == (rank, world)
    value = torch.tensor([1.0, float(rank)])
    assert distributed.sum_over_processes(value) is value
    assert value.tolist() == [3.0, 0.0 + 1.0 + 2.0]
    assert distributed.on_any_process(rank == 2, CPU)
    assert not distributed.on_any_process(False, CPU)
    assert [distributed.decided_by_first(answer, CPU) for answer in (rank == 0, rank != 0)] == [True, False]
    distributed.raise_together(None, CPU)
    with pytest.raises(
        ValueError if rank == 1 else MeasurementError,
        match="^mine$" if rank == 1 else "^it failed on process 1: ValueError: mine$",
    ):
        distributed.raise_together(ValueError("mine") if rank == 1 else None, CPU)
    with pytest.raises(
        OSError if rank else MeasurementError, match="^mine$" if rank else "processes 1, 2: OSError: mine"
    ):
        _fail_together(OSError("mine") if rank else None)
    assert distributed.of_every_process(f"of {rank}", CPU) == ["of 0", "of 1", "of 2"]
    assert distributed.what_failed(None if rank == 0 else OSError(f"disk {rank}"), CPU) == (
        "it failed on process 1: OSError: disk 1; it failed on process 2: OSError: disk 2"
    )
    distributed.meet("this", pytest.fail)
    distributed.meet("this", pytest.fail)  # and again
    leave()


def _fail_together(error: Exception | None) -> None:
    with distributed.together(CPU):
        if error is not None:
            raise error


def test_sums_answers_and_errors_reach_all_processes(tmp_path: Path) -> None:
    spawn_bounded(_call_every_function, 3, tmp_path)


def test_a_single_process_decides_alone() -> None:
    assert distributed.sum_over_processes(torch.tensor([1, 2])).tolist() == [1, 2]
    assert [distributed.on_any_process(answer, CPU) for answer in (True, False)] == [True, False]
    assert [distributed.decided_by_first(answer, CPU) for answer in (True, False)] == [True, False]
    distributed.raise_together(None, CPU)
    with pytest.raises(ValueError, match="mine"):
        distributed.raise_together(ValueError("mine"), CPU)
    with pytest.raises(ValueError, match="mine"):
        _fail_together(ValueError("mine"))
    assert distributed.of_every_process(1, CPU) == [1]
    distributed.meet("this", pytest.fail)


def test_a_sentence_names_a_few_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        distributed, "of_every_process", lambda reason, device: [f"{index % 5}" for index in range(100)]
    )
    sentence = distributed.what_failed(None, CPU)
    assert sentence.startswith("it failed on processes 0, 5, 10, ")
    assert sentence.count("it failed on") == 3
    assert sentence.endswith("; and for 2 more reasons on others")


def _model() -> models.Model:
    torch.manual_seed(0)
    return models.Model()


def _tracker(probe: Probe | None = None, **options: Any) -> InformationPlaneTracker:
    return InformationPlaneTracker(
        probe or models.probe(25), **{"schedule": schedules.every(1), "batch_size": 4, "geometry_rows": 200, **options}
    )


def _measure(rank: int, world: int, port: int, folder: Path) -> None:
    join(rank, world, port)
    for batch_size in (4, 1):
        follow = _tracker(path=folder / f"{batch_size}.jsonl", batch_size=batch_size)
        follow.step(_model(), 0)
    leave()


@pytest.mark.parametrize("world", [2, 3])  # 25 blocks: uneven shares, of uneven numbers of batches
def test_the_points_are_those_of_one_process(tmp_path: Path, world: int) -> None:
    spawn_bounded(_measure, world, tmp_path)
    # float32 products of batches of another size differ in the last digits; block by block they are the same
    for batch_size, tolerance in ((4, 1e-6), (1, 1e-9)):
        (point,) = Trajectory.load(tmp_path / f"{batch_size}.jsonl").points
        assert point.failure is None
        single = _tracker(batch_size=batch_size).measure(_model()).values
        together = {key: value for key, value in point.values.items() if key != "ib/overhead_fraction"}
        if batch_size == 1:
            loss = ("ib/probe_loss", "ib/variational_floor")  # summed over processes in another order
            assert all(together[key] == single[key] for key in single if key not in loss)
        assert together == pytest.approx(single, abs=tolerance)


def _fail_on_one(rank: int, world: int, port: int, folder: Path) -> None:
    join(rank, world, port)
    model = _model()

    def forward(model: nn.Module, inputs: Tensor) -> Any:
        if rank == 1 and fail:
            raise ValueError("a bad row")
        return model(inputs)

    fail = False
    follow = _tracker(path=folder / "t.jsonl", forward=forward)
    follow.step(model, 0)
    fail = True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        follow.step(model, 1)
    fail = False
    follow.step(model, 2)
    if rank == 1:
        model.blocks[1].register_forward_hook(lambda module, args, output: output * torch.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        follow.step(model, 3)
    leave()


def test_a_fault_on_one_process_is_a_failed_point_on_all(tmp_path: Path) -> None:
    spawn_bounded(_fail_on_one, 2, tmp_path)
    points = Trajectory.load(tmp_path / "t.jsonl").points
    assert [point.failure for point in points] == [
        None,
        "MeasurementError: it failed on process 1: ValueError: a bad row",
        None,
        "L01: 156 of 325 positions are zero or not finite",  # those of 12 of 25 blocks
    ]


def _run_short_of_memory(rank: int, world: int, port: int, folder: Path) -> None:
    join(rank, world, port)
    tried = []

    def forward(model: nn.Module, inputs: Tensor) -> Any:
        tried.append(len(inputs))
        if rank == 1 and len(inputs) > 2 and len(tried) > 2:  # the first is the block that is tried at the start
            raise torch.OutOfMemoryError("CUDA out of memory")
        return model(inputs)

    follow = _tracker(path=folder / "t.jsonl", forward=forward)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        follow.step(_model(), 0)
    assert follow.batch_size == 2
    assert tried[-1] <= 2
    leave()


def test_memory_that_runs_out_on_one_process_means_smaller_batches_on_all(tmp_path: Path) -> None:
    spawn_bounded(_run_short_of_memory, 2, tmp_path)
    (point,) = Trajectory.load(tmp_path / "t.jsonl").points
    assert point.failure is None
    assert "4 blocks at once did not fit into memory, 2 do" in point.notes["batch_size"]
    expected = _tracker(batch_size=2).measure(_model()).values
    assert {key: point.values[key] for key in expected} == pytest.approx(expected, abs=1e-6)


def _count_differently(rank: int, world: int, port: int, folder: Path) -> None:
    join(rank, world, port)
    follow = _tracker(path=folder / "t.jsonl", schedule=schedules.tokens(1000))
    model, own = _model(), (30, 90)[rank]
    for step in range(20):
        follow.step(model, step, tokens_seen=world * own * step)
    follow.finish(model, 19, tokens_seen=world * own * 19)
    assert [point.tokens_seen for point in follow.trajectory.points] == [120 * step for step in (0, 9, 17, 19)]
    silent = _tracker(schedule=schedules.tokens(1000))
    for step in range(20):  # one that counts for all, and one that does not count
        silent.step(model, step, tokens_seen=120 * step if rank == 0 else None)
    assert silent.trajectory.steps == [0, 9, 17]
    leave()


def test_what_is_due_by_tokens_is_due_on_all_however_they_count(tmp_path: Path) -> None:
    spawn_bounded(_count_differently, 2, tmp_path)
    assert Trajectory.load(tmp_path / "t.jsonl").steps == [
        0,
        9,
        17,
        19,
    ]  # the first to reach 1000 and 2000, and the last


def _train_on_padded_batches(rank: int, world: int, port: int, folder: Path) -> None:
    watch = InformationPlaneMonitor(
        models.probe(25),
        path=folder / "padded.jsonl",
        schedule=schedules.tokens(80),
        count_tokens=lambda batch: (10, 20)[rank],
        prefix="padded",
        verbose=False,
    )
    _train(rank, world, port, folder, "ddp", watch)
    assert watch.state_dict()["progress"][1] == 120


def test_lightning_with_batches_that_are_padded_differently(tmp_path: Path) -> None:
    spawn_bounded(_train_on_padded_batches, 2, tmp_path)
    points = Trajectory.load(tmp_path / "padded.jsonl").points
    assert [(point.step, point.tokens_seen) for point in points] == [(0, 0), (3, 90), (4, 120)]


def _take_a_share_of_the_probe(rank: int, world: int, port: int, folder: Path) -> None:
    join(rank, world, port)
    blocks = models.tokens(50, seed=99)[rank::world]
    with pytest.raises(
        ValueError, match=r"differ in probe\.hash: .{8} in 'process 0', .{8} in 'process 1'\. .* Probe\.save"
    ):
        _tracker(probe=Probe(blocks, orders=(1, 2)), path=folder / "t.jsonl").start(_model())
    with pytest.raises(ValueError, match=r"differ in schedule: .*; batch_size: 4 in 'process 0', 5 in 'process 1'"):
        _tracker(schedule=schedules.every(2 + rank), batch_size=4 + rank, path=folder / "t.jsonl").start(_model())
    leave()


def test_processes_of_different_probes_or_options_are_refused(tmp_path: Path) -> None:
    spawn_bounded(_take_a_share_of_the_probe, 2, tmp_path)
    assert not list(tmp_path.iterdir())


def _call_on_the_first_alone(rank: int, world: int, port: int, folder: Path) -> None:
    join(rank, world, port)
    distributed.SAY_AFTER, distributed.PATIENCE = timedelta(seconds=1), timedelta(seconds=2)
    if rank == 0:
        with (
            pytest.warns(MeasurementWarning, match="waits for the processes 1, 2 to call it, as every process must"),
            pytest.raises(MeasurementError, match="of 3 processes 1, 2 did not within 2 s"),
        ):
            _tracker().step(_model(), 0)
        (folder / "refused").touch()
    while not (folder / "refused").exists():  # what trains on until it waits for the first
        time.sleep(0.1)
    leave()


def test_a_tracker_of_one_process_alone_is_refused(tmp_path: Path) -> None:
    spawn_bounded(_call_on_the_first_alone, 3, tmp_path)


def _train_wrapped(rank: int, measured: bool) -> list[Tensor]:
    """Train a model with batch norm; return its weights and buffers at the end."""
    model = nn.parallel.DistributedDataParallel(_model())
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    follow = _tracker()
    for step in range(4):
        if measured:
            point = follow.step(model, step)
            assert point is not None
            assert point.failure is None
        torch.manual_seed(10 * step + rank)
        model(models.tokens(4, seed=10 * step + rank)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return [*model.parameters(), *model.buffers()]


def _compare_wrapped(rank: int, world: int, port: int, folder: Path) -> None:
    join(rank, world, port)
    plain, measured = (_train_wrapped(rank, measured) for measured in (False, True))
    assert all(torch.equal(a, b) for a, b in zip(plain, measured, strict=True))
    leave()


def test_buffers_of_a_wrapped_model_are_synchronised_as_without_measurements(tmp_path: Path) -> None:
    spawn_bounded(_compare_wrapped, 2, tmp_path)


def _measure_with_a_failure(rank: int) -> None:
    model = nn.parallel.DistributedDataParallel(_model())
    fail = False

    def forward(model: nn.Module, inputs: Tensor) -> Any:
        if fail and rank:
            raise ValueError("before the model")
        return model(inputs)

    follow = _tracker(forward=forward)
    follow.step(model, 0)
    model(models.tokens(4, seed=rank)).square().mean().backward()  # so that buffers are due to be synchronised
    fail = True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        point = follow.step(model, 1)
    assert point is not None
    assert point.failure is not None
    assert "ValueError: before the model" in point.failure
    fail = False
    point = follow.step(model, 2)
    assert point is not None
    assert point.failure is None


def _fail_before_a_wrapped_model(rank: int, world: int, port: int, folder: Path) -> None:
    join(rank, world, port)
    _measure_with_a_failure(rank)
    leave()


def test_a_process_that_fails_before_a_wrapped_model_leaves_none_waiting(tmp_path: Path) -> None:
    spawn_bounded(_fail_before_a_wrapped_model, 2, tmp_path)


def _end_with_a_wrapped_model(rank: int, world: int, port: int, folder: Path) -> None:
    join(rank, world, port)
    model = nn.parallel.DistributedDataParallel(_model())
    waits: list[float] = []
    follow = _tracker()
    follow.step(model, 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distributed, "time", SimpleNamespace(sleep=waits.append))
        follow.finish(model, 1)
    assert waits == [distributed.SETTLING]
    leave()  # with the model there, as a script does


def test_threads_of_the_group_have_let_go_when_a_run_ends(tmp_path: Path) -> None:
    spawn_bounded(_end_with_a_wrapped_model, 2, tmp_path)


class _Sharded(models.Module):
    def configure_model(self) -> None:
        from torch.distributed.fsdp import fully_shard

        if self.device_mesh is None:  # the measurement of one process, to compare with
            return
        for block in self.model.get_submodule("blocks").children():
            fully_shard(block, mesh=self.device_mesh["data_parallel"])
        fully_shard(self.model, mesh=self.device_mesh["data_parallel"])


def _strategy(name: str, world: int, **options: Any) -> Strategy:
    from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy

    if name == "ddp":
        return DDPStrategy(process_group_backend="gloo", **options)
    strategy = ModelParallelStrategy(data_parallel_size=world, tensor_parallel_size=1, process_group_backend="gloo")
    strategy.cluster_environment = options["cluster_environment"]
    return strategy


def _train(rank: int, world: int, port: int, folder: Path, name: str = "ddp", *callbacks: Callback) -> None:
    import os

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank), LOCAL_RANK=str(rank))
    os.environ.update(WORLD_SIZE=str(world), NODE_RANK="0", LOCAL_WORLD_SIZE=str(world))
    from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    os.environ["TORCHELASTIC_RUN_ID"] = "test"
    watch = InformationPlaneMonitor(
        models.probe(25), path=folder / "t.jsonl", schedule=schedules.every(3), verbose=False
    )
    torch.manual_seed(0)
    strategy = _strategy(name, world, cluster_environment=TorchElasticEnvironment())
    module = _Sharded() if name == "model parallel" else models.Module()
    models.trainer(folder, callbacks=[watch, *callbacks], strategy=strategy, devices=world, max_steps=4).fit(
        module, models.loader(), models.loader(blocks=16, shuffle=False)
    )
    assert watch.trajectory.steps == [0, 3, 4]


@pytest.mark.parametrize("name", ["ddp", "model parallel"])
def test_lightning_with_two_processes(tmp_path: Path, name: str) -> None:
    spawn_bounded(_train, 2, tmp_path, name)
    trajectory = Trajectory.load(tmp_path / "t.jsonl")
    assert trajectory.steps == [0, 3, 4]
    assert [point.tokens_seen for point in trajectory.points] == [step * 2 * 8 * models.LENGTH for step in (0, 3, 4)]
    assert not any(point.failure for point in trajectory.points)
    torch.manual_seed(0)
    single = InformationPlaneTracker(models.probe(25)).measure(models.Module()).values
    first = {key: value for key, value in trajectory.points[0].values.items() if key != "ib/overhead_fraction"}
    assert first == pytest.approx(single, abs=1e-6)  # float32 activations of batches of another size


def test_lightnings_fsdp_strategy_wants_gpus(tmp_path: Path) -> None:
    """So the callback is not run under it here; what it does to a model is `fully_shard`'s older sibling."""
    with pytest.raises(ValueError, match="The strategy `fsdp` requires a GPU accelerator"):
        models.trainer(tmp_path, strategy="fsdp")


def _measure_sharded(rank: int, world: int, port: int, folder: Path) -> None:
    from torch.distributed.fsdp import fully_shard

    join(rank, world, port)
    model = _model()
    mesh = init_device_mesh("cpu", (world,))
    for block in model.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    follow = _tracker(path=folder / "t.jsonl")
    follow.step(model, 0)
    model(models.tokens(4, seed=0)).square().mean().backward()  # training still works afterwards
    follow.finish(model, 1)
    leave()


def test_fully_sharded_models_read_what_whole_ones_do(tmp_path: Path) -> None:
    spawn_bounded(_measure_sharded, 2, tmp_path)
    trajectory = Trajectory.load(tmp_path / "t.jsonl")
    assert [point.failure for point in trajectory.points] == [None, None]
    assert trajectory.protocol["sites"] == {"embed": "embed", "L00": "blocks.0", "L01": "blocks.1"}
    single = _tracker().measure(_model()).values
    together = {key: value for key, value in trajectory.points[0].values.items() if key != "ib/overhead_fraction"}
    assert together == pytest.approx(single, abs=1e-6)  # float32 activations of batches of another size


def _shard(model: Any, world: int) -> Any:
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu", (world,))
    for block in model.get_submodule("blocks").children():
        fully_shard(block, mesh=mesh)
    return fully_shard(model, mesh=mesh)


class _Trouble(nn.Module):
    """A layer that raises on one process, when told to, at the second of its next runs."""

    _runs: ClassVar[list[int]] = [0]  # of the class, as a measurement puts back what a module counts

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.rank, self.error, self.runs = rank, Exception(), 0

    @property
    def runs(self) -> int:
        return self._runs[0]

    @runs.setter
    def runs(self, number: int) -> None:
        self._runs[0] = number

    def forward(self, hidden: Tensor) -> Tensor:
        self.runs -= 1
        if self.runs == 0 and self.rank == 1:
            raise self.error
        return hidden


def _train_sharded(rank: int, world: int, errors: dict[int, Exception], place: str) -> list[Tensor]:
    """Train a sharded model, measured if there are errors; return its weights at the end."""
    model: Any = _model()
    trouble, outside = _Trouble(rank), place in ("before", "after")
    if not outside:
        model.get_submodule(place).add_module("drop", trouble)  # the last layer of a block
    model = _shard(model, world)
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)

    def forward(model: nn.Module, inputs: Tensor) -> Any:
        if place == "before":
            trouble(inputs)
        output = model(inputs)
        if place == "after":
            trouble(inputs)
        return output

    follow = _tracker(forward=forward, batch_size=2)
    for step in range(5):
        if errors:
            trouble.error, trouble.runs = errors.get(step, Exception()), 2 if step in errors else 0
            point = follow.step(model, step)
            trouble.runs = 0
            assert point is not None
            if step not in errors or isinstance(errors[step], torch.OutOfMemoryError):
                assert point.failure is None
            else:
                reason = f"ValueError: {errors[step]}"
                assert point.failure == (reason if rank else f"MeasurementError: it failed on process 1: {reason}")
        model(models.tokens(4, seed=step)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    if errors:
        assert follow.batch_size == 1
    return [weight.full_tensor() for weight in model.parameters()]


def _fail_in_sharded(rank: int, world: int, port: int, folder: Path, place: str) -> None:
    join(rank, world, port)
    warnings.simplefilter("ignore")
    errors = {1: ValueError("a bad row"), 3: torch.OutOfMemoryError("CUDA out of memory")}
    plain, measured = (_train_sharded(rank, world, which, place) for which in ({}, errors))
    assert all(torch.equal(a, b) for a, b in zip(plain, measured, strict=True))
    leave()


@pytest.mark.parametrize("place", ["before", "blocks.0", "blocks.1", "after"])
def test_a_process_that_fails_in_a_sharded_model_leaves_none_waiting(tmp_path: Path, place: str) -> None:
    spawn_bounded(_fail_in_sharded, 2, tmp_path, place)


def _fail_in_older_sharded(rank: int, world: int, port: int, folder: Path) -> None:
    from torch.distributed.fsdp import FullyShardedDataParallel

    join(rank, world, port)
    warnings.simplefilter("ignore")
    model, trouble = _model(), _Trouble(rank)
    model.get_submodule("blocks.0").add_module("drop", trouble)
    for block in (0, 1):
        wrapped: Any = FullyShardedDataParallel(model.blocks[block], device_id=CPU, use_orig_params=True)
        model.blocks[block] = wrapped
    follow = _tracker(layers=["blocks.*"])
    follow.step(model, 0)
    trouble.rank, trouble.error, trouble.runs = 1, ValueError("a bad row"), 2  # on all, so that none waits
    with pytest.warns(RuntimeWarning, match=rf"failed on process {rank} \(ValueError: a bad row\); others may wait"):
        point = follow.step(model, 1)
    assert point is not None
    assert point.failure == "ValueError: a bad row"
    leave()


def test_where_others_may_wait_for_a_process_that_failed_its_reason_is_said_at_once(tmp_path: Path) -> None:
    spawn_bounded(_fail_in_older_sharded, 2, tmp_path)


def _fail_at_the_start(rank: int, world: int, port: int, folder: Path, kind: str) -> None:
    join(rank, world, port)
    model, trouble = _model(), _Trouble(rank)
    trouble.error, trouble.runs = ValueError("a bad row"), 1
    model.get_submodule("blocks.0").add_module("drop", trouble)
    measured = _shard(model, world) if kind == "sharded" else model
    with pytest.raises(
        ValueError if rank else MeasurementError, match=r"the model's forward does not take the probe .* a bad row"
    ):
        _tracker().start(measured)
    trouble.runs = 0
    point = _tracker().measure(measured)
    assert point.failure is None
    leave()


@pytest.mark.parametrize("kind", ["whole", "sharded"])
def test_all_processes_stop_if_one_cannot_start(tmp_path: Path, kind: str) -> None:
    spawn_bounded(_fail_at_the_start, 2, tmp_path, kind)


def _start_in_anothers_folder(rank: int, world: int, port: int, folder: Path) -> None:
    join(rank, world, port)
    with pytest.raises(FileExistsError if rank == 0 else MeasurementError):
        _tracker(path=folder / "t.jsonl").start(_model())
    leave()


def test_all_processes_stop_if_the_file_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text("another run's")
    spawn_bounded(_start_in_anothers_folder, 2, tmp_path)


class _FailOnOne(Callback):
    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_rank == 1 and trainer.global_step == 2:
            raise ValueError("a bug on one process")


def _train_until_one_fails(rank: int, world: int, port: int, folder: Path) -> None:
    _train(rank, world, port, folder, "ddp", _FailOnOne())


def test_training_that_fails_on_one_process_does_not_hang(tmp_path: Path) -> None:
    with pytest.raises(ProcessRaisedException, match=r"a bug on one process|closed by peer"):
        spawn_bounded(_train_until_one_fails, 2, tmp_path)
    assert Trajectory.load(tmp_path / "t.jsonl").steps == [0]
