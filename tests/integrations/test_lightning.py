import contextlib
import math
import multiprocessing as mp
import os
import pickle
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import (
    BatchSizeFinder,
    Callback,
    EarlyStopping,
    LearningRateFinder,
    ModelCheckpoint,
)
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.tuner.tuning import Tuner
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor, nn

from ibtrack import InformationPlaneMonitor, SoftOptions, Trajectory, schedules
from ibtrack.integrations.lightning import default_path, tokens_in
from tests.models import LENGTH, Model, Module, loader, probe, trainer

pytestmark = pytest.mark.filterwarnings(
    "ignore:The '.*_dataloader' does not have many workers",
    "ignore:The number of training batches",
    "ignore:You're resuming from a checkpoint that ended before the epoch ended",
    "ignore:Be aware that when using `ckpt_path`",
    "ignore:Checkpoint directory .* exists and is not empty",
    r"ignore:`isinstance\(treespec, LeafSpec\)` is deprecated",  # lightning 2.6 on torch 2.13
    "ignore:.*torch.jit.script_method",
)


def monitor(folder: Path | None = None, **options: Any) -> InformationPlaneMonitor:
    path = None if folder is None else folder / "trajectory.jsonl"
    return InformationPlaneMonitor(probe(), **{"path": path, "verbose": False, **options})


