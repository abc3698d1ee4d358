"""The trajectory of a run: its measured points in memory, and as read from a trajectory file.

The file is JSON lines. The first line is the header: the protocol of the measurement (everything that must be equal for
two numbers to be comparable), and the name and configuration of the run. Each further line is one `Point`, or names
the columns of the points that follow, see `ibtrack.record.lines`. `ibtrack.record.writer` writes it.
"""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, BinaryIO

from ibtrack._checks import needs
from ibtrack.record.influences import Influences
from ibtrack.record.keys import parse_key
from ibtrack.record.lines import FIRST_FORMAT, FORMAT, LONGEST_LINE, point_line, read_header, read_line
from ibtrack.record.notes import doubts, note_names, notes_of_format_1
from ibtrack.record.shares import with_shares
from ibtrack.record.texts import printable
from ibtrack.record.values import Columns, Values

LONGEST_NAME = 200  # letters of a run's name that are shown
CUT_OFF = "the last line was cut off while it was written; it is left out"
WHAT_FORMAT_1_LACKS = (
    "this file is of format 1: it does not say which version of the estimator made its numbers, nor which tokenizer "
    "made the probe's tokens"
)


@dataclass(frozen=True)
class Point:
    """One measurement of one model at one step.

    Attributes:
        step: Number of optimizer steps taken when it was measured.
        values: Metric key (see `ibtrack.record.keys.metric_key`, prefix ``ib``) to value; entropies and informations
            are fractions of log K, kept and told shares of the ceiling, ``ib/variational_floor`` and ``ib/probe_loss``
            nats; ``nan`` where there is none.
        notes: Name (see `ibtrack.record.notes`) to the reason why the values that it names are ``nan``; under the key
            of a value that is not, the reason why it is not to be trusted.
        failure: Reason why the measurement did not succeed as a whole, or None.
        loss: Training loss of the step's batch in nats, or None before the first step.
        tokens_seen: Number of training tokens so far over all processes, or None where the loop does not say.
        wall_time: Seconds since training began, measurements included.
        measure_time: Seconds that this measurement took.
        influences: What each document adds to the numbers, from which errors of differences are made; None for a
            measurement that failed, and for a point of an older file.
        checkpoint: Name, and beginning of the commit, of the saved checkpoint that was measured, see `ibtrack.replay`;
            None for a point of a run that was measured while it trained.
        stage: Stage of training that it belongs to, such as ``dpo``; None where the run names none.
    """

    step: int
    values: Mapping[str, float] = field(default_factory=dict)
    _: KW_ONLY
    notes: Mapping[str, str] = field(default_factory=dict)
    failure: str | None = None
    loss: float | None = None
    tokens_seen: int | None = None
    wall_time: float = 0.0
    measure_time: float = 0.0
    influences: Influences | None = None
    checkpoint: str | None = None
    stage: str | None = None

    def __post_init__(self) -> None:
        """Make the texts of the point printable, as they are messages and names of somebody else's."""
        object.__setattr__(self, "notes", {printable(name): printable(note) for name, note in self.notes.items()})
        object.__setattr__(self, "failure", None if self.failure is None else printable(self.failure))
        object.__setattr__(self, "checkpoint", None if self.checkpoint is None else printable(self.checkpoint))
        object.__setattr__(self, "stage", None if self.stage is None else printable(self.stage))

    def why_missing(self, key: str) -> str:
        """Say why the point has no value at a key, in the words that it carries.

        Args:
            key: Metric key of the missing value.

        Returns:
            The most specific note; without one the failure of the whole point; without that a sentence that says so.

        Example:
            >>> point = Point(8, notes={"quadgram/complexity": "all labels are distinct"})
            >>> point.why_missing("ib/mean/quadgram/complexity"), point.why_missing("ib/mean/token/complexity")
            ('all labels are distinct', 'not in this trajectory')
        """
        reason = next((self.notes[name] for name in note_names(key) if name in self.notes), None)
        return reason or self.failure or "not in this trajectory"

    @property
    def doubts(self) -> dict[str, str]:
        """Metric key of a value that exists to the reason why it is not to be trusted; empty where all is well."""
        return doubts(self.values, self.notes)

    def __repr__(self) -> str:
        """Show the step, and how many values there are or why there are none."""
        values = "1 value" if len(self.values) == 1 else f"{len(self.values)} values"
        held = values if self.failure is None else f"failure={self.failure!r}"
        return f"Point(step={self.step}, {held})"

    def to_json(self) -> str:
        """Write the point as one line of JSON; a number that is not finite becomes null, which JSON has for it.

        Raises:
            ValueError: The step is no whole number from 0, or a key is not a metric key.
        """
        return point_line(self)

    @classmethod
    def from_json(cls, line: str) -> Point:
        """Read back what `to_json` wrote, or a line of format 1; null values come back as ``nan``.

        Args:
            line: Line of a trajectory file, without the header, whose values have their keys.

        Raises:
            ValueError: The line is damaged, or no point.
        """
        read = read_line(line.encode())
        if isinstance(read, Columns):
            raise ValueError("the line names columns; it is no point")
        return cls(**read)


