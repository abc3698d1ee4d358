"""The HTML page of a run while it goes on."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from ibtrack import InformationPlaneTracker, MeasurementError, MeasurementWarning, Trajectory, schedules
from ibtrack.tracking import live_page
from ibtrack.tracking.live_page import LivePage
from tests import trajectories
from tests.models import Model, probe
from tests.report.test_html import banners_of, data_of


def _run(folder: Path, **options: object) -> InformationPlaneTracker:
    """A run of three points with a page."""
    given = {"path": folder / "trajectory.jsonl", "report": True, "verbose": False, **options}
    follow, model = InformationPlaneTracker(probe(), schedule=schedules.every(1), **given), Model()  # type: ignore[arg-type]
    for step in range(2):
        follow.step(model, step)
    follow.finish(model, 2)
    return follow


def test_the_page_of_a_run_stands_beside_its_file_at_the_end(tmp_path: Path) -> None:
    lines: list[str] = []
    _run(tmp_path, verbose=True, say=lines.append)
    page = tmp_path / "report.html"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "trajectory.jsonl"]
    assert data_of(page)["runs"][0]["points"] == 3
    assert banners_of(page) == []
    assert lines[0].endswith(f", their page to {page}")
    assert lines[-1].startswith(f"ibtrack: 3 points in {tmp_path / 'trajectory.jsonl'}, their page is {page}; ")


def test_it_is_written_anew_where_there_is_time_and_none_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    gate = threading.Event()
    source = trajectories.write(trajectories.make(num_points=2), tmp_path / "run")
    page = LivePage(tmp_path / "r.html", source)

    def write(self: LivePage) -> None:
        gate.wait(300)
        written.append(self._points)

    monkeypatch.setattr(LivePage, "_write", write)
    page.refresh(1, wall_time=live_page.FIRST / live_page.SHARE / 2)  # it would take more than its share
    assert page._aside.wait(300)
    assert written == []
    page.refresh(2, wall_time=1e9)
    page.refresh(3, wall_time=1e9)  # while the one before is being written, it is not begun again
    assert written == []
    gate.set()
    assert page._aside.wait(300)
    page.finish(3)
    page.finish(3)  # nothing is new
    assert written == [2, 3]


def test_a_page_that_cannot_be_written_is_a_warning_and_tried_again_at_the_end(tmp_path: Path) -> None:
    source = trajectories.write(trajectories.make(num_points=2), tmp_path / "run") / "trajectory.jsonl"
    (tmp_path / "file").write_text("")
    page = LivePage(tmp_path / "file" / "r.html", source)
    page.refresh(2, wall_time=1e9)
    assert page._aside.wait(300)
    with pytest.raises(RuntimeError, match="file"):
        page.refresh(2, wall_time=1e9)
    assert page._aside.wait(300)
    with pytest.raises(RuntimeError, match="file"):
        page.finish(2)
    (tmp_path / "file").unlink()
    page.finish(2)
    assert page.path.exists()


def test_what_the_other_process_says_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t.jsonl").write_text("{}\n")
    page = LivePage(tmp_path / "r.html", tmp_path / "t.jsonl")
    with pytest.raises(RuntimeError, match=r"^\S*t\.jsonl.* is not a trajectory"):
        page.finish(1)
    monkeypatch.setattr(live_page, "LONGEST", 0.001)
    with pytest.raises(RuntimeError, match=r"^given up after 0\.001 s"):
        page.finish(1)


def test_a_process_that_does_not_end_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    monkeypatch.setattr(LivePage, "_write", lambda self: gate.wait(300))
    monkeypatch.setattr(live_page, "LONGEST", 0.0)
    monkeypatch.setattr(live_page, "GRACE", 0.0)
    page = LivePage(tmp_path / "r.html", tmp_path / "t.jsonl")
    with pytest.raises(RuntimeError, match="its process could not be ended within 0 s"):
        page.finish(1)
    gate.set()
    assert page._aside.wait(300)


def test_training_goes_on_without_its_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.warns(MeasurementWarning, match=r"r\.html was not written: .*; training goes on"):
        follow = _run(tmp_path, report=tmp_path / "file" / "r.html")
    assert follow.trajectory.steps == [0, 1, 2]
    monkeypatch.setattr(live_page, "find_spec", lambda package: None)
    sentence = r"the page of report= needs altair, which is not installed: pip install 'ibtrack\[report\]'"
    with pytest.warns(MeasurementWarning, match=sentence) as caught:
        follow = _run(tmp_path / "bare")
    assert len(caught) == 1
    assert Trajectory.load(tmp_path / "bare").steps == follow.trajectory.steps == [0, 1, 2]
    with pytest.raises(MeasurementError, match=sentence):
        _run(tmp_path / "strict", strict=True)


@pytest.mark.parametrize(
    ("report", "sentence"),
    [
        (print, r"report must be the path of an HTML page, True or None, got builtin.*; say= takes what is called"),
        (3, r"report must be the path of an HTML page, True or None, got int$"),
    ],
)
def test_what_is_no_page_is_refused(report: object, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        InformationPlaneTracker(probe(), report=report)  # type: ignore[arg-type]


def test_a_page_without_a_file_and_a_folder_for_a_page_are_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="report needs path=, the trajectory file that the page is made from, got none"
    ):
        InformationPlaneTracker(probe(), report=True, verbose=False).start(Model())
    with pytest.raises(ValueError, match=r"report must name an HTML page, got the folder .*; take .*report\.html"):
        InformationPlaneTracker(probe(), path=tmp_path / "t.jsonl", report=tmp_path, verbose=False).start(Model())
    InformationPlaneTracker(probe(), report=False, verbose=False).start(Model())
