"""Outlines on disk: equal to those that are made, made again when a file or the code changes, never an obstacle."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ibtrack.analysis import outline_cache
from ibtrack.analysis.outline import outline
from ibtrack.analysis.outline_cache import outlined, prepare
from ibtrack.analysis.phases import find_phases
from ibtrack.record.trajectory import Point, Trajectory
from tests import trajectories

Count = Callable[[], int]


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of the outlines."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "ibtrack" / "outlines"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Count:
    """How often a trajectory file was read."""
    number = 0
    load = Trajectory.load

    def counted(path: Path, **options: object) -> Trajectory:
        nonlocal number
        number += 1
        return load(path, **options)  # type: ignore[arg-type]  # as the caller gave them

    monkeypatch.setattr(Trajectory, "load", counted)
    return lambda: number


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run whose points have influences."""
    trajectories.write(trajectories.make("a", drop=0.1), tmp_path / "a")
    return tmp_path / "a"


def test_what_was_kept_is_what_is_made(folder: Path, reads: Count) -> None:
    made, kept = outlined(folder), outlined(folder)
    assert reads() == 1
    assert kept.run == made.run
    assert kept.phases == made.phases
    run = Trajectory.load(folder)
    assert kept.run == outline(run, ["token"])
    assert kept.phases == find_phases(run)
    assert kept.phases.compression is not None
    one, other = (each.phases.compression for each in (made, kept))
    assert one is not None
    assert other is not None
    assert one.deviations is not None
    assert other.deviations is not None
    assert np.array_equal(one.deviations, other.deviations)
    assert find_phases(kept.run, unit="log_k") == find_phases(run, unit="log_k")


@pytest.mark.parametrize("asked", [("bigram", None), ("token", "log_k")])
def test_what_is_asked_for_is_kept_by_itself(folder: Path, asked: tuple[str, str | None]) -> None:
    outlined(folder)
    order, unit = asked
    assert outlined(folder, order, unit=unit).phases == find_phases(Trajectory.load(folder), order, unit=unit)


def test_a_file_that_grows_is_read_again(folder: Path, reads: Count) -> None:
    run = outlined(folder).run
    with (folder / "trajectory.jsonl").open("a") as file:
        file.write(Point(run.steps[-1] + 1, failure="out of memory").to_json() + "\n")
    assert outlined(folder).run.points[-1].failure == "out of memory"
    assert reads() == 2


def test_a_file_that_grows_while_it_is_read_is_not_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch, kept: Path
) -> None:
    find = find_phases

    def late(run: Trajectory, order: str, *, unit: str | None) -> object:
        with (folder / "trajectory.jsonl").open("a") as file:
            file.write(Point(run.steps[-1] + 1, failure="out of memory").to_json() + "\n")
        return find(run, order, unit=unit)

    monkeypatch.setattr(outline_cache, "find_phases", late)
    outlined(folder)
    assert not kept.exists()


def test_other_code_reads_again(folder: Path, reads: Count, monkeypatch: pytest.MonkeyPatch) -> None:
    outlined(folder)
    monkeypatch.setattr(outline_cache, "_code", lambda: "another version")
    outlined(folder)
    assert reads() == 2


def test_the_code_is_that_of_every_file_which_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    assert outline_cache._code() == outline_cache._code.__wrapped__()
    monkeypatch.setattr(outline_cache, "_PACKAGES", ("ibtrack.record",))
    assert outline_cache._code() != outline_cache._code.__wrapped__()


def test_damage_is_no_obstacle(folder: Path, reads: Count, kept: Path) -> None:
    outlined(folder)
    (file,) = kept.iterdir()
    for damaged in (b"", b"hello", file.read_bytes()[:-9]):
        file.write_bytes(damaged)
        assert outlined(folder).run.name == "a"
    assert reads() == 4


