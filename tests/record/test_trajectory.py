import json
import math
import warnings

import pyarrow.parquet as pq
import pytest

from ibtrack import Point, Trajectory
from ibtrack.record.trajectory import TrajectoryWriter

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


def test_each_point_is_on_disk_before_the_next(tmp_path):
    writer = TrajectoryWriter.create(tmp_path / "t.jsonl", PROTOCOL)
    writer.append(Point(0))
    assert Trajectory.load(tmp_path / "t.jsonl").steps == [0]


def test_values_that_are_not_finite_become_null_with_strict_json(tmp_path):
    point = Point(3, {"ib/L00/entropy": math.nan}, {"L00": "2 rows are zero"}, failure="L00", loss=math.inf)
    line = point.to_json()
    json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    back = Point.from_json(line)
    assert math.isnan(back.readings["ib/L00/entropy"])
    assert back.loss is None
    assert back.notes == {"L00": "2 rows are zero", "loss": "training loss was inf"}


@pytest.mark.parametrize(
    ("protocol", "config", "sentence"),
    [
        ({**PROTOCOL, "num_anchors": 50}, None, r"num_anchors: 100 before, 50 now"),
        (PROTOCOL, {"lr": 2}, "the run's config"),
    ],
)
def test_another_runs_file_is_never_overwritten(tmp_path, protocol, config, sentence):
    path = write(tmp_path / "t.jsonl")
    before = path.read_text()
    with pytest.raises(FileExistsError, match=rf"already holds another run's trajectory \({sentence}\)"):
        TrajectoryWriter.create(path, protocol, {"name": "a", "config": config})
    assert path.read_text() == before


def test_an_earlier_start_of_the_same_run_is_moved_aside_with_a_word(tmp_path):
    path = write(tmp_path / "t.jsonl")
    before = path.read_text()
    for number in (1, 2):
        with pytest.warns(
            UserWarning, match=rf"held an earlier start .* 4 points up to step 4.* to t\.{number}\.jsonl"
        ):
            write(path)
    assert before == (tmp_path / "t.1.jsonl").read_text() == (tmp_path / "t.2.jsonl").read_text()
    assert Trajectory.load(path).steps == [0, 1, 2, 4]


@pytest.mark.parametrize("header", ["", '{"form', '{"format": "ibtrack/1", "proto'])
def test_a_header_cut_off_while_it_was_written_is_moved_aside(tmp_path, header):
    (tmp_path / "t.jsonl").write_text(header)
    with pytest.warns(UserWarning, match=r"held an earlier start of this run, with no point"):
        write(tmp_path / "t.jsonl")
    assert (tmp_path / "t.1.jsonl").read_text() == header


@pytest.mark.parametrize("text", ["my notes", "my notes\n", "{}\n"])
def test_a_file_of_another_kind_is_left_alone(tmp_path, text):
    (tmp_path / "t.jsonl").write_text(text)
    with warnings.catch_warnings(), pytest.raises(FileExistsError, match="is not a trajectory file"):
        warnings.simplefilter("ignore")
        write(tmp_path / "t.jsonl")
    assert (tmp_path / "t.jsonl").read_text() == text


def test_a_writer_never_writes_into_the_file_of_a_later_start(tmp_path):
    path = tmp_path / "t.jsonl"
    first = TrajectoryWriter.create(path, PROTOCOL)
    first.append(Point(0))
    with pytest.warns(UserWarning, match="moved to"):
        TrajectoryWriter.create(path, PROTOCOL)
    with pytest.raises(FileExistsError, match="has been replaced, by another start of this run perhaps"):
        first.append(Point(1))
    path.unlink()
    with pytest.raises(FileNotFoundError):
        first.append(Point(2))
    assert not path.exists()


def test_a_step_is_never_written_twice(tmp_path):
    writer = TrajectoryWriter.create(tmp_path / "t.jsonl", PROTOCOL)
    writer.append(Point(4))
    with pytest.raises(ValueError, match="step must be after 4, the last point, got 4"):
        writer.append(Point(4))


def test_resuming_drops_what_came_after_the_checkpoint(tmp_path):
    path = write(tmp_path / "t.jsonl")
    writer = TrajectoryWriter.resume(path, {**PROTOCOL, "versions": {"torch": "2"}}, last_step=2)
    writer.append(Point(4))
    writer.append(Point(8))
    assert Trajectory.load(path).steps == [0, 1, 2, 4, 8]


def test_a_run_begun_before_there_were_bottleneck_curves_can_be_resumed(tmp_path):
    path = write(tmp_path / "t.jsonl")
    TrajectoryWriter.resume(path, {**PROTOCOL, "bottleneck_curve": {"complexity": [0.0]}}, last_step=2)
    assert Trajectory.load(path).steps == [0, 1, 2]


def test_resuming_under_another_protocol_shows_the_difference(tmp_path):
    path = write(tmp_path / "t.jsonl")
    before = path.read_text()
    with pytest.raises(ValueError, match=r"another protocol \(num_anchors: 100 before, 50 now"):
        TrajectoryWriter.resume(path, {**PROTOCOL, "num_anchors": 50}, last_step=2)
    assert path.read_text() == before


def test_a_half_written_last_line_is_left_out_with_a_word(tmp_path):
    path = write(tmp_path / "t.jsonl")
    path.write_text(path.read_text()[:-20])
    with pytest.warns(UserWarning, match="the last line was cut off while it was written"):
        assert Trajectory.load(path).steps == [0, 1, 2]


@pytest.mark.parametrize(
    "text", ["", "{}\n", "[1]\n", "hello\n", '{"format": "other/1"}\n', '{"format": "ibtrack/1"}\n', "\x89PNG\n"]
)
def test_a_foreign_file_is_refused(tmp_path, text):
    (tmp_path / "t.jsonl").write_text(text)
    with pytest.raises(ValueError, match="is not a trajectory file"):
        Trajectory.load(tmp_path / "t.jsonl")


@pytest.mark.parametrize("line", ["nonsense", "[]", '{"step": 1}', '{"step": 1, "readings": {}, "colour": 2}'])
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
