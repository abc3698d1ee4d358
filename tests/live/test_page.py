"""The page of runs that go on, and what its news hold."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from ibtrack.live.page import LivePage
from ibtrack.live.runs import FollowedRuns
from tests import trajectories
from tests.live.conftest import PATIENCE, GrowingRun, Watched


def news(page: LivePage, version: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(page.news(version))
    return found


def kept(found: dict[str, Any]) -> list[bool]:
    """Of each run whether only its name was sent."""
    return ["kept" in run for run in found["page"]["data"]["runs"]]


def data_of(html: str) -> dict[str, Any]:
    """The numbers in a page."""
    text = html.partition('<script type="application/json" id="data">')[2].partition("</script>")[0]
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.fixture
def served(tmp_path: Path) -> Watched:
    """Runs that are looked at, without a server."""
    made = object.__new__(Watched)
    made.runs = FollowedRuns(tmp_path)
    made.page = LivePage(made.runs)
    return made


def test_before_there_is_a_run_the_page_waits(served: Watched) -> None:
    page = served.page
    assert "No runs yet" in page.html()
    found = news(page, "")
    assert (found["is_empty"], found["page"], found["version"]) == (True, None, page.version)


def test_only_numbers_of_runs_that_have_changed_are_sent(served: Watched, tmp_path: Path) -> None:
    growing = {name: GrowingRun(trajectories.make(name), tmp_path / name, 3) for name in "abc"}
    served.look()
    first = news(served.page, "")
    assert kept(first) == [False] * 3
    growing["b"].grow()
    served.look()
    second = news(served.page, first["version"])
    assert kept(second) == [True, False, True]
    assert second["page"]["data"]["runs"][0] == {"kept": str(growing["a"].path)}
    assert second["page"]["data"]["runs"][1]["points"] == 4
    growing["c"].grow()
    served.look()
    third = served.page.version
    assert kept(news(served.page, first["version"])) == [True, False, False]
    assert kept(news(served.page, second["version"])) == [True, True, False]
    assert news(served.page, third)["page"] is None
    assert kept(news(served.page, f"another.{third.partition('.')[2]}")) == [False] * 3
    assert kept(news(served.page, "no version")) == [False] * 3


def test_the_page_holds_what_its_news_say(served: Watched, tmp_path: Path) -> None:
    growing = GrowingRun(trajectories.make("a"), tmp_path / "a", 3)
    served.look()
    growing.grow()
    served.look()
    whole, told = data_of(served.page.html()), news(served.page, "")
    assert whole.pop("following")["version"] == told["version"] == served.page.version
    assert whole == told["page"]["data"]
    assert f"<h1>{told['page']['parts']['title']}</h1>" in served.page.html()


def test_numbers_that_refer_to_other_texts_are_sent_again(served: Watched, tmp_path: Path) -> None:
    """Runs hold their notes as places in one list of texts: another text at a place is another note."""
    runs = {name: trajectories.damaged(name, failure="out of memory") for name in "ab"}
    for name, run in runs.items():
        trajectories.write(run, tmp_path / name)
    served.look()
    before = served.page.version
    for name in runs:
        shutil.rmtree(tmp_path / name)
        trajectories.write(trajectories.damaged(name, failure="the disk was full"), tmp_path / name)
    served.look()
    found = news(served.page, before)
    assert kept(found) == [False, False]
    assert "the disk was full" in found["page"]["data"]["texts"]


def test_that_a_run_has_ended_is_told_without_numbers(served: Watched, tmp_path: Path) -> None:
    growing = GrowingRun(trajectories.make("a"), tmp_path / "a", 3)
    served.look()
    before = served.page.version
    assert [run["state"] for run in news(served.page, "")["following"]["runs"]] == ["running"]
    growing.writer.close()
    served.look()
    found = news(served.page, before)
    assert found["version"] != before
    assert found["page"] is None
    assert [run["state"] for run in found["following"]["runs"]] == ["finished"]


def test_what_is_left_out_is_said(served: Watched, tmp_path: Path) -> None:
    trajectories.write(trajectories.make("a"), tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "trajectory.jsonl").write_text("hello\n")
    served.look()
    (refused,) = news(served.page, "")["following"]["refused"]
    assert refused["name"] == "b"
    assert "is not a trajectory file" in refused["why"]


def test_runs_of_several_protocols_share_the_page_under_a_banner(served: Watched, tmp_path: Path) -> None:
    trajectories.write(trajectories.make("a"), tmp_path / "a")
    trajectories.write(trajectories.make("b", num_anchors=50), tmp_path / "b")
    served.look()
    assert "measured under different protocols" in news(served.page, "")["page"]["parts"]["banners"]


def test_when_all_runs_are_gone_the_page_waits_again(served: Watched, tmp_path: Path) -> None:
    trajectories.write(trajectories.make("a"), tmp_path / "a")
    served.look()
    before = served.page.version
    shutil.rmtree(tmp_path / "a")
    served.look()
    assert news(served.page, before)["is_empty"]
    assert "No runs yet" in served.page.html()


def test_charts_are_drawn_anew_when_there_is_time_for_it(served: Watched, tmp_path: Path) -> None:
    """New points come first: charts of the same runs take them as they are, but for the ticks of the axes."""

    def ticks() -> tuple[int, list[int]]:
        data = data_of(served.page.html())
        return data["drawn"], data["specs"]["curves_step"]["layer"][0]["encoding"]["x"]["axis"]["values"]

    growing = GrowingRun(trajectories.make("a"), tmp_path / "a", 4)
    served.look()
    first, before = ticks()
    assert before[-1] == growing.writer.points[-1].step
    assert served.page.stale == 0
    step = growing.grow()
    served.look()
    assert ticks() == (first, before)
    assert served.page.stale > 0
    served.page.update(with_charts=True)
    now, after = ticks()
    assert now > first
    assert after[-1] == step
    assert served.page.stale == 0
    trajectories.write(trajectories.make("b"), tmp_path / "b")
    served.look()
    assert ticks()[0] > now, "other runs have other charts"


def test_who_waits_is_woken_up_by_a_new_version(served: Watched, tmp_path: Path) -> None:
    version, heard = served.page.version, []
    assert served.page.wait(version, 0.0) is False
    assert served.page.wait("another", 0.0) is True
    waiting = threading.Thread(target=lambda: heard.append(served.page.wait(version, PATIENCE)))
    waiting.start()
    trajectories.write(trajectories.make("a"), tmp_path / "a")
    served.look()
    waiting.join()
    assert heard == [True]


def test_details_are_a_script(served: Watched, tmp_path: Path) -> None:
    trajectories.write(trajectories.make("a"), tmp_path / "a")
    served.look()
    script = served.page.details(0)
    assert script is not None
    assert script.startswith("ibtrackDetails(0, {")
    assert served.page.details(1) is None


def test_how_long_a_version_took_is_told(served: Watched, tmp_path: Path) -> None:
    trajectories.write(trajectories.make("a"), tmp_path / "a")
    served.runs.look()
    served.page.update(reading=60.0)
    assert served.page.took > 60
    served.page.update(with_numbers=False)
    assert news(served.page, "")["following"]["took"] > 60
