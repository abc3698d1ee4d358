"""Progress: nothing is changed, lines come every half minute, a terminal gets a bar."""

from __future__ import annotations

import sys

import pytest

from experiments import progress
from experiments.progress import counted


def test_items_pass_and_little_work_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(counted("abc", len, verb="read", unit="B")) == ["a", "b", "c"]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("total", "of"), [(None, ""), (4_000_000, " of 4.00MB")])
def test_a_line_every_half_minute(
    total: int | None, of: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter([0.0, 20.0, 40.0, 40.0, 60.0, 80.0, 80.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(seconds))  # type: ignore[attr-defined]
    list(counted([500_000] * 4, int, verb="read", unit="B", total=total))
    assert capsys.readouterr().err == f"read 1.00MB{of}\nread 2.00MB{of}\n"


def test_a_terminal_gets_a_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert list(counted([3000] * 4, int, verb="read", unit="B", total=12_000)) == [3000] * 4
    assert "read: 100%" in capsys.readouterr().err
