"""Several processes (gloo): the points are those of one, and none waits for another that failed."""

import warnings

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from lightning.pytorch.callbacks import Callback

from ibtrack import InformationPlaneMonitor, InformationPlaneTracker, MeasurementError, Trajectory, schedules
from tests import models


def _join(rank, world, port):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world)


def _model():
    torch.manual_seed(0)
    return models.Model()


def _tracker(**options):
    return InformationPlaneTracker(models.probe(25), schedule=schedules.every(1), batch_size=4, **options)


def _measure(rank, world, port, folder):
    _join(rank, world, port)
    follow = _tracker(path=folder / "t.jsonl")
    follow.step(_model(), 0)
    dist.destroy_process_group()


@pytest.mark.parametrize("world", [2, 3])  # 25 blocks: uneven shares, of uneven numbers of batches
def test_the_points_are_those_of_one_process(tmp_path, world):
    mp.spawn(_measure, args=(world, models.free_port(), tmp_path), nprocs=world)
    (point,) = Trajectory.load(tmp_path / "t.jsonl").points
    assert point.failure is None
    alone = _tracker().measure(_model()).readings
    together = {key: value for key, value in point.readings.items() if key != "ib/overhead_fraction"}
    assert together == pytest.approx(alone, abs=1e-6)  # float32 activations of batches of another size


def _fail_on_one(rank, world, port, folder):
    _join(rank, world, port)
    model = _model()

    def forward(model, inputs):
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
    dist.destroy_process_group()


def test_a_fault_on_one_process_is_a_failed_point_on_all(tmp_path):
    mp.spawn(_fail_on_one, args=(2, models.free_port(), tmp_path), nprocs=2)
    points = Trajectory.load(tmp_path / "t.jsonl").points
    assert [point.failure for point in points] == [
        None,
        "MeasurementError: it failed on another process",
        None,
    ]


def _train(rank, world, port, folder, *callbacks):
    import os

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank), LOCAL_RANK=str(rank))
    os.environ.update(WORLD_SIZE=str(world), NODE_RANK="0", LOCAL_WORLD_SIZE=str(world))
    from lightning.fabric.plugins.environments import TorchElasticEnvironment
    from lightning.pytorch.strategies import DDPStrategy

    os.environ["TORCHELASTIC_RUN_ID"] = "test"
    watch = InformationPlaneMonitor(
        models.probe(25), path=folder / "t.jsonl", schedule=schedules.every(3), verbose=False
    )
    torch.manual_seed(0)
    strategy = DDPStrategy(process_group_backend="gloo", cluster_environment=TorchElasticEnvironment())
    models.trainer(folder, callbacks=[watch, *callbacks], strategy=strategy, devices=world, max_steps=4).fit(
        models.Module(), models.loader(), models.loader(blocks=16, shuffle=False)
    )
    assert watch.trajectory.steps == [0, 3, 4]


def test_lightning_with_two_processes(tmp_path):
    mp.spawn(_train, args=(2, models.free_port(), tmp_path), nprocs=2)
    trajectory = Trajectory.load(tmp_path / "t.jsonl")
    assert trajectory.steps == [0, 3, 4]
    assert [point.tokens_seen for point in trajectory.points] == [step * 2 * 8 * models.LENGTH for step in (0, 3, 4)]
    assert not any(point.failure for point in trajectory.points)


def _measure_sharded(rank, world, port, folder):
    from torch.distributed.fsdp import fully_shard

    _join(rank, world, port)
    model = _model()
    mesh = dist.init_device_mesh("cpu", (world,))
    for block in model.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    follow = _tracker(path=folder / "t.jsonl")
    follow.step(model, 0)
    model(models.tokens(4, seed=0)).square().mean().backward()  # training still works afterwards
    follow.finish(model, 1)
    dist.destroy_process_group()


def test_fully_sharded_models_read_what_whole_ones_do(tmp_path):
    mp.spawn(_measure_sharded, args=(2, models.free_port(), tmp_path), nprocs=2)
    trajectory = Trajectory.load(tmp_path / "t.jsonl")
    assert [point.failure for point in trajectory.points] == [None, None]
    assert trajectory.protocol["sites"] == {"embed": "embed", "L00": "blocks.0", "L01": "blocks.1"}
    alone = _tracker().measure(_model()).readings
    together = {key: value for key, value in trajectory.points[0].readings.items() if key != "ib/overhead_fraction"}
    assert together == pytest.approx(alone, abs=1e-6)  # float32 activations of batches of another size


def _start_in_anothers_folder(rank, world, port, folder):
    _join(rank, world, port)
    with pytest.raises(FileExistsError if rank == 0 else MeasurementError):
        _tracker(path=folder / "t.jsonl").start(_model())
    dist.destroy_process_group()


def test_all_processes_stop_if_the_file_cannot_be_opened(tmp_path):
    (tmp_path / "t.jsonl").write_text("another run's")
    mp.spawn(_start_in_anothers_folder, args=(2, models.free_port(), tmp_path), nprocs=2)


class _FailOnOne(Callback):
    def on_train_batch_end(self, trainer, *_):
        if trainer.global_rank == 1 and trainer.global_step == 2:
            raise ValueError("a bug on one process")


def _train_until_one_fails(rank, world, port, folder):
    _train(rank, world, port, folder, _FailOnOne())


def test_training_that_fails_on_one_process_does_not_hang(tmp_path):
    with pytest.raises(mp.ProcessRaisedException, match=r"a bug on one process|closed by peer"):
        mp.spawn(_train_until_one_fails, args=(2, models.free_port(), tmp_path), nprocs=2)
    assert Trajectory.load(tmp_path / "t.jsonl").steps == [0]
