"""The file of a run: what is written, what is refused, what is moved aside."""

import contextlib
import errno
import gc
import json
import math
import multiprocessing as mp
import os
import warnings
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import Any

import pytest
import torch

from ibtrack import Point, Trajectory
from ibtrack.record.lock import LockState, lock_state
from ibtrack.record.writer import TrajectoryWriter
from tests.killed_writer import create_at_once
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
    assert lines[1:] == [later]  # after the names of its columns
    assert json.loads(header)["run_id"] == writer.run_id


def test_a_run_begun_before_there_were_bottleneck_curves_can_be_resumed(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl")
    TrajectoryWriter.resume(
        path, {**PROTOCOL, "bottleneck_curve": {"complexity": [0.0], "expressivity": [0.0]}}, last_step=4
    )
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


@contextlib.contextmanager
def full_disk(monkeypatch: pytest.MonkeyPatch, room: int = 0, *, gone: bool = False) -> Iterator[None]:
    """A disk that takes so many bytes more of each file that is written; one that is gone cuts nothing off either."""

    class Full(FileIO):
        left = room

        def write(self, text: Any) -> int:
            if not self.left:
                raise OSError(errno.ENOSPC, "No space left on device")
            taken = super().write(bytes(text)[: self.left])
            self.left -= taken
            return taken

        def truncate(self, size: int | None = None) -> int:
            if gone and self.left < room:
                raise OSError(errno.EIO, "Input/output error")
            return super().truncate(size)

    whole = Path.open

    def opened(path: Path, mode: str = "r", buffering: int = -1, **options: Any) -> Any:
        return Full(path, mode) if buffering == 0 else whole(path, mode, buffering, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", opened)
        yield


def names(folder: Path) -> list[str]:
    """What lies in a folder, without the side file of a lock."""
    return sorted(name for name in os.listdir(folder) if not name.endswith(".lock"))


@pytest.mark.parametrize("gone", [False, True])
@pytest.mark.parametrize("room", [0, 1, 40])
def test_a_file_catches_up_with_what_the_disk_did_not_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int, gone: bool
) -> None:
    path = write(tmp_path / "t.jsonl", steps=[0])
    writer = TrajectoryWriter.resume(path, PROTOCOL, last_step=0)
    with full_disk(monkeypatch, room, gone=gone):
        for step in (1, 2):
            with pytest.raises(OSError, match=r"(No space left|Input/output)"):
                writer.append(Point(step))
        assert writer.fault is not None
    writer.append(Point(3))
    assert writer.fault is None
    writer.append(Point(4))
    assert Trajectory.load(path).steps == [0, 1, 2, 3, 4]


def test_the_last_try_is_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "t.jsonl", steps=[0])
    writer = TrajectoryWriter.resume(path, PROTOCOL, last_step=0)
    with full_disk(monkeypatch), pytest.raises(OSError, match="No space"):
        writer.append(Point(1))
    writer.close()
    assert Trajectory.load(path).steps == [0, 1]
    assert os.listdir(tmp_path) == ["t.jsonl"]


@pytest.mark.parametrize("room", [0, 10, 300])
def test_a_disk_that_is_full_at_the_start_is_left_as_it_was_until_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    path = tmp_path / "run" / "t.jsonl"
    with full_disk(monkeypatch, room):
        writer = TrajectoryWriter.create(path, PROTOCOL, {"name": "a" * 1000})
        assert isinstance(writer.fault, OSError)
        with pytest.raises(OSError, match="No space left"):
            writer.append(Point(0))
        assert names(tmp_path / "run") == []
    writer.append(Point(1))
    assert Trajectory.load(path).steps == [0, 1]
    assert names(tmp_path / "run") == ["t.jsonl"]


@pytest.mark.parametrize("go_on", [True, False], ids=["resumed", "begun anew"])
@pytest.mark.parametrize("room", [0, 10, 100])
def test_a_disk_that_is_full_leaves_what_an_earlier_start_has_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int, go_on: bool
) -> None:
    path = write(tmp_path / "t.jsonl")
    before = path.read_text()
    with full_disk(monkeypatch, room):
        if go_on:
            writer = TrajectoryWriter.resume(path, PROTOCOL, last_step=2)
        else:
            writer = TrajectoryWriter.create(path, PROTOCOL, {"name": "a"})
        assert isinstance(writer.fault, OSError)
        with pytest.raises(OSError, match="No space left"):
            writer.append(Point(8))
        assert path.read_text() == before
        assert names(tmp_path) == ["t.jsonl"]
    with pytest.warns(UserWarning, match=r"t\.1\.jsonl"):
        writer.append(Point(9))
    assert Trajectory.load(path).steps == ([0, 1, 2, 8, 9] if go_on else [8, 9])
    assert Trajectory.load(tmp_path / "t.1.jsonl").steps == ([4] if go_on else [0, 1, 2, 4])
    assert names(tmp_path) == ["t.1.jsonl", "t.jsonl"]


