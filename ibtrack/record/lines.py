"""The lines of a trajectory file: how they are written, and the one place where what is read is checked.

A file is JSON lines. The first is the header. A line that is a list of keys names the columns of the points that
follow; a line that is an object is a point, whose values are a list in the order of these columns, or an object of keys
and numbers. Damage of any kind is a ValueError of one sentence.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import numpy as np
from msgspec import UNSET, Meta, Struct, UnsetType

from ibtrack._checks import check_integer
from ibtrack.record.influences import MOST_GROUPS, Influences
from ibtrack.record.plain import plain
from ibtrack.record.texts import printable
from ibtrack.record.values import Columns, Values, columns

if TYPE_CHECKING:
    from ibtrack.record.trajectory import Point

FORMAT = "ibtrack/3"
FIRST_FORMAT = "ibtrack/1"  # its points call their values readings, and its notes name sets of labels
FORMATS = (FIRST_FORMAT, "ibtrack/2", FORMAT)

LONGEST_LINE = 1 << 26  # bytes; a point of a hundred layers has half a million
LARGEST = 1e75  # of a number: its square and its fourth power are numbers as well
MOST_CURVE = 10_000  # points of a bottleneck curve; a run writes a few dozen
_FEW = 10  # a point with less than this part of the columns names its values itself, as one that failed does
_LONE = re.compile(rb"\\\\|\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\u[dD][89a-fA-F]..")  # what is whole, or half a pair

Number = Annotated[float, Meta(ge=-LARGEST, le=LARGEST)]
Whole = Annotated[int, Meta(ge=0, le=1 << 53)]  # every reader of JSON knows these exactly
Names = Annotated[list[str], Meta(max_length=10_000)]


class _Influences(Struct, forbid_unknown_fields=True):
    sites: Names
    quantities: Names
    num_groups: Annotated[int, Meta(ge=0, le=MOST_GROUPS)]
    num_draws: Annotated[int, Meta(ge=0, le=10_000)]
    data: bytes  # msgspec reads base64


class _PointLine(Struct, forbid_unknown_fields=True):
    step: Whole
    values: list[Number | None] | dict[str, Number | None] | UnsetType = UNSET
    readings: dict[str, Number | None] | UnsetType = UNSET  # the values of format 1
    notes: dict[str, str] = {}
    failure: str | None = None
    loss: Number | None = None
    tokens_seen: Whole | Number | None = None
    wall_time: Number = 0.0
    measure_time: Number = 0.0
    influences: _Influences | None = None
    checkpoint: str | None = None
    stage: str | None = None


class _Curve(Struct):
    complexity: Annotated[list[Annotated[float, Meta(ge=0, le=100)]], Meta(max_length=MOST_CURVE)]
    expressivity: Annotated[list[Annotated[float, Meta(ge=0, le=100)]], Meta(max_length=MOST_CURVE)]

    def __post_init__(self) -> None:
        if len(self.complexity) != len(self.expressivity):
            raise ValueError("its complexity and expressivity must be equally long")


class _Copies(Struct):
    sentence: str | None = None


class _Probe(Struct):
    hash: str = ""
    name: str = ""
    blocks: Whole = 0
    block_size: Whole = 0
    positions: Whole = 0


class _Protocol(Struct):
    """What of a protocol is read by name; its other entries may be anything."""

    orders: Names | None = None
    sites: dict[str, str] | None = None
    probe: _Probe | None = None
    copies: _Copies | None = None
    bottleneck_curve: _Curve | None = None
    geometry_rows: Whole | None = None

    def __post_init__(self) -> None:
        for name in (*(self.orders or ()), *(self.sites or ())):
            if not name or not name.isprintable() or "/" in name:
                raise ValueError(f"orders and sites must be names without a slash, got {name[:60]!r}")


class _Run(Struct):
    name: str | float | bool | None = None
    config: dict[str, Any] | None = None


_Keys = Annotated[list[str], Meta(min_length=1)]
_LINES: msgspec.json.Decoder[list[str] | _PointLine] = msgspec.json.Decoder(_Keys | _PointLine)


def header_line(header: Mapping[str, Any]) -> str:
    """Write the header of a file, in the present format.

    Args:
        header: ``protocol``, ``run`` and whatever else a header has, as strict JSON can hold it.

    Example:
        >>> header_line({"protocol": {"seed": 0}, "run": {"name": "first"}})
        '{"format": "ibtrack/3", "protocol": {"seed": 0}, "run": {"name": "first"}}'
    """
    return json.dumps({"format": FORMAT, **header} | {"format": FORMAT}, allow_nan=False)


def lines_of(points: Iterable[Point], before: Columns | None = None) -> tuple[list[str], Columns | None]:
    """Write several points, one after another, see `point_lines`.

    Args:
        points: Points to write.
        before: Columns that the file has named last; None at its beginning.

    Returns:
        The lines without line breaks, and the columns that the file has named last once they are in it.

    Raises:
        ValueError: A step is no whole number from 0, or a key is none.
    """
    lines: list[str] = []
    for point in points:
        text, before = point_lines(point, before)
        lines += text.split("\n")
    return lines, before


def point_lines(point: Point, before: Columns | None = None) -> tuple[str, Columns]:
    """Write a point: one line, or two where the columns of the file are not those of the point.

    Args:
        point: Point to write.
        before: Columns that the file has named last; None at its beginning.

    Returns:
        The lines without the last line break, and the columns that the file has named last once they are in it.

    Raises:
        ValueError: The step is no whole number from 0, or a key is none.

    Example:
        >>> from ibtrack import Point
        >>> lines, named = point_lines(Point(0, {"ib/loss": 2.5}))
        >>> print(lines)
        ["ib/loss"]
        {"step":0,"values":[2.5],"notes":{},"failure":null,"loss":null,"tokens_seen":null,"wall_time":0.0,"measure_time":0.0,"influences":null}
        >>> point_lines(Point(1, {"ib/loss": 2.0}), named)[0][:28]
        '{"step":1,"values":[2.0],"no'
    """
    before = before or columns(())
    values = Values.of(point.values)
    numbers = numbers_of(values)
    if len(values) * _FEW < len(before.keys):
        return _encoded(point, dict(zip(values, numbers, strict=True))), before
    line = _encoded(point, numbers)
    if values.columns.keys == before.keys:
        return line, before
    return f"{msgspec.json.encode(values.columns.keys).decode()}\n{line}", values.columns


def point_line(point: Point) -> str:
    """Write a point as one line that names its values itself, whatever columns a file has.

    Args:
        point: Point to write.

    Raises:
        ValueError: The step is no whole number from 0, or a key is none.
    """
    values = Values.of(point.values)
    return _encoded(point, dict(zip(values, numbers_of(values), strict=True)))


def numbers_of(values: Values) -> list[float]:
    """List values as they are written: ``nan``, which becomes null, for what is not finite or larger than a file holds.

    Args:
        values: Values of a point.
    """
    return np.where(np.abs(values.numbers) <= LARGEST, values.numbers, np.nan).tolist()


def _encoded(point: Point, values: list[float] | dict[str, float]) -> str:
    notes = dict(point.notes)
    loss = None if point.loss is None else float(point.loss)
    if loss is not None and not abs(loss) <= LARGEST:
        loss, notes["loss"] = None, f"training loss was {loss}"
    record = {field.name: getattr(point, field.name) for field in fields(point)} | {
        "step": check_integer("step", point.step, minimum=0),
        "values": values,
        "notes": notes,
        "loss": loss,
        "tokens_seen": None if point.tokens_seen is None else int(point.tokens_seen),
        "wall_time": float(point.wall_time),
        "measure_time": float(point.measure_time),
        "influences": None if point.influences is None else point.influences.to_record(),
    }
    if point.checkpoint is None:  # as of every run that is no replay, whose lines older versions read
        del record["checkpoint"]
    if point.stage is None:  # which most runs do not have
        del record["stage"]
    return msgspec.json.encode(record).decode()


def read_header(line: bytes) -> dict[str, Any] | None:
    """Read the first line of a file.

    Args:
        line: First line; numbers in it that are not finite, as older versions wrote them, become texts.

    Returns:
        ``format``, ``protocol`` and ``run``, or None if it is not the header of a trajectory.

    Raises:
        ValueError: It is one, but an entry of it is of a wrong kind.

    Example:
        >>> read_header(b'{"format": "ibtrack/3", "protocol": {}, "run": {"name": "a"}}')["run"], read_header(b"hello")
        ({'name': 'a'}, None)
    """
    try:
        header = plain(json.loads(_whole_pairs(line), parse_constant=lambda name: name))
    except (ValueError, RecursionError):
        return None
    is_header = isinstance(header, dict) and header.get("format") in FORMATS
    if not is_header or not all(isinstance(header.get(part), dict) for part in ("protocol", "run")):
        return None
    for part, shape in (("protocol", _Protocol), ("run", _Run)):
        try:
            msgspec.convert(header[part], shape)
        except (msgspec.ValidationError, RecursionError) as error:
            raise ValueError(f"the {part} in its header is wrong: {printable(str(error))}") from error
    for entry in ("orders", "sites", "probe"):
        if header["protocol"].get(entry, "") is None:  # not known, which is the same as not there
            del header["protocol"][entry]
    return header


def read_line(line: bytes, named: Columns | None = None) -> Columns | dict[str, Any]:
    """Read any line of a file but the first.

    Args:
        line: Line of a file.
        named: Columns that the file has named last; None at its beginning.

    Returns:
        Columns, or the arguments of a `Point`.

    Raises:
        ValueError: The line is damaged; the message says how.

    Example:
        >>> named = read_line(b'["ib/loss"]')
        >>> point = read_line(b'{"step": 8, "values": [2.5]}', named)
        >>> point["step"], dict(point["values"])
        (8, {'ib/loss': 2.5})
    """
    if len(line) > LONGEST_LINE:
        raise ValueError(f"it has more than {LONGEST_LINE} bytes")
    try:
        read = _LINES.decode(_whole_pairs(line))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except msgspec.MsgspecError as error:
        raise ValueError(printable(str(error))) from error
    if isinstance(read, list):
        return columns(tuple(read))
    return {
        "step": read.step,
        "values": _values(read, named or columns(())),
        "notes": read.notes,
        "failure": read.failure,
        "loss": read.loss,
        "tokens_seen": None if read.tokens_seen is None else int(read.tokens_seen),
        "wall_time": read.wall_time,
        "measure_time": read.measure_time,
        "influences": None if read.influences is None else _influences(read.influences),
        "checkpoint": read.checkpoint,
        "stage": read.stage,
    }


def _values(read: _PointLine, named: Columns) -> Values:
    """Put the values of a point under their keys.

    Raises:
        ValueError: There are none, or more or fewer than columns.
    """
    given = [each for each in (read.values, read.readings) if not isinstance(each, UnsetType)]
    if len(given) != 1:
        raise ValueError("it must have values, once")
    if isinstance(given[0], dict):
        return Values(columns(tuple(given[0])), list(given[0].values()))
    if len(given[0]) != len(named.keys):
        raise ValueError(f"it has {len(given[0])} values for the {len(named.keys)} columns that are named before it")
    return Values(named, given[0])


def _influences(read: _Influences) -> Influences:
    sites, quantities = _shared(tuple(read.sites)), _shared(tuple(read.quantities))
    influences = Influences(sites, quantities, read.num_groups, read.num_draws, read.data)
    influences.check()
    return influences


@lru_cache(maxsize=64)
def _shared(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the same object for the same names, which all points of a run have."""
    return names


def _whole_pairs(line: bytes) -> bytes:
    """Replace halves of surrogate pairs, which older versions wrote for bytes that are no text."""
    if b"\\" not in line:  # one byte is looked for ten times as fast as two
        return line
    return _LONE.sub(lambda found: found[0] if len(found[0]) != 6 else rb"\ufffd", line)
