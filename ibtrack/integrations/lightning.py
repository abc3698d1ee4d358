"""The Lightning callback, which routes the events of a trainer to the tracker."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ibtrack._checks import needs
from ibtrack.capture.forward import default_forward
from ibtrack.capture.traces import weight_sums
from ibtrack.information.options import SoftOptions
from ibtrack.probe.probe import Probe
from ibtrack.record.keys import parse_key
from ibtrack.record.logged import point_metrics
from ibtrack.record.trajectory import Point, Trajectory
from ibtrack.schedules import Progress, Schedule
from ibtrack.tracking.costs import Costs
from ibtrack.tracking.tracker import DEFAULT_SCHEDULE, InformationPlaneTracker

with needs("the Lightning callback", extra="lightning"):
    from lightning.pytorch import Callback, LightningModule, Trainer
    from lightning.pytorch.callbacks import StochasticWeightAveraging
    from lightning.pytorch.strategies import FSDPStrategy
    from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher
    from lightning.pytorch.utilities import rank_zero_info


EXCHANGED = (
    "training ended during a validation, in which other weights than those of the last step were in place, so that "
    "these could not be measured"
)


class InformationPlaneMonitor(Callback):
    """Follow a model through the information plane while it trains.

    The model is measured on the probe before the first step, whenever the schedule says, and after the last step.
    Points are of the weights as they are trained, also the last, whatever averages other callbacks put in their place
    when training ends. Training with the monitor ends in the same weights, bit for bit, as without. A measurement that
    fails is a warning and a point that says why.

    ``ModelCheckpoint`` and ``EarlyStopping`` can monitor every key of the file, whichever loggers get; between two
    measurements they see the last value. A key that has had no value yet, because measuring it failed, is missing:
    ``EarlyStopping(strict=False)`` tolerates that.

    Args:
        probe: The probe to measure on; documents held out from training.
        options: How activations are turned into soft assignments: number and seed of the anchors, temperature and so
            on.
        layers: ``"auto"`` for the blocks of any decoder, module names or globs.
        schedule: When to measure, from `ibtrack.schedules`; the first and the last step are always measured.
        path: Trajectory file; by default ``trajectory.jsonl`` in the first logger's folder of the run, such as
            ``lightning_logs/version_0``, and without a logger in the trainer's ``default_root_dir``.
        geometry_rows: Positions of the probe from which RankMe, α-ReQ and participation ratio of every layer are
            worked out; 0 leaves them out.
        max_memory: Bytes for the rows of the layers that are measured in one pass over the probe; by default 1 GiB, and
            on a GPU a sixteenth of its memory where that is more.
        batch_size: Blocks per forward pass of the probe; halved where that many do not fit into memory. By default 16,
            and on an accelerator as many as have 16,384 tokens, where these are more.
        cuda_graph: Whether the readings are one CUDA graph from the second measurement on; see
            `ibtrack.tracking.tracker.InformationPlaneTracker` for what it saves and costs.
        forward: ``forward(module, inputs)``, if the module's own forward does not take the probe's inputs.
        count_tokens: Counts the tokens in a batch of this process; by default the size of its first integer tensor.
        alert: Whether wandb raises an alert when a phase begins, such as compression.
        max_overhead: Share of wall time that following the run may take, its start included; due points are left out
            where it would be passed.
        strict: Whether to raise when a measurement fails, instead of a warning and a failed point.
        log: What loggers get of a point: the ``few`` numbers that one looks at while a run goes on, or ``all``; see
            `ibtrack.record.logged.logged_metrics`. The file has all of them.
        prefix: Prefix of the logged keys and of the state in checkpoints; it tells several monitors of one run apart.
        name: Name of the run, for the trajectory; by default the logger's.
        config: Configuration of the run, for the trajectory; by default the module's hyperparameters.
        report: HTML page that is written anew at points, as long as that takes less than a hundredth of the wall time,
            and at the end; True for ``report.html`` beside the trajectory file. It needs the extra ``report``.
        verbose: Whether to print where the points go, a line for each measurement, and at the end where they are.
        say: Called with each of these lines, in the place of printing it. A line that cannot be shown is a warning.

    Raises:
        ValueError: An argument is out of its range or of another type; when training starts, if layers, probe, model,
            or schedule do not fit each other.
        FileExistsError: When training starts, if ``path`` holds another run's trajectory, or another process writes it.
    """

    def __init__(
        self,
        probe: Probe,
        *,
        options: SoftOptions = SoftOptions(),
        layers: str | Sequence[str] = "auto",
        schedule: Schedule = DEFAULT_SCHEDULE,
        path: str | os.PathLike[str] | None = None,
        geometry_rows: int = 0,
        max_memory: int | None = None,
        batch_size: int | None = None,
        cuda_graph: bool = False,
        forward: Callable[[nn.Module, Tensor], Any] = default_forward,
        count_tokens: Callable[[Any], int] | None = None,
        alert: bool = False,
        max_overhead: float | None = None,
        strict: bool = False,
        log: Literal["few", "all"] = "few",
        prefix: str = "ib",
        name: str | None = None,
        config: Mapping[str, Any] | None = None,
        report: str | os.PathLike[str] | bool | None = None,
        verbose: bool = True,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.path = self._given_path = None if path is None else Path(path)
        self.prefix, self.name, self.config = prefix, name, config
        self._forward = forward
        self._count_tokens = count_tokens or tokens_in
        self._progress = Progress(0)
        self._resume_from: Progress | None = None
        self._run_id: str | None = None
        self._active = False
        self._told = _ToldPath()
        self._loss: Tensor | None = None
        self._weights: list[int] = []
        self._averaged = False
        self._metrics: dict[str, float] = {}
        self._tracker = InformationPlaneTracker(
            probe,
            options=options,
            layers=layers,
            schedule=schedule,
            geometry_rows=geometry_rows,
            max_memory=max_memory,
            batch_size=batch_size,
            cuda_graph=cuda_graph,
            alert=alert,
            max_overhead=max_overhead,
            strict=strict,
            log=log,
            prefix=prefix,
            report=report,
            verbose=verbose,
            say=say,
        )

    @property
    def trajectory(self) -> Trajectory:
        """The points that have been recorded so far, with protocol and run.

        Where training ran in processes that were forked from this one, they are read from the file.
        """
        elsewhere = self._told.path
        return self._tracker.trajectory if elsewhere is None else Trajectory.load(elsewhere)

    @property
    def costs(self) -> Costs:
        """Wall time that following the run has taken, part by part; of processes forked from this one it knows none."""
        return self._tracker.costs

    @property
    def state_key(self) -> str:
        """Name of the state in checkpoints, different for every prefix."""
        return f"{type(self).__name__}[{self.prefix}]"

    def state_dict(self) -> dict[str, Any]:
        """Return what a restart needs: progress, time spent, the latest values, and which run it was."""
        return {
            "progress": tuple(self._progress),
            "measure_seconds": self._tracker.measure_seconds,
            "metrics": dict(self._metrics),
            "run_id": self._run_id,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the checkpoint that `state_dict` was saved with.

        The file is that of the run which goes on, wherever the one was that saved the checkpoint.
        """
        self._progress = self._resume_from = Progress(*state_dict["progress"])
        self._tracker.measure_seconds = state_dict["measure_seconds"]
        self._metrics = dict(state_dict["metrics"])
        self._run_id = state_dict.get("run_id")  # older versions did not save it

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget an earlier run of another trainer, before a checkpoint is loaded, and go before all other callbacks.

        Some of them put averaged weights in place when training ends.
        """
        connected: Any = trainer  # whose list of callbacks is not declared
        connected.callbacks = [self, *(other for other in connected.callbacks if other is not self)]
        self._active = False
        if stage == "fit" and trainer.global_step == 0:
            self._progress, self._resume_from, self._run_id, self._loss = Progress(0), None, None, None
            self._metrics = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the tracker, and measure the model before its first step."""
        self._active = not any(getattr(trainer, flag) for flag in ("fast_dev_run", "overfit_batches"))
        if not self._active:
            rank_zero_info("ibtrack: a trial run (fast_dev_run or overfit_batches) is not measured")
            return
        self.path = self._given_path or default_path(trainer, self.prefix)
        tracker = self._tracker
        tracker.path, tracker.loggers = self.path, list(trainer.loggers)
        tracker.name = self.name or _run_name(trainer)
        tracker.config = dict(self.config if self.config is not None else pl_module.hparams)
        tracker.forward = self._forward_in(trainer)
        tracker.start(
            _root(trainer, pl_module),
            max_steps=_max_steps(trainer),
            resume_from=self._resumed(trainer),
            run_id=self._run_id,
            precision=str(trainer.precision),
        )
        self._run_id = tracker.run_id
        if trainer.is_global_zero:
            self._told.tell(self.path)
        self._publish(trainer)  # the values of the checkpoint, as after a restart the next point may be far away
        self._step(trainer, pl_module, tracker.step)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the last step if the epoch only renews the batch norm of averaged weights, which go in place now."""
        connected: Any = trainer
        averaging = [other for other in connected.callbacks if isinstance(other, StochasticWeightAveraging)]
        self._averaged = any(trainer.current_epoch == other.swa_end + 1 for other in averaging)
        if self._active and self._averaged:
            self._step(trainer, pl_module, self._tracker.measure_last)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count tokens, and measure if the optimizer has stepped and a measurement is due."""
        if not self._active:
            return
        tokens = self._progress.tokens + self._count_tokens(batch) * trainer.world_size
        self._loss = _loss_of(outputs, trainer.accumulate_grad_batches)
        stepped = trainer.global_step > self._progress.step
        self._progress = Progress(trainer.global_step, tokens, self._tracker.seconds)
        if stepped and not self._averaged:  # several batches share a step when gradients are accumulated
            self._step(trainer, pl_module, self._tracker.step)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep in mind which weights training has, as a validation may be of averaged ones and may be interrupted."""
        self._weights = weight_sums(pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the last step."""
        if self._active and self._averaged:
            self._tracker.close()
        elif self._active:
            self._step(trainer, pl_module, self._tracker.finish)
        self._active = False

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Keep a forked or spawned process from waiting for ever with its results.

        Lightning lets such a process hand back the trainer's metrics by a pipe that is read only when the process has
        ended, and that holds 64 kB. Numbers of single layers, which are many, stay in the file.
        """
        if isinstance(trainer.strategy.launcher, _MultiProcessingLauncher):
            for key in self._metrics:
                if parse_key(f"ib{key.removeprefix(self.prefix)}").site not in (None, "mean"):  # it may have a slash
                    trainer.callback_metrics.pop(key, None)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Measure the last step if this process is the only one; the others may never come to a measurement."""
        if self._active and trainer.world_size == 1 and not self._averaged:
            exchanged = trainer.validating and weight_sums(pl_module) != self._weights
            finish = partial(self._tracker.finish, failure=EXCHANGED) if exchanged else self._tracker.finish
            self._step(trainer, pl_module, finish)
        elif self._active:
            self._tracker.close()
        self._active = False

    def _step(self, trainer: Trainer, pl_module: LightningModule, act: Callable[..., Point | None]) -> None:
        point = act(_root(trainer, pl_module), trainer.global_step, tokens_seen=self._progress.tokens, loss=self._loss)
        if point is not None:
            if point.tokens_seen is not None:  # those of all processes, whose batches may differ
                self._progress = self._progress._replace(tokens=point.tokens_seen)
            self._metrics.update(point_metrics(point, prefix=self.prefix))
            self._publish(trainer)

    def _resumed(self, trainer: Trainer) -> Progress | None:
        """Find where training goes on from: a checkpoint, or the end of an earlier fit of the same trainer.

        The tuner of Lightning loads a checkpoint of step 0, before training has begun.
        """
        goes_on = trainer.global_step > 0 and self._progress.step == trainer.global_step
        resumed, self._resume_from = self._resume_from or (self._progress if goes_on else None), None
        self._progress = resumed or Progress(0)
        return resumed if self._progress.step > 0 else None

    def _publish(self, trainer: Trainer) -> None:
        """Put the latest value of every key where EarlyStopping and ModelCheckpoint look."""
        trainer.callback_metrics.update({key: torch.tensor(value) for key, value in self._metrics.items()})

    def _forward_in(self, trainer: Trainer) -> Callable[[nn.Module, Tensor], Any]:
        """Make a forward pass under the precision that training runs in."""

        def forward(model: nn.Module, inputs: Tensor) -> Any:
            with trainer.precision_plugin.forward_context():
                return self._forward(model, inputs)

        return forward