def test_a_path_that_is_wrong_raises_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"(Not a directory|File exists)"):
        TrajectoryWriter.create(tmp_path / "file" / "t.jsonl", PROTOCOL)


def test_a_point_that_has_no_line_does_not_keep_later_ones_waiting(tmp_path: Path) -> None:
    writer = TrajectoryWriter.create(tmp_path / "t.jsonl", PROTOCOL)
    with pytest.raises(TypeError):
        writer.append(Point(0, notes={"a": object()}))  # type: ignore[dict-item]  # what has no line
    writer.append(Point(1))
    assert Trajectory.load(tmp_path / "t.jsonl").steps == [1]


def _line_behind(path: Path) -> None:
    with path.open("a") as file:
        file.write("another process\n")


@pytest.mark.parametrize("change", [_line_behind, lambda path: os.truncate(path, 10)])
def test_a_file_that_another_process_has_changed_is_left_alone(tmp_path: Path, change: Callable[[Path], None]) -> None:
    """As can happen where files cannot be locked."""
    path = tmp_path / "t.jsonl"
    writer = TrajectoryWriter.create(path, PROTOCOL)
    change(path)
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="has been changed, by another start of this run perhaps"):
        writer.append(Point(0))
    assert path.read_bytes() == before


def test_a_file_that_came_while_the_disk_was_full_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t.jsonl"
    with full_disk(monkeypatch):
        writer = TrajectoryWriter.create(path, PROTOCOL)
    path.write_text("of another process")
    with pytest.raises(FileExistsError, match="made or changed by another process in the meantime"):
        writer.append(Point(0))
    assert path.read_text() == "of another process"


def _of_another_run(path: Path) -> TrajectoryWriter:
    return TrajectoryWriter.resume(path, PROTOCOL, last_step=2, run={"name": "a"}, run_id="of a checkpoint")


def _with_another_config(path: Path) -> TrajectoryWriter:
    config = {"lr": 1, "model": {"width": 2}}
    return TrajectoryWriter.resume(path, PROTOCOL, last_step=2, run={"name": "a", "config": config})


@pytest.mark.parametrize(
    ("resume", "sentence"),
    [
        (_of_another_run, "4 points up to step 4 of another run than the checkpoint's"),
        (
            _with_another_config,
            r"4 points up to step 4 of a run with another config \(it differs in lr, model\.width\)",
        ),
    ],
)
def test_a_file_of_another_run_or_config_is_kept_and_a_new_one_is_begun(
    tmp_path: Path, resume: Callable[[Path], TrajectoryWriter], sentence: str
) -> None:
    path = write(tmp_path / "t.jsonl")
    before = path.read_text()
    with pytest.warns(UserWarning, match=rf"held {sentence}; it is moved to t\.1\.jsonl"):
        writer = resume(path)
    writer.append(Point(3))
    assert (tmp_path / "t.1.jsonl").read_text() == before
    assert Trajectory.load(path).steps == [3]
    assert writer.run_id != json.loads(before.partition("\n")[0])["run_id"]


