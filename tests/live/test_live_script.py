"""How the page follows runs in a real Chromium."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import pytest

from ibtrack.live import server as module
from ibtrack.live.runs import RunState
from ibtrack.report import sheet
from tests import trajectories
from tests.live.conftest import GrowingRun, Watched

Follow = Callable[..., Any]


def ready(page: Any) -> Any:
    """The page, once it has been drawn."""
    page.wait_for_selector("html[data-ready=yes]")
    return page


SUMMARY = """() => {
    const textOf = (part) => part.textContent.replace(/ [▾▴]$/, "");
    const heads = [...document.querySelectorAll("#summary thead button")].map(textOf);
    const cells = (row) => Object.fromEntries(heads.map((head, i) => [head, textOf(row.cells[i])]));
    const rows = [...document.querySelectorAll("#summary tbody tr")];
    return Object.fromEntries(rows.map((row) => [textOf(row.querySelector("button")), cells(row)]));
}"""


def rows(page: Any) -> dict[str, dict[str, str]]:
    """Name of each run to what the summary says of it, by the head of the column."""
    found: dict[str, dict[str, str]] = page.evaluate(SUMMARY)
    return found


def wait_for(page: Any, name: str, column: str, text: str) -> None:
    """Wait until the summary says something of a run."""
    says = f"([name, column, text]) => ({SUMMARY})()[name]?.[column]?.startsWith(text)"
    page.wait_for_function(says, arg=[name, column, text])


def num_marks(page: Any) -> int:
    """Number of points that are drawn in the plane."""
    return int(page.locator("#plane svg path[aria-roledescription], #plane svg .mark-symbol path").count())


def test_points_come_by_themselves_and_no_page_is_loaded_again(watched: Watched, follow: Follow) -> None:
    growing = GrowingRun(trajectories.make("a"), watched.runs.folder / "a", 4)
    watched.look()
    page = ready(follow())
    before = num_marks(page)
    for _ in range(3):
        step = growing.grow()
        watched.look()
        wait_for(page, "a", "last step", f"{step:,}")
    page.wait_for_function("document.querySelector('#step').max === '6'")
    assert num_marks(page) == before + 3
    assert page.locator("#readout-title").inner_text() == f"At step {step:,}", "who looks at the end goes on to do so"
    assert [url for url in page.asked if url == watched.server.url] == [watched.server.url]
    assert rows(page)["a"]["state"].startswith("running")


def test_the_page_is_the_one_of_the_report(watched: Watched, follow: Follow) -> None:
    for run in trajectories.sweep():
        trajectories.write(run, watched.runs.folder / run.name)
    watched.look()
    page = ready(follow())
    verdict = page.locator("#verdict").inner_text()
    assert verdict.startswith("width=64 compresses more than width=32 at step 4000: ")
    assert (
        page.locator("#following-text").inner_text().startswith(f"Follows {watched.runs.folder}: 4 runs, 4 finished.")
    )


def test_a_run_that_is_killed_is_dead_and_one_that_ends_is_finished(watched: Watched, follow: Follow) -> None:
    """Real trainings, of which one is killed while the page is open."""
    folder = watched.runs.folder
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.live.training"]
    processes = {
        name: subprocess.Popen(
            [*command, str(folder / name)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        for name in ("killed", "ends")
    }
    for process in processes.values():
        assert process.stdout is not None
        assert process.stdout.readline() == "step 2\n"
    watched.look()
    page = ready(follow())
    assert {name: row["state"][:7] for name, row in rows(page).items()} == {"killed": "running", "ends": "running"}
    processes["killed"].send_signal(signal.SIGKILL)
    processes["killed"].communicate()
    processes["ends"].communicate("go on\n")
    assert processes["ends"].returncode == 0
    watched.look()
    wait_for(page, "killed", "state", "dead")
    wait_for(page, "ends", "state", "finished")
    found = rows(page)
    assert (found["killed"]["last step"], found["ends"]["last step"]) == ("2", "8")
    assert "1 finished, 1 dead" in page.locator("#following-text").inner_text()


def test_what_the_reader_has_chosen_stays(watched: Watched, follow: Follow) -> None:
    growing = {run.name: GrowingRun(run, watched.runs.folder / run.name, 8) for run in trajectories.sweep(num_layers=3)}
    watched.look()
    page = ready(follow())
    choices = {  # groups have other errors than runs, and effects are worked out for the mean over the layers alone
        "view": "runs", "matched": "loss", "order": "bigram", "site": "L01", "reading": "plugin", "unit": "log_k",
        "band": "simultaneous", "colour": "model.width", "quantity": "entropy", "x": "tokens", "below": "loss",
    }  # fmt: skip
    for control, value in choices.items():
        page.select_option(f"#{control}", value)
    page.locator("#summary tbody tr").nth(1).locator("input").uncheck()
    hidden = page.locator("#summary tbody tr").nth(1).locator("button").inner_text()
    page.locator("#summary tbody button", has_text="w64-s0").click()
    page.locator("#theme").click()
    page.locator("#protocol summary").click()
    page.locator("#references").uncheck()
    page.locator("#step").fill("3")
    page.locator("#summary [data-column=loss]").click()
    page.locator("#settings-title").scroll_into_view_if_needed()
    page.locator("#below").focus()
    page.wait_for_timeout(300)  # charts are drawn
    seen = "document.querySelector('#settings-title').getBoundingClientRect().top"
    place, first = page.evaluate(seen), page.locator("#step-text").inner_text().partition(" of ")[0]
    step = growing["w32-s0"].grow(2)
    watched.look()
    wait_for(page, "w32-s0", "last step", f"{step:,}")
    page.wait_for_function("document.querySelector('#step').max === '9'")
    page.wait_for_timeout(300)
    assert {control: page.locator(f"#{control}").input_value() for control in choices} == choices
    focus = page.locator("#focus")
    assert focus.locator("option:checked").inner_text() == "w64-s0"
    assert [name for name, row in zip(rows(page), page.locator("#summary tbody tr").all(), strict=True)
            if not row.locator("input").is_checked()] == [hidden]  # fmt: skip
    assert page.locator("html").get_attribute("data-theme") == "light"
    assert page.locator("#protocol").get_attribute("open") is not None
    assert not page.locator("#references").is_checked()
    assert page.locator("#step-text").inner_text().partition(" of ")[0] == first
    assert page.locator("#summary th[aria-sort] button").get_attribute("data-column") == "loss"
    assert page.evaluate("document.activeElement.id") == "below"
    assert abs(page.evaluate(seen) - place) <= 2
    assert page.locator("#site option").all_inner_texts() == ["mean of layers", "embed", "L00", "L01", "L02"]


def test_a_row_keeps_the_focus_of_the_keyboard(watched: Watched, follow: Follow) -> None:
    growing = GrowingRun(trajectories.make("a"), watched.runs.folder / "a", 4)
    trajectories.write(trajectories.make("b"), watched.runs.folder / "b")
    watched.look()
    page = ready(follow())
    page.get_by_label("Show b in the charts").focus()
    step = growing.grow()
    watched.look()
    wait_for(page, "a", "last step", f"{step:,}")
    page.wait_for_function("document.activeElement.getAttribute('aria-label') === 'Show b in the charts'")


def test_runs_come_and_go_and_the_choice_of_one_that_stays_goes_with_it(watched: Watched, follow: Follow) -> None:
    folder = watched.runs.folder
    trajectories.write(trajectories.make("b"), folder / "b")
    watched.look()
    page = ready(follow())
    assert page.locator("h1").inner_text() == "b"
    trajectories.write(trajectories.make("a"), folder / "a")
    trajectories.write(trajectories.make("c"), folder / "c")
    watched.look()
    page.wait_for_function("document.querySelectorAll('#summary tbody tr').length === 3")
    assert page.locator("h1").inner_text() == "3 runs"
    assert page.title() == "Information plane: 3 runs"
    assert page.locator("#colour").input_value() == "run", "as a page of several runs has it where nothing was chosen"
    page.select_option("#focus", label="b")
    shutil.rmtree(folder / "a")
    watched.look()
    page.wait_for_function("document.querySelectorAll('#summary tbody tr').length === 2")
    assert page.locator("#focus option:checked").inner_text() == "b"
    shutil.rmtree(folder / "b")
    watched.look()
    page.wait_for_function("document.querySelectorAll('#summary tbody tr').length === 1")
    assert page.locator("#focus option:checked").inner_text() == "none"


def test_the_page_waits_for_the_first_run_and_after_the_last(watched: Watched, follow: Follow) -> None:
    page = follow()
    assert page.locator("h1").inner_text() == "No runs yet"
    (watched.runs.folder / "x").mkdir(parents=True)
    (watched.runs.folder / "x" / "trajectory.jsonl").write_text("hello\n")
    watched.look()
    page.get_by_text("x is left out: ").wait_for()
    trajectories.write(trajectories.make("a"), watched.runs.folder / "a")
    watched.look()
    ready(page)
    assert page.locator("h1").inner_text() == "a"
    assert page.locator("#following-refused").inner_text().startswith("x is left out: ")
    shutil.rmtree(watched.runs.folder / "a")
    watched.look()
    page.get_by_text("No runs yet").wait_for()


def test_texts_of_others_are_texts(watched: Watched, follow: Follow) -> None:
    folder = watched.runs.folder
    growing = GrowingRun(trajectories.make("a"), folder / "a", 4)
    watched.look()
    page = ready(follow())
    trajectories.write(trajectories.make(trajectories.EVIL, evil=trajectories.EVIL), folder / "b")
    (folder / "<img src=x onerror=window.stolen=3>").mkdir()
    (folder / "<img src=x onerror=window.stolen=3>" / "trajectory.jsonl").write_text("hello\n")
    growing.grow()
    watched.look()
    page.wait_for_function("document.querySelectorAll('#summary tbody tr').length === 2")
    page.wait_for_function("document.querySelector('#following-refused').textContent.includes('<img')")
    page.locator("#protocol summary").click()
    assert page.locator("main > .banner").first.inner_text().startswith("These runs were measured under different")
    assert page.evaluate("window.stolen") is None


def test_details_are_loaded_and_loaded_again_when_the_run_has_grown(
    watched: Watched, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that has room for so few numbers that it leaves the layers out."""
    monkeypatch.setattr(sheet, "MOST_NUMBERS", 8000)
    runs = {name: trajectories.make(name, num_points=8) for name in "abc"}
    trajectories.write(runs["b"], watched.runs.folder / "b")
    growing = GrowingRun(runs["a"], watched.runs.folder / "a", 5)
    watched.look()
    page = ready(follow())
    assert "all of its points and layers are loaded" in page.locator("main > .banner").inner_text()
    page.select_option("#focus", label="a")
    page.wait_for_function("document.querySelector('#site').options.length === 6")
    page.select_option("#site", "L03")
    step = growing.grow()
    watched.look()
    wait_for(page, "a", "last step", f"{step:,}")
    page.wait_for_function("document.querySelector('#site').options.length === 6")
    page.wait_for_function("document.querySelector('#details-note').hidden")
    assert page.locator("#site").input_value() == "L03"
    assert [url.rpartition("/")[2] for url in page.asked if "/details/" in url] == ["run000.js"] * 2
    trajectories.write(runs["c"], watched.runs.folder / "c")
    watched.look()
    page.wait_for_function("document.querySelectorAll('#summary tbody tr').length === 3")
    assert page.locator("#site").input_value() == "L03"
    assert len([url for url in page.asked if "/details/" in url]) == 2, "a run that has not changed keeps its details"


