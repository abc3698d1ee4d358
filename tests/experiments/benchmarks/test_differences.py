"""Differences of points: a tiny run, and the counting."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import typer

from experiments.benchmarks import differences
from experiments.benchmarks.differences import CHOSEN, QUICK, Points
from experiments.benchmarks.paired import Information
from tests.experiments.benchmarks.written import written


def test_a_tiny_run_is_compared_within_and_between_seeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    differences.main(quick=True, file=tmp_path / "a.json")
    rows, reached = written(tmp_path / "a.json")
    pairs = {(row["kind"], row["seed"], row["points"]) for row in rows}
    within = {(kind, seed, name) for seed in (0, 1) for kind, name in (("near", "4 to 8"), ("far", "0 to 8"))}
    assert pairs == within | {("seeds", 0, f"1 at {step}") for step in (0, 4, 8)}
    assert len(rows) == len(pairs) * 4 * 5
    assert all(row["spread"] > 0 and row["paired"] > 0 for row in rows)
    assert len(reached) == 15
    printed = capsys.readouterr().out
    assert "3 probes of 16 windows of 32 tokens against one of 64 windows" in printed
    assert "missed by sampling" in printed


def test_a_text_without_two_probes_is_refused() -> None:
    with pytest.raises(typer.BadParameter, match="the text must hold two probes of 16 windows, got 31 windows"):
        differences.read_run(None, torch.zeros(31, 8), QUICK, 3)  # type: ignore[arg-type]  # it is not asked


def reading(values: list[float], influence: float) -> dict[str, Information]:
    """Return a reading whose every number has these values on its probes, and no error of a correction."""
    number = torch.tensor(values, dtype=torch.float64)
    nothing = torch.zeros_like(number)
    moved = torch.tensor([influence, -influence], dtype=torch.float64).expand(len(values), 2)
    one = Information(value=number, influence=moved, systematic=nothing, correction=nothing)
    sides = {f"{side}/{order}": one for side in ("input", "output") for order in differences.ORDERS}
    return {**sides, "ceiling": one}


def test_the_counting() -> None:
    """Of four probes, whose changes are off by 0, 0, .1 and .3, three hold within 1.96 errors of .1."""
    unit = torch.tensor(100.0).log().item()
    small = reading([1.0] * 4, 0.0), reading([1 + (1 + off) * unit for off in (0, 0, 0.1, 0.3)], 0.05 * unit)
    rows = list(
        differences.compare(
            small, (reading([1.0], 0.0), reading([1 + unit], 0.0)), kind="near", seed=0, points="0 to 1"
        )
    )
    row = next(row for row in rows if (row.quantity, row.order) == ("complexity", "token"))
    numbers = row.change, row.off, row.spread, row.paired * row.spread, row.apart / row.paired
    assert numbers == pytest.approx((1, 0.1, 0.02**0.5, 0.1, 1))
    assert row.held["none"] == row.held[CHOSEN] == 0.75
    assert row.width["none"] == pytest.approx(1)
    assert (row.held_if_exact, row.held_if_known) == (0.75, 0.75)
    few = [each for each in rows if each.quantity == "complexity"]
    assert differences.causes_of_misses(few)[-1].split() == ["all", f"{row.paired:.2f}", "0.250", "0.250", "0.250"]


def test_a_single_run_has_no_pairs_of_seeds() -> None:
    point = reading([1.0, 1.1], 0.1)
    points = Points(small={0: point, 8: point}, large={0: point, 8: point})
    assert not list(differences.between_runs({3: points}))