def test_points_in_memory_that_the_file_lacks_are_written_when_it_goes_on(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", steps=[0, 4])
    held = [Point(step) for step in (0, 2, 4, 6)]
    TrajectoryWriter.resume(path, PROTOCOL, last_step=5, held=held)
    assert Trajectory.load(path).steps == [0, 2, 4]


def test_processes_that_begin_at_once_lose_nothing(tmp_path: Path) -> None:
    """Each takes the file for an earlier start of its run, if it is free; the points of all are there at the end."""
    context, world = mp.get_context("forkserver"), 6
    barrier = context.Barrier(world)
    processes = [context.Process(target=create_at_once, args=(tmp_path / "t.jsonl", barrier, i)) for i in range(world)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert {process.exitcode for process in processes} <= {0, 1}
    written = [step for step, process in enumerate(processes) if process.exitcode == 0]
    steps = [step for path in tmp_path.glob("*.jsonl") for step in Trajectory.load(path).steps]
    assert written
    assert sorted(steps) == written


def test_a_path_is_free_again_when_its_writer_is_closed_or_gone(tmp_path: Path) -> None:
    side = tmp_path / ".t.jsonl.lock"
    writer = TrajectoryWriter.create(tmp_path / "t.jsonl", PROTOCOL)
    assert side.exists()
    writer.close()
    assert not side.exists()
    writer.append(Point(0))
    assert lock_state(writer.path) is LockState.HELD
    del writer
    gc.collect()
    assert lock_state(tmp_path / "t.jsonl") is LockState.LEFT, "nobody has closed it"
    TrajectoryWriter.resume(tmp_path / "t.jsonl", PROTOCOL, last_step=0).close()
    assert not side.exists()


def test_a_run_that_an_error_ends_is_told_from_one_that_came_to_its_end(tmp_path: Path) -> None:
    def train(path: Path, *, fails: bool) -> None:
        writer = TrajectoryWriter.create(path, PROTOCOL)
        try:
            if fails:
                raise MemoryError
        finally:
            writer.append(Point(0))
            writer.close()

    with pytest.raises(MemoryError):
        train(tmp_path / "failed.jsonl", fails=True)
    try:
        train(tmp_path / "tried.jsonl", fails=True)
    except MemoryError:
        train(tmp_path / "again.jsonl", fails=False)  # while the error is still being handled
    states = [lock_state(tmp_path / f"{name}.jsonl") for name in ("failed", "tried", "again")]
    assert states == [LockState.LEFT, LockState.LEFT, LockState.FREE]


def test_a_start_that_is_refused_keeps_no_lock(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text("my notes\n")
    with pytest.raises(FileExistsError, match="is not a trajectory file"):
        TrajectoryWriter.create(tmp_path / "t.jsonl", PROTOCOL)
    assert os.listdir(tmp_path) == ["t.jsonl"]


def test_what_a_file_did_not_know_of_its_measurement_stands_in_it_after_a_restart(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl")
    geometry = {**PROTOCOL, "geometry_rows": 50, "versions": {"torch": "9"}}
    TrajectoryWriter.resume(path, geometry, last_step=4).close()
    assert Trajectory.load(path).protocol == {**geometry, "versions": PROTOCOL.get("versions", {"torch": "9"})}
    with pytest.raises(ValueError, match=r"geometry_rows: 50 in 'the file', 20 in 'this run'"):
        TrajectoryWriter.resume(path, {**PROTOCOL, "geometry_rows": 20}, last_step=2)


@pytest.mark.parametrize("changes", [{"step": 1 << 60}, {"tokens_seen": 1 << 60}, {"wall_time": math.inf}])
def test_a_point_that_could_not_be_read_back_is_refused_and_the_others_stay_readable(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    writer = TrajectoryWriter.create(tmp_path / "t.jsonl", PROTOCOL)
    writer.append(Point(0))
    with pytest.raises(ValueError, match="Expected"):
        writer.append(Point(**{"step": 1, **changes}))
    writer.append(Point(2))
    assert Trajectory.load(tmp_path / "t.jsonl").steps == [0, 2]


def test_a_header_that_could_not_be_read_back_is_refused_before_there_is_a_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="orders and sites must be names without a slash, got 'a/b'"):
        TrajectoryWriter.create(tmp_path / "t.jsonl", {**PROTOCOL, "orders": ["a/b"]})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "setting", ["data/caf\udce9", {"deep": {}}], ids=["a file name of other bytes", "nested deeply"]
)
def test_a_run_is_known_again_by_any_configuration(tmp_path: Path, setting: Any) -> None:
    for _ in range(100 if isinstance(setting, dict) else 0):
        setting = {"deep": setting}
    path, run = tmp_path / "t.jsonl", {"name": "a", "config": {"data": setting}}
    writer = TrajectoryWriter.create(path, PROTOCOL, run)
    writer.append(Point(0))
    writer.close()
    writer = TrajectoryWriter.resume(path, PROTOCOL, last_step=0, run=run)
    writer.close()
    assert [point.step for point in writer.points] == [0]
    with pytest.warns(UserWarning, match="held an earlier start of this run, with 1 point up to step 0"):
        TrajectoryWriter.create(path, PROTOCOL, run)


def test_a_point_in_memory_that_no_file_can_hold_does_not_spoil_the_file_after_a_restart(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl")
    held = [Point(3, tokens_seen=1 << 60), Point(5, loss=2.0)]
    TrajectoryWriter.resume(path, PROTOCOL, last_step=5, held=held)
    assert Trajectory.load(path).steps == [0, 1, 2, 4, 5]