class _Keep(Callback):
    """Losses of every batch, and at the end everything that a run leaves."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.end: dict[str, Any] = {}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.losses.append(float(outputs["loss"]))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.end = {
            "weights": {name: value.clone() for name, value in pl_module.state_dict().items()},
            "optimizer": trainer.optimizers[0].state_dict()["state"],
            "modes": [module.training for module in pl_module.modules()],
            "random": torch.get_rng_state(),
        }


def _run(folder: Path, callbacks: Sequence[Callback], *, workers: int = 0, **options: Any) -> _Keep:
    lightning.seed_everything(7, verbose=False)
    keep = _Keep()
    fit = trainer(folder, callbacks=[*callbacks, keep], **options)
    fit.fit(Module(), loader(workers=workers), loader(blocks=16, seed=3, shuffle=False))
    return keep


def _assert_equal(one: _Keep, other: _Keep) -> None:
    assert one.losses == other.losses
    torch.testing.assert_close(one.end, other.end, rtol=0, atol=0)


class _Failing(InformationPlaneMonitor):
    def _forward_in(self, trainer: Trainer) -> Callable[[nn.Module, Tensor], Any]:
        forward = super()._forward_in(trainer)
        calls: list[int] = []

        def fail_half_way(model: nn.Module, inputs: Tensor) -> Any:
            calls.extend([1] * (len(inputs) > 1))  # not the trial of a single block, which must succeed
            if len(calls) % 4 == 3 and len(inputs) > 1:
                forward(model, inputs)
                raise RuntimeError("half-way")
            return forward(model, inputs)

        return fail_half_way


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"accumulate_grad_batches": 3, "val_check_interval": 2},
        {"precision": "bf16-mixed"},
        {"precision": "bf16-true"},
        {"workers": 2, "max_steps": 20},
    ],
    ids=["plain", "accumulation and validation", "amp", "half weights", "workers"],
)
def test_training_is_bit_identical_with_and_without(tmp_path: Path, options: dict[str, Any]) -> None:
    watch = monitor(tmp_path, schedule=schedules.every(1))
    without, with_it = _run(tmp_path, [], **options), _run(tmp_path, [watch], **options)
    assert len(watch.trajectory.points) == options.get("max_steps", 12) + 1
    assert not any(point.failure for point in watch.trajectory.points)
    _assert_equal(without, with_it)


@pytest.mark.filterwarnings("ignore:ibtrack")
def test_training_is_bit_identical_also_when_measurements_fail_half_way(tmp_path: Path) -> None:
    watch = _Failing(probe(), path=tmp_path / "t.jsonl", schedule=schedules.every(1), verbose=False)
    without, with_it = _run(tmp_path, []), _run(tmp_path, [watch])
    assert 0 < sum(point.failure is not None for point in watch.trajectory.points) < 13
    _assert_equal(without, with_it)


def test_the_comparison_can_fail(tmp_path: Path) -> None:
    class Careless(Callback):
        def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
            with torch.no_grad():
                pl_module(probe().inputs)  # in train mode: draws dropout masks

    with pytest.raises(AssertionError):
        _assert_equal(_run(tmp_path, []), _run(tmp_path, [Careless()]))


def _fit(
    folder: Path,
    watch: Callback,
    module: LightningModule | None = None,
    *,
    callbacks: Sequence[Callback] = (),
    ckpt_path: Path | None = None,
    **options: Any,
) -> Trainer:
    fit = trainer(folder, callbacks=[watch, *callbacks], **options)
    module = Module() if module is None else module
    fit.fit(module, loader(), loader(blocks=16, seed=3, shuffle=False), ckpt_path=ckpt_path)
    return fit


def test_points_at_the_start_when_due_and_at_the_end(tmp_path: Path) -> None:
    watch = monitor(tmp_path, schedule=schedules.every(5))
    _fit(tmp_path, watch)
    assert Trajectory.load(tmp_path).steps == watch.trajectory.steps == [0, 5, 10, 12]


def test_accumulated_batches_are_one_step(tmp_path: Path) -> None:
    watch = monitor(tmp_path, schedule=schedules.every(2))
    _fit(tmp_path, watch, accumulate_grad_batches=4, max_steps=5)
    assert watch.trajectory.steps == [0, 2, 4, 5]
    assert [point.tokens_seen for point in watch.trajectory.points] == [step * 4 * 8 * LENGTH for step in (0, 2, 4, 5)]
    losses = [point.loss for point in watch.trajectory.points]
    assert losses[0] is None
    assert all(loss is not None and 2 < loss < 4 for loss in losses[1:])


def test_a_last_step_that_is_due_is_measured_once(tmp_path: Path) -> None:
    watch = monitor(tmp_path, schedule=schedules.every(6))
    _fit(tmp_path, watch)
    assert watch.trajectory.steps == [0, 6, 12]


@pytest.mark.parametrize("options", [{"fast_dev_run": True}, {"overfit_batches": 1}])
@pytest.mark.filterwarnings("ignore:You requested to overfit", "ignore:.*overfit_batches")
def test_trial_runs_write_nothing(tmp_path: Path, options: dict[str, Any]) -> None:
    watch = monitor(tmp_path)
    _fit(tmp_path, watch, **options)
    assert watch.trajectory.steps == []
    assert not (tmp_path / "trajectory.jsonl").exists()


def test_the_sanity_check_writes_nothing(tmp_path: Path) -> None:
    watch = monitor(tmp_path, schedule=schedules.every(6))
    _fit(tmp_path, watch, num_sanity_val_steps=2)
    assert watch.trajectory.steps == [0, 6, 12]


class _StopAt(Callback):
    def __init__(self, step: int, error: Exception) -> None:
        self.step, self.error = step, error

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            raise self.error


class _SignalAt(Callback):
    def __init__(self, step: int, number: signal.Signals) -> None:
        self.step, self.number = step, number

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            os.kill(os.getpid(), self.number)


@pytest.fixture
def _own_signals() -> Iterator[None]:
    """Take signals as from a terminal: a process in the background ignores Ctrl-C, and Lightning leaves it off."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def _open_trajectories() -> list[Path]:
    links = Path("/proc/self/fd").iterdir() if Path("/proc/self/fd").exists() else ()
    return [link for link in links if link.exists() and link.resolve().suffix == ".jsonl"]


@pytest.mark.usefixtures("_own_signals")
@pytest.mark.parametrize(
    "death",
    [_StopAt(7, ValueError("a bug in training")), _SignalAt(7, signal.SIGINT), _SignalAt(7, signal.SIGTERM)],
    ids=["exception", "Ctrl-C", "SIGTERM"],
)
def test_the_last_point_is_there_when_training_dies(tmp_path: Path, death: Callback) -> None:
    watch = monitor(tmp_path, schedule=schedules.every(5))
    with pytest.raises((ValueError, SystemExit, SIGTERMException)):
        _fit(tmp_path, watch, callbacks=[death])
    assert Trajectory.load(tmp_path).steps == [0, 5, 7]
    assert not _open_trajectories()


