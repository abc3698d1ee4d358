"""The HTML page of a run while it goes on, made anew beside the training.

The page is made from the trajectory file in a process of its own: the training loop never waits for it but at the end,
whatever its size, and nothing that goes wrong there can end the run.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from ibtrack._checks import needs
from ibtrack.record.texts import printable
from ibtrack.tracking.aside import Aside
from ibtrack.tracking.budget import Budget

SHARE = 0.01  # of wall time that pages may take
FIRST = 3.0  # seconds that the first is expected to take; most of them are imports
GRACE = 60.0  # seconds for a process that has taken too long to be ended
LONGEST = 300.0  # seconds; a page of ten thousand points of a hundred layers takes some tens


class LivePage:
    """Writes the page of a run at its points, as long as that takes less than a hundredth of its time, and at its end.

    Who opens the page while it is written anew sees the one before. A page holds one run: of two trackers with one page
    the one that writes last has it.

    Args:
        path: The page; its folder is made.
        source: Trajectory file that it is made from.

    Raises:
        ValueError: ``path`` is a folder.
        ModuleNotFoundError: The extra ``report`` is not installed.
    """

    def __init__(self, path: Path, source: Path) -> None:
        if path.is_dir():
            raise ValueError(f"report must name an HTML page, got the folder {path}; take {path / 'report.html'}")
        with needs("the page of report=", extra="report"):
            for package in ("altair", "vl_convert"):
                if find_spec(package) is None:
                    raise ModuleNotFoundError(name=package)
        self.path, self.source = path, source
        self._aside, self._budget = Aside(), Budget(SHARE, page=FIRST)
        self._points = 0  # in the newest page

    def refresh(self, num_points: int, wall_time: float) -> None:
        """Begin to write the page anew, if there is time for it.

        Args:
            num_points: Points that the file holds.
            wall_time: Seconds since training began.

        Raises:
            RuntimeError: An earlier page could not be written.
        """
        self._take_stock()
        if not self._aside.busy and self._budget.allows("page", wall_time, size=num_points):
            self._begin(num_points)

    def finish(self, num_points: int) -> None:
        """Write the page of a run that is over, unless there is nothing new, and wait for it.

        Args:
            num_points: Points that the file holds.

        Raises:
            RuntimeError: The page could not be written, or an earlier one.
        """
        if num_points > self._points:
            self._begin(num_points)
        in_time = self._aside.wait(2 * LONGEST + GRACE)  # for the one that is being written, and the last
        self._take_stock()
        if not in_time:
            raise RuntimeError(f"its process could not be ended within {GRACE:g} s")

    def _begin(self, num_points: int) -> None:
        self._points = num_points
        self._aside.start(self._write)

    def _take_stock(self) -> None:
        """Charge the pages that have been written since the last time.

        Raises:
            RuntimeError: The last of them could not be written.
        """
        error = None
        for outcome in self._aside.outcomes():
            self._budget.charge("page", outcome.seconds, size=max(self._points, 1))
            error = outcome.error
        if error is not None:
            self._points = 0  # so that the end tries again
            raise RuntimeError(str(error)) from error

    def _write(self) -> None:
        """Make the page in a process of its own, which does not hear of Ctrl-C.

        Raises:
            RuntimeError: There is no page.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        folders = os.pathsep.join(map(os.path.abspath, sys.path))  # where this process finds its packages
        try:
            done = subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "ibtrack",
                    "report",
                    str(self.source.absolute()),
                    "-o",
                    str(self.path.absolute()),
                ],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=LONGEST,
                env={**os.environ, "PYTHONPATH": folders, "PYTHONSAFEPATH": "1"},  # not what lies in the current folder
                start_new_session=True,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(f"given up after {LONGEST:g} s") from error
        if done.returncode != 0:
            lines = done.stderr.decode(errors="replace").strip().splitlines()
            words = printable(lines[-1], longest=300) if lines else f"its process ended with code {done.returncode}"
            raise RuntimeError(words.removeprefix("error: "))


def check_page(report: str | os.PathLike[str] | bool | None) -> Path | bool:
    """Check what a user has said about the page: its path, or whether there is to be one.

    Args:
        report: Path of the page, True for one beside the trajectory file, False or None for none.

    Raises:
        ValueError: It is none of these.
    """
    if report is None or isinstance(report, bool):
        return bool(report)
    if isinstance(report, str | os.PathLike):
        return Path(report)
    hint = "; say= takes what is called with lines of text" if callable(report) else ""
    raise ValueError(f"report must be the path of an HTML page, True or None, got {type(report).__name__}{hint}")


def page_path(report: Path | bool, source: Path | None) -> Path | None:
    """Name the page of a run; None where there is to be none.

    Args:
        report: What `check_page` returned.
        source: Trajectory file of the run.

    Raises:
        ValueError: There is to be a page and there is no file.
    """
    if report is False:
        return None
    if source is None:
        raise ValueError("report needs path=, the trajectory file that the page is made from, got none")
    return page_beside(source) if report is True else report


def page_beside(file: Path) -> Path:
    """Name the page of a trajectory file in its folder.

    Args:
        file: Trajectory file.

    Example:
        >>> [page_beside(Path(name)).name for name in ("trajectory.jsonl", "trajectory_pref.jsonl", "t.jsonl")]
        ['report.html', 'report_pref.html', 'report_t.html']
    """
    rest = file.stem.removeprefix("trajectory").lstrip("_")
    return file.with_name(f"report_{rest}.html" if rest else "report.html")
