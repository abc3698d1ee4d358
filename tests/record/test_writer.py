"""The file of a run: what is written, what is refused, what is moved aside."""

import contextlib
import json
import math
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from ibtrack import Point, Trajectory
from ibtrack.record.writer import TrajectoryWriter
from tests.record.test_trajectory import PROTOCOL, write


def test_each_point_is_on_disk_before_the_next(tmp_path: Path) -> None:
    writer = TrajectoryWriter.create(tmp_path / "t.jsonl", PROTOCOL)
    writer.append(Point(0))
    assert Trajectory.load(tmp_path / "t.jsonl").steps == [0]


@pytest.mark.parametrize(
    ("protocol", "config", "sentence"),
    [
        ({**PROTOCOL, "num_anchors": 50}, None, r"num_anchors: 100 in 'the file', 50 in 'this run'"),
        (PROTOCOL, {"lr": 2}, "the run's config"),
    ],
)
def test_another_runs_file_is_never_overwritten(
    tmp_path: Path, protocol: dict[str, Any], config: dict[str, Any] | None, sentence: str
) -> None:
    path = write(tmp_path / "t.jsonl")
    before = path.read_text()
    with pytest.raises(FileExistsError, match=rf"already holds another run's trajectory \({sentence}\)"):
        TrajectoryWriter.create(path, protocol, {"name": "a", "config": config})
    assert path.read_text() == before


def test_an_earlier_start_of_the_same_run_is_moved_aside_with_a_word(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl")
    before = path.read_text()
    for number in (1, 2):
        with pytest.warns(
            UserWarning, match=rf"held an earlier start .* 4 points up to step 4.* to t\.{number}\.jsonl"
        ):
            write(path)
    assert before == (tmp_path / "t.1.jsonl").read_text()
    assert [Trajectory.load(tmp_path / name).steps for name in ("t.2.jsonl", "t.jsonl")] == [[0, 1, 2, 4]] * 2


@pytest.mark.parametrize("header", ["", '{"form', '{"format": "ibtrack/2", "proto'])
def test_a_header_cut_off_while_it_was_written_is_moved_aside(tmp_path: Path, header: str) -> None:
    (tmp_path / "t.jsonl").write_text(header)
    with pytest.warns(UserWarning, match=r"held an earlier start of this run, with no point"):
        write(tmp_path / "t.jsonl")
    assert (tmp_path / "t.1.jsonl").read_text() == header


@pytest.mark.parametrize("text", ["my notes", "my notes\n", "{}\n"])
def test_a_file_of_another_kind_is_left_alone(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.jsonl").write_text(text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(FileExistsError, match="is not a trajectory file"):
            write(tmp_path / "t.jsonl")
    assert (tmp_path / "t.jsonl").read_text() == text


def test_a_writer_never_writes_into_the_file_of_a_later_start(tmp_path: Path) -> None:
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


def test_a_step_is_never_written_twice(tmp_path: Path) -> None:
    writer = TrajectoryWriter.create(tmp_path / "t.jsonl", PROTOCOL)
    writer.append(Point(4))
    with pytest.raises(ValueError, match="step must be after 4, the last point, got 4"):
        writer.append(Point(4))


def test_what_came_after_the_checkpoint_is_kept_aside(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl")
    later = path.read_text().splitlines()[-1]
    with pytest.warns(UserWarning, match=r"t\.jsonl held 1 point after step 2, .* kept in t\.1\.jsonl"):
        writer = TrajectoryWriter.resume(path, {**PROTOCOL, "versions": {"torch": "2"}}, last_step=2)
    writer.append(Point(4))
    writer.append(Point(8))
    assert Trajectory.load(path).steps == [0, 1, 2, 4, 8]
    header, *lines = (tmp_path / "t.1.jsonl").read_text().splitlines()
    assert lines == [later]
    assert json.loads(header)["run_id"] == writer.run_id


def test_a_run_begun_before_there_were_bottleneck_curves_can_be_resumed(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl")
    TrajectoryWriter.resume(path, {**PROTOCOL, "bottleneck_curve": {"complexity": [0.0]}}, last_step=4)
    assert Trajectory.load(path).steps == [0, 1, 2, 4]


def test_resuming_under_another_protocol_shows_the_difference(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl")
    before = path.read_text()
    sentence = (
        r"another protocol \(num_anchors: 100 in 'the file', 50 in 'this run'\); .*: resume with the same options"
    )
    with pytest.raises(ValueError, match=sentence):
        TrajectoryWriter.resume(path, {**PROTOCOL, "num_anchors": 50}, last_step=2)
    assert path.read_text() == before


def test_any_configuration_is_written_and_an_earlier_start_of_it_is_known(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    config = {"data": Path("a"), "dtype": torch.float32, "weights": torch.ones(2), "lr": math.nan, "names": {"b", "a"}}
    for _ in range(2):
        with contextlib.nullcontext() if not path.exists() else pytest.warns(UserWarning, match="an earlier start"):
            TrajectoryWriter.create(path, PROTOCOL, {"name": "a", "config": config})
    plain = {"data": "a", "dtype": "torch.float32", "weights": [1.0, 1.0], "lr": "nan", "names": ["a", "b"]}
    header = json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert header["run"]["config"] == plain == Trajectory.load(path).run["config"]
    with pytest.raises(FileExistsError, match="the run's config"):
        TrajectoryWriter.create(path, PROTOCOL, {"name": "a", "config": {**config, "lr": math.inf}})
