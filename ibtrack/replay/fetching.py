"""Bringing checkpoints to this machine: one ahead of what is measured, two on the disk at most, and again after errors.

The cache is a folder with one folder for each checkpoint that is on this machine for the time of its measurement. What
a process that was killed has left in it is taken up or removed by the next one.
"""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Generic, TypeVar
from urllib.parse import quote

from ibtrack.record.texts import reason
from ibtrack.replay.checkpoint import Checkpoint
from ibtrack.replay.hub_errors import HubError, is_transient
from ibtrack.replay.plan_table import size_words

Fetch = Callable[[Checkpoint, Path], Path]
"""Brings a checkpoint into a folder, unless it is on this machine already, and says where it is, see `Source.fetch`."""

RETRIES = 5  # of a download, unless another number is asked for
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0  # seconds before a download is tried again, doubled from one time to the next
_LONGEST_NAME = 120  # letters of a folder's name that are the checkpoint's; file systems take 255 bytes

Result = TypeVar("Result")


class Cache:
    """Keeps the checkpoints that were brought to this machine until they have been measured.

    It removes nothing but the folders of the checkpoints that it is made for.

    Args:
        folder: Folder for them; it is made when the first one is fetched.
        checkpoints: All checkpoints of the replay, in their order.
        keep: Whether checkpoints stay when they have been measured.

    Example:
        >>> cache = Cache(Path("cache"), [Checkpoint("step8", "owner/name", 8, commit="8b57f1d0c2")])
        >>> cache.place(cache.checkpoints[0]).as_posix()
        'cache/step8@8b57f1d0-9d363360'
    """

    def __init__(self, folder: Path, checkpoints: Sequence[Checkpoint], *, keep: bool = False) -> None:
        self.folder, self.checkpoints, self.keep = folder, list(checkpoints), keep

    def place(self, checkpoint: Checkpoint) -> Path:
        """Return the folder of a checkpoint, whose name no other checkpoint has.

        Args:
            checkpoint: Any checkpoint.
        """
        parts = (checkpoint.source, checkpoint.folder, checkpoint.name, checkpoint.commit or "")
        digest = hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:8]
        return self.folder / f"{quote(checkpoint.label, safe='@ ', errors='replace')[:_LONGEST_NAME]}-{digest}"

    def holds(self, path: Path) -> bool:
        """Whether a checkpoint was brought here, and does not lie where its run has saved it.

        Args:
            path: Where a checkpoint is, as a source has said.
        """
        return path.resolve().is_relative_to(self.folder.resolve())

    def drop(self, checkpoint: Checkpoint) -> None:
        """Remove a checkpoint that has been measured, unless it is to be kept; one that is not there is no error.

        Args:
            checkpoint: The checkpoint.

        Raises:
            OSError: The disk does not let it go.
        """
        place = self.place(checkpoint)
        if not self.keep and place.exists():
            shutil.rmtree(place)

    def sweep(self, wanted: Sequence[Checkpoint]) -> None:
        """Remove what an earlier start has left of checkpoints that are not the next ones, unless they are kept.

        Args:
            wanted: The checkpoints that are to be measured next, which are taken up.

        Raises:
            OSError: The disk does not let one go.
        """
        stay = {self.place(checkpoint) for checkpoint in wanted}
        for checkpoint in self.checkpoints:
            if self.place(checkpoint) not in stay:
                self.drop(checkpoint)

    def close(self) -> None:
        """Remove the folder if there is nothing in it."""
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def bytes_needed(self, remaining: Sequence[Checkpoint]) -> int:
        """Work out how many bytes of the disk the rest of a replay takes at a time.

        Args:
            remaining: The checkpoints that are still to be measured; those that are on this machine take none.

        Returns:
            The bytes of all where they are kept, and otherwise of the two neighbours that have most.

        Example:
            >>> from ibtrack.replay.checkpoint import File
            >>> sizes = [Checkpoint(str(n), "owner/name", n, files=(File("a", n),), commit="0") for n in (1, 5, 3)]
            >>> [Cache(Path("cache"), sizes, keep=keep).bytes_needed(sizes) for keep in (False, True)]
            [8, 9]
        """
        sizes = [0 if checkpoint.commit is None else checkpoint.num_bytes for checkpoint in remaining]
        if self.keep or len(sizes) < 2:
            return sum(sizes)
        return max(one + other for one, other in pairwise(sizes))

    def check_room(self, remaining: Sequence[Checkpoint]) -> None:
        """Refuse to begin where the disk will not hold what has to be fetched.

        Args:
            remaining: The checkpoints that are still to be measured.

        Raises:
            OSError: It will not.
        """
        needed = self.bytes_needed(remaining)
        there = next(folder for folder in (self.folder.absolute(), *self.folder.absolute().parents) if folder.exists())
        free = shutil.disk_usage(there).free
        if needed > free:
            what = "all checkpoints" if self.keep else "two checkpoints at a time"
            raise OSError(
                f"{there} has {size_words(free)} free, and {what} need {size_words(needed)}; name a folder for them on "
                "another disk"
            )