def test_that_nobody_answers_is_said_until_somebody_does(watched: Watched, follow: Follow, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "LONGEST_WAIT", 0.05)
    growing = GrowingRun(trajectories.make("a"), watched.runs.folder / "a", 4)
    watched.look()
    page = ready(follow())
    page.route("**/news*", lambda route: route.fulfill(status=500))
    page.wait_for_selector("#following-lost:not([hidden])")
    assert page.locator("#following-lost").inner_text().startswith("ibtrack watch does not answer")
    page.unroute("**/news*")
    step = growing.grow()
    watched.look()
    wait_for(page, "a", "last step", f"{step:,}")
    assert page.locator("#following-lost").is_hidden()
    assert [text for text in page.complaints if "500" not in text] == []
    page.complaints.clear()  # a browser says of each answer that it was refused


def test_on_a_telephone_nothing_stands_out_of_the_page(watched: Watched, follow: Follow) -> None:
    growing = [GrowingRun(run, watched.runs.folder / run.name, 6) for run in trajectories.sweep()]
    watched.look()
    page = ready(follow(width=400))
    step = growing[0].grow()
    watched.look()
    wait_for(page, "w32-s0", "last step", f"{step:,}")
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    assert rows(page)["w32-s0"]["state"].startswith("running")


def test_the_page_says_how_old_news_are(watched: Watched, follow: Follow) -> None:
    trajectories.write(trajectories.make("a"), watched.runs.folder / "a")
    (watched.runs.folder / "a" / ".trajectory.jsonl.lock").write_text("process 7 on elsewhere")
    an_hour_ago = (watched.runs.folder / "a" / "trajectory.jsonl").stat().st_mtime - 720
    os.utime(watched.runs.folder / "a" / "trajectory.jsonl", (an_hour_ago, an_hour_ago))
    watched.look()
    page = ready(follow())
    page.wait_for_function("document.querySelector('.age').textContent !== ''")
    assert rows(page)["a"]["state"] == "no news for 12\u00a0min"


def test_the_script_has_words_for_the_states_that_can_be_told() -> None:
    text = (files("ibtrack.report") / "page" / "live.js").read_text()
    assert [state.value for state in RunState if f'{state.value}: "{state.value}"' in text] == [
        "running",
        "finished",
        "dead",
    ]
