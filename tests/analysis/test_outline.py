"""The outline of a run: what is said of it among others is what would be said of the run."""

from __future__ import annotations

import numpy as np
import pytest

from ibtrack.analysis.effects import effects, which_compresses
from ibtrack.analysis.matching import WAYS
from ibtrack.analysis.outline import outline
from ibtrack.analysis.phases import find_phases, phases_of_runs
from ibtrack.analysis.ranking import ranking, verdict
from ibtrack.record.trajectory import Trajectory
from tests import trajectories

ORDERS = ("token", "bigram")


def test_of_many_sites_only_the_mean_is_kept() -> None:
    run = trajectories.make(num_layers=24, num_points=3)
    kept = outline(run, ORDERS)
    assert (kept.protocol, kept.run, kept.steps) == (run.protocol, run.run, run.steps)
    for point, whole in zip(kept.points, run.points, strict=True):
        assert {*point.values} < {*whole.values}
        assert {key.split("/")[1] for key in point.values if key.count("/") > 1} == {"mean"}
        assert len(point.values) < len(whole.values) / 50
        assert point.influences is not None
        assert point.influences.sites == ("mean",)
        assert (point.loss, point.tokens_seen) == (whole.loss, whole.tokens_seen)


def test_influences_are_those_of_the_run_to_the_last_bit() -> None:
    run = trajectories.make(num_points=4)
    for point, whole in zip(outline(run, ORDERS).points, run.points, strict=True):
        assert point.influences is not None
        assert whole.influences is not None
        assert point.influences.quantities == (
            "entropy", "ceiling", "token/complexity", "token/expressivity", "bigram/complexity", "bigram/expressivity",
        )  # fmt: skip
        for key in point.influences.keys():  # noqa: SIM118  # a method of its own, of no mapping
            kept, of_run = point.influences.of(key), whole.influences.of(key)
            assert kept is not None
            assert of_run is not None
            assert np.array_equal(kept.by_document, of_run.by_document)
            assert np.array_equal(kept.by_draw, of_run.by_draw)
            assert kept.systematic == of_run.systematic


@pytest.mark.parametrize("unit", ["share", "log_k"])
def test_what_is_said_of_outlines_is_what_is_said_of_the_runs(unit: str) -> None:
    runs = {run.name: run for run in trajectories.sweep(3, num_layers=2)}
    kept = {name: outline(run, ORDERS) for name, run in runs.items()}
    for order in ORDERS:
        phases, of_kept = (phases_of_runs(each, order, unit=unit) for each in (runs, kept))
        assert of_kept == phases
        assert verdict(of_kept) == verdict(phases)
        assert str(ranking(of_kept)) == str(ranking(phases))
        assert which_compresses(kept, order, unit=unit) == which_compresses(runs, order, unit=unit)
        for at in WAYS:
            found, of_run = (effects(each, order=order, unit=unit, at=at).effects for each in (kept, runs))
            assert repr(found) == repr(of_run)  # a number that is missing is no number, and not equal to itself


def test_reasons_of_the_mean_are_kept_and_those_of_layers_are_not() -> None:
    worn = trajectories.damaged()
    points = outline(worn, ["token"]).points
    assert points[1].failure == worn.points[1].failure
    assert points[2].why_missing("ib/mean/token/complexity") == "zero-norm rows"
    doubted = outline(trajectories.doubted(), ["token"]).points[2]
    assert doubted.doubts == {"ib/mean/token/complexity": "below its bracket"}
    assert outline(trajectories.doubted(), ["bigram"]).points[2].notes == {}


def test_a_run_without_influences_or_points_has_an_outline() -> None:
    old = trajectories.make(se=None, num_points=4)
    assert {point.influences for point in outline(old, ["token"]).points} == {None}
    assert find_phases(outline(old, ["token"])) == find_phases(old)
    assert outline(Trajectory({}, {}, []), ["token"]).points == []