def test_a_folder_that_cannot_be_made_is_no_obstacle(
    folder: Path, tmp_path: Path, reads: Count, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert outlined(folder).run.name == outlined(folder).run.name == "a"
    assert reads() == 2


def test_what_was_made_longest_ago_makes_room(folder: Path, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outlined(folder)
    (first,) = kept.iterdir()
    os.utime(first, (0, 0))
    monkeypatch.setattr(outline_cache, "LARGEST_CACHE", int(1.5 * first.stat().st_size))
    outlined(folder, "bigram")
    (left,) = kept.iterdir()
    assert left != first


def test_a_warning_is_given_each_time(folder: Path) -> None:
    with (folder / "trajectory.jsonl").open("a") as file:
        file.write('{"step": 9999')
    for _ in range(2):
        with pytest.warns(UserWarning, match="the last line was cut off"):
            outlined(folder)


def test_a_file_without_points_has_an_outline(tmp_path: Path) -> None:
    trajectories.write(replace(trajectories.make("a"), points=[]), tmp_path / "a")
    for _ in range(2):
        assert outlined(tmp_path / "a").phases.sentence() == "No points yet."


def test_mistakes_are_those_of_the_file(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="none"):
        outlined(tmp_path / "none.jsonl")
    with pytest.raises(ValueError, match="unit must be one of"):
        outlined(folder, unit="bits")
    (folder / "trajectory.jsonl").write_text("hello\n")
    with warnings.catch_warnings(), pytest.raises(ValueError, match="is not a trajectory file"):
        outlined(folder)


def test_what_cannot_be_kept_is_said() -> None:
    with pytest.raises(NotImplementedError, match="set cannot be kept"):
        outline_cache._plain({1})


def test_several_processes_keep_what_one_would(
    tmp_path: Path, reads: Count, monkeypatch: pytest.MonkeyPatch, kept: Path
) -> None:
    for name in "abc":
        trajectories.write(trajectories.make(name), tmp_path / name)
    paths = [tmp_path / name / "trajectory.jsonl" for name in "abc"]
    alone = [outlined(path) for path in paths]
    of_one = {file.name: file.read_bytes() for file in kept.iterdir()}
    for file in kept.iterdir():
        file.unlink()
    (tmp_path / "text.jsonl").write_text("hello\n")
    monkeypatch.setattr(outline_cache, "LEAST_PREPARED", 0)
    monkeypatch.setattr(outline_cache, "_num_processors", lambda: 2)
    before = reads()
    assert list(prepare([*paths, tmp_path / "text.jsonl", tmp_path / "none"])) == [3, 2, 1, 0]
    assert reads() == before, "not in this process"
    assert {file.name: file.read_bytes() for file in kept.iterdir()} == of_one
    assert [outlined(path) for path in paths] == alone
    assert reads() == before
    monkeypatch.setattr(outline_cache, "ProcessPoolExecutor", None)
    assert list(prepare(paths)) == [], "nothing has changed"


@pytest.mark.parametrize(("least", "processors"), [(1 << 40, 2), (0, 1)])
def test_processes_are_not_started_for_little(
    folder: Path, monkeypatch: pytest.MonkeyPatch, least: int, processors: int
) -> None:
    trajectories.write(trajectories.make("b"), folder.parent / "b")
    monkeypatch.setattr(outline_cache, "LEAST_PREPARED", least)
    monkeypatch.setattr(outline_cache, "_num_processors", lambda: processors)
    monkeypatch.setattr(outline_cache, "ProcessPoolExecutor", None)
    assert list(prepare([folder / "trajectory.jsonl", folder.parent / "b" / "trajectory.jsonl"])) == []


def ended(path: Path, order: str, unit: str | None) -> None:
    """End the process, as the system does that has no memory left."""
    os._exit(1)


def test_a_process_that_is_ended_costs_time_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trajectories.write(trajectories.make("b"), folder.parent / "b")
    monkeypatch.setattr(outline_cache, "LEAST_PREPARED", 0)
    monkeypatch.setattr(outline_cache, "_num_processors", lambda: 2)
    monkeypatch.setattr(outline_cache, "_keep", ended)
    assert list(prepare([folder / "trajectory.jsonl", folder.parent / "b" / "trajectory.jsonl"])) == []


def test_there_is_a_processor() -> None:
    assert outline_cache._num_processors() >= 1
