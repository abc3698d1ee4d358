"""The page as a file: what it holds, what it refuses, and under which banners. tests/report/test_page.py opens it."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from ibtrack.record.trajectory import Trajectory
from ibtrack.report import html
from ibtrack.report.html import write_report
from tests import trajectories
from tests.trajectories import EVIL


def data_of(path: Path) -> Any:
    """The numbers that a page holds."""
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', path.read_text(), re.DOTALL)
    return json.loads(text)


def banners_of(path: Path) -> list[str]:
    return re.findall(r'<p class="banner" role="note">(.*?)</p>', path.read_text())


def test_the_page_is_one_file_that_names_no_address(tmp_path: Path) -> None:
    path = write_report(trajectories.sweep(1), tmp_path / "new folder" / "report.html")
    text = path.read_text()
    assert [*path.parent.iterdir()] == [path]
    outside = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r"\bsrc=|<link|@import|url\(|https?:", outside)
    assert "default-src 'none'" in text


def test_what_users_wrote_is_escaped_everywhere(tmp_path: Path) -> None:
    run = trajectories.make(EVIL, config={EVIL: EVIL}, num_points=2)
    probe = {**run.protocol["probe"], "name": EVIL}
    text = write_report(
        [Trajectory({**run.protocol, "probe": probe}, run.run, run.points)], tmp_path / "r.html"
    ).read_text()
    assert "<script>window.stolen" not in text
    assert "<img src=x" not in text
    assert "&lt;script&gt;window.stolen" in text


def test_copies_in_the_probe_are_told_below_the_title(tmp_path: Path) -> None:
    entries = {"found": 3, "documents": 9, "sentence": f"3 of 9 documents share their text {EVIL}"}
    runs = [trajectories.make(name, num_points=2, copies=copies) for name, copies in (("a", entries), ("b", None))]
    runs.append(trajectories.make("c", num_points=2, copies={"found": 0, "documents": 9}))
    text = write_report(runs, tmp_path / "r.html").read_text()
    (small,) = re.findall(r'<p class="small">(Measured on .*?)</p>', text)
    assert small.count("3 of 9 documents share their text") == 1
    assert "&lt;script&gt;" in small
    (small,) = re.findall(
        r'<p class="small">(Measured on .*?)</p>', write_report(runs[1:], tmp_path / "r.html").read_text()
    )
    assert small.endswith(").")
    assert "copies.found" in text


def test_what_of_the_probe_stands_in_the_training_text_is_told_below_the_title(tmp_path: Path) -> None:
    entries = {"documents": [3], "sentence": f"1 of 9 documents of the probe stands in the training text {EVIL}"}
    runs = [trajectories.make("a", num_points=2, overlap=entries), trajectories.make("b", num_points=2)]
    text = write_report(runs, tmp_path / "r.html").read_text()
    (small,) = re.findall(r'<p class="small">(Measured on .*?)</p>', text)
    assert small.count("1 of 9 documents of the probe stands in the training text &lt;script&gt;") == 1


def test_mixed_protocols_are_refused_with_the_difference_and_allowed_under_a_banner(tmp_path: Path) -> None:
    runs = [trajectories.make("a", num_points=2), trajectories.make("b", num_points=2, num_anchors=50, seed=7)]
    other = {**runs[1].protocol["probe"], "hash": "0000"}
    runs[1] = Trajectory({**runs[1].protocol, "probe": other}, runs[1].run, runs[1].points)
    out = tmp_path / "r.html"
    with pytest.raises(ValueError, match=r"different protocols.*probe.hash: 5f3a.* in 'a', 0000 in 'b'"):
        write_report(runs, out)
    with pytest.raises(ValueError, match="num_anchors: 100 in 'a', 50 in 'b'"):
        write_report(runs, out)
    assert not out.exists()
    text = write_report(runs, out, allow_mixed=True).read_text()
    assert 'class="banner"' in text
    assert "num_anchors: 100 in &#x27;a&#x27;, 50 in &#x27;b&#x27;" in text


def test_files_that_are_no_trajectories_are_named(tmp_path: Path) -> None:
    (tmp_path / "trajectory.jsonl").write_text('{"hello": 1}\n')
    with pytest.raises(ValueError, match="is not a trajectory file"):
        write_report([tmp_path], tmp_path / "r.html")
    with pytest.raises(FileNotFoundError):
        write_report([tmp_path / "nowhere"], tmp_path / "r.html")
    with pytest.raises(ValueError, match="runs must hold at least one run, got none"):
        write_report([], tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()


def test_a_truncated_file_is_shown_with_a_banner(tmp_path: Path) -> None:
    folder = trajectories.write(trajectories.make(num_points=4), tmp_path / "run")
    path = folder / "trajectory.jsonl"
    path.write_text(path.read_text()[:-200])
    page = write_report([folder], tmp_path / "r.html")
    assert "the last line was cut off while it was written" in page.read_text()
    assert len(data_of(page)["runs"][0]["steps"]) == 3


def test_runs_of_other_depth_width_and_versions_share_a_page(tmp_path: Path) -> None:
    runs = [
        trajectories.make(f"l{n}", num_layers=n, num_points=3, widths={"L00": 8 * n}, versions={"torch": f"2.{n}"})
        for n in (2, 4)
    ]
    assert data_of(write_report(runs, tmp_path / "r.html"))["sites"][-1] == "L03"


@pytest.mark.parametrize("other", [{"estimator": 2}, {}])
def test_versions_of_the_estimator_are_not_mixed(tmp_path: Path, other: dict[str, Any]) -> None:
    runs = [trajectories.make("a", num_points=2, estimator=1), trajectories.make("b", num_points=2, **other)]
    value = other.get("estimator", "—")
    sentence = rf"different protocols.*estimator: 1 in 'a', {value} in 'b' \(each version of the estimator gives other"
    with pytest.raises(ValueError, match=sentence):
        write_report(runs, tmp_path / "r.html")
    (banner,) = banners_of(write_report(runs, tmp_path / "r.html", allow_mixed=True))
    assert "Compare shapes, never numbers" in banner
    assert "each version of the estimator gives other numbers for the same activations" in banner


def file_of_format_1(name: str, folder: Path) -> Path:
    """A run's folder with a file as the first format had it."""
    return trajectories.write_older(trajectories.make(name, num_points=3), folder / name, form=1)


