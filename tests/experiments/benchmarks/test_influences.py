"""What keeping influences costs, measured as it is reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.benchmarks import influences
from tests.experiments.benchmarks.written import written


def test_cost_is_measured_part_by_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    influences.main(documents=4, draws=2, repetitions=1, threads=None, file=tmp_path / "a.json")
    (row,), figures = written(tmp_path / "a.json")
    assert (row["documents"], row["draws"]) == (4, 2)
    assert all(row[name] > 0 for name in ("readings", "influences", "line", "line_without"))
    assert 1 < row["kilobytes"] < row["kilobytes_of_line"]
    assert len(figures) == 2
    assert "12 sites, 4 orders, 2 draws" in capsys.readouterr().out


def test_the_share_is_that_of_what_is_added() -> None:
    cost = influences.Cost(
        documents=4,
        draws=1,
        readings=2.0,
        influences=0.03,
        line=0.02,
        line_without=0.01,
        kilobytes=1,
        kilobytes_of_line=2,
    )
    assert cost.share == pytest.approx(2.0)
