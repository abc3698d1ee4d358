"""How time and memory grow, and what is said of cases that fail."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import typer

from experiments.benchmarks import footprint, scaling
from tests.experiments.benchmarks.written import written


def test_scaling_fits_the_slope_and_knows_what_was_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(scaling.AXES, "positions", [{"positions": 1000}, {"positions": 9000}])
    monkeypatch.setattr(scaling, "measure", lambda case: {**case, **footprint.run(footprint.Case(**case))})
    scaling.main(axes=["positions"], most=9000, repetitions=2, file=tmp_path / "s.json")
    rows, reached = written(tmp_path / "s.json")
    assert [row["num_positions"] for row in rows] == [9 * 121, 75 * 121]
    assert all(len(row["measured"]) == 2 and 0 <= row["peak_above"] < row["peak"] for row in rows)
    assert reached["slope of time against positions"] == pytest.approx(scaling.slope(rows))
    assert sum(value is None for value in reached.values()) == 2


def test_a_case_has_a_process_of_its_own_and_ends_at_its_limit() -> None:
    common = {"positions": 20_000, "repetitions": 1, "threads": 1}
    row = scaling.measure(common)
    assert 0 < row["peak_above"] < row["peak"] < 2 * scaling.GIB
    assert scaling.out_of_memory(scaling.measure({**common, "limit": 0.05})["failure"])  # less than torch itself takes


def test_out_of_memory_is_a_miss_and_anything_else_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "RuntimeError: DefaultCPUAllocator: can't allocate memory"
    monkeypatch.setattr(scaling, "measure", lambda case: {**case, "failure": said})
    scaling.main(axes=["positions"], repetitions=1, file=tmp_path / "s.json")
    assert list(written(tmp_path / "s.json")[1].values()) == [None, math.inf, math.inf]
    said = "ValueError: num_anchors must be at least 2, got 1"
    with pytest.raises(typer.Exit):
        scaling.main(axes=["anchors"], most=10**5, repetitions=1)
    assert f"got: {said}" in capsys.readouterr().err


def test_scaling_says_where_memory_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scaling, "PEAKS", tmp_path / "clear_refs")
    scaling.main(file=tmp_path / "s.json")
    assert set(written(tmp_path / "s.json")[1].values()) == {None}
    assert "memory is read from Linux's /proc, which this system does not have" in capsys.readouterr().out


def test_scaling_refuses_an_unknown_axis() -> None:
    with pytest.raises(typer.BadParameter, match="--axis must be one of positions, layers, anchors, labels"):
        scaling.main(axes=["widths"])
