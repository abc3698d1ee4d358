"""The figures of a benchmark, beside what is wanted."""

from __future__ import annotations

import math

import pytest

from experiments.benchmarks.figures import Figure


@pytest.mark.parametrize(
    ("relation", "reached", "met", "words"),
    [
        ("≤", 2.0, True, "2 s"),
        ("≤", 2.1, False, "2.1 s, missed"),
        ("≥", 2.1, True, "2.1 s"),
        ("≥", 1.9, False, "1.9 s, missed"),
        ("≤", math.nan, False, "nan s, missed"),
        ("≤", None, False, "not run"),
    ],
)
def test_a_figure_says_whether_it_is_met(relation: str, reached: float | None, met: bool, words: str) -> None:
    figure = Figure("time", relation, 2, reached, " s")
    assert (figure.met, figure.reached_text, figure.wanted_text) == (met, words, f"{relation} 2 s")


def test_a_figure_needs_a_relation_that_there_is() -> None:
    with pytest.raises(ValueError, match="relation must be ≤ or ≥, got '<'"):
        Figure("time", "<", 2, 1)