@pytest.mark.parametrize(
    "end", [{"max_time": {"seconds": 1}}, {"callbacks": [EarlyStopping("train_loss", patience=0, mode="max")]}]
)
def test_the_last_point_is_there_when_training_ends_early(tmp_path: Path, end: dict[str, Any]) -> None:
    watch = monitor(tmp_path, schedule=schedules.powers(4))
    fit = _fit(tmp_path, watch, **end, max_steps=100_000, max_epochs=-1, val_check_interval=3)
    assert 0 < fit.global_step < 100_000
    assert Trajectory.load(tmp_path).steps[-1] == fit.global_step
    assert not _open_trajectories()


def test_early_stopping_and_checkpoints_see_the_readings(tmp_path: Path) -> None:
    watch = monitor(tmp_path, schedule=schedules.every(4))
    key = "ib/mean/token/optimality"
    best = ModelCheckpoint(tmp_path / "best", monitor=key, mode="max", every_n_train_steps=4)
    stop = EarlyStopping("ib/mean/token/complexity", mode="max", patience=1, stopping_threshold=-1.0)  # any value stops
    fit = _fit(tmp_path, watch, callbacks=[best, stop], enable_checkpointing=True, max_steps=40, val_check_interval=4)
    assert fit.global_step < 40
    assert best.best_model_score is not None
    finite = [value for value in watch.trajectory.values(key) if math.isfinite(value)]
    assert any(float(best.best_model_score) == pytest.approx(value) for value in finite)


def test_checkpoints_between_due_steps_see_the_last_reading_also_after_a_restart(tmp_path: Path) -> None:
    """With validation in between: a checkpoint that then misses its key ends the run, and so does early stopping."""
    key = "ib/mean/token/optimality"

    def watchers() -> tuple[ModelCheckpoint, EarlyStopping]:
        save = ModelCheckpoint(tmp_path / "ckpt", monitor=key, every_n_train_steps=1, save_top_k=-1, filename="{step}")
        return save, EarlyStopping(key, mode="max", patience=100)

    watch, (save, stop) = monitor(tmp_path, schedule=schedules.at(4, 9)), watchers()
    options: dict[str, Any] = {"enable_checkpointing": True, "val_check_interval": 1}
    _fit(tmp_path, watch, callbacks=[save, stop], max_steps=6, **options)
    scores = {Path(path).stem: float(score) for path, score in save.best_k_models.items()}
    start, due, _ = watch.trajectory.values(key)
    expected = {f"step={step}": start if step < 4 else due for step in range(1, 6)}
    assert {name: scores[name] for name in expected} == pytest.approx(expected, abs=1e-6)

    again, (save, stop) = monitor(tmp_path, schedule=schedules.at(4, 9)), watchers()
    at_step_5 = tmp_path / "ckpt" / "step=5.ckpt"
    with pytest.warns(UserWarning, match=r"held 1 point after step 5, .* kept in trajectory\.1\.jsonl"):
        _fit(tmp_path, again, callbacks=[save, stop], ckpt_path=at_step_5, max_steps=10, **options)
    scores = {Path(path).stem: float(score) for path, score in save.best_k_models.items()}
    assert scores["step=8"] == pytest.approx(due, abs=1e-6)
    assert again.trajectory.steps == [0, 4, 9, 10]


def test_resume_writes_every_due_step_once(tmp_path: Path) -> None:
    save = ModelCheckpoint(tmp_path / "ckpt", every_n_train_steps=3, save_top_k=-1, filename="{step}")
    first = monitor(tmp_path, schedule=schedules.every(2))
    with contextlib.suppress(ValueError):
        _fit(tmp_path, first, callbacks=[save, _StopAt(11, ValueError("killed"))], enable_checkpointing=True)
    assert first.trajectory.steps[-1] == 11
    second = monitor(None, schedule=schedules.every(2), path=tmp_path / "trajectory.jsonl")
    checkpoint = tmp_path / "ckpt" / "step=9.ckpt"
    with pytest.warns(UserWarning, match=r"held 2 points after step 9, .* kept in trajectory\.1\.jsonl"):
        _fit(tmp_path, second, callbacks=[save], enable_checkpointing=True, max_steps=20, ckpt_path=checkpoint)
    assert Trajectory.load(tmp_path / "trajectory.1.jsonl").steps == [10, 11]
    resumed = Trajectory.load(tmp_path)
    assert resumed.steps == [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20]
    tokens = [point.tokens_seen for point in resumed.points]
    assert tokens == [step * 8 * LENGTH for step in resumed.steps]
    assert [point.wall_time for point in resumed.points] == sorted(point.wall_time for point in resumed.points)


