"""The program claims.py: what it prints and writes, and what it counts as true."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import typer

from experiments.benchmarks import claims
from experiments.benchmarks.claims import Change, ClaimRow
from experiments.benchmarks.trajectories import NUM_POINTS, STEPS
from ibtrack import Point, Trajectory
from tests.experiments.benchmarks.written import written

LEVELS = [[0.1 + 0.01 * min(i, 6) - 0.01 * max(i - 6, 0), 0.1, 0.5] for i in range(NUM_POINTS)]
CHANGE = Change("kept", 0, 8, true=0.1, read=0.12, se=0.02)
ROW = ClaimRow(
    family="falling-0.008",
    scene=0,
    seed=0,
    shared=0.5,
    num_documents=64,
    fall=0.008,
    peak=32,
    shown=("compression",),
    false=(),
    false_at=None,
    found=True,
    begins=(16, 64),
    changes=tuple(CHANGE._replace(quantity=quantity) for quantity in claims.QUANTITIES),
)


def rising_and_falling() -> Trajectory:
    """A trajectory whose I(X;Z) rises up to point 6 and falls after it, with small errors."""
    points = []
    for step, (complexity, expressivity, ceiling) in zip(STEPS, LEVELS, strict=True):
        values = {"complexity": complexity, "expressivity": expressivity}
        values |= {"kept": complexity / ceiling, "told": expressivity / ceiling}
        with_errors = {f"ib/mean/token/{name}": value for name, value in values.items()}
        with_errors |= {f"{key}_se": 0.001 for key in with_errors}
        points.append(Point(step, with_errors))
    config = {"seed": 3, "seed_of_documents": 5, "shared": 0.8, "num_documents": 9, "levels": LEVELS, "peak": 6}
    return Trajectory({}, {"config": config}, points)


def test_program_writes_what_it_prints_and_keeps_trajectories(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    family, folder = ["still", "falling-0.016"], tmp_path / "kept"
    claims.main(family=family, quick=True, number=9, documents=9, scenes=9, folder=folder, file=tmp_path / "a.json")
    printed = capsys.readouterr().out
    rows, reached = written(tmp_path / "a.json")
    assert [row["family"] for row in rows] == ["still", "still", "falling-0.016", "falling-0.016"]
    assert len(list(folder.glob("*.jsonl"))) == 4
    assert printed.count("the truth moves by") == 2
    assert printed.count(" seed ") == 4
    assert reached["still: shows a phase that is not there"] == sum(bool(row["false"]) for row in rows[:2]) / 2
    assert reached["falling-0.016: its compression is found"] == sum(row["found"] for row in rows[2:]) / 2
    assert all(row["fall"] > 0.01 for row in rows[2:])

    claims.main(family=family, quick=True, number=9, documents=9, scenes=9, folder=folder, file=tmp_path / "b.json")
    assert "the truth moves by" not in capsys.readouterr().out
    assert written(tmp_path / "b.json") == (rows, reached)


def test_unknown_family_is_refused() -> None:
    with pytest.raises(typer.BadParameter, match=r"--family must be one of still, .*falling-0.016, got 'moving'"):
        claims.main(family=["moving"])


def test_claims_of_a_trajectory_that_rises_and_falls() -> None:
    row = claims.claims("falling-0.008", rising_and_falling())
    assert (row.scene, row.seed, row.shared, row.num_documents) == (3, 5, 0.8, 9)
    assert row.peak == STEPS[6]
    assert row.fall == pytest.approx(0.07)
    assert row.shown == ("compression",)
    assert row.found
    assert row.begins_held
    assert (row.false, row.false_at) == ((), None)
    assert {change.quantity for change in row.changes} == set(claims.QUANTITIES)
    assert all(change.held for change in row.changes)
    assert row.changes[0].true == pytest.approx(LEVELS[claims.MIDDLE][0] - LEVELS[0][0])


def test_the_same_claims_are_false_of_one_that_stands_still() -> None:
    """The fall is beyond noise from the second point after the peak on, which is the ninth of all."""
    run = rising_and_falling()
    still = replace(run, run={"config": {**run.run["config"], "peak": None}})
    row = claims.claims("still", still)
    assert row.false == ("compression",)
    assert row.false_at in (8, 9)
    assert not row.found
    assert (row.fall, row.peak, row.begins) == (0.0, None, None)


def test_a_compression_that_ends_before_the_peak_is_false() -> None:
    run = rising_and_falling()
    late = replace(run, run={"config": {**run.run["config"], "peak": NUM_POINTS - 1}})
    row = claims.claims("falling-0.008", late)
    assert row.false == ("compression",)
    assert not row.found


@pytest.mark.parametrize(("read", "held"), [(0.1 + 0.039, True), (0.1 + 0.04, False), (0.1 - 0.04, False)])
def test_interval_of_a_change_holds_it_within_1_96_standard_errors(read: float, held: bool) -> None:
    assert CHANGE._replace(read=read).held is held


def test_figures_count() -> None:
    far = tuple(change._replace(read=0.2) for change in ROW.changes)
    missed = replace(ROW, found=False, begins=None, shown=(), shared=0.8, changes=far)
    wrong = replace(ROW, begins=(64, 128), false=("collapse",), false_at=4)
    early = replace(ROW, false_at=4)
    found = {figure.name: figure for figure in claims.figures([ROW, missed, wrong, early])}
    name = "falling-0.008: "
    assert found[f"{name}shows a phase that is not there"].reached == 0.25
    assert found[f"{name}shows one at some point of the run"].reached == 0.5
    assert found[f"{name}its compression is found"].reached == 0.75
    assert "0.5: 1.000, 0.8: 0.000" in found[f"{name}its compression is found"].note
    assert found[f"{name}the steps between which it begins hold the true one"].reached == pytest.approx(2 / 3)
    assert found[f"{name}the 95 % interval of a change holds it"].reached == 0.75


def test_nothing_found_leaves_the_steps_out() -> None:
    figures = claims.figures([replace(ROW, found=False, begins=None)])
    (steps,) = [figure for figure in figures if "between which" in figure.name]
    assert steps.reached is None
