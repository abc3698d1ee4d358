"""A folder that is made once: whole or not there, after a kill, on a full disk, and by several processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from experiments.made_folder import made_folder


def whole(folder: Path) -> str | None:
    return None if (folder / "last").exists() else "it has no last file"


def fill(folder: Path) -> None:
    (folder / "first").write_text("1")
    (folder / "last").write_text("2")


def test_a_folder_is_made_once(tmp_path: Path) -> None:
    made: list[Path] = []

    def make(folder: Path) -> None:
        made.append(folder)
        fill(folder)

    for _ in range(2):
        assert made_folder(tmp_path / "deep" / "a", make, whole) == tmp_path / "deep" / "a"
    assert len(made) == 1
    assert sorted(path.name for path in (tmp_path / "deep" / "a").iterdir()) == ["first", "last"]


def test_a_folder_that_is_not_whole_is_made_anew_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "old").touch()
    made_folder(tmp_path / "a", fill, whole)
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["first", "last"]
    assert capsys.readouterr().err == f"{tmp_path / 'a'} is prepared anew: it has no last file\n"


@pytest.mark.parametrize("error", [ValueError("no documents"), KeyboardInterrupt(), OSError(5, "broken disk")])
def test_an_error_leaves_nothing_and_goes_on(tmp_path: Path, error: BaseException) -> None:
    def make(folder: Path) -> None:
        (folder / "first").touch()
        raise error

    with pytest.raises(type(error)) as raised:
        made_folder(tmp_path / "a", make, whole)
    assert raised.value is error
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"] == []


def test_a_disk_that_is_full_is_said_and_nothing_is_left(tmp_path: Path) -> None:
    def make(folder: Path) -> None:
        (folder / "first").touch()
        with open("/dev/full", "wb", buffering=0) as full:  # every write to it finds no space
            full.write(b"tokens")

    with pytest.raises(OSError, match=r"must have room for the prepared data, .* IBTRACK_CACHE names a folder"):
        made_folder(tmp_path / "a", make, whole)
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"] == []


def killed_half_way(folder: str) -> None:
    def make(draft: Path) -> None:
        (draft / "first").touch()
        os.kill(os.getpid(), signal.SIGKILL)

    made_folder(Path(folder), make, whole)


def test_what_a_killed_process_has_left_is_not_taken_for_whole(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=killed_half_way, args=(str(tmp_path / "a"),))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not (tmp_path / "a").exists()
    assert (tmp_path / "a.draft" / "first").exists(), "it was in the middle of it"
    made_folder(tmp_path / "a", fill, whole)
    assert {path.name for path in tmp_path.iterdir()} - {"a.lock"} == {"a"}


def slowly(folder: str, log: str, go: str) -> None:
    def make(draft: Path) -> None:
        with open(log, "a") as file:
            file.write("made\n")
        while not Path(go).exists():
            time.sleep(0.01)
        fill(draft)

    made_folder(Path(folder), make, whole)


def test_of_two_processes_one_makes_it_and_the_other_waits(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    context = multiprocessing.get_context("spawn")
    arguments = tuple(str(tmp_path / name) for name in ("a", "log", "go"))
    processes = [context.Process(target=slowly, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    waiting = ""
    while "waits for another process" not in waiting:
        waiting += capfd.readouterr().err
        assert all(process.is_alive() for process in processes)
    (tmp_path / "go").touch()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert (tmp_path / "log").read_text() == "made\n"
    assert whole(tmp_path / "a") is None