def test_a_trainer_that_fits_again_goes_on_with_its_trajectory(tmp_path: Path) -> None:
    watch = monitor(tmp_path, schedule=schedules.every(5))
    fit, module = trainer(tmp_path, callbacks=[watch], max_steps=7), Module()
    for steps in (7, 12):
        fit.fit_loop.epoch_loop.max_steps = steps
        fit.fit(module, loader(), loader(blocks=16, seed=3, shuffle=False))
    assert Trajectory.load(tmp_path).steps == watch.trajectory.steps == [0, 5, 7, 10, 12]
    assert watch.trajectory.points[-1].tokens_seen == 12 * 8 * LENGTH


def test_a_monitor_of_a_second_run_begins_anew_and_keeps_the_first(tmp_path: Path) -> None:
    watch = monitor(tmp_path, schedule=schedules.every(5))
    _fit(tmp_path, watch, max_steps=7)
    with pytest.warns(UserWarning, match=r"3 points up to step 7; .* it is moved to trajectory\.1\.jsonl"):
        _fit(tmp_path, watch, max_steps=6)
    assert Trajectory.load(tmp_path).steps == watch.trajectory.steps == [0, 5, 6]
    assert watch.trajectory.points[-1].tokens_seen == 6 * 8 * LENGTH
    assert Trajectory.load(tmp_path / "trajectory.1.jsonl").steps == [0, 5, 7]


def _old_run(folder: Path) -> Path:
    """A run of twelve steps in a folder of its own; the checkpoint of step 8."""
    save = ModelCheckpoint(folder / "ckpt", every_n_train_steps=4, save_top_k=-1, filename="{step}")
    _fit(folder, monitor(None, schedule=schedules.every(2)), callbacks=[save], enable_checkpointing=True)
    return folder / "ckpt" / "step=8.ckpt"


def test_a_run_from_the_checkpoint_of_an_old_one_leaves_the_file_of_that_alone(tmp_path: Path) -> None:
    checkpoint = _old_run(tmp_path / "old")
    before = (tmp_path / "old" / "trajectory.jsonl").read_text()
    watch = monitor(None, schedule=schedules.every(2))
    with pytest.warns(
        UserWarning, match=r"new/trajectory\.jsonl holds no trajectory to go on with: .* begin at step 8"
    ):
        _fit(tmp_path / "new", watch, ckpt_path=checkpoint, max_steps=11)
    assert watch.path == tmp_path / "new" / "trajectory.jsonl"
    assert Trajectory.load(watch.path).steps == watch.trajectory.steps == [8, 10, 11]
    assert (tmp_path / "old" / "trajectory.jsonl").read_text() == before
    assert Trajectory.load(tmp_path / "old").steps == [0, 2, 4, 6, 8, 10, 12]


@pytest.mark.filterwarnings("ignore:.*holds no trajectory to go on with")
def test_a_run_from_an_old_checkpoint_does_not_go_on_with_a_third_ones_file(tmp_path: Path) -> None:
    checkpoint = _old_run(tmp_path / "old")
    _fit(tmp_path / "new", monitor(None, schedule=schedules.every(2)), max_steps=10)
    with pytest.warns(UserWarning, match=r"held 6 points up to step 10 of another run than the checkpoint's; it is mo"):
        _fit(tmp_path / "new", monitor(None, schedule=schedules.every(2)), ckpt_path=checkpoint, max_steps=11)
    assert Trajectory.load(tmp_path / "new" / "trajectory.1.jsonl").steps == [0, 2, 4, 6, 8, 10]
    assert Trajectory.load(tmp_path / "new").steps == [8, 10, 11]


def test_a_run_goes_on_in_its_folder_where_that_was_moved_to(tmp_path: Path) -> None:
    _old_run(tmp_path / "old")
    (tmp_path / "old").rename(tmp_path / "moved")
    _fit(tmp_path / "old", monitor(None), max_steps=3)  # another run is at the old place by now
    before = (tmp_path / "old" / "trajectory.jsonl").read_text()
    watch = monitor(None, schedule=schedules.every(2))
    checkpoint = tmp_path / "moved" / "ckpt" / "step=8.ckpt"
    with pytest.warns(UserWarning, match=r"moved/trajectory\.jsonl held 2 points after step 8"):
        _fit(tmp_path / "moved", watch, ckpt_path=checkpoint, max_steps=11)
    assert watch.path == tmp_path / "moved" / "trajectory.jsonl"
    assert watch.trajectory.steps == [0, 2, 4, 6, 8, 10, 11]
    assert (tmp_path / "old" / "trajectory.jsonl").read_text() == before


