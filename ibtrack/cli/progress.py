"""Progress on the terminal: of a replay a bar with what remains, or a line for each point; of files a number."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ibtrack.cli.terminal import one_line, say


class Lines:
    """Shows every line, as in a file that a terminal's output goes to."""

    def report(self, line: str) -> None:
        """Show a line."""
        say(line, err=True)

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Show nothing more of a point, which has a line."""


class Bar:
    """Counts the points that a replay has recorded, and shows none of their lines but those of an error.

    Args:
        bar: A bar of tqdm.
    """

    def __init__(self, bar: Any) -> None:
        self._bar = bar

    def report(self, line: str) -> None:
        """Show what a point is, beside the bar, and any other line above it."""
        if line.startswith("ibtrack step "):
            self._bar.set_postfix_str(one_line(line).removeprefix("ibtrack "))
        else:
            self._bar.write(one_line(line), file=sys.stderr)

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Count a point."""
        self._bar.update()


@contextmanager
def counted(words: str) -> Iterator[Callable[[int], None]]:
    """Show on a terminal how much is left, in one line that is gone at the end; nothing in a file.

    Args:
        words: What stands behind the number.

    Yields:
        What is given the number.
    """
    if not sys.stderr.isatty():
        yield lambda number: None
        return
    try:
        yield lambda number: print(f"\r{number} {words} ", end="", file=sys.stderr, flush=True)
    finally:
        print(f"\r{' ' * (len(words) + 12)}\r", end="", file=sys.stderr, flush=True)


@contextmanager
def progress(total: int, done: int) -> Iterator[Lines | Bar]:
    """Show the progress of a replay while it goes on.

    Args:
        total: Number of points that it will have.
        done: Number of those that an earlier start has recorded.

    Yields:
        What is given lines, and points as a logger is.
    """
    if not sys.stderr.isatty():
        yield Lines()
        return
    try:
        from tqdm import tqdm
    except ModuleNotFoundError:  # it comes with huggingface_hub and with lightning
        yield Lines()
        return
    with tqdm(total=total, initial=done, unit="checkpoint", dynamic_ncols=True) as bar:
        yield Bar(bar)