@dataclass(frozen=True)
class Trajectory:
    """The points of one run in step order, with the protocol they were measured under.

    Attributes:
        protocol: Probe hash, sites, label orders, K, seed, temperature rule and all else that must be equal for numbers
            to be comparable.
        run: ``name`` and ``config`` of the run, as the training script gave them; that of a replay also has
            ``replay``, see `ibtrack.replay.loop.replay`.
        points: Points in the order of their steps.
        path: File that the trajectory came from, or None.

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
    def load(cls, path: str | os.PathLike[str], *, sites: Collection[str] | None = None) -> Trajectory:
        """Read a trajectory file, or the ``trajectory.jsonl`` of a run's folder.

        A last line that was cut off while it was written is left out with a warning. A file of format 1 is read with
        a warning that says what it lacks. Where points have no shares of the ceiling, as those of older versions, these
        are worked out, without standard errors.

        Args:
            path: Trajectory file, or folder of a run.
            sites: Sites whose numbers are kept, such as ``("mean",)``: a file of 24 layers takes a twentieth of the
                memory then. Numbers of the whole run are always kept. None keeps all.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: The file is not a trajectory, a line other than the last is damaged, or ``sites`` is one text.
        """
        if isinstance(sites, str):
            raise ValueError(f"sites must be several names, such as ({sites!r},), got the text {sites!r}")
        path = Path(path)
        path = path / "trajectory.jsonl" if path.is_dir() else path
        header, points = read_file(path, sites=sites)
        return cls(header["protocol"], header["run"], list(map(with_shares, points)), path)

    def __repr__(self) -> str:
        """Show the name, and how much was measured."""
        steps, sites = self.steps, len(self.protocol.get("sites") or ())
        points = "no points"
        if steps:
            points = (
                f"{len(steps)} points, steps {steps[0]}–{steps[-1]}" if len(steps) > 1 else f"1 point, step {steps[0]}"
            )
        parts = [points, "1 site" if sites == 1 else f"{sites} sites", "/".join(self.protocol.get("orders") or ())]
        return f"Trajectory({self.name!r}: {', '.join(filter(None, parts))})"

    @property
    def name(self) -> str:
        """Name of the run, or of its folder; with the prefix of the monitor if the file is that of a further one.

        It is one printable line, see `ibtrack.record.texts`.
        """
        folder = self.path.resolve().parent.name if self.path else ""  # "." alone has no name
        prefix = prefix_in(self.path) if self.path else ""
        name = " · ".join(filter(None, (str(self.run.get("name") or folder or "run"), prefix)))
        return printable(name, longest=LONGEST_NAME) or "run"

    @property
    def steps(self) -> list[int]:
        """Steps of the points."""
        return [point.step for point in self.points]

    def values(self, key: str) -> list[float]:
        """List one number per point, ``nan`` where a point does not have it.

        Args:
            key: Metric key.

        Raises:
            KeyError: No point has the key, though one was measured as a whole; the message names the nearest keys.
        """
        is_known = any(key in point.values for point in self.points)
        if not is_known and any(point.values and point.failure is None for point in self.points):
            known = dict.fromkeys(name for point in self.points for name in point.values)
            nearest = get_close_matches(key, known, n=3)
            hint = f"near are {', '.join(nearest)}" if nearest else f"one that they have is {next(iter(known))}"
            raise KeyError(f"no point has the key {key!r}; {hint}")
        return [point.values.get(key, math.nan) for point in self.points]

    @property
    def stages(self) -> dict[str, int]:
        """Each stage of training that points name, to the step at which it begins, in the order of the run.

        A stage begins where the one before it ends: at the last point that is not of it, or at its own first one.

        Example:
            >>> points = [Point(0, stage="sft"), Point(8, stage="sft"), Point(9, stage="dpo"), Point(12, stage="dpo")]
            >>> Trajectory({}, {}, points).stages
            {'sft': 0, 'dpo': 8}
        """
        begins: dict[str, int] = {}
        for before, point in zip((None, *self.points), self.points, strict=False):
            if point.stage is not None:
                begins.setdefault(point.stage, point.step if before is None else before.step)
        return begins

    def at(self, step: int) -> Trajectory:
        """Return the trajectory with the point of one step alone, as `ibtrack.analysis.difference` takes it.

        Args:
            step: Step that was measured.

        Raises:
            ValueError: There is no point of that step; the message names the nearest ones.
        """
        points = [point for point in self.points if point.step == step]
        if not points:
            nearest = sorted(sorted(self.steps, key=lambda other: abs(other - step))[:3])
            hint = f"near are {', '.join(map(str, nearest))}" if nearest else "it has no points"
            raise ValueError(f"{self.name} was not measured at step {step}; {hint}")
        return replace(self, points=points)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Make the trajectory's long form: one row per point and number, with the parts of its key as columns.

        Yields:
            Column to value.
        """
        for point in self.points:
            for key, value in point.values.items():
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

        Args:
            path: File to write; its folder is made.

        Raises:
            ModuleNotFoundError: pyarrow, from the extra ``parquet``, is not installed.
        """
        with needs("a Parquet file", extra="parquet"):
            import pyarrow as pa
            import pyarrow.parquet as pq

        table = pa.Table.from_pylist(list(self.rows()))
        header = json.dumps({"protocol": dict(self.protocol), "run": dict(self.run)})
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table.replace_schema_metadata({"ibtrack": header}), path)


def prefix_in(path: Path) -> str:
    """Take the prefix of a monitor from the name of its file, where that has one.

    Args:
        path: Trajectory file.

    Example:
        >>> prefix_in(Path("run/trajectory_code.jsonl")), prefix_in(Path("run/trajectory.jsonl"))
        ('code', '')
    """
    return path.stem.removeprefix("trajectory_") if path.stem.startswith("trajectory_") else ""


def read_file(path: Path, *, sites: Collection[str] | None = None) -> tuple[dict[str, Any], list[Point]]:
    """Read the header and the points of a trajectory file, in the order in which they were written.

    Args:
        path: Trajectory file.
        sites: Sites whose numbers are kept; None keeps all.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not a trajectory, or a line other than the last is damaged.
    """
    with path.open("rb") as file:
        header = _header(path, _next_line(file))
        points = _Points(str(path), None if sites is None else frozenset(sites))
        for number, line in enumerate(iter(lambda: _next_line(file), b""), start=2):
            if not line.endswith(b"\n") and len(line) <= LONGEST_LINE:
                warnings.warn(f"{path}: {CUT_OFF}", stacklevel=3)
            else:
                points.add(number, line)
    if header["format"] == FIRST_FORMAT:
        warnings.warn(f"{path}: {WHAT_FORMAT_1_LACKS}", stacklevel=3)
        orders = header["protocol"].get("orders", ())
        return header, [replace(point, notes=notes_of_format_1(point.notes, orders)) for point in points.read]
    return header, points.read


class _Points:
    """The points of a file, as its lines are read one after another.

    Args:
        path: The file, for errors.
        sites: Sites whose numbers are kept; None keeps all.
    """

    def __init__(self, path: str, sites: frozenset[str] | None) -> None:
        self.path, self.sites = path, sites
        self.read: list[Point] = []
        self._named: Columns | None = None

    def add(self, number: int, line: bytes) -> None:
        """Read a line.

        Args:
            number: Number of the line in the file.
            line: The line.

        Raises:
            ValueError: The line is damaged.
        """
        try:
            read = read_line(line, self._named)
            if isinstance(read, Columns):
                self._named = read
            else:
                self._take(Point(**read))
        except ValueError as error:
            raise ValueError(f"{self.path}, line {number} is damaged: {error}") from error

    def _take(self, point: Point) -> None:
        if self.read and point.step <= self.read[-1].step:
            raise ValueError(f"its step must be after {self.read[-1].step}, that of the point before, got {point.step}")
        self.read.append(point if self.sites is None else _at(point, self.sites))


def _at(point: Point, sites: frozenset[str]) -> Point:
    """Keep the numbers of some sites, and those of the whole run."""
    influences = None if point.influences is None else point.influences.at(sites)
    return replace(point, values=Values.of(point.values).at(sites), influences=influences)


def _next_line(file: BinaryIO) -> bytes:
    """Read a line with its break, or so much of it that it is seen to be too long; empty at the end of the file."""
    return file.readline(LONGEST_LINE + 2)


def _header(path: Path, line: bytes) -> dict[str, Any]:
    try:
        header = read_header(line) if line.endswith(b"\n") else None
    except ValueError as error:
        raise ValueError(f"{path}, line 1 is damaged: {error}") from error
    if header is None:
        raise ValueError(f"{path} is not a trajectory file: its first line must be a header of format {FORMAT!r}")
    return header