@pytest.mark.filterwarnings("ignore:.*holds no trajectory to go on with")
def test_a_run_that_goes_on_with_another_config_begins_a_file_of_its_own(tmp_path: Path) -> None:
    save = ModelCheckpoint(tmp_path / "ckpt", every_n_train_steps=4, save_top_k=-1, filename="{step}")
    options: dict[str, Any] = {"enable_checkpointing": True, "callbacks": [save]}
    _fit(tmp_path, monitor(tmp_path, schedule=schedules.every(2), config={"lr": 1}), **options)
    again = monitor(tmp_path, schedule=schedules.every(2), config={"lr": 2})
    checkpoint = tmp_path / "ckpt" / "step=8.ckpt"
    with pytest.warns(UserWarning, match=r"of a run with another config \(it differs in lr\); it is moved to"):
        _fit(tmp_path, again, ckpt_path=checkpoint, max_steps=11, **options)
    assert [Trajectory.load(tmp_path / f"trajectory{number}.jsonl").steps for number in (".1", "")] == [
        [0, 2, 4, 6, 8, 10, 12],
        [8, 10, 11],
    ]
    assert Trajectory.load(tmp_path).run["config"] == {"lr": 2}


def test_a_second_trainer_with_the_same_monitor_writes_into_its_own_folder(tmp_path: Path) -> None:
    watch = monitor(None, schedule=schedules.every(5))
    for name, steps in (("one", 7), ("two", 6)):
        _fit(tmp_path / name, watch, max_steps=steps)
        assert watch.path == tmp_path / name / "trajectory.jsonl"
    assert Trajectory.load(tmp_path / "one").steps == [0, 5, 7]
    assert Trajectory.load(tmp_path / "two").steps == watch.trajectory.steps == [0, 5, 6]
    assert watch.trajectory.points[-1].tokens_seen == 6 * 8 * LENGTH


def test_a_trainer_that_fails_before_training_leaves_an_earlier_run_alone(tmp_path: Path) -> None:
    class Failing(Callback):
        def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            raise ValueError("a bug before training")

    watch = monitor(None)
    _fit(tmp_path / "one", watch, max_steps=3)
    before = watch.trajectory.points
    with pytest.raises(ValueError, match="a bug before training"):
        _fit(tmp_path / "two", watch, callbacks=[Failing()])
    assert watch.trajectory.points == before
    assert not (tmp_path / "two").exists()


class _Tunable(Module):
    """A module with what the tuner of Lightning changes."""

    def __init__(self) -> None:
        super().__init__()
        self.lr, self.batch_size = 1e-2, 8

    def train_dataloader(self) -> Any:
        return loader()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), self.lr)


def _find_rate(fit: Trainer, module: LightningModule) -> None:
    Tuner(fit).lr_find(module, num_training=5)


def _find_batch_size(fit: Trainer, module: LightningModule) -> None:
    Tuner(fit).scale_batch_size(module, max_trials=1, steps_per_trial=1)


@pytest.mark.filterwarnings("ignore:.*(val_dataloader|lr_find|learning rate|does not have many workers|log_every)")
@pytest.mark.parametrize(
    ("tune", "callbacks"),
    [
        (_find_rate, []),
        (_find_batch_size, []),
        (lambda fit, module: None, [LearningRateFinder(num_training_steps=5)]),
        (lambda fit, module: None, [BatchSizeFinder(max_trials=1, steps_per_trial=1)]),
    ],
    ids=["lr_find", "scale_batch_size", "LearningRateFinder", "BatchSizeFinder"],
)
def test_step_0_is_measured_after_tuning(
    tmp_path: Path, tune: Callable[[Trainer, LightningModule], None], callbacks: list[Callback]
) -> None:
    watch, module = monitor(None, schedule=schedules.every(4)), _Tunable()
    fit = trainer(tmp_path, callbacks=[watch, *callbacks], max_steps=6, enable_checkpointing=True, limit_val_batches=0)
    tune(fit, module)
    fit.fit(module)
    assert Trajectory.load(tmp_path).steps == watch.trajectory.steps == [0, 4, 6]
    assert sorted(path.name for path in tmp_path.glob("*.jsonl")) == ["trajectory.jsonl"]


