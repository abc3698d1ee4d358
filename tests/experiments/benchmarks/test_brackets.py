"""The program brackets.py: what it prints and writes, its nested clouds and its summary."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import typer

from experiments.benchmarks import brackets
from experiments.benchmarks.brackets import BracketRow, FamilyCloud
from experiments.benchmarks.cases import shrunk
from experiments.benchmarks.clouds import Truth

ROW = BracketRow(
    set="grid",
    name="a",
    num_rows=400,
    truth=Truth(0.2, 0.0),
    low=0.1,
    low_error=0.01,
    flat=math.nan,
    high=0.5,
    high_error=0.01,
    debiased=0.21,
    independent=False,
)


def test_program_writes_what_it_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "brackets.json"
    brackets.main(cases=["repeated", "nested"], largest=16_000, every=3, repetitions=2, quick=True, file=file)
    printed, content = capsys.readouterr().out, json.loads(file.read_text())
    assert {row["set"] for row in content["rows"]} == {"repeated", "nested"}
    assert len(content["rows"]) == len(re.findall("±0.*±", printed)) == 2 * 2 * (4 + 3)
    assert {"python", "torch", "ibtrack"} == content["versions"].keys()
    assert set(content["summary"]) == {"repeated", "nested", "all"}
    for row in content["rows"]:
        assert f"{row['low']:.4f}" in printed
        assert row["low"] < row["truth"]["value"] < row["high"] or row["independent"]
    assert content["summary"]["all"]["held within 2 se"] >= brackets.WANTED
    assert content["summary"]["nested"]["low - low without back-off, mean"] > 0
    assert "wanted ≥ 0.99" in printed


def test_the_cost_is_a_ratio(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "cost.json"
    brackets.main(cost=True, quick=True, largest=1, every=1, repetitions=1, file=file)
    summary = json.loads(file.read_text())["summary"]
    assert summary["rows"] == 8 * 121
    assert 0.5 < summary["ratio"] < 10
    assert "with lower ends, s" in capsys.readouterr().out


def test_unknown_set_is_refused() -> None:
    with pytest.raises(
        typer.BadParameter, match="--set must be one of grid, others, repeated, documents, few, nested, got 'all'"
    ):
        brackets.main(cases=["all"])


def test_labels_of_a_family_are_alike() -> None:
    (recipe, *_) = shrunk([each for each in brackets.nested() if each.strength == 1.1])
    cloud = FamilyCloud(recipe)
    assert torch.bincount(cloud.family).tolist() == [brackets.CHILDREN] * (recipe.num_labels // brackets.CHILDREN)
    unit = torch.nn.functional.normalize(cloud.means, dim=1)
    cosines, same = unit @ unit.T, cloud.family.unsqueeze(0) == cloud.family.unsqueeze(1)
    same.fill_diagonal_(False)
    assert float(cosines[same].mean()) == pytest.approx(0.8, abs=0.05)
    assert abs(float(cosines[~same].mean())) < 0.05


@pytest.mark.parametrize(
    ("changes", "held", "within", "doubted"),
    [
        ({}, True, True, False),
        ({"low": 0.21}, False, True, False),
        ({"low": 0.23}, False, False, False),
        ({"low": 0.24}, False, False, True),
        ({"high": 0.185}, False, True, True),
        ({"high": 0.17}, False, False, True),
    ],
)
def test_what_a_bracket_holds(changes: dict[str, float], held: bool, within: bool, doubted: bool) -> None:
    row = replace(ROW, **changes)  # type: ignore[arg-type]
    assert (row.held, row.held_within_errors, row.doubted) == (held, within, doubted)


def test_summary_counts_and_averages() -> None:
    missed = replace(ROW, low=0.26, flat=0.2, independent=True)
    summary = brackets.summarise([ROW, missed])
    assert summary["samples"] == 2
    assert summary["held within 2 se"] == summary["held"] == 0.5
    assert summary["low above the truth, most"] == pytest.approx(0.06)
    assert summary["width, mean"] == pytest.approx((0.4 + 0.24) / 2)
    assert summary["low of independent labels, greatest"] == 0.26
    assert summary["low - low without back-off, mean"] == pytest.approx(0.06)
    assert summary["doubted"] == 1
    assert len(brackets.summary_lines({"grid": summary})) == len(summary) + 1
