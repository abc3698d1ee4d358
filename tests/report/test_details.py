"""What lies beside a page: the details of each run of which the page leaves something out."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ibtrack.record.trajectory import Trajectory
from ibtrack.report import sheet
from ibtrack.report.details import write_details
from ibtrack.report.html import write_report
from tests import trajectories
from tests.trajectories import EVIL


def read(path: Path) -> tuple[int, dict[str, Any]]:
    """The run that a file is of, and what it holds."""
    found = re.fullmatch(r"ibtrackDetails\((\d+), (.*)\);\n", path.read_text())
    assert found is not None
    return int(found[1]), json.loads(found[2])


def test_details_are_all_points_and_layers(tmp_path: Path) -> None:
    run = trajectories.make("a", num_points=30)
    path = write_details(run, 4, tmp_path / "r.html")
    assert path == tmp_path / "r_files" / "run004.js"
    number, found = read(path)
    whole = sheet.sheet(run)
    assert number == 4
    assert (found["name"], found["points"], found["last"]) == ("a", 30, 4000)
    assert tuple(found["keys"]) == whole.keys
    for name in ("steps", "tokens", "losses", "values", "sites", "layers"):
        assert found[name] == whole.data[name]


def test_reasons_are_those_of_the_points(tmp_path: Path) -> None:
    run = trajectories.make("a", num_points=3)
    first, second, third = run.points
    points = [replace(first, notes={"quadgram": EVIL}), replace(second, failure="no hook fired"), third]
    _, found = read(write_details(replace(run, points=points), 0, tmp_path / "r.html"))
    assert found["notes"] == {"0": {"quadgram": EVIL}}
    assert found["failures"] == {"1": "no hook fired"}


def test_a_run_without_points_has_details(tmp_path: Path) -> None:
    _, found = read(write_details(Trajectory({}, {"name": "a"}, []), 0, tmp_path / "r.html"))
    assert (found["steps"], found["last"]) == ([], None)


@pytest.mark.parametrize("single_file", [False, True])
def test_only_what_a_page_leaves_out_lies_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, single_file: bool
) -> None:
    monkeypatch.setattr(sheet, "MOST_NUMBERS", 3 * 20 * 120)
    monkeypatch.setattr(sheet, "FEWEST_POINTS", 30)
    small = [replace(trajectories.make(f"r{i}", num_points=40), points=[]) for i in (0, 2)]
    runs = [small[0], trajectories.make("r1", num_points=40), small[1]]
    page = write_report(runs, tmp_path / "report.html", single_file=single_file)
    text = page.read_text()
    beside = [each.name for each in sorted(tmp_path.rglob("*.js"))]
    assert beside == ([] if single_file else ["run001.js"])
    assert ("loaded from the folder report_files, as long as" in text) == (not single_file)
    assert ("A report of fewer runs shows more of each." in text) == single_file
    assert ("script-src 'unsafe-inline' 'unsafe-eval';" in text) == single_file