def test_a_finder_does_not_bring_the_steps_of_an_earlier_trainer_back(tmp_path: Path) -> None:
    watch = monitor(None, schedule=schedules.every(4))
    for name in ("one", "two"):
        find = LearningRateFinder(num_training_steps=5)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit = trainer(tmp_path / name, callbacks=[watch, find], max_steps=6, limit_val_batches=0)
            fit.fit(_Tunable())
        assert Trajectory.load(tmp_path / name).steps == watch.trajectory.steps == [0, 4, 6]


def _train_in_forked_processes(folder: Path) -> None:
    """Under a new logger, whose folder is known only where training runs; points must be there all the same."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    watch, held_out = monitor(None, schedule=schedules.every(4)), monitor(None, prefix="held/out")
    for version in (0, 1):
        options: dict[str, Any] = {"strategy": "ddp_fork", "devices": 2, "logger": CSVLogger(folder, name="run")}
        fit = trainer(folder, callbacks=[watch, held_out], max_steps=6, limit_val_batches=0, **options)
        fit.fit(Module(), loader())
        assert watch.trajectory.path == folder / "run" / f"version_{version}" / "trajectory.jsonl"
        assert watch.trajectory.steps == [0, 4, 6]
        assert held_out.trajectory.steps[-1] == 6
        optimality = watch.trajectory.values("ib/mean/token/optimality")
        assert float(fit.callback_metrics["ib/mean/token/optimality"]) == pytest.approx(optimality[-1], abs=1e-6)
    alone = trainer(folder / "alone", callbacks=[watch], max_steps=5, limit_val_batches=0)
    alone.fit(Module(), loader())
    assert watch.trajectory.steps == [0, 4, 5]


def test_a_monitor_can_be_sent_to_a_spawned_process() -> None:
    again: InformationPlaneMonitor = pickle.loads(pickle.dumps(monitor(None)))
    assert again.trajectory.steps == []


def test_points_of_forked_processes_are_read_back_from_their_file(tmp_path: Path) -> None:
    process = mp.get_context("forkserver").Process(target=_train_in_forked_processes, args=(tmp_path,))
    process.start()
    process.join(600)
    assert process.exitcode == 0


def test_resume_refuses_another_protocol(tmp_path: Path) -> None:
    save = ModelCheckpoint(tmp_path / "ckpt", every_n_train_steps=4, save_top_k=-1, filename="{step}")
    _fit(tmp_path, monitor(tmp_path), callbacks=[save], enable_checkpointing=True)
    other = monitor(tmp_path, options=SoftOptions(num_anchors=50))
    with pytest.raises(ValueError, match="num_anchors: 100 in 'the file', 50 in 'this run'"):
        _fit(tmp_path, other, callbacks=[save], enable_checkpointing=True, ckpt_path=tmp_path / "ckpt" / "step=8.ckpt")


def test_wrong_configuration_stops_before_the_first_step(tmp_path: Path) -> None:
    keep = _Keep()
    with pytest.raises(ValueError, match="nothing fits 'layer"):
        _fit(tmp_path, monitor(tmp_path, layers="layer.*"), callbacks=[keep])
    assert keep.losses == []


def test_each_run_has_its_own_folder_by_default(tmp_path: Path) -> None:
    for version in (0, 1):
        watch = monitor(None)
        _fit(tmp_path, watch, logger=CSVLogger(tmp_path, name="run"))
        assert watch.path == tmp_path / "run" / f"version_{version}" / "trajectory.jsonl"
        assert watch.trajectory.name == f"run/{version}"
    assert default_path(trainer(tmp_path), "held") == tmp_path / "trajectory_held.jsonl"
    assert default_path(trainer(tmp_path), "../eval/ib") == tmp_path / "trajectory_.._eval_ib.jsonl"


def test_two_monitors_in_one_run(tmp_path: Path) -> None:
    first, second = monitor(tmp_path), monitor(None, prefix="seen", path=tmp_path / "seen.jsonl")
    fit = _fit(tmp_path, first, callbacks=[second])
    assert first.trajectory.steps == second.trajectory.steps
    assert {"ib/mean/entropy", "seen/mean/entropy"} <= set(fit.callback_metrics)
    assert first.state_key != second.state_key


class _Silent(Module):
    """torch 2.13 cannot trace ``self.log`` of lightning 2.6, which a compiled LightningModule would have to."""

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        return self._loss(batch)


@pytest.mark.parametrize("style", ["module", "model", "in place"])
def test_compiled_runs_read_what_eager_ones_do(tmp_path: Path, style: str) -> None:
    """Weights differ in their last digits after a compiled step, so the comparison is at step 0."""
    readings = []
    for compiled in (False, True):
        lightning.seed_everything(7, verbose=False)
        module: Any = _Silent()  # compiling changes its type
        if compiled and style == "module":
            module = torch.compile(module, backend="eager")
        elif compiled and style == "model":
            module.model = torch.compile(module.model, backend="eager")
        elif compiled:
            module.model.compile(backend="eager")
        watch = monitor(tmp_path / f"{style}{compiled}", schedule=schedules.every(3))
        _fit(tmp_path, watch, module, max_steps=6, limit_val_batches=0)
        assert watch.trajectory.steps == [0, 3, 6]
        assert not any(point.failure for point in watch.trajectory.points)
        readings.append(watch.trajectory.points[0].values)
    readings = [{k: v for k, v in r.items() if k != "ib/overhead_fraction"} for r in readings]
    assert readings[0] == pytest.approx(readings[1], abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_precision_is_that_of_the_run(tmp_path: Path, precision: str) -> None:
    seen: list[tuple[bool, torch.dtype]] = []

    class Watching(Model):
        def forward(self, ids: Tensor) -> Tensor:
            out = super().forward(ids)
            seen.append((self.training, out.dtype))
            return out

    watch = monitor(tmp_path)
    _fit(tmp_path, watch, Module(Watching()), precision=precision, max_steps=2)
    assert {dtype for training, dtype in seen if not training} == {torch.bfloat16}
    assert watch.trajectory.protocol["precision"] == precision


@pytest.mark.parametrize(
    ("batch", "number"),
    [
        (torch.zeros(2, 8).long(), 16),
        ((torch.zeros(2, 8).long(), torch.zeros(2)), 16),
        ({"input_ids": torch.zeros(2, 8).long(), "labels": torch.zeros(2, 9).long()}, 16),
        ({"text": "abc", "ids": torch.zeros(3).long()}, 3),
        ("abc", 0),
        (torch.zeros(2, 8), 0),
    ],
)
def test_tokens_in_a_batch(batch: Any, number: int) -> None:
    assert tokens_in(batch) == number


def test_a_line_is_printed_for_each_measurement(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    watch = monitor(tmp_path, verbose=True, report=True, schedule=schedules.every(6))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _fit(tmp_path, watch, enable_progress_bar=True)
    printed = capsys.readouterr()
    assert (printed.out + printed.err).count(f"ibtrack: points go to {tmp_path / 'trajectory.jsonl'}") == 1
    lines = [line for line in (printed.out + printed.err).splitlines() if "ibtrack step" in line]
    assert len(lines) == 3
    assert all("optimality" in line and "±" in line for line in lines)
    assert (tmp_path / "report.html").exists()
    end = f"ibtrack: 3 points in {tmp_path / 'trajectory.jsonl'}, their page is {tmp_path / 'report.html'}; "
    assert (printed.out + printed.err).count(end) == 1


class _Configured(Module):
    """A module whose hyperparameters JSON does not hold."""

    def __init__(self, data: Path, dtype: torch.dtype, weights: Tensor, lr: float, loss: type[nn.Module]) -> None:
        super().__init__()
        self.save_hyperparameters()


def test_any_hyperparameters_stand_in_the_file(tmp_path: Path) -> None:
    module = _Configured(Path("a"), torch.float32, torch.ones(2), math.inf, nn.CrossEntropyLoss)
    trainer(tmp_path, callbacks=[monitor(tmp_path)], max_steps=1).fit(module, loader(), loader(shuffle=False))
    assert Trajectory.load(tmp_path / "trajectory.jsonl").run["config"] == {
        "data": "a",
        "dtype": "torch.float32",
        "weights": [1.0, 1.0],
        "lr": "inf",
        "loss": "torch.nn.modules.loss.CrossEntropyLoss",
    }
