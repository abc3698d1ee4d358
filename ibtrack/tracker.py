"""When a measurement is due: measure, record, log. Without any framework; the adapters only route to it."""

from __future__ import annotations

import contextlib
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import lightning
import torch
import torch.distributed as dist
from torch import Tensor, nn

from ibtrack import schedules
from ibtrack._checks import check_integer, check_option
from ibtrack.activations import capture, find_sites
from ibtrack.assignments import TEMPERATURE_RULES
from ibtrack.forward import check_text_fits, default_forward, next_token_loss
from ibtrack.guard import undisturbed
from ibtrack.keys import metric_key
from ibtrack.labels import entropy_of_labels
from ibtrack.loggers import PointLog, summary_line
from ibtrack.metrics import InformationPlane
from ibtrack.probe import Probe
from ibtrack.schedules import Progress, Schedule
from ibtrack.trajectory import Point, Trajectory, TrajectoryWriter

DEFAULT_SCHEDULE = schedules.powers(2) | schedules.every(500)


class MeasurementWarning(UserWarning):
    """A measurement, or its record, did not succeed; training goes on."""


class MeasurementError(RuntimeError):
    """A measurement did not succeed."""


class _Batch(NamedTuple):
    """Some blocks of the probe on the model's device.

    Attributes:
        inputs: (B, …).
        rows: (m,) kept positions as rows of the flattened activations.
        positions: (m,) the same as positions of the probe.
        recorded: whether it counts; a rank with fewer blocks than others runs one for company.
    """

    inputs: Tensor
    rows: Tensor
    positions: Tensor
    recorded: bool


