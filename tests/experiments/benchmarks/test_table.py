"""The table of all benchmarks."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from experiments.benchmarks import figures, table
from experiments.benchmarks.figures import Figure


def test_table_has_the_figures_of_every_benchmark(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures.report("imports", [Figure("second", "≤", 1, 0.5, note="so")], [], tmp_path / "a.json")
    figures.report("reference", [Figure("first", "≥", 80, None)], [], tmp_path / "b.json", packages=["soft-entropy"])
    capsys.readouterr()
    table.main(tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:4] == ["| first | ≥ 80 | not run |", "| second | ≤ 1 | 0.5 |"]
    assert "second: so" in lines
    assert "soft-entropy 0.1.5" in lines[-2]


def test_table_refuses_what_is_none(tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match="folder must hold the JSON files of benchmarks"):
        table.main(tmp_path)
    (tmp_path / "other.json").write_text('{"program": "x"}')
    with pytest.raises(ValueError, match=r"other\.json must be what a benchmark wrote with --json"):
        table.main(tmp_path)
