"""What reports of made-up runs take: the runs are whole, and what is measured is put beside what is wanted."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.benchmarks import report_size
from experiments.benchmarks.report_size import cost_of, figures_of, made_up_points, measure, measured_once, write_runs
from ibtrack import Trajectory
from ibtrack.analysis.phases import find_phases


@pytest.fixture(scope="module")
def template() -> Trajectory:
    return measured_once(1, orders=(1,))


def test_made_up_runs_are_read_as_runs_with_errors_and_differ(template: Trajectory, tmp_path: Path) -> None:
    write_runs(tmp_path, 5, template, 6)
    runs = [Trajectory.load(path) for path in sorted(tmp_path.iterdir())]
    assert [run.name for run in runs] == ["constant-0", "cosine-0", "linear-0", "wsd-0", "constant-1"]
    assert len({tuple(run.values("ib/mean/token/kept")) for run in runs}) == 5
    for run in runs:
        assert (len(run.points), run.steps[0], run.steps[-1]) == (6, 0, report_size.LAST_STEP)
        assert {*run.points[3].values} == {*template.points[0].values}
        assert find_phases(run).num_documents == report_size.NUM_DOCUMENTS


def test_documents_move_every_point_anew(template: Trajectory) -> None:
    first, second = (point.influences for point in made_up_points(template.points[0], 2))
    assert first is not None
    assert second is not None
    assert (first.sites, first.num_groups) == (second.sites, second.num_groups)
    assert first != second


def test_a_report_is_measured(template: Trajectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_size, "opening_seconds", lambda page: float(page.stat().st_size > 0))
    row = measure(2, template, 3, tmp_path)
    size, opening, made, listed, again = figures_of(row)
    assert size.met
    assert (size.reached or 0) > 0.5  # Vega alone
    assert opening.reached == 1.0
    assert (made.reached or 0) > 30
    assert (listed.reached or 0) > 30
    assert (again.reached or 0) > 0
    assert not [*tmp_path.glob("*/")]


def test_a_command_that_fails_is_no_measurement(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="ibtrack list ended with code 2"):
        cost_of("list", str(tmp_path / "none"))