class _ToldPath:
    """A path that a process tells the one that it was forked from, such as a notebook that trains in processes.

    Both see one page of memory; a copy of another kind, as a spawned process gets, has a page of its own.
    """

    _SIZE = 1 << 14

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, self._SIZE)

    def __reduce__(self) -> tuple[type[_ToldPath], tuple[()]]:
        return _ToldPath, ()

    def tell(self, path: Path) -> None:
        """Say where the points of this process go."""
        text = f"{os.getpid()}\n{path.absolute()}".encode()
        self._page[: len(text) + 1] = text + b"\0"

    @property
    def path(self) -> Path | None:
        """File of another process, where one has told last; None where there is none or this one has."""
        process, _, path = self._page[:].partition(b"\0")[0].decode().partition("\n")
        return None if process in ("", str(os.getpid())) else Path(path)


def default_path(trainer: Trainer, prefix: str = "ib") -> Path:
    """Name the trajectory file in the logger's folder of the run, or without a logger in ``default_root_dir``."""
    file = "trajectory.jsonl" if prefix == "ib" else f"trajectory_{prefix.replace('/', '_')}.jsonl"  # no folder of it
    folder = Path(trainer.default_root_dir)
    if trainer.loggers:
        logger = trainer.loggers[0]
        _ = getattr(logger, "experiment", None)  # wandb knows the id of its run only once that has begun
        version = logger.version if isinstance(logger.version, str) else f"version_{logger.version}"
        folder = Path(logger.save_dir or folder) / str(logger.name) / version
    return folder / file


