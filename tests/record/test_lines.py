"""The lines of a file: what is written comes back to the last bit, and what is damaged is one sentence."""

from __future__ import annotations

import json
import math
import random
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ibtrack import Point, Trajectory
from ibtrack.record.lines import (
    LARGEST,
    LONGEST_LINE,
    header_line,
    lines_of,
    numbers_of,
    point_lines,
    read_header,
    read_line,
)
from ibtrack.record.values import Columns, Values, columns
from ibtrack.record.writer import TrajectoryWriter
from tests import damage, trajectories

HEADER = header_line({"protocol": {}, "run": {}})


def read(*lines: str) -> list[Point]:
    """Read the points of some lines as a file is read."""
    named, points = None, []
    for line in lines:
        found = read_line(line.encode(), named)
        if isinstance(found, Columns):
            named = found
        else:
            points.append(Point(**found))
    return points


def written(*points: Point) -> list[str]:
    """Write points as a file has them."""
    return lines_of(points)[0]


def floats() -> list[float]:
    """Numbers of every size, among them the smallest and the largest that a file holds."""
    draw = random.Random(0)
    bits = [struct.unpack("<d", draw.randbytes(8))[0] for _ in range(2000)]
    return [LARGEST, -LARGEST, 5e-324, -0.0, 0.1 + 0.2, 1e22, *(x for x in bits if abs(x) <= LARGEST)]


def test_numbers_come_back_to_the_last_bit() -> None:
    point = Point(3, {f"ib/mean/x{i}": number for i, number in enumerate(floats())}, wall_time=0.1 + 0.2, loss=1 / 3)
    (back,) = read(*written(point))
    assert struct.pack(f"<{len(floats())}d", *back.values.values()) == struct.pack(f"<{len(floats())}d", *floats())
    assert (back.wall_time, back.loss, back) == (point.wall_time, point.loss, point)


def test_a_run_comes_back_as_it_was(tmp_path: Path) -> None:
    for run in (trajectories.make(geometry=True), trajectories.damaged(), trajectories.without_quadgrams()):
        assert list(Trajectory.load(trajectories.write(run, tmp_path / run.name)).points) == list(run.points)


def test_older_forms_hold_the_same(tmp_path: Path) -> None:
    run = trajectories.without_quadgrams()
    older = Trajectory.load(trajectories.write_older(run, tmp_path / "older"))
    assert older.points == Trajectory.load(trajectories.write(run, tmp_path / "now")).points


def test_columns_are_named_once_and_again_where_they_change() -> None:
    wide, wider = {f"ib/mean/x{i}": 0.5 for i in range(30)}, {f"ib/mean/x{i}": 0.5 for i in range(31)}
    failed = Point(2, {"ib/overhead_fraction": 0.1}, failure="out of memory")
    points = [Point(0, wide), Point(1, wide), failed, Point(3, wide), Point(4, wider), Point(5, wide), Point(6)]
    lines = written(*points)
    kinds = ["columns" if line.startswith("[") else type(json.loads(line)["values"]).__name__ for line in lines]
    assert kinds == ["columns", "list", "list", "dict", "list", "columns", "list", "columns", "list", "dict"]
    assert read(*lines) == points


def test_a_point_that_was_never_measured_needs_no_columns() -> None:
    lines = written(Point(0, failure="out of memory"), Point(1, {"ib/loss": 1.0}))
    assert [line[0] for line in lines] == ["{", "[", "{"]
    assert [len(point.values) for point in read(*lines)] == [0, 1]


def test_what_is_no_number_or_too_large_is_written_as_null() -> None:
    values = {"ib/a": math.nan, "ib/b": math.inf, "ib/c": -1e80, "ib/d": LARGEST}
    line = written(Point(0, values, loss=1e80))[1]
    json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert json.loads(line)["values"] == [None, None, None, LARGEST]
    assert json.loads(line)["notes"] == {"loss": "training loss was 1e+80"}
    (back,) = read(*written(Point(0, values)))
    assert [math.isnan(value) for value in back.values.values()] == [True, True, True, False]
    assert len(numbers_of(Values.of(values))) == 4


def test_whole_numbers_of_other_libraries_are_written_as_numbers() -> None:
    step: Any = np.int64(8)
    tokens: Any = torch.tensor(4096)
    half: Any = np.float32(0.5)
    point = Point(step, {"ib/loss": half}, tokens_seen=tokens, loss=np.float64(2.0))
    assert read(*written(point)) == [Point(8, {"ib/loss": 0.5}, tokens_seen=4096, loss=2.0)]


