"""What a run has shown so far: points on disk, one line each, and the same points in memory.

The file is JSON lines. The first line is the header: the protocol of the measurement (everything that must be equal for
two numbers to be comparable) and what is known of the run. Each further line is one `Point`. A line is on disk before
any logger hears of the point.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ibtrack._checks import needs
from ibtrack.record.keys import parse_key

FORMAT = "ibtrack/1"
_NO_RULES = {"versions", "bottleneck_curve"}  # of a protocol: circumstances, and what follows from the probe


@dataclass(frozen=True)
class Point:
    """One measurement of one model at one step.

    Attributes:
        step: optimizer steps taken when it was measured.
        readings: metric key (see `ibtrack.record.keys.metric_key`, prefix ``ib``) to value; entropies and informations
            are fractions of log K, ``ib/variational_floor`` and ``ib/probe_loss`` nats; ``nan`` where there is none.
        notes: key, or site, to the reason why its value is ``nan``.
        failure: why the measurement did not succeed as a whole, or None.
        loss: training loss of the step's batch in nats, or None before the first step.
        tokens_seen: training tokens so far over all processes, or None where the loop does not say.
        wall_time: seconds since training began, measurements included.
        measure_time: seconds that this measurement took.
    """

    step: int
    readings: Mapping[str, float] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    failure: str | None = None
    loss: float | None = None
    tokens_seen: int | None = None
    wall_time: float = 0.0
    measure_time: float = 0.0

    def to_json(self) -> str:
        """One line of JSON; a number that is not finite becomes null, as JSON has no other word for it."""
        record = asdict(self)
        record["readings"] = {key: value if math.isfinite(value) else None for key, value in self.readings.items()}
        if record["loss"] is not None and not math.isfinite(record["loss"]):
            record["loss"] = None
            record["notes"] = {**self.notes, "loss": f"training loss was {self.loss}"}
        return json.dumps(record, allow_nan=False)

    @classmethod
    def from_json(cls, line: str) -> Point:
        """Read back what `to_json` wrote; null readings come back as ``nan``."""
        record = json.loads(line)
        record["readings"] = {k: math.nan if v is None else float(v) for k, v in record["readings"].items()}
        return cls(**record)


@dataclass(frozen=True)
class Trajectory:
    """The points of one run in step order, with the protocol they were measured under.

    Attributes:
        protocol: probe hash, sites, label orders, K, seed, temperature rule … equal protocols give comparable numbers.
        run: ``name`` and ``config`` of the run, whatever the training script gave.
        points: in the order of their steps.
        path: the file it came from, or None.

    Example:
        >>> trajectory = Trajectory({}, {"name": "a"}, [Point(0, {"ib/mean/entropy": 0.5})])
        >>> trajectory.steps, trajectory.values("ib/mean/entropy")
        ([0], [0.5])
    """

    protocol: Mapping[str, Any]
    run: Mapping[str, Any]
    points: Sequence[Point]
    path: Path | None = None

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Trajectory:
        """Read a trajectory file, or the ``trajectory.jsonl`` of a run's folder.

        A last line that was cut off while it was written is left out with a warning.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is not a trajectory, or a line other than the last is damaged.
        """
        path = Path(path)
        path = path / "trajectory.jsonl" if path.is_dir() else path
        header, points = _read(path)
        return cls(header["protocol"], header["run"], sorted(points, key=lambda point: point.step), path)

    @property
    def name(self) -> str:
        """The run's name, or the name of its folder."""
        return str(self.run.get("name") or (self.path.parent.name if self.path else "run"))

    @property
    def steps(self) -> list[int]:
        return [point.step for point in self.points]

    def values(self, key: str) -> list[float]:
        """One number per point, ``nan`` where a point does not have it."""
        return [point.readings.get(key, math.nan) for point in self.points]

    def rows(self) -> Iterator[dict[str, Any]]:
        """Long form: one row per point and number, with the parts of its key as columns."""
        for point in self.points:
            for key, value in point.readings.items():
                parts = parse_key(key)
                yield {
                    "run": self.name,
                    "step": point.step,
                    "tokens_seen": point.tokens_seen,
                    "loss": point.loss,
                    "reading": parts.reading,
                    "site": parts.site,
                    "order": parts.order,
                    "quantity": parts.quantity,
                    "value": value,
                }

    def to_parquet(self, path: str | os.PathLike[str]) -> None:
        """Write `rows` as a Parquet file, with the header in its metadata.

        Raises:
            ModuleNotFoundError: pyarrow, the extra ``parquet``, is not installed.
        """
        with needs("a Parquet file", extra="parquet"):
            import pyarrow as pa
            import pyarrow.parquet as pq

        table = pa.Table.from_pylist(list(self.rows()))
        header = json.dumps({"protocol": dict(self.protocol), "run": dict(self.run)})
        pq.write_table(table.replace_schema_metadata({"ibtrack": header}), path)


