"""The loop of a replay: checkpoint after checkpoint is fetched, loaded, measured and dropped, each step once."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from ibtrack import schedules
from ibtrack._checks import check_integer
from ibtrack.capture.forward import default_forward
from ibtrack.capture.names import beside_sites
from ibtrack.information.options import SoftOptions
from ibtrack.probe.probe import Probe
from ibtrack.record.lock import FileLock
from ibtrack.record.texts import reason
from ibtrack.record.trajectory import Point, Trajectory
from ibtrack.record.writer import TrajectoryWriter
from ibtrack.replay.checkpoint import Checkpoint, said_of
from ibtrack.replay.earlier import Earlier, read_earlier
from ibtrack.replay.errors import LoadingError
from ibtrack.replay.fetching import RETRIES, Cache, Fetch, FetchError, Outcome, fetch_again, one_ahead
from ibtrack.replay.loading import load_model, load_tokenizer
from ibtrack.replay.memory import Room, share_out
from ibtrack.replay.precision import cast_as_trained, forward_in
from ibtrack.replay.tokenizers import TokenizerHashes, why_another
from ibtrack.tracking.measurement import Forward, is_out_of_memory
from ibtrack.tracking.tracker import InformationPlaneTracker

Load = Callable[[Path, Checkpoint], nn.Module]
"""Makes a model of a checkpoint that lies at a path."""

UNREACHABLE = 3  # checkpoints in a row that could not be reached, by which a replay ends: the network is gone


class Series(Protocol):
    """Checkpoints that were found, as `ibtrack.replay.plan.Plan` holds them."""

    @property
    def checkpoints(self) -> Sequence[Checkpoint]:
        """All of them, in the order of their steps."""

    @property
    def missing(self) -> Sequence[Any]:
        """What a published list names and there is not."""

    def choose(self) -> list[Checkpoint]:
        """Return those that are to be measured."""

    def fetch(self, checkpoint: Checkpoint, folder: Path) -> Path:
        """Bring one to this machine, see `ibtrack.replay.checkpoint.Source.fetch`."""


def replay(
    plan: Series,
    probe: Probe,
    *,
    checkpoints: Sequence[Checkpoint] | None = None,
    path: str | os.PathLike[str] | None = None,
    load: Load = load_model,
    options: SoftOptions = SoftOptions(),
    layers: str | Sequence[str] = "auto",
    forward: Forward = default_forward,
    precision: str | None = None,
    batch_size: int | None = None,
    max_memory: int | None = None,
    geometry_rows: int = 0,
    cache: str | os.PathLike[str] | None = None,
    keep: bool = False,
    retries: int = RETRIES,
    retry_failed: bool = False,
    name: str | None = None,
    config: Mapping[str, Any] | None = None,
    loggers: Sequence[Any] = (),
    report: Callable[[str], None] | None = None,
) -> Trajectory:
    """Measure saved checkpoints one after another, as a tracker would have measured the run that saved them.

    The next checkpoint is fetched, and loaded where memory allows, while one is measured; never more than two of those
    that are fetched are on the disk, unless they are kept. Each point is on the disk before its checkpoint is dropped,
    so a replay that was killed goes on when it is called again: each step is measured once. Checkpoints that lie on
    this machine are read where they are.

    A checkpoint that cannot be fetched after some tries, that is damaged, that is of another model or has another
    tokenizer is a point that failed and says why, and the replay goes on. Such points stay as they are in later
    starts, unless ``retry_failed`` is set. If three checkpoints in a row cannot be reached, the replay ends with the
    error, those three are not recorded, and the next start tries them again.

    It runs in one process.

    Args:
        plan: The checkpoints that were found, from `ibtrack.replay.plan.find_checkpoints`, which also fetches them.
        probe: The probe to measure on.
        checkpoints: Those to measure, with rising steps, as ``plan.choose(…)`` returns them; by default
            ``plan.choose()``. Those of the plan that are left out and have faults are named in the file's header.
        path: Trajectory file to write; None keeps the points in memory only.
        load: ``load(path, checkpoint)`` makes the model; `ibtrack.replay.loading.load_model` by default, and
            ``functools.partial`` of it gives it a device, a dtype and so on.
        options: How activations are turned into soft assignments.
        layers: Sites to measure, as `ibtrack.InformationPlaneTracker` takes them.
        forward: ``forward(model, inputs)`` runs the model on inputs of the probe; by default ``model(inputs)``.
        precision: Precision that the run had, such as ``bf16-mixed``; by default that of the loaded weights.
        batch_size: Blocks per forward pass of the probe; by default as in a monitored run.
        max_memory: Bytes for the rows of the sites that are measured in one pass over the probe; by default as much as
            the device has to spare, see `ibtrack.replay.memory.share_out`.
        geometry_rows: Positions from which effective ranks of every site are worked out; 0 leaves them out.
        cache: Folder for fetched checkpoints; by default ``checkpoints`` beside the file.
        keep: Whether fetched checkpoints stay there when they have been measured.
        retries: How often a download is tried again after an error of the network.
        retry_failed: Whether to measure again from the first point on that failed in an earlier start; the points from
            there on are moved to ``<name>.1.jsonl``.
        name: Name of the run; by default that of the repository, or of the folder that the file lies in.
        config: Configuration of the run, for the header; ``replay.source`` is added to it.
        loggers: Objects with ``log_metrics(metrics, step)``, or wandb runs, that are given each point.
        report: Called with lines of text that say how far the replay is.

    Returns:
        The trajectory. Its ``run["replay"]`` says how many checkpoints were asked for, which were left out and why,
        and which of the published ones are missing.

    Raises:
        ValueError: An argument is out of its range, the checkpoints do not have rising steps, the file is of another
            replay, the probe does not fit the model, or no checkpoint could be measured.
        FileExistsError: Another process is writing the file.
        OSError: The disk is too small for two checkpoints, or three in a row could not be reached.
    """
    chosen = list(plan.choose() if checkpoints is None else checkpoints)
    _check_steps(chosen)
    check_integer("retries", retries, minimum=0)
    sources = ", ".join(dict.fromkeys(map(_source, chosen)))
    settings = {"replay": {"source": sources}, **(config or {})}
    tracker = InformationPlaneTracker(
        probe,
        options=options,
        layers=layers,
        schedule=schedules.every(1),
        path=path,
        geometry_rows=geometry_rows,
        max_memory=max_memory,
        batch_size=batch_size,
        forward=forward_in(precision, forward),
        name=name or (None if chosen[0].commit is None else sources.rpartition("/")[2]),
        config=settings,
        loggers=loggers,
        say=report,
        verbose=report is not None,
        origin=_origin(plan, chosen),
    )
    with _own(tracker.path) as earlier_path, _folder_for(cache, tracker.path) as folder:
        earlier = None
        if earlier_path is not None:
            earlier = read_earlier(earlier_path, chosen, probe, options, settings, retry_failed=retry_failed)
        loop = _Loop(
            tracker, plan.fetch, load, precision, Cache(folder, chosen, keep=keep), retries, earlier, report or _silent
        )
        return loop.run(chosen[0 if earlier is None else len(earlier.points) :])


@dataclass
class _Prepared:
    """A checkpoint on this machine.

    Attributes:
        path: Where it is.
        tokenizer_hash: Hash of its tokenizer; empty where it has none.
        model: The model; None where it is loaded when the one before is gone.
    """

    path: Path
    tokenizer_hash: str
    model: nn.Module | None


class _Loop:
    """Measures the checkpoints that are left of a replay."""

    def __init__(
        self,
        tracker: InformationPlaneTracker,
        fetch: Fetch,
        load: Load,
        precision: str | None,
        cache: Cache,
        retries: int,
        earlier: Earlier | None,
        say: Callable[[str], object],
    ) -> None:
        self.tracker, self.cache, self.earlier = tracker, cache, earlier
        self._load_as_saved, self._precision = load, precision
        self._stopped = threading.Event()
        self._bring = partial(fetch_again, fetch, retries=retries, stop=self._stopped, say=say)
        self._tokenizers = TokenizerHashes(load_tokenizer)
        self._tokenizer_hash = tracker.probe.tokenizer_hash or ("" if earlier is None else earlier.tokenizer_hash)
        self._blocks: set[str] = set()  # known when the first model is measured, as is the next
        self._room: Room | None = None  # known when the first model is loaded
        self._failed: list[tuple[Checkpoint, str]] = []  # which no later point has been measured after
        self._unreachable = 0  # how many of these, in a row to the last, could not be reached

    def run(self, remaining: Sequence[Checkpoint]) -> Trajectory:
        """Measure the checkpoints.

        Raises:
            ValueError: None of them could be measured, and there is no file of an earlier start.
            OSError: Three in a row could not be reached, or the disk is too small.
        """
        self.cache.sweep(remaining[:2])
        self.cache.check_room(remaining)
        try:
            works = [partial(self._prepare, checkpoint) for checkpoint in remaining]
            for checkpoint, outcome in zip(remaining, one_ahead(works), strict=True):
                self._take(checkpoint, outcome)
                self.cache.drop(checkpoint)
            self._record_failed()
        finally:
            self._stopped.set()
            self.tracker.close()
            self.cache.close()
        return self.tracker.trajectory if self.tracker.started else Trajectory.load(self.tracker.path)  # type: ignore[arg-type]  # there is a file

    def _prepare(self, checkpoint: Checkpoint) -> _Prepared:
        """Bring a checkpoint to this machine and, if there is room, load it, while the one before is measured.

        Raises:
            FetchError: It did not come.
            Exception: It cannot be loaded.
        """
        path = self._bring(checkpoint, self.cache.place(checkpoint))
        tokenizer_hash, model = self._tokenizers.hash_of(path), None
        if self._room is None or self._room.beside:
            try:
                model = self._load(path, checkpoint)
            except Exception as error:
                if self._room is None or not is_out_of_memory(error):
                    raise
                self._room = self._room._replace(beside=False)
        if self._room is None and model is not None:
            self._room = share_out(model)
        return _Prepared(path, tokenizer_hash, model)

    def _load(self, path: Path, checkpoint: Checkpoint) -> nn.Module:
        return cast_as_trained(self._load_as_saved(path, checkpoint), self._precision)

    def _take(self, checkpoint: Checkpoint, outcome: Outcome[_Prepared]) -> None:
        """Measure a checkpoint, or remember why it could not be; a failure is recorded once a later one is measured.

        Raises:
            ValueError: The first model cannot be measured, or an argument of the loading is wrong.
            OSError: Three checkpoints in a row could not be reached.
        """
        step, seen, label = checkpoint.step, checkpoint.tokens, checkpoint.label
        assert step is not None  # as _check_steps has seen
        try:
            prepared = outcome.take()
            self._check_tokenizer(prepared)
            model = prepared.model or self._load(prepared.path, checkpoint)
            prepared.model = None
        except Exception as error:
            if isinstance(error, ValueError) and not isinstance(error, LoadingError) and not self.tracker.started:
                raise  # an argument that fits no checkpoint
            self._fail(checkpoint, error)
            return
        self._start(model)
        self._record_failed()
        if other := self._other_blocks(model):
            self.tracker.fail(step, other, tokens_seen=seen, checkpoint=label, stage=checkpoint.stage)
        else:
            self.tracker.step(model, step, tokens_seen=seen, checkpoint=label, stage=checkpoint.stage)

    def _check_tokenizer(self, prepared: _Prepared) -> None:
        """Refuse a checkpoint with another tokenizer; the first one is that of the others where the probe has none.

        Raises:
            LoadingError: It is another one.
        """
        if other := why_another(prepared.tokenizer_hash, self._tokenizer_hash):
            raise LoadingError(other)
        self._tokenizer_hash = self._tokenizer_hash or prepared.tokenizer_hash

    def _start(self, model: nn.Module) -> None:
        """Open the file with the first model; it decides the protocol."""
        if self.tracker.started:
            return
        if self.tracker.max_memory is None:
            self.tracker.max_memory = (self._room or share_out(model)).row_bytes
        self.tracker.origin = {**(self.tracker.origin or {}), "tokenizer_hash": self._tokenizer_hash}
        progress = None if self.earlier is None else self.earlier.progress
        self.tracker.start(model, resume_from=progress, precision=self._precision)

    def _other_blocks(self, model: nn.Module) -> str | None:
        """Say that a checkpoint is of another model than the first one that is measured, if it is."""
        blocks = beside_sites(model, self.tracker.protocol["sites"].values())
        self._blocks = self._blocks or blocks
        if blocks == self._blocks:
            return None
        names = ", ".join(sorted(blocks ^ self._blocks))
        return f"its model has other blocks than that of the first checkpoint: they differ in {names}"

    def _fail(self, checkpoint: Checkpoint, error: Exception) -> None:
        """Remember a checkpoint that could not be measured.

        Raises:
            OSError: It is the third in a row that could not be reached.
        """
        is_gone = isinstance(error, FetchError) and error.passes
        self._unreachable = self._unreachable + 1 if is_gone else 0
        own_words = isinstance(error, (FetchError, LoadingError))
        self._failed.append((checkpoint, str(error) if own_words else reason(error)))
        if self._unreachable == UNREACHABLE:
            raise OSError(
                f"{UNREACHABLE} checkpoints in a row could not be reached; of the last, {checkpoint.label}: {error}; "
                "the same call goes on when they can be"
            ) from error
        if self.tracker.started and not is_gone:
            self._record_failed()

    def _record_failed(self) -> None:
        """Write the points of checkpoints that could not be measured.

        Raises:
            ValueError: There is no file, as no checkpoint at all could be measured.
        """
        failed, self._failed, self._unreachable = self._failed, [], 0
        if failed and not self.tracker.started:
            self._add_to_file(failed)
            return
        for checkpoint, why in failed:
            step, seen, label, stage = checkpoint.step or 0, checkpoint.tokens, checkpoint.label, checkpoint.stage
            self.tracker.fail(step, why, tokens_seen=seen, checkpoint=label, stage=stage)

    def _add_to_file(self, failed: Sequence[tuple[Checkpoint, str]]) -> None:
        """Write failed points where this start has loaded no model at all, after those of an earlier one.

        Raises:
            ValueError: There is no file of an earlier start.
        """
        if self.earlier is None or not self.earlier.points or self.tracker.path is None:
            (first, why), number = failed[0], len(failed)
            raise ValueError(
                f"none of the {number} checkpoints could be measured; of the first, {said_of(first.label, why)}"
            )
        protocol, before = self.earlier.header["protocol"], self.earlier.progress
        writer = TrajectoryWriter.resume(self.tracker.path, protocol, last_step=before.step)
        for checkpoint, why in failed:
            point = Point(
                checkpoint.step or 0,
                failure=why,
                tokens_seen=checkpoint.tokens,
                wall_time=before.seconds,
                checkpoint=checkpoint.label,
                stage=checkpoint.stage,
            )
            writer.append(point)
        writer.close()


def _check_steps(checkpoints: Sequence[Checkpoint]) -> None:
    """Refuse checkpoints that make no trajectory.

    Raises:
        ValueError: There is none, one has no step, or a step does not rise.
    """
    if not checkpoints:
        raise ValueError("checkpoints must name at least one, got none")
    for checkpoint in checkpoints:
        if checkpoint.step is None:
            raise ValueError(
                f"checkpoints must have steps, got {checkpoint.label} of {checkpoint.source}, whose step is not known"
            )
    for before, after in pairwise(checkpoints):
        if after.step <= before.step:  # type: ignore[operator]  # neither is None
            raise ValueError(
                f"checkpoints must have rising steps, got {after.label} of step {after.step} after {before.label} of "
                f"step {before.step}"
            )


def _source(checkpoint: Checkpoint) -> str:
    """Name the repository of a checkpoint, or its folder, whatever folder it is looked at from."""
    return checkpoint.source if checkpoint.commit is not None else Path(checkpoint.source).resolve().name


def _origin(plan: Series, chosen: Sequence[Checkpoint]) -> dict[str, Any]:
    """Write down where the models of a replay come from, and what the series lacks."""
    left_out = {each.label: " ".join(each.faults) for each in plan.checkpoints if each.faults and each not in chosen}
    return {"checkpoints": len(chosen), "left_out": left_out, "missing": list(plan.missing)}


@contextlib.contextmanager
def _own(path: Path | None) -> Iterator[Path | None]:
    """Keep other processes from replaying into a file; a folder that is made for it is gone if nothing comes of it.

    Yields:
        The path if there is a file already.

    Raises:
        FileExistsError: Another process writes it.
        ValueError: It is a folder.
    """
    if path is None:
        yield None
        return
    if path.is_dir():
        raise ValueError(f"path must name a trajectory file, got the folder {path}; take {path / 'trajectory.jsonl'}")
    was_there = path.parent.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire()
        yield path if path.exists() else None
    finally:
        lock.release(is_over=None if path.exists() else True)  # without a file there is nothing that was cut off
        if not was_there and not any(path.parent.iterdir()):
            path.parent.rmdir()


@contextlib.contextmanager
def _folder_for(cache: str | os.PathLike[str] | None, path: Path | None) -> Iterator[Path]:
    """Choose the folder for fetched checkpoints.

    Yields:
        The one that is asked for, that beside the file, or a temporary one.
    """
    if cache is not None or path is not None:
        yield Path(cache) if cache is not None else path.parent / "checkpoints"  # type: ignore[union-attr]
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _silent(line: str) -> None:
    """Show nothing."""
