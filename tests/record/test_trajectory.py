import json
import math

import pyarrow.parquet as pq
import pytest

from ibtrack import Point, Trajectory
from ibtrack.record.writer import TrajectoryWriter

PROTOCOL = {"probe": {"hash": "abc"}, "num_anchors": 100, "sites": {"L00": "h.0"}, "versions": {"torch": "1"}}


def write(path, steps=(0, 1, 2, 4)):
    writer = TrajectoryWriter.create(path, PROTOCOL, {"name": "a"})
    for step in steps:
        writer.append(Point(step, {"ib/mean/token/complexity": step / 10}, loss=float(step)))
    return path


def test_points_come_back(tmp_path):
    trajectory = Trajectory.load(write(tmp_path / "trajectory.jsonl"))
    assert trajectory.steps == [0, 1, 2, 4]
    assert trajectory.values("ib/mean/token/complexity") == [0, 0.1, 0.2, 0.4]
    assert (trajectory.protocol, trajectory.name) == (PROTOCOL, "a")
    assert Trajectory.load(tmp_path).points == trajectory.points  # a folder will do


def test_values_that_are_not_finite_become_null_with_strict_json(tmp_path):
    point = Point(3, {"ib/L00/entropy": math.nan}, {"L00": "2 rows are zero"}, failure="L00", loss=math.inf)
    line = point.to_json()
    json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    back = Point.from_json(line)
    assert math.isnan(back.values["ib/L00/entropy"])
    assert back.loss is None
    assert back.notes == {"L00": "2 rows are zero", "loss": "training loss was inf"}


def test_a_half_written_last_line_is_left_out_with_a_word(tmp_path):
    path = write(tmp_path / "t.jsonl")
    path.write_text(path.read_text()[:-20])
    with pytest.warns(UserWarning, match="the last line was cut off while it was written"):
        assert Trajectory.load(path).steps == [0, 1, 2]


@pytest.mark.parametrize(
    "text", ["", "{}\n", "[1]\n", "hello\n", '{"format": "other/1"}\n', '{"format": "ibtrack/2"}\n', "\x89PNG\n"]
)
def test_a_foreign_file_is_refused(tmp_path, text):
    (tmp_path / "t.jsonl").write_text(text)
    with pytest.raises(ValueError, match="is not a trajectory file"):
        Trajectory.load(tmp_path / "t.jsonl")


@pytest.mark.parametrize("line", ["nonsense", "[]", '{"step": 1}', '{"step": 1, "values": {}, "colour": 2}'])
def test_a_damaged_line_is_named(tmp_path, line):
    path = write(tmp_path / "t.jsonl")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], line, *lines[3:]]) + "\n")
    with pytest.raises(ValueError, match=r"t\.jsonl, line 3 is damaged"):
        Trajectory.load(path)


def test_parquet_holds_every_number(tmp_path):
    trajectory = Trajectory.load(write(tmp_path / "t.jsonl"))
    trajectory.to_parquet(tmp_path / "t.parquet")
    table = pq.read_table(tmp_path / "t.parquet")
    assert table.column("step").to_pylist() == [0, 1, 2, 4]
    assert table.column("quantity").to_pylist() == ["complexity"] * 4
    assert json.loads(table.schema.metadata[b"ibtrack"])["protocol"] == PROTOCOL


def test_a_file_of_format_1_is_read_with_a_word_on_what_it_lacks(tmp_path):
    path = write(tmp_path / "t.jsonl")
    path.write_text(path.read_text().replace("ibtrack/2", "ibtrack/1").replace('"values"', '"readings"'))
    with pytest.warns(UserWarning, match="format 1: it does not say which version of the estimator"):
        trajectory = Trajectory.load(path)
    assert trajectory.values("ib/mean/token/complexity") == [0, 0.1, 0.2, 0.4]
