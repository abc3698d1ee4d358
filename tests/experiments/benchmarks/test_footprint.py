"""One case of time and memory."""

from __future__ import annotations

from experiments.benchmarks import footprint


def test_labels_of_a_case_are_as_many_as_asked_for() -> None:
    assert set(footprint.make_probe(footprint.Case(5000, labels=10)).label_counts.values()) == {10}
    assert footprint.make_probe(footprint.Case(5000)).label_counts["input/quadgram"] > 1000
