"""What is said first of several runs."""

from __future__ import annotations

from dataclasses import replace

from ibtrack.analysis.phases import phases_of_runs
from ibtrack.record.trajectory import Trajectory
from ibtrack.report.opening import Opening, opening
from ibtrack.report.run_labels import run_labels
from tests import trajectories


def of(runs: list[Trajectory]) -> Opening:
    named = dict(zip(run_labels(runs), runs, strict=True))
    return opening(named, phases_of_runs(named), "token", unit="share")


def test_over_seeds_the_effect_comes_first_and_single_runs_after_it() -> None:
    found = of(trajectories.sweep(3))
    assert found.headline.startswith("width=64 compresses more than width=32 at step 4000: fall of I(X;Z) 0.")
    assert " of the ceiling, a difference of +" in found.headline
    assert "95 % interval" in found.headline
    assert found.rest.startswith("Of single runs, w64-s")
    assert found.text == f"{found.headline}\n{found.rest}"


def test_without_seeds_the_ranking_comes_first() -> None:
    found = of(trajectories.sweep(1))
    assert found.headline.startswith("w64-s0 compresses most: ")
    assert found.rest.endswith("One seed each: differences may be chance.")


def test_a_run_that_has_not_finished_is_compared_up_to_where_it_is() -> None:
    runs = trajectories.sweep(2)
    runs[1] = replace(runs[1], points=runs[1].points[:11])
    end = runs[1].steps[-1]
    found = of(runs)
    assert f" at step {end}: fall of I(X;Z) " in found.headline
    assert found.headline.endswith(
        f"w32-s1 has come to step {end} so far and the longest run to step 4000, so all are compared at step {end}."
    )
    assert found.rest.startswith("Of single runs, each up to its last step, w64-s")


def test_runs_that_are_no_sweep_are_ranked_alone() -> None:
    for runs in (trajectories.sweep(2)[:2], trajectories.sweep(1)[:1]):
        assert of(runs).rest == ""
        assert "seed" not in of(runs).headline
