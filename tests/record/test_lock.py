"""One process at a time writes a file, and a process that ends, however, is no longer in the way."""

import errno
import multiprocessing as mp
import os
import socket
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest

from ibtrack.record import lock
from ibtrack.record.lock import FileLock, LockState, lock_state

PATIENCE = 300  # seconds that a process is waited for


def hold(path: Path, told: Connection, *, leave_a_child: bool = False) -> None:
    """Take a lock, say so, and keep it."""
    FileLock(path).acquire()
    child = 0
    if leave_a_child and (child := os.fork()) == 0:
        told.recv()
        os._exit(0)
    told.send(child)
    told.recv()


def ask_in_a_child(path: Path) -> None:
    """Take a lock, and end as a forked process does that asks for it: with 7 where it does not get it."""
    FileLock(path).acquire()
    child = os.fork()
    if child == 0:
        try:
            FileLock(path).acquire()
        except FileExistsError:
            os._exit(7)
        os._exit(0)
    os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


class Holder:
    """A process that has a lock, until it is killed."""

    def __init__(self, path: Path, **options: bool) -> None:
        self.line, there = mp.Pipe()
        self.process: ForkServerProcess = mp.get_context("forkserver").Process(
            target=hold, args=(path, there), kwargs=options
        )
        self.process.start()
        assert self.line.poll(PATIENCE)
        self.child: int = self.line.recv()

    def kill(self) -> None:
        self.process.kill()
        self.process.join(PATIENCE)


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "t.jsonl"
    for held in [held for side, held in lock._HELD.items() if side.parent == tmp_path]:
        held.owner.release()


def test_a_second_process_is_told_which_one_has_the_lock_until_that_is_killed(path: Path) -> None:
    holder = Holder(path)
    sentence = rf"t\.jsonl is being written by process {holder.process.pid} on {socket.gethostname()}; choose another"
    for _ in range(2):  # asking takes nothing from the one that has it
        with pytest.raises(FileExistsError, match=sentence):
            FileLock(path).acquire()
    holder.kill()
    FileLock(path).acquire()


def test_a_process_that_was_forked_does_not_hold_the_lock(path: Path) -> None:
    """As workers of data loaders, which live on for a while when their trainer is killed."""
    holder = Holder(path, leave_a_child=True)
    holder.kill()
    os.kill(holder.child, 0)  # is there
    FileLock(path).acquire()
    holder.line.send("end")


def test_a_forked_process_does_not_think_that_it_has_the_lock_of_its_parent(path: Path) -> None:
    process = mp.get_context("forkserver").Process(target=ask_in_a_child, args=(path,))
    process.start()
    process.join(PATIENCE)
    assert process.exitcode == 7


def test_within_a_process_the_last_to_ask_has_it(path: Path) -> None:
    first, second = FileLock(path), FileLock(path)
    first.acquire()
    second.acquire()
    first.release()
    assert os.listdir(path.parent) == [".t.jsonl.lock"]
    second.release()
    assert os.listdir(path.parent) == []
    second.release()


def test_two_names_of_a_folder_are_one_lock(path: Path) -> None:
    (path.parent / "link").symlink_to(path.parent)
    first, second = FileLock(path), FileLock(path.parent / "link" / path.name)
    first.acquire()
    second.acquire()
    first.release()
    assert (path.parent / ".t.jsonl.lock").exists()


def test_a_side_file_that_was_taken_away_is_made_again(path: Path) -> None:
    held = FileLock(path)
    held.acquire()
    (path.parent / ".t.jsonl.lock").unlink()
    held.acquire()
    assert (path.parent / ".t.jsonl.lock").exists()


def test_a_side_file_that_a_killed_process_has_left_is_no_lock(path: Path) -> None:
    (path.parent / ".t.jsonl.lock").write_text("process 1 on elsewhere, and more of an old text")
    FileLock(path).acquire()
    text = (path.parent / ".t.jsonl.lock").read_text()
    assert text == f"process {os.getpid()} on {socket.gethostname()}"


def test_where_files_cannot_be_locked_a_warning_says_so_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(descriptor: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock, "_lock", no_locks)
    free = FileLock(path)
    with pytest.warns(UserWarning, match=r"cannot be locked \(No locks available\); see to it that one process"):
        free.acquire()
    free.acquire()  # without a word
    free.release()


def test_a_full_disk_does_not_keep_the_lock_from_being_taken(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, text: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    FileLock(path).acquire()
    assert path.parent / ".t.jsonl.lock" in lock._HELD


def test_what_stands_in_a_side_file_is_printed_without_control_characters(path: Path) -> None:
    holder = Holder(path)
    (path.parent / ".t.jsonl.lock").write_bytes(b"process \x1b[31m\xff")
    with pytest.raises(FileExistsError, match=r"written by process \[31m"):
        FileLock(path).acquire()
    holder.kill()


def test_whether_a_file_is_being_written_is_seen_from_outside(path: Path) -> None:
    assert lock_state(path) is LockState.FREE
    holder = Holder(path)
    assert lock_state(path) is LockState.HELD
    holder.kill()
    assert lock_state(path) is LockState.LEFT
    held = FileLock(path)
    held.acquire()
    assert lock_state(path) is LockState.HELD
    other = mp.get_context("forkserver").Process(target=ask_in_a_child, args=(path,))
    other.start()
    other.join(PATIENCE)
    assert other.exitcode != 0, "to look at the lock of this process has let go of it"
    held.release()
    assert lock_state(path) is LockState.FREE


def test_who_looks_is_not_in_the_way_of_who_writes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    holder = Holder(path)
    holder.kill()
    asked: list[int] = []
    monkeypatch.setattr(lock, "_lock", asked.append)
    assert lock_state(path) is LockState.LEFT
    assert asked == []


@pytest.mark.parametrize("text", ["process 1 on elsewhere", ""])
def test_of_a_process_elsewhere_nothing_is_known(path: Path, text: str) -> None:
    (path.parent / ".t.jsonl.lock").write_text(text)
    assert lock_state(path) is LockState.UNKNOWN


def test_where_locks_cannot_be_looked_at_nothing_is_known(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(descriptor: int) -> bool:
        raise OSError(errno.ENOLCK, "No locks available")

    Holder(path).kill()
    for other in (no_locks, lambda descriptor: None):
        monkeypatch.setattr(lock, "_is_locked", other)
        assert lock_state(path) is LockState.UNKNOWN
    side = path.parent / ".t.jsonl.lock"
    side.unlink()
    side.mkdir()
    (path.parent / "loop").symlink_to("loop")
    monkeypatch.setattr(lock, "_side_file", lambda path: path.parent / "loop")
    assert lock_state(path) is LockState.UNKNOWN


def test_a_lock_that_is_given_up_leaves_its_side_file_and_can_be_taken(path: Path) -> None:
    held = FileLock(path)
    held.acquire()
    held.release(is_over=False)
    assert lock_state(path) is LockState.LEFT
    Holder(path).kill()
