"""The progress of a replay: a bar on a terminal, lines in a file."""

from __future__ import annotations

import io
import sys

import pytest

from ibtrack.cli import progress
from ibtrack.cli.progress import Bar, Lines


class Terminal(io.StringIO):
    """A stream that takes itself for a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_a_bar_that_counts_from_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    with progress.progress(10, 3) as shown:
        assert isinstance(shown, Bar)
        shown.report("ibtrack step 8: H 0.5\x1b[31m")
        shown.log_metrics({}, 8)
        shown.report("ibtrack: step16 could not be fetched")
    text = screen.getvalue()
    assert "4/10" in text
    assert "step 8: H 0.5\\x1b[31m" in text
    assert "ibtrack: step16 could not be fetched\n" in text
    assert "\x1b[31m" not in text


def test_a_file_gets_a_line_for_each_point(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with progress.progress(10, 0) as shown:
        shown.report("ibtrack step 8: H 0.5")
        shown.log_metrics({}, 8)
    assert capsys.readouterr().err == "ibtrack step 8: H 0.5\n"
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress.progress(10, 0) as shown:
        assert isinstance(shown, Lines)


def test_what_is_left_is_counted_on_a_terminal_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress.counted("runs are left") as count:
        count(3)
    assert capsys.readouterr() == ("", "")
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    with progress.counted("runs are left") as count:
        count(11)
        count(9)
    assert screen.getvalue().startswith("\r11 runs are left \r9 runs are left \r   ")
    assert screen.getvalue().endswith(" \r")