def test_files_of_format_1_are_reported_under_one_banner_that_says_what_they_lack(tmp_path: Path) -> None:
    folders = [file_of_format_1(name, tmp_path) for name in "ab"]
    page = write_report(folders, tmp_path / "r.html")
    (banner,) = banners_of(page)
    paths = ", ".join(str(folder / "trajectory.jsonl") for folder in folders)
    assert banner.startswith(f"{paths}: this file is of format 1: it does not say which version of the estimator")
    assert len(data_of(page)["runs"]) == 2


def test_a_file_of_format_1_and_a_newer_one_are_not_mixed(tmp_path: Path) -> None:
    runs: list[Path | Trajectory] = [
        file_of_format_1("old", tmp_path),
        trajectories.make("new", num_points=3, estimator=1),
    ]
    with pytest.raises(
        ValueError, match=r"estimator: — in 'old', 1 in 'new' \(.* a file that does not name its version"
    ):
        write_report(runs, tmp_path / "r.html")
    assert len(banners_of(write_report(runs, tmp_path / "r.html", allow_mixed=True))) == 2


def test_without_vega_the_install_line_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    html._vega.cache_clear()
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(ImportError, match=r"the report needs vl-convert-python, .*'ibtrack\[report\]'"):
        write_report([trajectories.make(num_points=2)], tmp_path / "r.html")


def test_who_opens_a_page_while_it_is_written_anew_sees_one_of_the_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, link = tmp_path / "place" / "r.html", tmp_path / "link.html"
    first = write_report([trajectories.make("first", num_points=2)], place).read_text()
    link.symlink_to(place)
    seen: list[str] = []
    replace = Path.replace

    def watched(self: Path, target: Path) -> Path:
        seen.append(place.read_text())
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", watched)
    write_report([trajectories.make("second", num_points=2)], link)
    assert seen == [first]
    assert link.is_symlink()
    assert "<title>Information plane: second</title>" in place.read_text()
    monkeypatch.setattr(Path, "replace", lambda self, target: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_report([trajectories.make("third", num_points=2)], link)
    assert "<title>Information plane: second</title>" in place.read_text()
    assert [*place.parent.iterdir()] == [place]


def test_the_page_says_of_rare_labels_what_the_evidence_says(tmp_path: Path) -> None:
    page = write_report([trajectories.make(num_points=2)], tmp_path / "r.html").read_text()
    assert "a small error downward" not in page
    assert "it can err upward where labels differ much in how much they tell" in " ".join(page.split())
