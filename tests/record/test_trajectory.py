"""The trajectory in memory and as read from a file: points, damage, format 1, long form."""

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from ibtrack import Point, Trajectory
from ibtrack.record.writer import TrajectoryWriter
from tests import trajectories

PROTOCOL: dict[str, Any] = {
    "probe": {"hash": "abc"},
    "num_anchors": 100,
    "sites": {"L00": "h.0"},
    "versions": {"torch": "1"},
}


def write(path: Path, steps: Sequence[int] = (0, 1, 2, 4)) -> Path:
    writer = TrajectoryWriter.create(path, PROTOCOL, {"name": "a"})
    for step in steps:
        writer.append(Point(step, {"ib/mean/token/complexity": step / 10}, loss=float(step)))
    return path


def test_points_come_back(tmp_path: Path) -> None:
    trajectory = Trajectory.load(write(tmp_path / "trajectory.jsonl"))
    assert trajectory.steps == [0, 1, 2, 4]
    assert trajectory.values("ib/mean/token/complexity") == [0, 0.1, 0.2, 0.4]
    assert (trajectory.protocol, trajectory.name) == (PROTOCOL, "a")
    assert Trajectory.load(tmp_path).points == trajectory.points  # a folder will do


def test_values_that_are_not_finite_become_null_with_strict_json(tmp_path: Path) -> None:
    point = Point(3, {"ib/L00/entropy": math.nan}, notes={"L00": "2 rows are zero"}, failure="L00", loss=math.inf)
    line = point.to_json()
    json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    back = Point.from_json(line)
    assert math.isnan(back.values["ib/L00/entropy"])
    assert back.loss is None
    assert back.notes == {"L00": "2 rows are zero", "loss": "training loss was inf"}


def test_a_half_written_last_line_is_left_out_with_a_word(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl")
    path.write_text(path.read_text()[:-20])
    with pytest.warns(UserWarning, match="the last line was cut off while it was written"):
        assert Trajectory.load(path).steps == [0, 1, 2]


@pytest.mark.parametrize(
    "text", ["", "{}\n", "[1]\n", "hello\n", '{"format": "other/1"}\n', '{"format": "ibtrack/2"}\n', "\x89PNG\n"]
)
def test_a_foreign_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.jsonl").write_text(text)
    with pytest.raises(ValueError, match="is not a trajectory file"):
        Trajectory.load(tmp_path / "t.jsonl")


@pytest.mark.parametrize("line", ["nonsense", "[]", '{"step": 1}', '{"step": 1, "values": {}, "colour": 2}'])
def test_a_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    path = write(tmp_path / "t.jsonl")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], line, *lines[3:]]) + "\n")
    with pytest.raises(ValueError, match=r"t\.jsonl, line 3 is damaged"):
        Trajectory.load(path)


def test_parquet_holds_every_number(tmp_path: Path) -> None:
    trajectory = Trajectory.load(write(tmp_path / "t.jsonl"))
    trajectory.to_parquet(tmp_path / "t.parquet")
    table = pq.read_table(tmp_path / "t.parquet")
    assert table.column("step").to_pylist() == [0, 1, 2, 4]
    assert table.column("quantity").to_pylist() == ["complexity"] * 4
    assert json.loads(table.schema.metadata[b"ibtrack"])["protocol"] == PROTOCOL


def test_a_file_of_format_1_is_read_with_a_word_on_what_it_lacks(tmp_path: Path) -> None:
    run = Trajectory.load(write(tmp_path / "t.jsonl"))
    folder = trajectories.write_older(run, tmp_path / "old", form=1)
    with pytest.warns(UserWarning, match="format 1: it does not say which version of the estimator"):
        trajectory = Trajectory.load(folder)
    assert trajectory.values("ib/mean/token/complexity") == [0, 0.1, 0.2, 0.4]


def file_of_format_1(path: Path, notes: dict[str, str], protocol: dict[str, Any]) -> Path:
    """A file as the first format had it: points with readings, notes that name sets of labels."""
    header = {"format": "ibtrack/1", "protocol": protocol, "run": {"name": "old"}}
    point = {"step": 0, "readings": {"ib/mean/token/complexity": 0.3}, "notes": notes}
    path.write_text(f"{json.dumps(header)}\n{json.dumps(point)}\n")
    return path


def test_notes_of_format_1_are_found_at_the_quantities_that_they_explain(tmp_path: Path) -> None:
    notes = {"input/quadgram": "all labels are distinct", "L01": "2 rows are zero", "schedule": "left out: step 3"}
    path = file_of_format_1(tmp_path / "t.jsonl", notes, PROTOCOL | {"orders": ["token", "quadgram"]})
    with pytest.warns(UserWarning, match="format 1"):
        (point,) = Trajectory.load(path).points
    quantities = ("complexity", "kept", "optimality", "regularity", "variation", "share")
    assert point.notes == {f"quadgram/{quantity}": "all labels are distinct" for quantity in quantities} | {
        "L01": "2 rows are zero",
        "schedule": "left out: step 3",
    }


