"""Which files a replay goes on with, and which it refuses and why."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ibtrack import SoftOptions
from ibtrack.record.trajectory import Point, Trajectory
from ibtrack.record.writer import TrajectoryWriter
from ibtrack.replay.checkpoint import Checkpoint
from ibtrack.replay.earlier import Earlier, read_earlier
from ibtrack.schedules import Progress
from tests.models import probe

SERIES = [Checkpoint(f"step{step}", "owner/tiny", step, tokens=10 * step, commit=f"{step:040x}") for step in range(5)]
CONFIG = {"replay": {"source": "owner/tiny"}}


def write(path: Path, points: list[Point], **header: Any) -> Path:
    """Write a file as a replay leaves it."""
    own = {"probe": probe(8).protocol(), **SoftOptions().protocol(), "estimator": 2, "sites": {"L00": "a"}}
    run = {"name": "tiny", "config": CONFIG, "replay": {"tokenizer_hash": "ab"}, **header}
    writer = TrajectoryWriter.create(path, own, run)
    for point in points:
        writer.append(point)
    writer.close()
    return path


def points(*failed: int, number: int = 3) -> list[Point]:
    return [
        Point(
            each.step or 0,
            failure="gone" if each.step in failed else None,
            tokens_seen=each.tokens,
            wall_time=1.0 + (each.step or 0),
            checkpoint=each.label,
        )
        for each in SERIES[:number]
    ]


def read(path: Path, series: list[Checkpoint] = SERIES, **options: Any) -> Earlier:
    given: dict[str, Any] = {"options": SoftOptions(), "config": CONFIG, "probe": probe(8)} | options
    return read_earlier(path, series, given.pop("probe"), given.pop("options"), given.pop("config"), **given)


def test_it_goes_on_behind_the_points_that_are_there(tmp_path: Path) -> None:
    earlier = read(write(tmp_path / "a.jsonl", points(1)))
    assert [point.step for point in earlier.points] == [0, 1, 2]
    assert earlier.progress == Progress(2, 20, 3.0)
    assert earlier.tokenizer_hash == "ab"
    assert read(write(tmp_path / "b.jsonl", [])).progress == Progress(-1)


@pytest.mark.parametrize(("failed", "left"), [((), 3), ((1,), 1), ((0,), 0), ((2, 1), 1)])
def test_points_from_the_first_failed_one_on_are_measured_again(
    tmp_path: Path, failed: tuple[int, ...], left: int
) -> None:
    path = write(tmp_path / "a.jsonl", points(*failed))
    assert len(read(path, retry_failed=True).points) == left
    assert len(read(path).points) == 3


def test_files_of_other_replays_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", points())
    with pytest.raises(
        ValueError, match=r"was measured otherwise \(probe.hash: .* in 'the file', .* in 'this replay'\)"
    ):
        read(path, probe=probe(9))
    with pytest.raises(ValueError, match="num_anchors: 100 in 'the file', 50 in 'this replay'"):
        read(path, options=SoftOptions(num_anchors=50))
    with pytest.raises(ValueError, match=r"settings replay.source, size"):
        read(path, config={"replay": {"source": "owner/other"}, "size": 3})
    many = {f"setting{index}": index for index in range(8)}
    with pytest.raises(ValueError, match=r"settings .* and 3 more"):
        read(path, config={**CONFIG, **many})


def test_files_with_other_checkpoints_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", points())
    moved = [SERIES[0], replace(SERIES[1], commit="f" * 40), *SERIES[2:]]
    with pytest.raises(
        ValueError, match="number 2 is step1@00000000 of step 1, and here it is step1@ffffffff of step 1"
    ):
        read(path, moved)
    with pytest.raises(ValueError, match="number 3 is step2@00000000 of step 2, and there is none here"):
        read(path, SERIES[:2])
    assert len(read(path, SERIES[:3]).points) == 3


def test_a_run_that_was_watched_is_no_replay(tmp_path: Path) -> None:
    writer = TrajectoryWriter.create(tmp_path / "a.jsonl", {"probe": probe(8).protocol()}, {"name": "a", "config": {}})
    writer.close()
    with pytest.raises(ValueError, match="is the trajectory of a run that was no replay; choose another path"):
        read(tmp_path / "a.jsonl")
    (tmp_path / "b.jsonl").write_text("hello\n")
    with pytest.raises(ValueError, match="is not a trajectory file"):
        read(tmp_path / "b.jsonl")
    assert Trajectory.load(tmp_path / "a.jsonl").points == []
