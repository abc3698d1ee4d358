"""The comparison with soft-entropy."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import typer

from experiments.benchmarks import reference
from experiments.benchmarks.text import made_up_text
from ibtrack import Probe, SoftOptions
from tests.experiments.benchmarks.written import written


def test_reference_finds_the_values_of_the_package(tmp_path: Path) -> None:
    reference.main(blocks=3, layers=2, width=8, repetitions=1, file=tmp_path / "r.json")
    rows, reached = written(tmp_path / "r.json")
    assert [row["task"] for row in rows] == ["soft-entropy", "plug-in", "all readings"]
    assert 0 < reached["plug-in against soft-entropy, largest difference"] < 1e-5


def test_reference_fails_where_values_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reference, "OPTIONS", SoftOptions())
    with pytest.raises(typer.Exit) as ended:
        reference.main(blocks=3, layers=1, width=8, repetitions=1, file=tmp_path / "r.json")
    assert ended.value.exit_code == 1
    assert "must equal those of soft-entropy" in capsys.readouterr().err
    assert written(tmp_path / "r.json")[1]["plug-in against soft-entropy, largest difference"] > 1e-3


def test_largest_difference_hides_nothing() -> None:
    assert reference.largest_difference({"a": 1.0, "b": 2.0}, {"a": 1.5, "b": 2.1}) == 0.5
    assert reference.largest_difference({"a": math.nan, "b": 2.0}, {"a": 1.5, "b": 2.0}) == math.inf
    with pytest.raises(ValueError, match="both must have the same values"):
        reference.largest_difference({"a": 1.0}, {"b": 1.0})


def test_activations_on_another_device_than_that_of_the_package_are_refused() -> None:
    probe = Probe(made_up_text(3))
    elsewhere = {"L00": torch.empty(probe.num_positions, 8, device="meta")}
    with pytest.raises(ValueError, match="the activations must be where soft-entropy computes, cpu, got meta"):
        reference.package_task(probe, elsewhere)
