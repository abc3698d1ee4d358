"""Lines of text above the bars of a training loop."""

import io
import re
import subprocess
import sys

import pytest
from tqdm import tqdm

from ibtrack.tracking.line_printer import print_line

LINE = "ibtrack step 1: H 0.8"


def test_a_line_stands_above_the_bars_that_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()  # of bars and of lines alike, as a terminal is
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    with tqdm(total=4, desc="train", mininterval=0) as bar:
        bar.update()
        print_line(LINE)
        bar.update()
    cleared, after = terminal.getvalue().split(LINE)
    assert re.search(r"\r +\r$", cleared)  # the bar is wiped out before the line
    assert after.startswith("\n")
    assert "train" in after  # and drawn again below it


def test_without_bars_it_is_printed_at_once() -> None:
    code = f"from ibtrack.tracking.line_printer import print_line; import os, sys; print_line({LINE!r}); os._exit(0)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == f"{LINE}\n"


def test_where_there_is_no_terminal_it_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    print_line(LINE)
