"""How the reason for a missing value is found; tests/report/test_page.py runs the lookup of the page on these cases."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from ibtrack.record.notes import notes_of_format_1
from ibtrack.record.trajectory import Point


class Case(NamedTuple):
    """A value that is missing, what its point says, and what a reader is to see."""

    key: str
    notes: dict[str, str]
    failure: str | None
    reason: str


QUADGRAM = "ib/L01/quadgram/complexity"
NOT_HERE = "not in this trajectory"
CASES = [
    Case(QUADGRAM, {QUADGRAM: "exact"}, None, "exact"),
    Case(QUADGRAM, {"quadgram/complexity": "all distinct"}, None, "all distinct"),
    Case(QUADGRAM, {"quadgram": "all distinct"}, None, "all distinct"),
    Case(QUADGRAM, {"L01": "2 rows are zero"}, None, "2 rows are zero"),
    Case(QUADGRAM, {"L01": "4", "quadgram": "3", "quadgram/complexity": "2", QUADGRAM: "1"}, "5", "1"),
    Case(QUADGRAM, {"L01": "4", "quadgram": "3", "quadgram/complexity": "2"}, "5", "2"),
    Case(QUADGRAM, {"L01": "4", "quadgram": "3"}, "5", "3"),
    Case(QUADGRAM, {"L01": "4"}, "5", "4"),
    Case(QUADGRAM, {}, "5", "5"),
    Case(QUADGRAM, {}, None, NOT_HERE),
    Case(QUADGRAM, {"L02": "no", "bigram": "no", "quadgram/expressivity": "no", "schedule": "no"}, None, NOT_HERE),
    Case(QUADGRAM, {"quadgram/complexity": ""}, "failed", "failed"),
    Case("ib/mean/quadgram/complexity", {"quadgram/complexity": "all distinct"}, None, "all distinct"),
    Case("ib/mean/token/optimality", {"ib/mean/token/optimality": "0 divided by 0"}, None, "0 divided by 0"),
    Case("ib/L01/token/optimality", {"ib/mean/token/optimality": "0 divided by 0"}, None, NOT_HERE),
    Case("ib_plugin/L01/quadgram/complexity", {"quadgram/complexity": "of the debiased only"}, None, NOT_HERE),
    Case("ib_null/L01/quadgram/complexity", {"quadgram": "of every reading"}, None, "of every reading"),
    Case("ib_plugin/L01/quadgram/complexity", {"L01": "2 rows are zero"}, None, "2 rows are zero"),
    Case("ib/L01/entropy", {"L01": "2 rows are zero", "entropy": "none"}, None, "none"),
    Case("ib/mean/preference_information", {"preference_information": "one label"}, None, "one label"),
    Case("ib/loss", {"loss": "training loss was inf"}, None, "training loss was inf"),
    Case("ib/constructor/toString/complexity", {}, None, NOT_HERE),  # names that every object of JavaScript has
]


@pytest.mark.parametrize("case", CASES)
def test_the_reason_is_the_most_specific_note_then_the_failure(case: Case) -> None:
    assert Point(0, notes=case.notes, failure=case.failure).why_missing(case.key) == case.reason


def test_the_share_of_an_order_needs_the_order_before_it() -> None:
    notes = notes_of_format_1({"input/bigram": "one label"}, ["token", "bigram", "trigram"])
    assert notes["trigram/share"] == notes["bigram/share"] == "one label"
    assert "trigram/complexity" not in notes


def test_where_both_sides_of_an_order_lack_a_value_optimality_has_the_first_reason() -> None:
    notes = notes_of_format_1({"input/token": "all labels are distinct", "output/token": "one label"}, ["token"])
    assert notes["token/optimality"] == "all labels are distinct"
    assert notes["token/expressivity"] == "one label"


def test_the_note_of_a_preference_probe_is_at_its_information() -> None:
    assert notes_of_format_1({"preference": "one label"}, []) == {"preference_information": "one label"}
