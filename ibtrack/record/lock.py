"""A lock on a file that is written over hours: one process has it, and it is free when that process ends, however."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import sys
import warnings
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

_TAKEN = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)  # what systems answer where another process has the lock
_LOCKED_BYTE = 1 << 20  # behind the text: Windows lets nobody else read a byte that is locked
_LONGEST = 200  # bytes of the text that says who has the lock


class LockState(Enum):
    """What is known of a lock by who does not ask for it.

    Attributes:
        HELD: A process has it.
        FREE: Nobody has asked for it, or whoever had it has come to the end.
        LEFT: The process that had it has ended, and not come to the end: it was killed, or an error ended it.
        UNKNOWN: Nobody has it on this machine, but it was asked for on another one, or locks cannot be looked at here.
    """

    HELD = "held"
    FREE = "free"
    LEFT = "left"
    UNKNOWN = "unknown"


def lock_state(path: Path) -> LockState:
    """Look whether a file is being written, without getting into the way of a process that is about to write it.

    Locks can be looked at under Linux. Elsewhere, and for a process of another machine, a lock that was asked for is
    unknown.

    Args:
        path: File that may be locked by a `FileLock`.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     lock = FileLock(Path(folder) / "t.jsonl")
        ...     lock.acquire()
        ...     print(lock_state(lock.path).value)
        ...     lock.release()
        ...     print(lock_state(lock.path).value)
        held
        free
    """
    side = _side_file(path)
    held = _HELD.get(side)
    if held is not None and held.process == os.getpid():  # to open the side file would let go of the lock
        return LockState.HELD
    try:
        descriptor = os.open(side, os.O_RDONLY)
    except FileNotFoundError:
        return LockState.FREE
    except OSError:
        return LockState.UNKNOWN
    try:
        is_locked = _is_locked(descriptor)
        holder = _text_in(descriptor)
    except OSError:  # of a file system without locks
        return LockState.UNKNOWN
    finally:
        os.close(descriptor)
    if is_locked:
        return LockState.HELD
    is_of_here = is_locked is not None and holder.endswith(f" on {socket.gethostname()}")
    return LockState.LEFT if is_of_here else LockState.UNKNOWN


class FileLock:
    """Keeps other processes from writing a file; within a process the last one to ask for it has it.

    The operating system holds the lock and lets go when the process ends, also by SIGKILL; processes that were forked
    from it do not hold it. It is taken on a side file, ``.<name>.lock``, since a lock on the file itself would be gone
    as soon as anything in the process had read the file. The side file says who has the lock; one that was left by a
    process which did not come to its end is no lock, see `lock_state`.

    Args:
        path: File to lock; it need not exist, its folder must.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     lock = FileLock(Path(folder) / "t.jsonl")
        ...     lock.acquire()
        ...     print(os.listdir(folder))
        ...     lock.release()
        ...     print(os.listdir(folder))
        ['.t.jsonl.lock']
        []
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._side = _side_file(path)
        self._warned = False
        self._error = 0  # that was being handled when the lock was first asked for

    def acquire(self) -> None:
        """Take the lock, if this process does not have it already.

        Where the file system has no locks, a warning says so once, and the file is written without.

        Raises:
            FileExistsError: Another process has it; the message names the process and its machine.
            OSError: The side file cannot be made.
        """
        held = _HELD.get(self._side)
        if held is None or held.owner is not self:
            self._error = _error_on_its_way()
        if held is not None and held.process == os.getpid() and _lies_at(self._side, held.descriptor):
            held.owner = self
            return
        descriptor = self._take()
        if descriptor is not None:
            _HELD[self._side] = _Held(descriptor, os.getpid(), self)

    def release(self, *, is_over: bool | None = None) -> None:
        """Let other processes have it; nothing happens where it is not held, or was asked for again in this process.

        Args:
            is_over: Whether what was written has come to its end. If not, the side file stays, as it does when the
                process is killed. None is no where this is called because of an error, one that is on its way to
                whoever handles it, and else yes.
        """
        held = _HELD.get(self._side)
        if held is None or held.owner is not self or held.process != os.getpid():
            return
        del _HELD[self._side]
        is_over = _error_on_its_way() in (0, self._error) if is_over is None else is_over
        if is_over and _lies_at(self._side, held.descriptor):
            with contextlib.suppress(OSError):  # Windows keeps a file that is open
                self._side.unlink()
        os.close(held.descriptor)

    def _take(self) -> int | None:
        """Open and lock the side file; None where there are no locks.

        Raises:
            FileExistsError: Another process has it.
        """
        while True:
            descriptor = os.open(self._side, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                _lock(descriptor)
            except OSError as error:
                holder = _text_in(descriptor)
                os.close(descriptor)
                if error.errno in _TAKEN:
                    raise FileExistsError(
                        f"{self.path} is being written by {holder}; choose another path, or end that process first"
                    ) from None
                self._say_that_there_are_no_locks(error)
                return None
            if _lies_at(self._side, descriptor):
                _write(descriptor, f"process {os.getpid()} on {socket.gethostname()}")
                return descriptor
            os.close(descriptor)  # whoever had the lock has taken the side file away

    def _say_that_there_are_no_locks(self, error: OSError) -> None:
        if not self._warned:
            warnings.warn(
                f"{self.path} lies where files cannot be locked ({error.strerror}); see to it that one process alone "
                "writes it",
                stacklevel=2,
            )
        self._warned = True


@dataclass
class _Held:
    """A lock that this process has."""

    descriptor: int
    process: int  # a forked process inherits the entry, not the lock
    owner: FileLock


_HELD: dict[Path, _Held] = {}


def _side_file(path: Path) -> Path:
    return path.parent.resolve() / f".{path.name}.lock"


def _error_on_its_way() -> int:
    """Name the error that is being handled, also by a ``finally``; 0 where there is none."""
    error = sys.exc_info()[1]
    return 0 if error is None else id(error)


def _lies_at(path: Path, descriptor: int) -> bool:
    """Whether an open file is still the one at the path."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _text_in(descriptor: int) -> str:
    text = os.read(descriptor, _LONGEST).decode(errors="replace")
    return "".join(filter(str.isprintable, text)) or "another process"


def _write(descriptor: int, text: str) -> None:
    with contextlib.suppress(OSError):  # on a full disk the lock holds all the same
        os.ftruncate(descriptor, 0)
        os.write(descriptor, text.encode())


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        """Lock an open file, or raise at once."""
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        """Lock an open file, or raise at once."""
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _LOCKED_BYTE)


if sys.platform == "linux" and struct.calcsize("P") == 8:
    _FLOCK = "@hhqqi4x"  # type, whence, start, length, process; 4 bytes fill it up

    def _is_locked(descriptor: int) -> bool | None:
        """Say whether another process has locked an open file; None where that cannot be asked."""
        question = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, _LOCKED_BYTE, 1, 0)
        answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, question)
        return bool(struct.unpack(_FLOCK, answer)[0] != fcntl.F_UNLCK)

else:

    def _is_locked(descriptor: int) -> bool | None:
        """Say whether another process has locked an open file; None where that cannot be asked."""
        return None