class FetchError(OSError):
    """A checkpoint did not come, however often it was asked for.

    Args:
        message: Why it did not, in the words of the last error.
        passes: Whether the error was one that may be over later, such as that there is no network.
    """

    def __init__(self, message: str, *, passes: bool) -> None:
        super().__init__(message)
        self.passes = passes


def fetch_again(
    fetch: Fetch,
    checkpoint: Checkpoint,
    folder: Path,
    *,
    retries: int,
    stop: threading.Event,
    say: Callable[[str], object],
) -> Path:
    """Bring a checkpoint to this machine, and try again where the error may be over later.

    Args:
        fetch: Brings it.
        checkpoint: The checkpoint.
        folder: Folder for it.
        retries: How often it is tried again.
        stop: Set when it is not to be tried again. Before the first try again 1 second passes, before the next twice
            as long, up to a minute.
        say: Shows a line for each try that failed.

    Returns:
        Where the checkpoint is.

    Raises:
        FetchError: It did not come.
    """
    seconds, left = FIRST_WAIT, retries
    while True:
        try:
            return fetch(checkpoint, folder)
        except Exception as error:
            passes, why = is_transient(error), str(error) if isinstance(error, HubError) else reason(error)
            if not passes or left == 0:
                tries = f" after {retries + 1} tries" if passes and retries else ""
                raise FetchError(f"it could not be fetched{tries}: {why}", passes=passes) from error
            if not stop.is_set():
                say(f"ibtrack: {checkpoint.label} could not be fetched ({why}); again in {seconds:.0f} s")
        if stop.wait(seconds):
            raise FetchError("it could not be fetched before the replay was stopped", passes=True)
        seconds, left = min(2 * seconds, LONGEST_WAIT), left - 1


@dataclass
class Outcome(Generic[Result]):
    """What became of a piece of work: its result, or the error that ended it."""

    result: Result | None = None
    error: BaseException | None = None

    def take(self) -> Result:
        """Return the result and let go of it, or raise the error.

        Raises:
            BaseException: The error that ended the work.
        """
        if self.error is not None:
            raise self.error
        result, self.result = self.result, None
        return result  # type: ignore[return-value]  # it is there where there is no error


def one_ahead(works: Sequence[Callable[[], Result]]) -> Generator[Outcome[Result], None, None]:
    """Do works one after another on a thread, each while the caller is busy with the outcome of the one before.

    A work begins when the caller has been given the outcome before, so never more than two are in hand: one that the
    caller has, and one that is being done. Nothing waits for the thread if the caller stops early, or the program ends.

    Args:
        works: Functions without arguments.

    Yields:
        The outcome of each, in their order.

    Example:
        >>> [outcome.take() for outcome in one_ahead([lambda: 1, lambda: 2])]
        [1, 2]
    """
    outcome = _begin(works[0]) if works else None
    for following in (*works[1:], None):
        if outcome is None:
            return
        done = outcome()
        outcome = None if following is None else _begin(following)
        yield done


def _begin(work: Callable[[], Result]) -> Callable[[], Outcome[Result]]:
    """Do a work on a thread; what is returned waits for its outcome."""
    outcome: Outcome[Result] = Outcome()

    def run() -> None:
        try:
            outcome.result = work()
        except BaseException as error:  # raised again where the outcome is taken
            outcome.error = error

    thread = threading.Thread(target=run, name="ibtrack: the next checkpoint", daemon=True)
    thread.start()

    def wait() -> Outcome[Result]:
        thread.join()
        return outcome

    return wait