class InformationPlaneTracker:
    """Measures a model on a probe along its training and keeps the trajectory.

    Args:
        probe: what to measure on.
        layers: ``"auto"``, module names or globs, see `ibtrack.activations.find_sites`.
        schedule: when; the first and the last step are always measured.
        path: trajectory file to write; None keeps the points in memory only.
        num_anchors: K.
        seed: of the anchors.
        temperature: ``exact``, ``bounds`` or ``leading_order``.
        batch_size: blocks per forward pass of the probe.
        forward: ``forward(model, inputs)`` runs the model on (B, …) inputs of the probe; by default ``model(inputs)``.
        strict: raise when a measurement fails, instead of a warning and a failed point.
        prefix: of the logged keys, to tell several trackers of one run apart.
        name: of the run, for the trajectory's header.
        config: of the run, for the trajectory's header.
        loggers: objects with ``log_metrics(metrics, step)``, or wandb runs.
        report: called with a line of text for each measurement.

    Example:
        >>> model = nn.Sequential(nn.Embedding(7, 8), nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)))
        >>> tracker = InformationPlaneTracker(Probe(torch.arange(640).view(20, 32) % 7), schedule=schedules.every(2))
        >>> for step in range(5):
        ...     _ = tracker.step(model, step)
        >>> tracker.trajectory.steps
        [0, 2, 4]
    """

    def __init__(
        self,
        probe: Probe,
        *,
        layers: str | Sequence[str] = "auto",
        schedule: Schedule = DEFAULT_SCHEDULE,
        path: str | os.PathLike[str] | None = None,
        num_anchors: int = 100,
        seed: int = 0,
        temperature: str = "exact",
        batch_size: int = 16,
        forward: Callable[[nn.Module, Tensor], Any] = default_forward,
        strict: bool = False,
        prefix: str = "ib",
        name: str | None = None,
        config: Mapping[str, Any] | None = None,
        loggers: Sequence[Any] = (),
        report: Callable[[str], None] | None = None,
    ) -> None:
        if not isinstance(probe, Probe):
            raise ValueError(f"probe must be an ibtrack.Probe, got {type(probe).__name__}")
        if not isinstance(schedule, Schedule):
            raise ValueError(f"schedule must come from ibtrack.schedules, got {type(schedule).__name__}")
        self.probe, self.layers, self.schedule = probe, layers, schedule
        self.path = None if path is None else Path(path)
        self.num_anchors = check_integer("num_anchors", num_anchors, minimum=2)
        self.seed = seed
        self.temperature = check_option("temperature", temperature, TEMPERATURE_RULES)
        self.batch_size = check_integer("batch_size", batch_size, minimum=1)
        self.forward, self.strict, self.prefix = forward, strict, prefix
        self.name, self.config = name, dict(config or {})
        self.loggers, self.report = list(loggers), report
        self.protocol: dict[str, Any] = {}
        self.measure_seconds = 0.0
        self._points: list[Point] = []
        self._writer: TrajectoryWriter | None = None
        self._logs: list[PointLog] = []
        self._sites: dict[str, str] | None = None
        self._last = Progress(-1)
        self._label_entropy = entropy_of_labels(probe.label_sets["output/token"]) if _predicts_tokens(probe) else None

    @property
    def trajectory(self) -> Trajectory:
        """What has been recorded so far."""
        run = {"name": self.name, "config": self.config}
        return Trajectory(self.protocol, run, list(self._points), self.path)

    @property
    def started(self) -> bool:
        return self._sites is not None

    @property
    def seconds(self) -> float:
        """Wall time since training began, over all restarts."""
        return time.monotonic() - self._began

    def start(
        self,
        model: nn.Module,
        *,
        max_steps: int | None = None,
        resume_from: Progress | None = None,
        precision: str = "32-true",
    ) -> None:
        """Find the sites, try one block of the probe on the model, and open the trajectory file.

        Args:
            model: to be measured.
            max_steps: last step of the run, if known.
            resume_from: progress at the checkpoint that training goes on from; later points of the file are dropped.
            precision: of the run, for the protocol.

        Raises:
            ValueError: layers that do not exist, a probe that does not fit the model, a schedule with nothing due, a
                trajectory of another protocol to resume.
            FileExistsError: ``path`` holds another run's trajectory.
        """
        check_schedule(self.schedule, max_steps)
        if self.probe.is_text:
            check_text_fits(model, self.probe.inputs)
        sites = find_sites(model, self.layers)
        widths = self._rehearse(model, sites)
        plane = InformationPlane(
            self.probe, widths, num_anchors=self.num_anchors, seed=self.seed, temperature=self.temperature
        )
        self._plane = plane.to(_device(model))
        self._batches = self._cut_batches(_device(model))
        self.protocol = {
            "probe": self.probe.protocol(),
            "orders": list(self.probe.orders),
            "sites": sites,
            "widths": widths,
            "num_anchors": self.num_anchors,
            "seed": self.seed,
            "temperature": self.temperature,
            "unit": "fraction of log K",
            "precision": precision,
            "versions": {"torch": torch.__version__, "lightning": lightning.__version__},
        }
        self._open_file(resume_from)
        self._logs = [PointLog(logger, prefix=self.prefix) for logger in self.loggers] if _rank() == 0 else []
        self._sites = sites
        if resume_from is not None:
            self._last = resume_from
        self._began = time.monotonic() - self._last.seconds

    def step(
        self, model: nn.Module, step: int, *, tokens_seen: int | None = None, loss: float | Tensor | None = None
    ) -> Point | None:
        """Measure and record if a measurement is due; call it before the first and after every optimizer step.

        Args:
            model: as it is after ``step`` optimizer steps.
            step: optimizer steps taken.
            tokens_seen: training tokens so far over all processes.
            loss: training loss of the step; read only if a measurement is due.

        Returns:
            the point, or None if nothing was due.
        """
        if not self.started:
            self.start(model)
        now = self._now(step, tokens_seen)
        due = step == 0 > self._last.step or (step > self._last.step and self.schedule.due(now, since=self._last))
        if not due:
            return None
        return self._take(model, now, tokens_seen, loss)

    def finish(
        self, model: nn.Module, step: int, *, tokens_seen: int | None = None, loss: float | Tensor | None = None
    ) -> Point | None:
        """Measure the last step, if it has not been, and tell the loggers that the run is over."""
        measured = self._points[-1].step if self._points else -1
        point = None
        if self.started and step > measured:
            point = self._take(model, self._now(step, tokens_seen), tokens_seen, loss)
        for log in self._logs:
            with self._tolerated(f"{type(log.logger).__name__} did not take the end of the run"):
                log.finish(self.trajectory)
        return point

    def measure(self, model: nn.Module, *, step: int = 0) -> Point:
        """Measure now; the point is returned, not recorded.

        Raises:
            MeasurementError: the measurement failed on this process or on another.
        """
        if not self.started:
            self.start(model)
        began = time.monotonic()
        self._plane.reset()
        loss = self._run_probe(model)
        values = self._plane.compute()
        readings = dict(zip(values, torch.stack(list(values.values())).tolist(), strict=True))
        if loss is not None:
            readings[metric_key("probe_loss")] = loss
            if self._label_entropy is not None:
                readings[metric_key("variational_floor")] = self._label_entropy - loss
        faults = self._plane.faults()
        return Point(
            step,
            readings,
            notes={**faults, **self._undefined()},
            failure="; ".join(f"{site}: {reason}" for site, reason in faults.items()) or None,
            measure_time=time.monotonic() - began,
        )

    def _take(self, model: nn.Module, now: Progress, tokens_seen: int | None, loss: float | Tensor | None) -> Point:
        """Measure and record, whatever happens."""
        began = time.monotonic()
        self._last = now
        try:
            point = self.measure(model, step=now.step)
        except Exception as error:
            if self.strict:
                raise
            point = Point(now.step, failure=f"{type(error).__name__}: {error}")
        spent = time.monotonic() - began
        before = self.measure_seconds
        share = (before + spent) / max(now.seconds + spent, 1e-9)
        point = Point(
            now.step,
            {**point.readings, metric_key("overhead_fraction"): share},
            point.notes,
            point.failure,
            None if loss is None else float(loss),
            tokens_seen,
            now.seconds + spent,
            spent,
        )
        self._record(point)
        self.measure_seconds = before + time.monotonic() - began  # with the record of it
        return point

    def _record(self, point: Point) -> None:
        """To the file first, then to whoever listens; a fault of theirs is not the run's."""
        self._points.append(point)
        if point.failure is not None:
            self._complain(f"step {point.step} was not measured as a whole: {point.failure}")
        if self._writer is not None:
            with self._tolerated(f"{self.path} did not take the point of step {point.step}"):
                self._writer.append(point)
        for log in self._logs:
            with self._tolerated(f"{type(log.logger).__name__} did not take the point of step {point.step}"):
                log.log(point, self.trajectory)
        if self.report is not None and _rank() == 0:
            self.report(summary_line(point))

    @contextlib.contextmanager
    def _tolerated(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if self.strict:
                raise
            self._complain(f"{what}: {type(error).__name__}: {error}")

    def _complain(self, sentence: str) -> None:
        if self.strict:
            raise MeasurementError(sentence)
        warnings.warn(f"ibtrack: {sentence}; training goes on", MeasurementWarning, stacklevel=2)

    def _rehearse(self, model: nn.Module, sites: Mapping[str, str]) -> dict[str, int]:
        """Width of every site, from one block of the probe."""
        widths: dict[str, int] = {}
        block = self.probe.inputs[:1].to(_device(model))

        def receive(site: str, activations: Tensor) -> None:
            widths[site] = self._rows(site, activations, 1).shape[1]

        try:
            with undisturbed(model), capture(model, sites, receive) as check:
                self.forward(model, block)
                check()
        except Exception as error:
            raise ValueError(
                f"the model's forward does not take the probe ({type(error).__name__}: {error}); "
                "pass forward=, a callable of the model and a batch of the probe's inputs"
            ) from error
        return {site: widths[site] for site in sites}

    def _rows(self, site: str, activations: Tensor, blocks: int) -> Tensor:
        """(B, T, D) or (B, D) activations as rows of the flattened grid."""
        grid = (blocks, *self.probe.grid[1:])
        if tuple(activations.shape[:-1]) != grid:
            wanted = ", ".join(map(str, (*grid, "D")))
            raise MeasurementError(f"{site} must have shape ({wanted}), got {tuple(activations.shape)}")
        return activations.detach().reshape(-1, activations.shape[-1])

    def _cut_batches(self, device: torch.device) -> list[_Batch]:
        """This process's share of the blocks, in as many batches as any other process has."""
        rank, world = _rank(), _world_size()
        share = torch.arange(rank, self.probe.num_blocks, world)
        number = -(-self.probe.num_blocks // world)
        batches = [self._batch(blocks, device, recorded=True) for blocks in share.split(self.batch_size) if len(blocks)]
        company = self._batch(torch.tensor([0]), device, recorded=False)
        return batches + [company] * (-(-number // self.batch_size) - len(batches))

    def _batch(self, blocks: Tensor, device: torch.device, *, recorded: bool) -> _Batch:
        length = self.probe.grid[1] if len(self.probe.grid) == 2 else 1
        place = torch.full((self.probe.num_blocks,), -1).index_put_((blocks,), torch.arange(len(blocks)))
        block, offset = self.probe.positions // length, self.probe.positions % length
        positions = (place[block] >= 0).nonzero().flatten()
        rows = place[block[positions]] * length + offset[positions]
        return _Batch(self.probe.inputs[blocks].to(device), rows.to(device), positions.to(device), recorded)

    def _run_probe(self, model: nn.Module) -> float | None:
        """Forward passes over this process's blocks; the mean loss over all positions, if the model tells one."""
        error: Exception | None = None
        losses: list[Tensor] = []
        try:
            with undisturbed(model):
                for batch in self._batches:
                    losses += self._run_batch(model, batch)
        except Exception as problem:
            error = problem
        _agree(error, self._plane.device)
        if not losses:
            return None
        return float(_sum_over_processes(torch.stack(losses).sum())) / self.probe.num_positions

    def _run_batch(self, model: nn.Module, batch: _Batch) -> list[Tensor]:
        def receive(site: str, activations: Tensor) -> None:
            rows = self._rows(site, activations, len(batch.inputs))
            if batch.recorded:
                self._plane.update(site, rows, batch.positions, batch.rows)

        with capture(model, self.protocol["sites"], receive) as check:
            output = self.forward(model, batch.inputs)
            check()
        if self._label_entropy is None:
            return []
        targets = batch.inputs.flatten()[batch.rows + 1]  # a kept position is never the last of its block
        loss = next_token_loss(output, targets, batch.rows)
        return [] if loss is None else [loss * batch.recorded]

    def _undefined(self) -> dict[str, str]:
        """Label sets whose debiased reading does not exist."""
        every = self.probe.num_positions
        return {
            name: "all labels are distinct, so nothing tells spread within a label from spread between labels"
            for name, number in self.probe.label_counts.items()
            if number == every
        }

    def _open_file(self, resume_from: Progress | None) -> None:
        if self.path is None or _rank() != 0:
            return
        if resume_from is not None and self.path.exists():
            self._writer = TrajectoryWriter.resume(self.path, self.protocol, last_step=resume_from.step)
            self._points = list(self._writer.points)
        else:
            self._writer = TrajectoryWriter.create(self.path, self.protocol, {"name": self.name, "config": self.config})

    def _now(self, step: int, tokens_seen: int | None) -> Progress:
        return Progress(step, tokens_seen or 0, self.seconds)


def check_schedule(schedule: Schedule, max_steps: int | None) -> None:
    """Refuse a schedule of steps that a run of ``max_steps`` never reaches."""
    if max_steps is None or max_steps < 0:
        return
    end = Progress(max_steps, tokens=1 << 62, seconds=float("inf"))
    if not schedule.due(end, since=Progress(0)):
        raise ValueError(f"schedule has nothing due within the {max_steps} steps of this run: {schedule}")


def _predicts_tokens(probe: Probe) -> bool:
    return probe.is_text and "output/token" in probe.label_sets


def _device(model: nn.Module) -> torch.device:
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def _rank() -> int:
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def _world_size() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def _sum_over_processes(value: Tensor) -> Tensor:
    if _world_size() > 1:
        dist.all_reduce(value)
    return value


def _agree(error: Exception | None, device: torch.device) -> None:
    """Raise on every process if one of them failed, so that none waits for another."""
    failed = _sum_over_processes(torch.tensor(float(error is not None), device=device))
    if error is not None:
        raise MeasurementError(f"{type(error).__name__}: {error}") from error
    if failed > 0:
        raise MeasurementError("the measurement failed on another process")