def test_a_step_or_a_key_that_no_file_can_hold_is_refused_when_it_is_written() -> None:
    with pytest.raises(ValueError, match="step must be an integer of at least 0, got -1"):
        point_lines(Point(-1))
    with pytest.raises(ValueError, match="key must look like"):
        point_lines(Point(0, {"loss": 1.0}))


def test_a_file_is_less_than_half_of_what_it_was(tmp_path: Path) -> None:
    run = trajectories.make(num_layers=24)
    sizes = [
        (folder / "trajectory.jsonl").stat().st_size
        for folder in (trajectories.write(run, tmp_path / "now"), trajectories.write_older(run, tmp_path / "older"))
    ]
    assert sizes[0] < 0.5 * sizes[1]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"step": 1, "values": [1, 2]}', "it has 2 values for the 1 columns that are named before it"),
        ('{"step": 1}', "it must have values"),
        ('{"step": 1, "values": [1], "readings": {}}', "it must have values, once"),
        ('{"step": 1, "values": ["1"]}', r"Expected `float \| null`, got `str` - at `\$.values\[0\]`"),
        ('{"step": 1, "values": [1e76]}', "<= 1e"),
        ('{"step": 1, "values": [1e400]}', "Number out of range"),
        ('{"step": 1, "values": [NaN]}', "malformed"),
        ('{"step": -1, "values": [1]}', r"Expected `int` >= 0 - at `\$.step`"),
        ('{"step": 1, "values": [1], "colour": 2}', "unknown field `colour`"),
        ('{"step": 1, "values": {"loss": 2}}', "key must look like"),
        ('{"step": 1, "values": {"ib/\\u001b": 2}}', "a key must be printable"),
        ('{"step": 1, "values": [1], "notes": {"a": 1}}', "Expected `str`, got `int`"),
        ('["ib/loss", "ib/loss"]', "the key 'ib/loss' stands there twice"),
        ("[]", "length >= 1"),
        ("[" * 100_000, "malformed|nested too deeply|Expected"),
        ('{"step": 1, "values": ' + '{"a":' * 100_000, "nested too deeply|Expected"),
        ("", "truncated"),
    ],
)
def test_a_damaged_line_is_one_sentence(line: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as refused:
        read_line(line.encode(), columns(("ib/loss",)))
    assert "\n" not in str(refused.value)


def test_a_line_without_an_end_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=f"it has more than {LONGEST_LINE} bytes"):
        read_line(b" " * (LONGEST_LINE + 1))
    for module in ("lines", "trajectory"):
        monkeypatch.setattr(f"ibtrack.record.{module}.LONGEST_LINE", 100)
    (tmp_path / "t.jsonl").write_text(f"{HEADER}\n" + "x" * 1000)
    with pytest.raises(ValueError, match=r"t\.jsonl, line 2 is damaged: it has more than 100 bytes"):
        Trajectory.load(tmp_path / "t.jsonl")


@pytest.mark.parametrize(
    ("part", "entry", "value"),
    [
        ("protocol", "orders", "token"),
        ("protocol", "orders", ["a/b"]),
        ("protocol", "sites", ["L00"]),
        ("protocol", "sites", {"L\x1b": "h.0"}),
        ("protocol", "probe", {"blocks": "64"}),
        ("protocol", "bottleneck_curve", {"complexity": [0, 1e9], "expressivity": [0, 1]}),
        ("protocol", "bottleneck_curve", {"complexity": [0, 1], "expressivity": [0]}),
        ("protocol", "bottleneck_curve", {"complexity": [0] * 10_001, "expressivity": [0] * 10_001}),
        ("run", "name", ["a"]),
        ("run", "config", 3),
    ],
)
def test_a_header_of_wrong_kinds_is_refused(tmp_path: Path, part: str, entry: str, value: Any) -> None:
    header = {"format": "ibtrack/3", "protocol": {}, "run": {}} | {part: {entry: value}}
    (tmp_path / "t.jsonl").write_text(json.dumps(header) + "\n")
    with pytest.raises(ValueError, match=rf"t\.jsonl, line 1 is damaged: the {part} in its header is wrong: .*"):
        Trajectory.load(tmp_path / "t.jsonl")


def test_a_header_keeps_what_else_stands_in_it_and_gets_the_present_format() -> None:
    header = {"format": "ibtrack/1", "run_id": "a1", "protocol": {"seed": 0}, "run": {"name": "a"}}
    assert read_header(header_line(header).encode()) == header | {"format": "ibtrack/3"}


def test_lines_go_on_under_the_columns_that_were_named() -> None:
    points = [Point(step, {"ib/loss": 1.0}) for step in range(4)]
    first, named = lines_of(points[:2])
    more, again = lines_of(points[2:], named)
    assert [line[0] for line in (*first, *more)] == ["[", "{", "{", "{", "{"]
    assert again is named
    assert read(*first, *more) == points