def tokens_in(batch: Any) -> int:
    """Count the tokens of a batch: the size of ``input_ids``, or of its first integer tensor; 0 without any.

    Example:
        >>> tokens_in({"input_ids": torch.zeros(2, 8, dtype=torch.long)}), tokens_in([torch.zeros(2, 8)])
        (16, 0)
    """
    if isinstance(batch, Tensor):
        return batch.numel() if not batch.is_floating_point() else 0
    if isinstance(batch, Mapping):
        return tokens_in(batch["input_ids"]) if "input_ids" in batch else tokens_in(list(batch.values()))
    if isinstance(batch, Sequence) and not isinstance(batch, str):
        return next((size for size in map(tokens_in, batch) if size), 0)
    return 0


def _root(trainer: Trainer, pl_module: LightningModule) -> nn.Module:
    """Choose the module to run: FSDP gathers its shards in the forward of its root alone."""
    sharded = trainer.strategy.model if isinstance(trainer.strategy, FSDPStrategy) else None
    return pl_module if sharded is None else sharded


def _max_steps(trainer: Trainer) -> int | None:
    steps = trainer.estimated_stepping_batches
    return int(steps) if steps != float("inf") else None


def _loss_of(outputs: Any, accumulated: int) -> Tensor | None:
    """Find the loss in the outputs of a step, which Lightning has divided by the number of accumulated batches."""
    loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
    if not isinstance(loss, Tensor):
        return None
    return loss.detach() * accumulated if accumulated > 1 else loss.detach()


def _run_name(trainer: Trainer) -> str | None:
    if not trainer.loggers:
        return None
    run = getattr(trainer.loggers[0], "experiment", None)
    name = getattr(run, "name", None)
    return name if isinstance(name, str) else f"{trainer.loggers[0].name}/{trainer.loggers[0].version}"
