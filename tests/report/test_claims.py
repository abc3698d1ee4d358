"""What a page says of its runs, at one site and for one label set."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ibtrack.analysis.effects import effects
from ibtrack.analysis.phases import find_phases, phases_of_runs
from ibtrack.record.trajectory import Trajectory
from ibtrack.report.claims import MOST_GROUPS, claims
from ibtrack.report.run_labels import run_labels
from tests import trajectories


def of(runs: Sequence[Trajectory], order: str = "token", site: str = "mean", **options: Any) -> Any:
    named = dict(zip(run_labels(runs), runs, strict=True))
    found = claims(named, phases_of_runs(named, order, site=site), order=order, site=site, **options)
    return json.loads(json.dumps(found, allow_nan=False))


def test_a_phase_says_between_which_steps_it_begins() -> None:
    compression = of([trajectories.make()])["phases"][0]["compression"]
    low, high = compression["begins"]
    assert low < compression["start"] < high


def test_effects_of_settings_are_worked_out_for_every_match() -> None:
    runs = trajectories.sweep(2)
    for site in ("mean", "L01"):
        found = of(runs, "bigram", site)["effects"]
        assert [*found] == ["step", "tokens", "loss"]
        expected = effects(dict(zip(run_labels(runs), runs, strict=True)), order="bigram", site=site)
        assert found["step"]["sentences"] == expected.sentences()
        assert found["step"]["titles"] == [each.title for each in expected.effects]
        assert len(found["step"]["contrasts"]) == len(found["step"]["groups"][0]["cells"]) == 5
        assert found["step"]["groups"][0]["means"] == [each.means["width=32"] for each in expected.effects]


def test_what_is_said_of_a_layer_is_of_that_layer() -> None:
    runs = trajectories.sweep(2)
    said = of(runs, "trigram", "L03")
    assert " at step 4000 in L03: fall of I(X;Z) " in said["verdict"][0]
    assert [each["sentence"] for each in said["phases"]] == [
        find_phases(run, "trigram", site="L03").sentence() for run in runs
    ]
    places = of(runs, "trigram")["ranking"], said["ranking"]
    assert [each["behind"] for each in places[0]] != [each["behind"] for each in places[1]]


def test_where_there_are_no_effects_the_reason_is_told() -> None:
    one, *seeds = trajectories.sweep(3)[:3]
    assert of([one])["effects"] == {}
    reason = "the runs differ in no setting but seeds, names and paths; an effect needs two groups or more"
    assert of([one, *seeds])["effects"]["loss"] == {"why": reason}
    many = [trajectories.make(f"r{i}", num_points=2, config={"lr": i}) for i in range(MOST_GROUPS + 1)]
    assert of(many)["effects"]["step"]["why"].startswith("these are 9 groups; ")
    mixed = [one, trajectories.make("b", num_anchors=50, config={"width": 1})]
    assert "different protocols" in of(mixed, comparable=False)["effects"]["step"]["why"]
