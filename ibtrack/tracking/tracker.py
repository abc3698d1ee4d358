"""The tracker measures when a measurement is due, records the point, and hands it to loggers.

It knows no framework; the adapters in `ibtrack.integrations` only route events to it.
"""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from ibtrack import schedules
from ibtrack._checks import check_count, check_integer, check_option
from ibtrack.capture.forward import check_text_fits, default_forward
from ibtrack.capture.sharded import SharedPasses, check_data_parallel
from ibtrack.distributed import (
    MeasurementError,
    decided_by_first,
    meet,
    of_every_process,
    rank,
    settle,
    sum_over_processes,
    together,
    world_size,
)
from ibtrack.information.options import SoftOptions
from ibtrack.probe.probe import Probe
from ibtrack.record.keys import metric_key
from ibtrack.record.logged import LOGS
from ibtrack.record.protocol import protocol_differences
from ibtrack.record.texts import reason
from ibtrack.record.trajectory import Point, Trajectory
from ibtrack.record.values import Values
from ibtrack.schedules import Progress, Schedule
from ibtrack.tracking.costs import Costs
from ibtrack.tracking.line_printer import print_line
from ibtrack.tracking.live_page import check_page, page_path
from ibtrack.tracking.loggers import open_wandb_runs
from ibtrack.tracking.measurement import (
    Forward,
    Layout,
    Measurement,
    describe_layouts,
    device_of,
    find_layouts,
    measured_modules,
    row_bytes,
)
from ibtrack.tracking.notes import notes_on
from ibtrack.tracking.protocol import attention_of, measurement_protocol, precision_of, weights_of
from ibtrack.tracking.recorder import Recorder, run_header, warn, what_goes_on
from ibtrack.tracking.sites import needs_pass, sites_of_probe
from ibtrack.tracking.stage import check_stage, jump
from ibtrack.tracking.trial import try_block

ANOTHER_MODEL = (
    "the model is another object than the one measured before, a copy or an average perhaps; its sites have the same "
    "names and layouts"
)
DEFAULT_SCHEDULE = schedules.powers(2) | schedules.every(500)


