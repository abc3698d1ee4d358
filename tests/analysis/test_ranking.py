"""Which run compresses most, on falls whose errors are known."""

import math
import random
from dataclasses import replace

import numpy as np
import pytest

from ibtrack.analysis.movements import Movement
from ibtrack.analysis.phase_words import Phases
from ibtrack.analysis.phases import NOT_ALL_SHARES
from ibtrack.analysis.ranking import Place, ranking, verdict


def fall(change: float, se: float = 0.01) -> Phases:
    return Phases(compression=Movement(start=64, end=512, change=change, se=se))


def test_the_verdict_names_the_run_and_its_evidence() -> None:
    assert verdict({"a": fall(-0.02), "b": fall(-0.2), "c": Phases()}) == (
        "b compresses most: I(X;Z) falls by 0.200 of the ceiling from step 64 to 512, 20.0 standard errors.\n"
        "Next is a: its fall of 0.020 is smaller by 12.7 standard errors."
    )


def test_the_verdict_says_which_runs_are_as_good() -> None:
    many = {f"r{i}": fall(-0.1 + 0.001 * i) for i in range(8)}
    assert "It cannot be told apart from r1, r2, r3, r4 and 3 more." in verdict(many)
    assert "Next is" not in verdict(many)


def test_the_verdict_of_none_one_and_still_runs() -> None:
    assert verdict({}) == "No runs."
    assert verdict({"a": fall(-0.1)}) == fall(-0.1).sentence()
    assert (
        verdict({"a": Phases(), "b": Phases()}) == "In none of the 2 runs can a compression phase be told from noise."
    )
    assert verdict({"a": fall(-0.1), "b": Phases()}).endswith(
        "In no other run can a compression phase be told from noise."
    )


def test_phases_in_two_units_are_not_ranked() -> None:
    with pytest.raises(ValueError, match="phases must be in one unit to be ranked, as phases_of_runs finds them"):
        verdict({"a": fall(-0.1), "b": replace(fall(-0.2), unit="log_k")})
    assert (
        ranking({"a": fall(-0.1), "b": Phases(unit="log_k")})[0].run == "a"
    )  # one that has no fall is in no one's way


def test_a_verdict_in_fractions_of_log_k_says_why() -> None:
    runs = {name: replace(fall(-0.1), unit="log_k", remark=NOT_ALL_SHARES) for name in "ab"}
    first, *_, last = verdict(runs).splitlines()
    assert "falls by 0.100 of log K from" in first
    assert last == NOT_ALL_SHARES


def test_places_go_from_the_largest_fall_to_none() -> None:
    places = ranking({"none": Phases(), "small": fall(-0.05), "large": fall(-0.2, se=0.02)})
    assert [place.run for place in places] == ["large", "small", "none"]
    assert [place.behind for place in places[:2]] == [0, pytest.approx(0.15 / math.hypot(0.01, 0.02))]
    assert math.isnan(places[2].behind)
    assert [place.tied for place in places] == [True, False, False]


def test_equal_runs_are_seldom_told_apart() -> None:
    """At 5 % for all pairs of ten runs together, 200 sets of equal runs give at most 10 on average."""
    draw = random.Random(0)
    told = 0
    for _ in range(200):
        places = ranking({f"r{i}": fall(-0.2 + draw.gauss(0, 0.01)) for i in range(10)})
        told += not all(place.tied for place in places)
    assert told < 20


def test_two_runs_are_one_comparison() -> None:
    just = 1.96 * 0.01 * math.sqrt(2)
    assert [place.tied for place in ranking({"a": fall(-0.2), "b": fall(-0.2 + 0.94 * just)})] == [True, True]
    assert [place.tied for place in ranking({"a": fall(-0.2), "b": fall(-0.2 + 1.06 * just)})] == [True, False]


def test_runs_read_on_the_same_documents_are_told_apart_by_what_differs() -> None:
    """Both falls are off by .01, and by nearly the same."""
    shared, own = np.full(64, 0.01 / 8), np.where(np.arange(64) % 2, 1e-4, -1e-4)
    runs = {
        name: Phases(
            compression=Movement(start=64, end=512, change=change, se=0.01, deviations=deviations), num_documents=64
        )
        for name, change, deviations in (("a", -0.2, shared), ("b", -0.197, shared + own))
    }
    _, second = ranking(runs)
    assert second.behind == pytest.approx(0.003 / (8 * 1e-4), rel=1e-3)
    assert not second.tied


def test_where_nothing_can_be_said_the_verdict_says_why() -> None:
    why = ("No points yet.", "One point: no change to speak of.", "No points yet.")
    assert verdict({str(i): Phases(why_not=words) for i, words in enumerate(why)}) == f"{why[0]} {why[1]}"


def test_one_run_and_none() -> None:
    assert ranking({}) == []
    assert ranking({"a": fall(-0.1)}) == [Place(run="a", fall=fall(-0.1).compression, behind=0.0, tied=True)]