class TrajectoryWriter:
    """Appends points to a trajectory file, each on the disk before `append` returns."""

    def __init__(self, path: Path, points: list[Point]) -> None:
        self.path = path
        self.points = points
        self._file = _identity(os.stat(path))

    @classmethod
    def create(
        cls, path: str | os.PathLike[str], protocol: Mapping[str, Any], run: Mapping[str, Any] | None = None
    ) -> TrajectoryWriter:
        """Start a new file.

        What an earlier start of the same run has left, one that was killed before its first checkpoint, say, is moved
        to ``<name>.1.jsonl``, with a warning.

        Raises:
            FileExistsError: the path already holds the trajectory of another run; it is never overwritten.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        header = {"format": FORMAT, "protocol": dict(protocol), "run": dict(run or {})}
        if path.exists():
            _move_aside(path, header)
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            raise FileExistsError(f"{path} was made by another process at this moment; choose another path") from None
        writer = cls(path, [])
        writer._append_line(json.dumps(header))
        return writer

    @classmethod
    def resume(cls, path: str | os.PathLike[str], protocol: Mapping[str, Any], *, last_step: int) -> TrajectoryWriter:
        """Go on with a file after a restart from the checkpoint of ``last_step``; later points are dropped.

        Raises:
            ValueError: the file was measured under another protocol; the differing entries are shown.
        """
        path = Path(path)
        header, points = _read(path)
        _require_same_protocol(header["protocol"], protocol, path)
        kept = [point for point in points if point.step <= last_step]
        lines = [json.dumps(header), *(point.to_json() for point in kept)]
        draft = path.with_suffix(".tmp")
        draft.write_text("\n".join(lines) + "\n", encoding="utf-8")
        draft.replace(path)  # atomic: a crash here leaves the old file
        return cls(path, kept)

    def append(self, point: Point) -> None:
        """Write one point.

        Raises:
            ValueError: its step is not after the last one.
            OSError: the disk did not take it; the file is as it was. Or it is another file by now.
        """
        if self.points and point.step <= self.points[-1].step:
            raise ValueError(f"step must be after {self.points[-1].step}, the last point, got {point.step}")
        self._append_line(point.to_json())
        self.points.append(point)

    def _append_line(self, line: str) -> None:
        """Add a line, or, where the disk does not take all of it, nothing."""
        with self.path.open("r+b") as file:
            if _identity(os.fstat(file.fileno())) != self._file:
                raise FileExistsError(f"{self.path} has been replaced, by another start of this run perhaps")
            end = file.seek(0, os.SEEK_END)
            try:
                file.write(line.encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                file.truncate(end)
                raise


def _identity(file: os.stat_result) -> tuple[int, int]:
    return file.st_dev, file.st_ino


def _move_aside(path: Path, header: Mapping[str, Any]) -> None:
    """Make room for a run that begins again.

    Raises:
        FileExistsError: the file is not an earlier start of the run of ``header``.
    """
    try:
        old, points = _read(path) if not _never_begun(path) else (header, [])
    except ValueError as error:
        raise FileExistsError(f"{error}; choose another path") from None
    differences = _differences(old["protocol"], header["protocol"])
    if _plain(old["run"].get("config")) != _plain(header["run"].get("config")):
        differences.append("the run's config")
    if differences:
        raise FileExistsError(
            f"{path} already holds another run's trajectory ({'; '.join(differences)}); "
            "choose another path, move it away, or resume that run from its checkpoint"
        )
    aside = next(p for n in itertools.count(1) if not (p := path.with_suffix(f".{n}{path.suffix}")).exists())
    path.rename(aside)
    last = f"{len(points)} points up to step {points[-1].step}" if points else "no point"
    warnings.warn(
        f"{path} held an earlier start of this run, with {last}; as this one does not resume from a checkpoint, "
        f"it is moved to {aside.name}",
        stacklevel=2,
    )


def _read(path: Path) -> tuple[dict[str, Any], list[Point]]:
    text = path.read_text(encoding="utf-8", errors="replace")  # a file of another kind is refused below
    *lines, tail = text.split("\n")  # a whole file ends in a newline, so its tail is empty
    if tail:
        warnings.warn(f"{path}: the last line was cut off while it was written; it is left out", stacklevel=3)
    try:
        header = json.loads(lines[0])
        known = header["format"] == FORMAT and {"protocol", "run"} <= header.keys()
    except (IndexError, ValueError, KeyError, TypeError, AttributeError):
        known = False
    if not known:
        raise ValueError(f"{path} is not a trajectory file: its first line must be a header of format {FORMAT!r}")
    points = []
    for number, line in enumerate(lines[1:], start=2):
        try:
            points.append(Point.from_json(line))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}, line {number} is damaged: {error}") from error
    return header, points


def _never_begun(path: Path) -> bool:
    """Whether a process was killed while it wrote the header."""
    text = path.read_bytes()
    return b"\n" not in text and text[:10] == b'{"format":'[: len(text)]


def _require_same_protocol(old: Mapping[str, Any], new: Mapping[str, Any], path: Path) -> None:
    differences = _differences(old, new)
    if differences:
        raise ValueError(
            f"{path} was measured under another protocol ({'; '.join(differences)}); its points are not comparable"
        )


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between two protocols, but for what is no rule of measuring."""
    new = _plain(new)
    keys = [key for key in sorted({*old, *new} - _NO_RULES) if old.get(key) != new.get(key)]
    return [f"{key}: {old.get(key)!r} before, {new.get(key)!r} now" for key in keys]


def _plain(value: Any) -> Any:
    """As it comes back from a file: tuples and lists are one there."""
    return json.loads(json.dumps(value))