def test_a_header_of_an_older_version_is_read_though_it_is_not_strict_json() -> None:
    config = '{"lr": Infinity, "salt": 340282366920938463463374607431768211456, "path": "a\\udcff", "deep": DEEP}'
    config = config.replace("DEEP", "[" * 50 + "]" * 50)
    header = read_header(f'{{"format": "ibtrack/2", "protocol": {{}}, "run": {{"config": {config}}}}}'.encode())
    assert header is not None
    found = header["run"]["config"]
    assert (found["lr"], found["path"], found["salt"]) == ("Infinity", "a\ufffd", hex(2**128))
    assert "nested too deeply" in json.dumps(found["deep"])


def test_halves_of_pairs_become_marks_and_whole_pairs_and_backslashes_stay() -> None:
    texts = {r"\ud83d\ude00": "😀", r"\ud83d": "\ufffd", r"\udc00x": "\ufffdx", r"\\ud83d": r"\ud83d", r"\u00e9": "é"}
    for escaped, text in texts.items():
        (point,) = read(f'{{"step": 0, "values": {{}}, "failure": "{escaped}"}}')
        assert point.failure == text


def test_steps_that_do_not_rise_are_refused(tmp_path: Path) -> None:
    run = trajectories.make(num_points=3)
    path = trajectories.write(run, tmp_path) / "trajectory.jsonl"
    lines = path.read_text().splitlines()
    for damaged in ([*lines, lines[-1]], [*lines[:2], lines[3], lines[2]]):
        path.write_text("\n".join(damaged) + "\n")
        with pytest.raises(ValueError, match=rf"line {len(damaged)} is damaged: its step must be after \d+, that of"):
            Trajectory.load(path)


@pytest.mark.parametrize("end", range(1, 120, 7))
def test_a_writer_that_is_killed_leaves_a_file_that_is_read_and_resumed(tmp_path: Path, end: int) -> None:
    """The last bytes are missing, those of the line that names columns among them."""
    path = tmp_path / "t.jsonl"
    writer = TrajectoryWriter.create(path, {}, {})
    writer.append(Point(0, {"ib/loss": 1.0}))
    whole = path.stat().st_size
    writer.append(Point(1, {"ib/loss": 1.0, "ib/probe_loss": 2.0}))
    content = path.read_bytes()
    path.write_bytes(content[: max(len(content) - end, whole)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert Trajectory.load(path).steps == [0]
        again = TrajectoryWriter.resume(path, {}, last_step=0)
    again.append(Point(1, {"ib/loss": 1.0, "ib/probe_loss": 2.0}))
    assert Trajectory.load(path).values("ib/probe_loss")[1] == 2.0


def test_sites_that_are_not_asked_for_are_left_out(tmp_path: Path) -> None:
    folder = trajectories.write(trajectories.make(), tmp_path)
    whole, part = Trajectory.load(folder), Trajectory.load(folder, sites=["mean"])
    kept = {key: value for key, value in whole.points[3].values.items() if key.count("/") == 1 or "/mean/" in key}
    assert part.points[3].values == kept
    assert part.points[3].influences is not None
    assert part.points[3].influences.sites == ("mean",)
    assert part.steps == whole.steps


def refusal(content: bytes, path: Path) -> str | None:
    """Load a file; if it is refused, the sentence that says why."""
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            Trajectory.load(path)
        except ValueError as error:
            return str(error)
    return None


def test_every_hostile_file_is_read_or_refused_in_one_sentence_that_names_the_place(tmp_path: Path) -> None:
    path, refused, names = tmp_path / "trajectory.jsonl", 0, []
    for name, content in damage.hostile():
        sentence = refusal(content, path)
        names.append(name)
        if sentence is not None:
            refused += 1
            assert sentence.startswith(str(path)), name
            assert sentence.isprintable(), name
            assert len(sentence) < 3000, name
    assert len(names) > 600
    assert 400 < refused < len(names) - 100  # an empty list of notes, a strange name, harm nobody


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(content=damage.fuzzed())
def test_every_fuzzed_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.jsonl"
    sentence = refusal(content, path)
    assert sentence is None or (sentence.startswith(str(path)) and sentence.isprintable())


@settings(max_examples=50, deadline=None, derandomize=True, database=None)
@given(content=st.binary(max_size=200))
def test_bytes_of_any_kind_are_no_trajectory(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "bytes.jsonl"
    assert "is not a trajectory file" in str(refusal(content, path))