@pytest.mark.parametrize("orders", [{}, {"orders": None}, {"orders": ["quadgram"]}])
def test_a_file_of_format_1_may_lack_its_orders(tmp_path: Path, orders: dict[str, Any]) -> None:
    path = file_of_format_1(tmp_path / "t.jsonl", {"output/quadgram": "one label"}, orders)
    with pytest.warns(UserWarning, match="format 1"):
        (point,) = Trajectory.load(path).points
    quantities = ("expressivity", "told", "optimality")
    assert point.notes == {f"quadgram/{quantity}": "one label" for quantity in quantities}


def test_a_resumed_file_of_format_1_is_of_the_present_format_from_then_on(tmp_path: Path) -> None:
    path = file_of_format_1(tmp_path / "t.jsonl", {"input/token": "one label"}, PROTOCOL)
    with pytest.warns(UserWarning, match="format 1"):
        TrajectoryWriter.resume(path, PROTOCOL, last_step=0)
    (point,) = Trajectory.load(path).points
    assert point.notes["token/complexity"] == "one label"
    assert point.values == {"ib/mean/token/complexity": 0.3}


def test_without_pyarrow_the_install_line_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"a Parquet file needs pyarrow, .*: pip install 'ibtrack\[parquet\]'"):
        Trajectory({}, {}, []).to_parquet(tmp_path / "t.parquet")


def test_a_run_without_a_name_has_that_of_its_folder_wherever_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    TrajectoryWriter.create(tmp_path / "run7" / "trajectory.jsonl", PROTOCOL, {})
    monkeypatch.chdir(tmp_path / "run7")
    assert [Trajectory.load(path).name for path in (".", "trajectory.jsonl", "../run7")] == ["run7"] * 3
    assert Trajectory({}, {}, [], Path("/trajectory.jsonl")).name == "run"


def test_points_and_trajectories_are_shown_by_what_they_hold() -> None:
    points = [Point(0), Point(200, {"ib/mean/entropy": 0.5, "ib/loss": 1.0}), Point(300, failure="out of memory")]
    assert [repr(point) for point in points] == [
        "Point(step=0, 0 values)",
        "Point(step=200, 2 values)",
        "Point(step=300, failure='out of memory')",
    ]
    assert repr(Point(1, {"ib/loss": 1.0})) == "Point(step=1, 1 value)"
    protocol = {"sites": {"embed": "e", "L00": "h.0"}, "orders": ["token", "bigram"]}
    run = Trajectory(protocol, {"name": "bytes"}, points)
    assert repr(run) == "Trajectory('bytes': 3 points, steps 0–300, 2 sites, token/bigram)"
    assert (
        repr(Trajectory({"sites": {"L00": "h.0"}}, {}, points[1:2])) == "Trajectory('run': 1 point, step 200, 1 site)"
    )
    assert repr(Trajectory({}, {"name": "young"}, [])) == "Trajectory('young': no points, 0 sites)"


def test_a_key_that_no_point_has_is_an_error_with_the_nearest_keys() -> None:
    run = Trajectory({}, {}, [Point(0, failure="out of memory"), Point(1, {"ib/mean/token/complexity": 0.5})])
    assert math.isnan(run.values("ib/mean/token/complexity")[0])
    with pytest.raises(KeyError, match=r"no point has the key 'ib/mean/tokens/complexity'; near are ib/mean/token/com"):
        run.values("ib/mean/tokens/complexity")
    with pytest.raises(KeyError, match="no point has the key 'loss'; one that they have is ib/mean/token/complexity"):
        run.values("loss")


def test_where_no_point_was_measured_as_a_whole_no_key_is_wrong() -> None:
    assert Trajectory({}, {}, []).values("ib/mean/entropy") == []
    failed = Point(0, {"ib/overhead_fraction": 0.1}, failure="out of memory")  # as the tracker records it
    for point in (failed, Point(0, loss=2.0)):
        assert math.isnan(Trajectory({}, {}, [point]).values("ib/mean/entropy")[0])


def test_a_step_that_is_no_whole_number_is_damage() -> None:
    line = Point(8, {"ib/mean/entropy": 0.5}).to_json().replace('"step":8', '"step":"8"')
    with pytest.raises(ValueError, match=r"Expected `int`, got `str` - at `\$.step`"):
        Point.from_json(line)


def test_texts_of_a_point_and_the_name_of_a_run_are_printable(tmp_path: Path) -> None:
    point = Point(8, notes={"L00\x00": "odd\nnote"}, failure="\x1b[31m\ud800")
    assert (point.notes, point.failure) == ({r"L00\x00": "odd note"}, r"\x1b[31m\ud800")
    assert Point.from_json(point.to_json()) == point
    assert Trajectory({}, {"name": "a\x07b"}, []).name == r"a\x07b"
    assert Trajectory({}, {}, [], tmp_path / "run\x1b" / "trajectory.jsonl").name == r"run\x1b"
    assert len(Trajectory({}, {"name": "x" * 10**6}, []).name) == 200
    assert Trajectory({}, {"name": "\n"}, []).name == "run"


def test_sites_that_are_one_text_are_refused_since_each_letter_would_be_a_site(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"sites must be several names, such as \('mean',\), got the text 'mean'"):
        Trajectory.load(write(tmp_path / "t.jsonl"), sites="mean")
