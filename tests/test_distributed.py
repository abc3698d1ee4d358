"""Several processes (gloo): the points are those of one, and none waits for another that failed."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import Strategy
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.multiprocessing.spawn import ProcessRaisedException, spawn

from ibtrack import (
    InformationPlaneMonitor,
    InformationPlaneTracker,
    MeasurementError,
    Trajectory,
    distributed,
    schedules,
)
from tests import models

CPU = torch.device("cpu")


def _spawn(work: Callable[..., None], world: int, folder: Path, *arguments: str) -> None:
    """Call a function in several processes that can meet at a port of their own."""
    start: Any = spawn  # which is not annotated
    start(work, args=(world, models.free_port(), folder, *arguments), nprocs=world)


def _join(rank: int, world: int, port: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world)


def _call_every_function(rank: int, world: int, port: int, folder: Path) -> None:
    assert (distributed.rank(), distributed.world_size()) == (0, 1)  # nobody has joined yet
    _join(rank, world, port)
    assert (distributed.rank(), distributed.world_size()) == (rank, world)
    value = torch.tensor([1.0, float(rank)])
    assert distributed.sum_over_processes(value) is value
    assert value.tolist() == [3.0, 0.0 + 1.0 + 2.0]
    assert distributed.on_any_process(rank == 2, CPU)
    assert not distributed.on_any_process(False, CPU)
    assert [distributed.decided_by_first(answer) for answer in (rank == 0, rank != 0)] == [True, False]
    distributed.raise_together(None, CPU)
    with pytest.raises(
        ValueError if rank == 1 else MeasurementError, match="mine" if rank == 1 else "it failed on another process"
    ):
        distributed.raise_together(ValueError("mine") if rank == 1 else None, CPU)
    dist.destroy_process_group()


def test_sums_answers_and_errors_reach_all_processes(tmp_path: Path) -> None:
    _spawn(_call_every_function, 3, tmp_path)


def test_a_single_process_decides_alone() -> None:
    assert distributed.sum_over_processes(torch.tensor([1, 2])).tolist() == [1, 2]
    assert [distributed.on_any_process(answer, CPU) for answer in (True, False)] == [True, False]
    assert [distributed.decided_by_first(answer) for answer in (True, False)] == [True, False]
    distributed.raise_together(None, CPU)
    with pytest.raises(ValueError, match="mine"):
        distributed.raise_together(ValueError("mine"), CPU)


def _model() -> models.Model:
    torch.manual_seed(0)
    return models.Model()


def _tracker(**options: Any) -> InformationPlaneTracker:
    return InformationPlaneTracker(
        models.probe(25), **{"schedule": schedules.every(1), "batch_size": 4, "geometry_rows": 200, **options}
    )


def _measure(rank: int, world: int, port: int, folder: Path) -> None:
    _join(rank, world, port)
    for batch_size in (4, 1):
        follow = _tracker(path=folder / f"{batch_size}.jsonl", batch_size=batch_size)
        follow.step(_model(), 0)
    dist.destroy_process_group()


@pytest.mark.parametrize("world", [2, 3])  # 25 blocks: uneven shares, of uneven numbers of batches
def test_the_points_are_those_of_one_process(tmp_path: Path, world: int) -> None:
    _spawn(_measure, world, tmp_path)
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
    _join(rank, world, port)
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
    dist.destroy_process_group()


def test_a_fault_on_one_process_is_a_failed_point_on_all(tmp_path: Path) -> None:
    _spawn(_fail_on_one, 2, tmp_path)
    points = Trajectory.load(tmp_path / "t.jsonl").points
    assert [point.failure for point in points] == [
        None,
        "MeasurementError: it failed on another process",
        None,
        "L01: 156 of 325 positions are zero or not finite",  # those of 12 of 25 blocks
    ]


def _run_short_of_memory(rank: int, world: int, port: int, folder: Path) -> None:
    _join(rank, world, port)
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
    dist.destroy_process_group()


def test_memory_that_runs_out_on_one_process_means_smaller_batches_on_all(tmp_path: Path) -> None:
    _spawn(_run_short_of_memory, 2, tmp_path)
    (point,) = Trajectory.load(tmp_path / "t.jsonl").points
    assert point.failure is None
    assert "4 blocks at once did not fit into memory, 2 do" in point.notes["batch_size"]
    expected = _tracker(batch_size=2).measure(_model()).values
    assert {key: point.values[key] for key in expected} == pytest.approx(expected, abs=1e-6)


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
    _spawn(_train, 2, tmp_path, name)
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

    _join(rank, world, port)
    model = _model()
    mesh = init_device_mesh("cpu", (world,))
    for block in model.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    follow = _tracker(path=folder / "t.jsonl")
    follow.step(model, 0)
    model(models.tokens(4, seed=0)).square().mean().backward()  # training still works afterwards
    follow.finish(model, 1)
    dist.destroy_process_group()


def test_fully_sharded_models_read_what_whole_ones_do(tmp_path: Path) -> None:
    _spawn(_measure_sharded, 2, tmp_path)
    trajectory = Trajectory.load(tmp_path / "t.jsonl")
    assert [point.failure for point in trajectory.points] == [None, None]
    assert trajectory.protocol["sites"] == {"embed": "embed", "L00": "blocks.0", "L01": "blocks.1"}
    single = _tracker().measure(_model()).values
    together = {key: value for key, value in trajectory.points[0].values.items() if key != "ib/overhead_fraction"}
    assert together == pytest.approx(single, abs=1e-6)  # float32 activations of batches of another size


def _start_in_anothers_folder(rank: int, world: int, port: int, folder: Path) -> None:
    _join(rank, world, port)
    with pytest.raises(FileExistsError if rank == 0 else MeasurementError):
        _tracker(path=folder / "t.jsonl").start(_model())
    dist.destroy_process_group()


def test_all_processes_stop_if_the_file_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text("another run's")
    _spawn(_start_in_anothers_folder, 2, tmp_path)


class _FailOnOne(Callback):
    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_rank == 1 and trainer.global_step == 2:
            raise ValueError("a bug on one process")


def _train_until_one_fails(rank: int, world: int, port: int, folder: Path) -> None:
    _train(rank, world, port, folder, "ddp", _FailOnOne())


def test_training_that_fails_on_one_process_does_not_hang(tmp_path: Path) -> None:
    with pytest.raises(ProcessRaisedException, match=r"a bug on one process|closed by peer"):
        _spawn(_train_until_one_fails, 2, tmp_path)
    assert Trajectory.load(tmp_path / "t.jsonl").steps == [0]
