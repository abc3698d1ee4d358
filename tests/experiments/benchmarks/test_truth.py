"""The program truth.py: what it prints and writes, and its summary."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import typer

from experiments.benchmarks import truth
from experiments.benchmarks.clouds import Recipe, Truth
from experiments.benchmarks.row import Row

SMALL = Recipe("small", 0.9, num_labels=20, width=8, sizes=(400,))


def test_program_writes_what_it_prints(tmp_path: Path) -> None:
    file = tmp_path / "truth.json"
    command = [sys.executable, truth.__file__, "--quick", "--json", str(file)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path).stdout
    content = json.loads(file.read_text())
    assert len(content["rows"]) == 48
    assert {"python", "torch", "ibtrack"} == content["versions"].keys()
    assert content["machine"]["cores"] >= 1
    assert content["seconds"] > 0
    assert set(truth.WANTED["grid"]) < set(content["summary"])
    for each in content["rows"]:
        assert f"{each['debiased']:.4f}" in printed
    assert f"{content['summary']['mean']['debiased']:.4f}  wanted ≤ 0.0015" in printed


def test_program_counts_intervals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "coverage.json"
    truth.main(cases="others", intervals=True, repetitions=2, quick=True, file=file)
    content = json.loads(file.read_text())
    assert all(len(each["debiased"]) == 2 for each in content["rows"])
    assert content["summary"]["cases"] == len(content["rows"]) == len(re.findall("±", capsys.readouterr().out))


def test_unknown_set_is_refused() -> None:
    with pytest.raises(typer.BadParameter, match="--set must be one of grid, others, repeated, documents, got 'all'"):
        truth.main(cases="all")


def test_summary_takes_each_figure_over_its_rows() -> None:
    sound = Row(
        recipe=SMALL,
        num_rows=400,
        truth=Truth(0.2, 0.0),
        plugin=0.5,
        without_null=0.1,
        debiased=0.21,
        standard_error=0.01,
        sampling_error=0.01,
        seen_twice=0.9,
    )
    rare = replace(sound, debiased=0.30, seen_twice=0.5)
    independent = replace(sound, recipe=replace(SMALL, independent=True), truth=Truth(0.0, 0.0), debiased=0.002)
    errors = {name: figures["debiased"] for name, figures in truth.summarise([sound, rare, independent]).items()}
    assert errors == pytest.approx(
        {"mean": 0.112 / 3, "worst": 0.1, "worst, 85 % seen twice": 0.01, "worst, independent": 0.002}
    )