class InformationPlaneTracker:
    """Measures a model on a probe along its training and keeps the trajectory.

    Args:
        probe: The probe to measure on; documents held out from training.
        options: How activations are turned into soft assignments: number and seed of the anchors, temperature and so
            on.
        layers: ``"auto"`` for the embedding and the blocks of any decoder, ``"final"`` for the norm after them, module
            names or globs, or several of these; see `ibtrack.capture.sites.find_sites`.
        schedule: When to measure, from `ibtrack.schedules`; the first and the last step are always measured.
        path: Trajectory file to write; None keeps the points in memory only.
        geometry_rows: Positions of the probe from which RankMe, α-ReQ and participation ratio of every site are worked
            out, see `ibtrack.information.spectrum`; 0 leaves them out. They can cost as much as all other numbers.
        max_memory: Bytes for the rows of the sites that are measured in one pass over the probe; where all sites need
            more, the probe is run several times. By default 1 GiB, and on a GPU a sixteenth of its memory where that is
            more.
        batch_size: Blocks per forward pass of the probe; halved where that many do not fit into memory. By default 16,
            and on an accelerator as many as have 16,384 tokens, where these are more.
        cuda_graph: Whether the readings are made one CUDA graph at the second measurement and replayed at all later
            ones, with the same numbers. On a GPU this makes the readings of a probe of 8k tokens four times as fast;
            of 64k tokens it saves a tenth or less. It costs memory all along the run, for the rows (4 K bytes for each
            position and site, with K anchors) and several times as much for the tables that the graph works in. Where
            it cannot be done, on a CPU or under several processes for instance, a line says why.
        forward: ``forward(model, inputs)`` runs the model on (B, …) inputs of the probe; by default ``model(inputs)``.
        alert: Whether the wandb runs among the loggers raise an alert when a phase begins, such as compression.
        max_overhead: Share of wall time that following the run may take, its start included. Once it is passed, due
            points are left out until it is kept again, and the next point says which. The first and the last step are
            measured all the same.
        strict: Whether to raise when a measurement fails, instead of a warning and a failed point.
        log: What loggers get of a point: the ``few`` numbers that one looks at while a run goes on, or ``all``; see
            `ibtrack.record.logged.logged_metrics`. The file has all of them.
        prefix: Prefix of the logged keys; it tells several trackers of one run apart.
        stage: Name of this stage of training, such as ``dpo``; points have it. Where ``path`` holds the points of
            earlier stages, this one goes on after them: the loop counts its steps from 0, and points count on from the
            last step before. The schedule counts steps of the stage.
        name: Name of the run, for the trajectory's header.
        config: Configuration of the run, for the trajectory's header; of several stages that of the first.
        loggers: Objects with ``log_metrics(metrics, step)``, such as the loggers of Lightning and Fabric, or wandb
            runs. By default, None, the run that ``wandb.init`` has opened in this process, also where that comes after
            the first point; ``()`` for none.
        report: HTML page that is written anew at points, as long as that takes less than a hundredth of the wall time,
            and at the end; True for ``report.html`` beside ``path``, which it is made from. It needs the extra
            ``report``.
        verbose: Whether to print where the points go, a line for each measurement, and at the end where they are.
        say: Called with each of these lines, in the place of printing it. A line that cannot be shown is a warning.
        origin: Where the models come from if they are saved checkpoints, for the trajectory's header; see
            `ibtrack.replay`. None for a run that trains.

    Raises:
        ValueError: An argument is out of its range or of another type.

    Example:
        >>> model = nn.Sequential(nn.Embedding(7, 8), nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)))
        >>> probe = Probe(torch.arange(640).view(20, 32) % 7)
        >>> tracker = InformationPlaneTracker(probe, schedule=schedules.every(2), verbose=False)
        >>> for step in range(5):
        ...     _ = tracker.step(model, step)
        >>> tracker.trajectory.steps
        [0, 2, 4]
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
        forward: Forward = default_forward,
        alert: bool = False,
        max_overhead: float | None = None,
        strict: bool = False,
        log: Literal["few", "all"] = "few",
        prefix: str = "ib",
        stage: str | None = None,
        name: str | None = None,
        config: Mapping[str, Any] | None = None,
        loggers: Sequence[Any] | None = None,
        report: str | os.PathLike[str] | bool | None = None,
        verbose: bool = True,
        say: Callable[[str], None] | None = None,
        origin: Mapping[str, Any] | None = None,
    ) -> None:
        if not isinstance(probe, Probe):
            raise ValueError(f"probe must be an ibtrack.Probe, got {type(probe).__name__}")
        if not isinstance(schedule, Schedule):
            raise ValueError(f"schedule must come from ibtrack.schedules, got {type(schedule).__name__}")
        self.probe, self.layers, self.schedule = probe, layers, schedule
        self.path = None if path is None else Path(path)
        if not isinstance(options, SoftOptions):
            raise ValueError(f"options must be ibtrack.SoftOptions, got {type(options).__name__}")
        self.options = options
        self.geometry_rows = check_integer("geometry_rows", geometry_rows, minimum=0)
        self.max_memory = None if max_memory is None else check_integer("max_memory", max_memory, minimum=1)
        self.batch_size = None if batch_size is None else check_integer("batch_size", batch_size, minimum=1)
        if max_overhead is not None and not 0 < max_overhead < 1:
            raise ValueError(f"max_overhead must lie between 0 and 1, got {max_overhead!r}")
        self.max_overhead, self.cuda_graph = max_overhead, cuda_graph
        self.forward, self.alert, self.strict, self.prefix = forward, alert, strict, prefix
        self.log = check_option("log", log, LOGS)
        self.stage = check_stage(stage)
        self.name, self.config = name, dict(config or {})
        self.loggers = None if loggers is None else list(loggers)
        self.find_loggers: Callable[[], Sequence[Any]] = open_wandb_runs  # where none are given
        self.report, self.verbose, self.say, self.origin = check_page(report), verbose, say or print_line, origin
        self.protocol: dict[str, Any] = {}
        self.costs = Costs()
        self._recorder: Recorder | None = None
        self._measurement: Measurement | None = None
        self._layouts: dict[str, Layout] = {}
        self._lasting_notes: dict[str, str] = {}
        self._passes = SharedPasses()
        self._modules: dict[str, weakref.ref[nn.Module]] = {}
        self._last = Progress(-1)
        self._left_out: list[int] = []
        self._before = Progress(0)
        self._counts_before = True
        self._jump = ""
        self._began: float | None = None
        self._begins_late = False
        self._went_back = False

    @property
    def trajectory(self) -> Trajectory:
        """The points that have been recorded so far, with protocol and run."""
        if self._recorder is not None:
            return self._recorder.trajectory
        return Trajectory(self.protocol, run_header(self.name, self.config, self.origin), [], self.path)

    @property
    def _points(self) -> list[Point]:
        return [] if self._recorder is None else self._recorder.points

    @property
    def run_id(self) -> str | None:
        """Name of the run that no other has, as in its file; None without a file, and on all processes but the first.

        Kept in a checkpoint and given to `start`, it keeps a run from going on with the file of another one.
        """
        writer = None if self._recorder is None else self._recorder.writer
        return None if writer is None else writer.run_id

    @property
    def steps_before(self) -> int:
        """Steps that the stages before this one took; 0 where there is but one."""
        return self._before.step

    @property
    def started(self) -> bool:
        """Whether `start` has been called, so that `step` measures."""
        return self._measurement is not None

    @property
    def measure_seconds(self) -> float:
        """Wall time that following the run has taken so far, over all restarts; `costs` tells its parts."""
        return self.costs.total

    @measure_seconds.setter
    def measure_seconds(self, seconds: float) -> None:
        self.costs = Costs(earlier=seconds)

    @property
    def seconds(self) -> float:
        """Wall time since the tracker was started, just before training, over all restarts.

        Raises:
            RuntimeError: The tracker has not been started.
        """
        if self._began is None:
            raise RuntimeError("InformationPlaneTracker.seconds begins with start(); call start() or step() first")
        return time.monotonic() - self._began

    def start(
        self,
        model: nn.Module,
        *,
        max_steps: int | None = None,
        resume_from: Progress | None = None,
        run_id: str | None = None,
        precision: str | None = None,
    ) -> None:
        """Find the sites, try one block of the probe on the model, and open the trajectory file.

        Under several processes all of them have to call it, with equal probes and options.

        After a restart from a checkpoint the points go on in the same file. Later ones than the checkpoint are moved to
        ``<name>.1.jsonl``, with a warning. Where there is no file, or that of another run or of another configuration,
        which is moved aside as a whole, a new one is begun, and its first point is that of the checkpoint's step.
        On a full disk a warning says so, and points wait in memory until there is room.

        Args:
            model: The model that will be measured.
            max_steps: Last step of the run, if it is known.
            resume_from: Progress at the checkpoint that training goes on from, counted from the beginning of its stage.
            run_id: `run_id` as it was when the checkpoint was saved; by default the file is taken to be this run's.
            precision: Precision of the run, for the protocol; by default that of the model's weights and of an autocast
                around this call.

        Raises:
            ValueError: ``resume_from`` is no `Progress`, ``path`` or ``report`` is a folder, ``report`` is given
                without ``path``, a logger takes no points, layers do not exist, the probe does not fit the model, the
                schedule has nothing due, the trajectory to resume has another protocol, or processes differ in probe or
                options.
            FileExistsError: ``path`` holds another run's trajectory, or another process is writing it. The trajectory
                of an earlier start of this run, of equal protocol and config, is moved aside with a warning.
            OSError: No file can be made at ``path``, or, where the tracker is strict, the disk is full.
            MeasurementError: Another process could not start, or did not call this within five minutes.
        """
        self._start(model, max_steps, resume_from, run_id, precision)
        recorder, measurement = cast(Recorder, self._recorder), cast(Measurement, self._measurement)
        recorder.say_where_points_go()
        if measurement.no_graph:
            recorder.say(f"ibtrack: cuda_graph has no effect: {measurement.no_graph}")

    def _start(
        self,
        model: nn.Module,
        max_steps: int | None = None,
        resume_from: Progress | None = None,
        run_id: str | None = None,
        precision: str | None = None,
    ) -> None:
        """Do what `start` does, and raise what it raises, in silence.

        Raises:
            ValueError: ``resume_from`` is no `Progress`.
        """
        began, costs = time.monotonic(), self.costs
        meet("the tracker's start() or first step()", warn)
        device = device_of(model)
        with together(device):
            if resume_from is not None and not isinstance(resume_from, Progress):
                raise ValueError(f"resume_from must be an ibtrack.schedules.Progress, got {type(resume_from).__name__}")
            check_schedule(self.schedule, max_steps)
            measurement = self._prepare(model, device, precision)
        self._check_equal_on_all(resume_from, device)
        recorder = Recorder(
            protocol=self.protocol,
            path=self.path,
            name=self.name,
            config=self.config,
            loggers=self.loggers or (),
            find_loggers=self.find_loggers if self.loggers is None else None,
            say=self.say if self.verbose else None,
            page=page_path(self.report, self.path),
            alert=self.alert,
            strict=self.strict,
            log=self.log,
            prefix=self.prefix,
            stage=self.stage,
            origin=self.origin,
        )
        with together(device):  # the first process opens the file, which alone writes
            recorder.begin(resume_from, run_id, self._recorder)
        self._recorder = recorder
        self._go_on_after(recorder.before, device)
        if resume_from is None:
            self._left_out, costs = [], Costs(earlier=sum(point.measure_time for point in recorder.points))
        self._measurement, self.batch_size = measurement, measurement.batch_size
        self._last = Progress(-1) if resume_from is None else resume_from
        self._begins_late = resume_from is not None and decided_by_first(not recorder.points, device)
        passed = (
            recorder.points[-1].wall_time if recorder.points else 0.0
        )  # a checkpoint is older than a point of its step
        self._began = began - max(self._last.seconds, passed)
        costs.seconds["start"] += time.monotonic() - began
        self.costs = costs

    def _go_on_after(self, before: Point | None, device: torch.device) -> None:
        """Count on from the last point of the stage before, which only the first process may know."""
        mine = None if before is None else (before.step, before.tokens_seen)
        step, tokens = of_every_process(mine, device)[0] or (0, 0)
        self._before, self._counts_before, self._jump = Progress(step, tokens or 0), tokens is not None, ""

    def _prepare(self, model: nn.Module, device: torch.device, precision: str | None) -> Measurement:
        """Find out how the model will be measured, and write it down as the protocol."""
        if self.probe.is_text:
            check_text_fits(model, self.probe.inputs)
        if world_size() > 1:
            check_data_parallel(model)
        passes = SharedPasses()
        with together(device):  # none goes on to further passes alone
            sites = sites_of_probe(model, self.probe, self.layers, self.forward, passes)
        changes = False if needs_pass(self.layers) else None  # what a first pass changes is known after it
        with together(device):
            layouts = find_layouts(model, self.probe, sites, self.forward, passes, leaves_traces=changes)
        tried = try_block(model, self.probe, sites, layouts, self.forward, passes, batch_size=self.batch_size)
        for sentence in tried.to_say if rank() == 0 else ():
            warn(f"{sentence}; {what_goes_on(self.origin)}")
        self._layouts, self._passes = layouts, passes
        self._lasting_notes = tried.notes()
        self._modules = {site: weakref.ref(module) for site, module in measured_modules(model, sites).items()}
        self.protocol = measurement_protocol(
            self.probe,
            self.options,
            sites,
            layouts,
            precision or precision_of(model),
            geometry_rows=self.geometry_rows,
            weights=weights_of(model, sites),
            attention=attention_of(model),
        )
        return Measurement(
            self.probe,
            sites,
            layouts,
            options=self.options,
            forward=self.forward,
            passes=passes,
            batch_size=self.batch_size,
            device=device,
            max_memory=self.max_memory,
            geometry_rows=self.geometry_rows,
            no_loss=tried.no_loss is not None,
            cuda_graph=self.cuda_graph,
        )

    def _check_equal_on_all(self, resume_from: Progress | None, device: torch.device) -> None:
        """Refuse processes that would measure different things, or at different steps.

        Raises:
            ValueError: On all processes, if one differs; the sentence names what differs, with its values.
        """
        options = {
            "schedule": str(self.schedule),
            "max_overhead": self.max_overhead,
            "max_memory": self.max_memory or row_bytes(device),  # by default it depends on the card
            "batch_size": self.batch_size,
            "rows of the geometry": self.geometry_rows,
            "step to resume from": None if resume_from is None else resume_from.step,
        }
        all_rules = of_every_process({**self.protocol, **options}, device)
        differences = protocol_differences({f"process {index}": rules for index, rules in enumerate(all_rules)})
        if differences:
            raise ValueError(
                f"all processes must measure the same, but they differ in {'; '.join(differences)}. Give each of them "
                "the same arguments and the whole probe, not a share of it: each runs its share of the blocks by "
                "itself. Probe.save and Probe.load give all of them one probe"
            )

    def step(
        self,
        model: nn.Module,
        step: int,
        *,
        tokens_seen: int | None = None,
        loss: float | Tensor | None = None,
        checkpoint: str | None = None,
        stage: str | None = None,
    ) -> Point | None:
        """Measure and record if a measurement is due; call it before the first and after every optimizer step.

        Args:
            model: The model as it is after ``step`` optimizer steps.
            step: Optimizer steps taken since training began; a count that begins again with every epoch will not do,
                and a warning says so.
            tokens_seen: Training tokens so far over all processes, if the loop counts them. Of several processes that
                count differently the mean is taken; where each knows its own batches only, let it give these times the
                number of processes, and the mean is the number over all.
            loss: Training loss of the step; it is read only if a measurement is due.
            checkpoint: Name of the saved checkpoint that the model was loaded from. Each of them is another object,
                which is then no cause for a note.
            stage: Stage of training that the checkpoint is of, where steps count on through all of them; by default
                that of the tracker.

        Returns:
            The point, or None if nothing was due.

        Raises:
            ValueError: ``step`` or ``tokens_seen`` is no whole number of at least 0, or ``loss`` is not one number.
        """
        step, tokens_seen = _counts(step, tokens_seen)
        if not self.started:
            self.start(model)
        if not self._is_new(step):
            return None
        if step == 0 and self._before.step > 0:
            self._compare_with_stage_before(model)
            return None
        now, counts_matter = self._now(step, tokens_seen), not self.schedule.by_step_alone
        if counts_matter:
            now = self._agreed(now, model, counted=tokens_seen is not None)
        if step > 0 and not self._begins_late:
            if not self.schedule.due(now, since=self._last):
                return None
            if self.max_overhead is not None and decided_by_first(self._over_budget(now), device_of(model)):
                self._last = now
                self._left_out.append(self._before.step + step)
                return None
        if not counts_matter:
            now = self._agreed(now, model, counted=tokens_seen is not None)
        return self._take(now, tokens_seen, model, loss, checkpoint=checkpoint, stage=stage)

    def fail(
        self,
        step: int,
        failure: str,
        *,
        tokens_seen: int | None = None,
        checkpoint: str | None = None,
        stage: str | None = None,
    ) -> Point:
        """Record that a saved checkpoint could not be measured; of several processes all call it.

        Args:
            step: Optimizer steps that the checkpoint had taken, more than that of the point before.
            failure: Why it could not be measured.
            tokens_seen: Training tokens until then, if they are known.
            checkpoint: Name of the checkpoint.
            stage: Stage of training that the checkpoint is of; by default that of the tracker.

        Returns:
            The point, which has no values.

        Raises:
            RuntimeError: The tracker has not been started.
            ValueError: ``step`` or ``tokens_seen`` is no whole number of at least 0, or the step is not a later one.
        """
        step, tokens_seen = _counts(step, tokens_seen)
        seconds = self.seconds  # raises before the start
        if not self._is_new(step):
            raise ValueError(f"step must be after {self._last.step}, the last one, got {step}")
        now = Progress(step, tokens_seen or 0, seconds)
        return self._take(now, tokens_seen, failure=failure, checkpoint=checkpoint, stage=stage)

    def finish(
        self,
        model: nn.Module,
        step: int,
        *,
        tokens_seen: int | None = None,
        loss: float | Tensor | None = None,
        failure: str | None = None,
    ) -> Point | None:
        """Measure the last step, if it has not been measured, and tell the loggers that the run is over.

        Call it before other weights take the place of the trained ones, such as averaged ones.

        Args:
            model: The model as it is at the end.
            step: Optimizer steps taken.
            tokens_seen: Training tokens over all processes, if the loop counts them.
            loss: Training loss of the last step.
            failure: Why the last step can no longer be measured; a step that has not been measured then fails with it.

        Returns:
            The point, or None if the last step had been measured.

        Raises:
            ValueError: ``step`` or ``tokens_seen`` is no whole number of at least 0, or ``loss`` is not one number.
        """
        point = self.measure_last(model, step, tokens_seen=tokens_seen, loss=loss, failure=failure)
        self.close()
        return point

    def measure_last(
        self,
        model: nn.Module,
        step: int,
        *,
        tokens_seen: int | None = None,
        loss: float | Tensor | None = None,
        failure: str | None = None,
    ) -> Point | None:
        """Measure and record a step that is the last, due or not, as `finish` does, and tell no logger of the end.

        Call it where other weights take the place of the trained ones before `finish`: the best, or averaged ones.

        Args:
            model: The model as it is after ``step`` optimizer steps.
            step: Optimizer steps taken.
            tokens_seen: Training tokens over all processes, if the loop counts them.
            loss: Training loss of the last step.
            failure: Why the step can no longer be measured; the point then fails with it.

        Returns:
            The point, or None if the step had been measured.

        Raises:
            ValueError: ``step`` or ``tokens_seen`` is no whole number of at least 0, or ``loss`` is not one number.
        """
        step, tokens_seen = _counts(step, tokens_seen)
        points = self._points
        measured = points[-1].step if points else -1
        # the others may not know the points before a restart
        if not self.started or not decided_by_first(self._before.step + step > measured, device_of(model)):
            return None
        now = self._agreed(self._now(step, tokens_seen), model, counted=tokens_seen is not None)
        return self._take(now, tokens_seen, model, loss, failure=failure)

    def close(self) -> None:
        """Tell the loggers that the run is over, without a last measurement; say what it took and where points are."""
        if self._recorder is None:
            return
        with self.costs.spend("end"):
            self._recorder.close()
        self._recorder.say_where_points_are(self.costs.sentence(self.seconds))
        settle()

    def measure(self, model: nn.Module, *, step: int = 0) -> Point:
        """Measure now; the point is returned, not recorded.

        Raises:
            MeasurementError: The measurement failed on this process or on another, or the model has other sites or
                layouts than the one that the tracker was started with.
        """
        if not self.started:
            self._start(model)  # nothing is recorded, so there is nothing to say about where
        return self._measure(model, step)

    def _measure(self, model: nn.Module, step: int, *, checkpoint: str | None = None) -> Point:
        """Measure a model that is the one before or, under the name of a checkpoint, any of the same layouts."""
        measurement = cast(Measurement, self._measurement)  # made by start
        began = time.monotonic()
        with together(device_of(model)):
            another = self._is_another(model)
        values, faults, influences = measurement(model)
        return Point(
            step,
            Values.of(values),
            notes={
                **notes_on(values, faults, self.probe),
                **self._lasting_notes,
                **({"model": ANOTHER_MODEL} if another and checkpoint is None else {}),
                **self._account_for_memory(measurement),
            },
            failure="; ".join(f"{site}: {reason}" for site, reason in faults.items()) or None,
            measure_time=time.monotonic() - began,
            influences=influences,
            checkpoint=checkpoint,
        )

    def _take(
        self,
        now: Progress,
        tokens_seen: int | None,
        model: nn.Module | None = None,
        loss: float | Tensor | None = None,
        *,
        failure: str | None = None,
        checkpoint: str | None = None,
        stage: str | None = None,
    ) -> Point:
        """Measure a model, or say why there is none to measure, and record it; so is a measurement that failed."""
        number = _number(loss)
        self._last, self._begins_late = now, False
        before = self.costs.seconds["points"]
        step, counts = self._before.step + now.step, tokens_seen is not None and self._counts_before
        try:
            with self.costs.spend("points"):
                if model is None or failure is not None:
                    point = Point(step, failure=failure, checkpoint=checkpoint)
                else:
                    point = self._measure(model, step, checkpoint=checkpoint)
        except Exception as error:
            if self.strict:
                raise
            point = Point(step, failure=reason(error), checkpoint=checkpoint)
        spent = self.costs.seconds["points"] - before
        share = self.costs.total / max(now.seconds + spent, 1e-9)
        point = replace(
            point,
            values=Values.of({**point.values, metric_key("overhead_fraction"): share}),
            notes={**point.notes, **self._account_for_left_out(step), **self._account_for_jump()},
            loss=number,
            tokens_seen=self._before.tokens + now.tokens if counts else None,
            stage=stage or self.stage,
            wall_time=now.seconds + spent,
            measure_time=spent,
        )
        with self.costs.spend("records"):
            cast(Recorder, self._recorder).take(point)  # made by start
        return point

    def _compare_with_stage_before(self, model: nn.Module) -> None:
        """Look whether a stage begins with the model of the last point before it, which is not recorded twice."""
        self._last = Progress(0)
        try:
            with self.costs.spend("points"):
                point = self.measure(model, step=self._before.step)
        except Exception as error:
            if self.strict:
                raise
            warn(f"stage {self.stage!r} could not be measured where it begins: {reason(error)}; training goes on")
            return
        before = cast(Recorder, self._recorder).before  # made by start; None on other processes than the first
        if before is not None and (how := jump(before, point)):
            self._jump = f"stage {self.stage!r} does not begin with the model of step {before.step}: {how}"
            warn(f"{self._jump}; training goes on")

    def _account_for_jump(self) -> dict[str, str]:
        """Note once that a stage began with another model than the one that the stage before ended with."""
        sentence, self._jump = self._jump, ""
        return {"stage": sentence} if sentence else {}

    def _is_another(self, model: nn.Module) -> bool:
        """Whether a model is another object than the one measured before; it must have the same sites and layouts.

        Raises:
            MeasurementError: It has others.
        """
        modules = measured_modules(model, self.protocol["sites"])
        if all(self._modules[site]() is module for site, module in modules.items()):
            return False
        layouts = find_layouts(model, self.probe, self.protocol["sites"], self.forward, self._passes)
        if layouts != self._layouts:
            raise MeasurementError(
                f"the model hands over {describe_layouts(layouts)}, and the one that the tracker was started with "
                f"{describe_layouts(self._layouts)}; a tracker follows one model, so take another for this one"
            )
        self._modules = {site: weakref.ref(module) for site, module in modules.items()}
        return True

    def _account_for_memory(self, measurement: Measurement) -> dict[str, str]:
        if measurement.batch_size == self.batch_size:
            return {}
        sentence = f"{self.batch_size} blocks at once did not fit into memory, {measurement.batch_size} do"
        self.batch_size = measurement.batch_size
        warn(f"{sentence}; {what_goes_on(self.origin)}")
        return {"batch_size": sentence}

    def _account_for_left_out(self, measured: int) -> dict[str, str]:
        """Note which due steps before the one that is measured were left out; the last one of a run may itself be."""
        steps, self._left_out = [step for step in self._left_out if step != measured], []
        if not steps:
            return {}
        return {"schedule": f"left out to keep max_overhead={self.max_overhead}: steps {', '.join(map(str, steps))}"}

    def _is_new(self, step: int) -> bool:
        """Whether a step comes after the last one that was asked for; the first point of a file begins there."""
        if step < self._last.step and not self._went_back and rank() == 0:
            self._went_back = True
            warn(
                f"step went back from {self._last.step} to {step}, and steps up to {self._last.step} are not measured "
                "again: pass the number of optimizer steps since training began, which goes on from epoch to epoch; "
                "training goes on"
            )
        return step > self._last.step or (self._begins_late and step == self._last.step)

    def _over_budget(self, now: Progress) -> bool:
        """Say whether one more measurement, as long as the last, would pass the budget."""
        points = self._points
        expected = points[-1].measure_time if points else 0.0
        return (self.measure_seconds + expected) > self.max_overhead * (now.seconds + expected)  # type: ignore[operator]

    def _now(self, step: int, tokens_seen: int | None) -> Progress:
        return Progress(step, tokens_seen or 0, self.seconds)

    def _agreed(self, now: Progress, model: nn.Module, *, counted: bool) -> Progress:
        """Return the progress that holds for all processes: the mean of their tokens, and the clock of the first.

        Args:
            now: The progress of this process.
            model: The model that will be measured.
            counted: Whether this process counts tokens.
        """
        if world_size() == 1:
            return now
        seconds = now.seconds if rank() == 0 else 0.0
        numbers = torch.tensor([now.tokens, counted, seconds], dtype=torch.float64, device=device_of(model))
        tokens, number, seconds = sum_over_processes(numbers).tolist()
        return Progress(now.step, round(tokens / max(number, 1)), seconds)


def _counts(step: int, tokens_seen: int | None) -> tuple[int, int | None]:
    """Check the numbers that a training loop counts."""
    return check_count("step", step), None if tokens_seen is None else check_count("tokens_seen", tokens_seen)


def _number(loss: float | Tensor | None) -> float | None:
    """Read the loss of a step, which lies on a GPU perhaps.

    Raises:
        ValueError: It is not one number.
    """
    if loss is None:
        return None
    try:
        return float(torch.as_tensor(loss).detach())
    except (TypeError, ValueError, RuntimeError):
        shape = getattr(loss, "shape", None)
        got = repr(loss) if shape is None else f"shape {tuple(shape)}"
        raise ValueError(f"loss must be one number, such as the mean over the batch, got {got}") from None


def check_schedule(schedule: Schedule, max_steps: int | None) -> None:
    """Refuse a schedule of steps that a run of ``max_steps`` never reaches.

    Raises:
        ValueError: Nothing is due within the run.
    """
    if max_steps is None or max_steps < 0:
        return
    end = Progress(max_steps, tokens=1 << 62, seconds=float("inf"))
    if not schedule.due(end, since=Progress(0)):
        raise ValueError(f"schedule has nothing due within the {max_steps} steps of this run: {schedule}")
