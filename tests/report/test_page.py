"""How the page behaves in a real Chromium."""

from __future__ import annotations

import json
import math
import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest
from scipy.special import stdtrit

from ibtrack.analysis.bands import careful_value
from ibtrack.analysis.effects import effects
from ibtrack.analysis.phases import find_phases, phases_of_runs
from ibtrack.record.notes import note_names
from ibtrack.record.trajectory import Point, Trajectory
from ibtrack.report import sheet
from ibtrack.report.details import write_details
from ibtrack.report.html import write_report
from ibtrack.report.opening import opening
from ibtrack.report.run_labels import run_labels
from ibtrack.report.shared_paths import mark_shared
from ibtrack.report.tables import curve_rows, plane_domain, plane_rows
from tests import trajectories
from tests.record.test_notes import CASES
from tests.report.conftest import Show


def marks(page: Any, chart: str = "#plane") -> str:
    """All that is drawn in a chart."""
    return str(page.locator(f"{chart} svg").inner_html())


def to_log_k(page: Any) -> None:
    """Choose fractions of log K, and wait until the plane is drawn anew."""
    page.select_option("#unit", "log_k")
    page.wait_for_function("document.querySelector('#plane svg')?.innerHTML.includes('fraction of log K')")
    page.wait_for_function("document.querySelector('#plane-note').textContent.includes('fractions of log K.')")


def with_values(run: Trajectory, change: Callable[[Mapping[str, float]], Mapping[str, float]]) -> Trajectory:
    """A run whose points have other values."""
    return replace(run, points=[replace(point, values=change(point.values)) for point in run.points])


def run_by_run(page: Any) -> Any:
    """The table of single runs, which of groups is folded."""
    page.locator("#single").evaluate("part => { part.open = true; }")
    return page.locator("#summary")


def names(page: Any) -> list[str]:
    run_by_run(page)
    return list(page.locator("#summary tbody .run button").all_inner_texts())


def test_the_answer_is_on_top(show: Show) -> None:
    page = show(trajectories.sweep())
    best = names(page)[0]
    assert page.locator("#verdict").inner_text().startswith("width=64 compresses more than width=32 at step 4000: ")
    assert [row.split("\t")[0].strip() for row in page.locator("#group-summary tbody tr").all_inner_texts()] == [
        *("width=32", "width=64", "width=64 less width=32"),
    ]
    rest = page.locator("#verdict-rest").inner_text()
    assert rest.startswith(f"Of single runs, {best} compresses most: I(X;Z) falls by 0.2")
    assert [name[:3] for name in names(page)] == ["w64", "w64", "w32", "w32"]
    first = page.locator("#summary tbody tr").first.inner_text().split("\t")
    fall, num_se = float(first[1]), float(first[2])
    se = 0.004 / 0.48  # under the ceilings of both ends
    assert fall / (se * 2**0.5) == pytest.approx(num_se, abs=0.15)  # the fall is rounded to .001
    assert page.locator("#sentences dd").count() == 4


SETTLED = """async (chart) => {  // a chart that is drawn anew is first empty
    const drawn = () => document.querySelector(chart + " svg")?.innerHTML;
    let before = null;
    while (before !== drawn()) {
        before = drawn();
        await new Promise((done) => setTimeout(done, 100));
    }
}"""


def settle(page: Any, chart: str) -> None:
    """Wait until a chart has been drawn to its end."""
    page.evaluate(SETTLED, chart)


@pytest.mark.parametrize(
    ("control", "chart"),
    [(name, "#plane") for name in ("order", "site", "reading", "unit", "band", "colour", "focus")]
    + [(name, "#curves") for name in ("quantity", "x", "band")],
)
def test_every_choice_of_every_control_redraws(show: Show, control: str, chart: str) -> None:
    page = show(trajectories.sweep())
    page.select_option("#view", "runs")
    options = page.locator(f"#{control} option").evaluate_all("options => options.map(option => option.value)")
    changed = "([chart, before]) => document.querySelector(chart + ' svg')?.innerHTML !== before"
    drawn = set()
    for option in options:
        before = marks(page, chart)
        if page.locator(f"#{control}").input_value() != option:
            page.select_option(f"#{control}", option)
            page.wait_for_function(changed, arg=[chart, before])  # another axis is drawn anew, which takes a moment
        settle(page, chart)
        drawn.add(marks(page, chart))
    assert len(drawn) == len(options) >= 2


def test_the_slider_hides_later_steps_and_play_shows_them_one_by_one(show: Show) -> None:
    page = show([trajectories.make()])
    ends = marks(page)
    page.locator("#step").fill("3")
    assert page.locator("#step-text").inner_text() == "step 11 of 4,000"
    assert page.locator("#readout-title").inner_text() == "At step 11"
    early = marks(page)
    assert len(early) < len(ends)
    page.locator("#step").fill("13")
    assert marks(page) == ends
    page.locator("#play").click()  # from the end it starts over
    page.wait_for_function("Number(document.querySelector('#step').value) >= 2")
    assert page.locator("#play").get_attribute("aria-label") == "Pause"
    page.locator("#play").click()
    at = page.locator("#step").input_value()
    page.wait_for_timeout(900)
    assert page.locator("#step").input_value() == at
    page.locator("#step").fill("12")
    page.locator("#play").click()
    page.wait_for_function("document.querySelector('#play').ariaLabel === 'Play the training'")
    assert page.locator("#step").input_value() == "13"


def test_hovering_shows_run_step_loss_and_values_with_errors(show: Show) -> None:
    page = show([trajectories.make("demo")])
    page.locator("#plane svg path[aria-roledescription], #plane .mark-symbol path").last.hover()
    tip = page.locator("#vg-tooltip-element").inner_text()
    last = trajectories.make("demo").points[-1]
    value = last.values["ib/mean/token/kept"]
    for part in ("demo", "4,000", "8,192,000", f"{last.loss:.3f}", "kept", f"{value:.4f} ± {1.96 * 0.004 / 0.48:.4f}"):
        assert part in tip


def test_the_table_sorts_both_ways_by_mouse_and_keyboard(show: Show) -> None:
    page = show(trajectories.sweep())
    button = run_by_run(page).locator("[data-column=loss]")
    page.locator("#summary [data-column=run]").click()
    assert names(page) == ["w32-s0", "w32-s1", "w64-s0", "w64-s1"]
    assert page.locator("#summary th[aria-sort]").get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Enter")  # the button keeps the focus when the head is made anew
    assert names(page) == ["w64-s1", "w64-s0", "w32-s1", "w32-s0"]
    button.click()
    assert page.locator("#summary th[aria-sort]").get_attribute("aria-sort") == "descending"


def test_runs_can_be_hidden_and_highlighted(show: Show) -> None:
    page = show(trajectories.sweep())
    page.select_option("#view", "runs")
    assert page.locator("#single").get_attribute("open") is not None
    everything = marks(page)
    page.locator("#summary input").first.uncheck()
    assert page.locator("#readout tbody tr").count() == 3
    assert len(marks(page)) < len(everything)
    page.locator("#summary input").first.check()
    assert marks(page) == everything
    page.get_by_role("button", name="w32-s1", exact=True).click()
    assert page.locator("#focus").input_value() == "1"
    assert page.locator("#heatmap-axis").inner_text().startswith("w32-s1: kept")
    assert page.locator("#plane [opacity='0.15']").count() > 10
    page.get_by_role("button", name="w32-s1", exact=True).click()
    assert page.locator("#plane [opacity='0.15']").count() == 0


def test_runs_are_grouped_by_a_setting_that_differs(show: Show) -> None:
    page = show(trajectories.sweep(3))
    page.select_option("#colour", "model.width")
    groups = page.locator("#groups tbody tr").all_inner_texts()
    assert [group.split()[:4] for group in groups] == [["32", "3", "of", "3"], ["64", "3", "of", "3"]]
    falls = [float(re.findall(r"0\.\d+", group)[0]) for group in groups]
    assert falls[1] > falls[0]


def test_runs_of_one_recipe_are_drawn_as_their_mean_and_spread(show: Show) -> None:
    runs = trajectories.sweep(3)
    runs[0] = replace(runs[0], points=runs[0].points[:11])
    page = show(runs)
    assert page.locator("#view").input_value() == "groups"
    assert page.locator("#plane [opacity='0.18']").count() > 10
    assert not page.locator("#references").is_checked()
    lines = "#curves .mark-line path[stroke-width='2']"
    assert page.locator(f"{lines}[opacity='1']").count() == 2
    page.locator("#curves .mark-symbol path[opacity='1']").last.hover()
    tip = page.locator("#vg-tooltip-element")
    page.wait_for_selector("#vg-tooltip-element.visible")
    last = [run.points[-1].values["ib/mean/token/kept"] for run in runs[3:]]
    assert "width=64: mean of 3 runs, ± sd between them" in tip.inner_text()
    assert f"{fmean(last):.3f}" in tip.inner_text()
    assert f" ± {stdev(last):.3f}" in tip.inner_text()
    short = runs[0].steps[-1]
    assert f"Means over the runs of each group at step {short}, " in page.locator("#group-note").inner_text()
    assert page.locator("#groups").inner_text().split("\n")[0] == "Colour: width"
    assert f"w32-s0 has come to step {short} so far" in page.locator("#verdict").inner_text()
    page.select_option("#view", "runs")
    assert page.locator(f"{lines}[opacity='1']").count() >= 6
    page.locator("#references").check()
    assert page.locator("#curves [opacity='0.18']").count() == 0


def test_layers_of_several_runs_stand_side_by_side_on_one_scale(show: Show) -> None:
    page = show(trajectories.sweep())
    assert page.locator("#multiples-charts figure").count() == 0  # they are drawn when they are asked for
    page.locator("#multiples summary").click()
    page.wait_for_function("document.querySelector('#multiples-note').textContent.startsWith('One run of each group')")
    assert page.locator("#multiples-charts .axis").all_inner_texts() == ["w32-s0", "w64-s0"]
    legend = "charts => charts.map(chart => chart.querySelector('.role-legend').textContent)"
    legends = page.locator("#multiples-charts svg").evaluate_all(legend)
    assert len(legends) == 2
    assert legends[0] == legends[1]
    page.select_option("#view", "runs")
    page.wait_for_function("document.querySelectorAll('#multiples-charts svg').length === 4")
    page.wait_for_function("document.querySelector('#multiples-note').textContent.startsWith('The runs')")


def test_one_run_has_nothing_beside_it(show: Show) -> None:
    assert show([trajectories.make()]).locator("#multiples").is_hidden()


def test_sentences_say_of_what_they_are_when_another_reading_is_shown(show: Show) -> None:
    page = show(trajectories.sweep())
    assert page.locator("#verdict-of").inner_text() == ""
    page.select_option("#reading", "plugin")
    of = "Sentences and tables are of the debiased reading; the charts show the plug-in."
    assert page.locator("#verdict-of").inner_text() == of


def test_every_claim_is_of_the_layer_and_the_labels_that_are_chosen(show: Show) -> None:
    runs = trajectories.sweep()
    page = show(runs)
    named = dict(zip(run_labels(runs), runs, strict=True))
    for site, order in (("L02", "token"), ("mean", "trigram"), ("L03", "bigram"), ("mean", "token")):
        page.select_option("#site", site)
        page.select_option("#order", order)
        found = phases_of_runs(named, order, site=site)
        said = opening(named, found, order, unit="share", site=site)
        assert page.locator("#verdict").inner_text() == said.headline
        of = {"mean": f"Of the mean over the layers, {order} labels.", "L02": f"Of layer L02, {order} labels."}
        of |= {"L03": f"Of layer L03, {order} labels."}
        assert page.locator("#verdict-of").inner_text() == ("" if (site, order) == ("mean", "token") else of[site])
        sentences = dict(zip(names_of(page, "dt"), names_of(page, "dd"), strict=True))
        assert sentences == {name: each.sentence() for name, each in found.items()}
        falls = {
            row.split("\t")[0].strip(): row.split("\t")[1].strip()
            for row in run_by_run(page).locator("tbody tr").all_inner_texts()
        }
        assert falls == {name: f"{-each.compression.change:.3f}" for name, each in found.items() if each.compression}
        difference = effects(named, order=order, site=site)["fall"]
        assert (
            difference.text(difference.contrasts[0].difference)
            in page.locator("#group-summary .difference").inner_text()
        )
        assert difference.sentence() in page.locator("#settings-sentences").inner_text()
        value = f"{runs[0].points[-1].values[f'ib/{site}/{order}/kept']:.3f} ±"
        assert value in run_by_run(page).locator("tbody tr").filter(has_text="w32-s0").inner_text()


def names_of(page: Any, tag: str) -> list[str]:
    """The texts of the sentences run by run, without spaces at their ends."""
    return [text.strip() for text in page.locator(f"#sentences {tag}").all_text_contents()]


def test_what_was_not_worked_out_for_a_layer_is_not_said_in_the_words_of_the_mean(
    show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sheet, "MOST_CLAIMED", 10)
    page = show(trajectories.sweep())
    mean = page.locator("#verdict").inner_text()
    page.select_option("#site", "L01")
    sentence = "Phases, ranking and effects of layer L01 are not worked out on this page."
    assert page.locator("#verdict").inner_text() == sentence
    assert page.locator("#verdict-rest").text_content().endswith("ibtrack show RUN --site L01 --order token")
    assert page.locator("#settings-groups").inner_text().endswith("ibtrack compare FOLDER --site L01 --order token")
    assert run_by_run(page).locator("[data-column=fall]").count() == 0
    for part in ("#group-part", "#phases", "#contrasts", "#summary-note"):
        assert not page.locator(part).is_visible() or page.locator(part).inner_text() == ""
    page.select_option("#site", "mean")
    assert page.locator("#verdict").inner_text() == mean


def test_bars_and_bands_of_groups_are_those_that_are_chosen(show: Show) -> None:
    runs = trajectories.sweep(3)
    page = show(runs)
    assert page.locator("#band option").all_inner_texts() == [
        *("spread of runs (± 1 sd)", "mean of runs (95 %)", "none"),
    ]
    values = [[run.points[-1].values["ib/mean/token/kept"] for run in own] for own in (runs[:3], runs[3:])]
    pooled = math.sqrt(sum(stdev(own) ** 2 for own in values) / 2)
    half = float(stdtrit(4, 0.975)) * pooled / math.sqrt(3)
    for choice, width, words in (
        ("sd", stdev(values[1]), "band ± 1 standard deviation between its runs"),
        ("mean", half, "band its 95 % interval at each point, from the spread of runs within all groups"),
    ):
        page.select_option("#band", choice)
        settle(page, "#curves")
        assert words in page.locator("#curves-note").inner_text()
        page.mouse.move(0, 0)
        page.locator("#curves .mark-symbol path[opacity='1']").last.hover()
        page.wait_for_function(
            "text => document.querySelector('#vg-tooltip-element.visible')?.innerText.includes(text)",
            arg=f"{fmean(values[1]):.4f} ± {width:.4f}"[:-1],
        )
    assert page.locator("#curves .mark-area path").count() >= 2
    page.select_option("#band", "none")
    settle(page, "#curves")
    assert page.locator("#curves .mark-area path").count() == 0
    assert page.locator("#plane .mark-rule.role-mark line").count() == 0
    page.select_option("#view", "runs")
    assert page.locator("#band").input_value() == "pointwise"
    assert page.locator("#curves .mark-area path").count() >= 6


def test_lines_that_lie_on_one_another_are_all_seen(show: Show) -> None:
    runs = [trajectories.make(name, num_points=6) for name in "ab"]
    shared = [*runs[0].points[:4], *runs[1].points[4:]]  # as of one seed along a warm-up
    page = show([runs[0], replace(runs[1], points=shared)])
    words = "Where lines lie on one another, the lower ones are drawn wider."
    wide = """lines => lines.filter(line => Number(line.getAttribute('stroke-width')) >= 6)
        .map(line => line.getAttribute('stroke'))"""
    for chart in ("plane", "curves"):
        assert words in page.locator(f"#{chart}-note").inner_text()
        assert page.locator(f"#{chart} .mark-line path").evaluate_all(wide) == ["#0072b2"]
    page.locator("#summary input").last.uncheck()
    settle(page, "#curves")
    assert page.locator("#curves .mark-line path").evaluate_all(wide) == []
    assert words not in page.locator("#curves-note").inner_text()


def test_the_page_counts_lines_over_points_as_python_does(chromium: Any) -> None:
    page_files = files("ibtrack.report") / "page"
    script = (page_files / "groups.js").read_text(encoding="utf-8")
    extent = re.search(r"function extent.*?\n}", (page_files / "rows.js").read_text(encoding="utf-8"), re.DOTALL)
    assert extent is not None
    draw = random.Random(0)
    rows = [
        {"run": run, "step": step, "x": draw.choice([0.0, 0.001, 1.0]), "y": draw.choice([0.0, 0.0, 0.0, 1.0, None])}
        for run in "abcd"
        for step in range(12)
    ]
    page = chromium.new_page()
    found = page.evaluate(f"rows => {{ {extent[0]}; {script}; return markShared(rows, ['x', 'y']); }}", rows)
    page.close()
    assert found == mark_shared(rows, ["x", "y"])
    assert {row["shared"] for row in found} >= {0, 1, 2}


@pytest.mark.parametrize("width", [2400, 1400, 400])
def test_long_names_stand_beside_numbers_and_not_on_them(show: Show, width: int) -> None:
    runs = trajectories.sweep(num_points=5)
    recipes = {32: "constant_with_warmup_and_hard_restarts", 64: "cosine_with_hard_restarts"}
    for i, run in enumerate(runs):
        config = {"recipe": recipes[run.run["config"]["model"]["width"]], "seed": i % 2}
        name = f"sweep recipe={config['recipe']} seed={i % 2}"
        runs[i] = replace(run, run={"name": name, "config": config})
    page = show(runs, width=width)
    run_by_run(page)
    over = """cells => cells.filter(cell => {
        const range = document.createRange();
        range.selectNodeContents(cell);
        return range.getBoundingClientRect().right > cell.getBoundingClientRect().right + 1;
    }).map(cell => cell.textContent)"""
    for table in ("group-summary", "summary", "readout", "means"):
        cells = page.locator(f"#{table} td, #{table} th")
        assert cells.count() > 8
        assert cells.evaluate_all(over) == []
    fall = page.locator("#group-summary tbody td").first.bounding_box()
    assert fall["x"] + fall["width"] < width  # the answer is seen without scrolling


def test_the_axes_of_the_plane_can_be_fitted_to_the_path(show: Show) -> None:
    page = show([trajectories.make()])
    box = "() => document.querySelector('#plane .mark-line.role-mark path').getBBox()"
    size = "() => { const { width, height } = (" + box + ")(); return width * height; }"
    equal = page.evaluate(size.replace(".mark-line.role-mark path", ".mark-symbol.role-mark"))
    assert "not a bound" in marks(page)
    page.locator("#fitted").check()
    settle(page, "#plane")
    assert page.evaluate(size.replace(".mark-line.role-mark path", ".mark-symbol.role-mark")) > 2 * equal
    assert "not a bound" not in marks(page)
    page.locator("#fitted").uncheck()
    settle(page, "#plane")
    assert page.evaluate(size.replace(".mark-line.role-mark path", ".mark-symbol.role-mark")) == pytest.approx(equal)


def test_a_point_of_a_replay_names_its_checkpoint(show: Show) -> None:
    run = trajectories.make(num_points=4)
    assert "checkpoint" not in tip_at_the_end(show([run]), "#plane")
    replayed = [replace(point, checkpoint=f"step{point.step}@0123abcd") for point in run.points]
    page = show([replace(run, points=replayed)])
    for chart in ("#plane", "#curves"):
        assert "step4000@0123abcd" in tip_at_the_end(page, chart)
    page.mouse.move(0, 0)
    page.locator("#heatmap .mark-rect.role-mark path").nth(5).hover()
    page.wait_for_function("document.querySelector('#vg-tooltip-element.visible')?.innerText.includes('@0123abcd')")


def test_a_new_payload_keeps_what_was_chosen(show: Show, tmp_path: Path) -> None:
    runs = trajectories.sweep()
    short = [replace(run, points=run.points[:9]) for run in runs[1:]]
    page = show(short)
    for control, value in (
        ("order", "bigram"),
        ("site", "L02"),
        ("view", "runs"),
        ("focus", "1"),
        ("quantity", "optimality"),
    ):
        page.select_option(f"#{control}", value)
    page.locator("#summary input").nth(1).uncheck()
    hidden = names(page)[1]
    page.locator("#step").fill("3")
    later = page_data(write_report(runs, tmp_path / "later.html"))
    before = names(page)
    page.evaluate("async (payload) => { await window.ibtrackRender(payload); }", later)
    assert {*names(page)} == {*before, "w32-s0"}
    chosen = {control: page.locator(f"#{control}").input_value() for control in ("order", "site", "view", "quantity")}
    assert chosen == {"order": "bigram", "site": "L02", "view": "runs", "quantity": "optimality"}
    assert page.locator("#focus option:checked").inner_text() == "w64-s0"
    off = page.locator("#summary tr.off .run button").all_inner_texts()
    assert off == [hidden]
    assert page.locator("#step-text").inner_text().startswith("step 11 of 4,000")
    page.locator("#step").fill(page.locator("#step").get_attribute("max"))
    assert page.locator("#curves .mark-symbol path").count() > 0


def page_data(path: Path) -> Any:
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', path.read_text(), re.DOTALL)
    return json.loads(text)


def test_runs_without_seeds_are_drawn_by_themselves(show: Show) -> None:
    page = show(trajectories.sweep(1))
    assert page.locator("#view").is_hidden()
    assert page.locator("#colour option[value=group]").count() == 0


def test_the_ranking_says_how_far_behind_each_run_is_and_which_are_tied(show: Show) -> None:
    drops = {"a": 0.2, "b": 0.2, "c": 0.05}
    runs = [trajectories.make(name, drop=drop) for name, drop in drops.items()]
    page = show([trajectories.make("still", shape="flat"), *runs])
    texts = page.locator("#summary tbody tr").all_inner_texts()
    rows = [[cell.strip() for cell in text.split("\t")] for text in texts]
    assert {rows[0][0], rows[1][0]} == {"a", "b"}
    assert [row[0] for row in rows[2:]] == ["c", "still"]
    assert rows[0][3] == "first"
    assert rows[3][3] == "—"
    assert re.fullmatch(r"[0-2]\.\d, tied", rows[1][3])
    assert float(rows[2][3]) == pytest.approx((float(rows[0][1]) - float(rows[2][1])) / (0.008 / 0.48), rel=0.2)
    assert "Tied: noise could make" in page.locator("#summary-note").inner_text()
    assert page.locator("#heatmap-axis").inner_text().startswith(f"{rows[0][0]}: kept")
    assert page.locator("#sentences dt").first.inner_text() == rows[0][0]


def test_many_runs_are_coloured_by_the_setting_that_parts_them(show: Show) -> None:
    page = show(trajectories.sweep(4))
    assert page.locator("#colour").input_value() == "group"
    page.select_option("#view", "runs")
    assert page.locator("#colour").input_value() == "model.width"
    assert page.locator("#groups tbody tr").count() == 2
    assert page.locator("#phases").get_attribute("open") is None
    page.locator("#phases summary").click()
    assert page.locator("#sentences dd").first.is_visible()


def test_keys_that_some_runs_have_are_shown_where_they_are(show: Show) -> None:
    run, other = trajectories.make("a", num_points=4), trajectories.make("b", num_points=4)
    more = {"ib/mean/token/kept_anchor_sd": 0.0123, "ib/mean/preference_information_se": 0.001}
    run = with_values(run, lambda values: {**values, **more})
    other = with_values(
        other, lambda values: {k: v for k, v in values.items() if not k.endswith("preference_information")}
    )
    page = show([run, other])
    page.select_option("#quantity", "preference_information")
    assert page.locator("#curves-axis").inner_text() == "preference information, fraction of log K"
    assert "b: 4 of 4 points have no value" in page.locator("#curves-note").inner_text()
    page = show([run])
    page.locator("#plane .mark-symbol path").last.hover()
    tip = page.locator("#vg-tooltip-element").inner_text()
    assert tip.count("(sd over anchors 0.0123)") == 1
    page = show([other])
    assert page.locator("#quantity option[value=preference_information]").count() == 0


def test_a_preference_probe_has_curves_and_no_plane(show: Show) -> None:
    runs = []
    for name in "ab":
        run = trajectories.make(name, num_points=4)
        points = [
            Point(point.step, {key: value for key, value in point.values.items() if "preference" in key})
            for point in run.points
        ]
        runs.append(Trajectory({**run.protocol, "orders": []}, run.run, points))
    page = show(runs)
    assert page.locator("#verdict").inner_text() == "No point has a value for token labels."
    assert not page.locator("#plane").is_visible()
    assert page.locator("#curves-axis").inner_text() == "preference information, fraction of log K"
    assert page.locator("#heatmap path[fill='#d0342c']").count() == 0
    final = f"{runs[0].points[-1].values['ib/mean/preference_information']:.3f}"
    assert final in page.locator("#summary tbody tr").first.inner_text()


def test_null_ceiling_and_bottleneck_curve_are_drawn(show: Show) -> None:
    page = show([trajectories.make(bottleneck_curve=trajectories.CURVE)])
    assert "bottleneck curve" not in marks(page)
    assert "The bottleneck curve is drawn in fractions of log K alone." in page.locator("#plane-note").inner_text()
    to_log_k(page)
    assert "bottleneck curve" in marks(page)
    assert "Red: bottleneck curve" in page.locator("#plane-note").inner_text()
    page.select_option("#order", "bigram")
    assert "bottleneck curve" not in marks(page) + page.locator("#plane-note").inner_text()
    assert page.locator("#curves [stroke-dasharray]").count() == 1  # a share has its null, and no ceiling
    page.select_option("#quantity", "complexity")
    assert page.locator("#curves [stroke-dasharray]").count() == 2
    assert "dashed" in page.locator("#curves-note").inner_text()
    page.locator("#references").uncheck()
    assert page.locator("#curves [stroke-dasharray]").count() == 0


def test_the_geometry_stands_below_the_information_where_it_was_measured(show: Show) -> None:
    page = show([trajectories.make(geometry=True)])
    assert page.locator("#curves-axis").inner_text() == "kept I(X;Z) / I(Z;J), share of the ceiling"
    assert page.locator("#second-axis").inner_text() == "RankMe, directions"
    assert page.locator("#second .mark-symbol path").count() == page.locator("#curves .mark-symbol path").count() == 14
    assert page.locator("#second [stroke-dasharray]").count() == 1
    assert "dashed: what half of the documents read" in page.locator("#second-note").inner_text()
    page.locator("#second .mark-symbol path").last.hover()
    value = trajectories.make(geometry=True).points[-1].values["ib/mean/rankme"]
    tip = page.locator("#vg-tooltip-element").inner_text()
    assert f"{value:.2f}" in tip
    assert "value" in tip
    assert "complexity" not in tip
    page.select_option("#below", "alpha_req")
    page.wait_for_function("document.querySelector('#second-axis').innerText.startsWith('α-ReQ')")
    page.select_option("#x", "tokens")
    page.wait_for_function("document.querySelector('#second svg').innerHTML.includes('tokens seen')")
    assert page.locator("#second .mark-symbol path").count() == 14
    page.locator("#references").uncheck()
    assert page.locator("#second [stroke-dasharray]").count() == 0
    page.select_option("#quantity", "participation_ratio")
    assert page.locator("#heatmap-axis").inner_text() == "run: participation ratio, directions"
    page.select_option("#below", "")
    page.wait_for_function("document.querySelector('#second').closest('figure').hidden")
    page.select_option("#site", "L01")
    assert page.locator("#curves .mark-symbol path").count() == 14


def test_without_geometry_what_is_told_stands_below(show: Show) -> None:
    page = show([trajectories.make()])
    assert page.locator("#quantity").input_value() == "kept"
    assert page.locator("#below").input_value() == "told"
    assert page.locator("#second-axis").inner_text() == "told I(Y;Z) / I(Z;J), share of the ceiling"
    assert page.locator("#quantity option[value=rankme]").count() == 0
    page.select_option("#below", "expressivity")
    page.wait_for_function("document.querySelector('#second-axis').innerText.startsWith('expressivity')")
    assert page.locator("#second .mark-symbol path").count() == 14
    page.select_option("#below", "")
    page.wait_for_function("document.querySelector('#second').closest('figure').hidden")


def test_everything_can_be_done_from_the_keyboard(show: Show) -> None:
    page = show(trajectories.sweep())
    run_by_run(page)
    reached = []
    for _ in range(70):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.dataset.column || ''"))
    assert {
        "theme",
        "fall",
        "fitted",
        "order",
        "site",
        "reading",
        "unit",
        "band",
        "colour",
        "focus",
        "play",
        "step",
        "quantity",
        "x",
        "references",
    } <= {*reached}
    page.locator("#step").focus()
    page.keyboard.press("ArrowLeft")
    assert page.locator("#step-text").inner_text() == "step 3,449 of 4,000"
    page.locator("#play").focus()
    page.keyboard.press("Space")
    assert page.locator("#play").get_attribute("aria-label") == "Pause"
    unnamed = page.locator("button, select, input, [role=img]").evaluate_all(
        "all => all.filter(e => !(e.ariaLabel || e.innerText || e.labels?.length)).map(e => e.outerHTML)"
    )
    assert unnamed == []


def test_the_theme_follows_the_system_until_it_is_chosen(show: Show) -> None:
    def paper(page: Any) -> Any:
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    page = show([trajectories.make(num_points=4)], color_scheme="dark")
    dark = paper(page)
    assert sum(map(int, re.findall(r"\d+", dark))) < 120
    assert page.evaluate("getComputedStyle(document.querySelector('#plane text')).fill") != "rgb(0, 0, 0)"
    page.locator("#theme").click()
    assert sum(map(int, re.findall(r"\d+", paper(page)))) > 700
    page.locator("#theme").click()
    page.emulate_media(color_scheme="light")
    assert paper(page) == dark


def test_a_phone_sees_all_of_it_without_scrolling_sideways(show: Show) -> None:
    page = show(trajectories.sweep(geometry=True), width=390, device_scale_factor=2, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    box = page.locator("#plane svg").bounding_box()
    assert box["width"] <= 366
    assert box["height"] > 250
    page.set_viewport_size({"width": 800, "height": 900})
    page.wait_for_function("document.querySelector('#plane svg').getBoundingClientRect().width > 400")


def test_print_is_light_and_leaves_the_controls_out(show: Show) -> None:
    page = show(trajectories.sweep(4), color_scheme="dark")
    assert page.pdf(format="A4").startswith(b"%PDF")
    assert page.locator("#protocol").get_attribute("open") is not None  # print shows what is folded
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.querySelector('h1')).color") == "rgb(29, 35, 41)"
    for hidden in (".controls", "#theme", "#play"):
        assert not page.locator(hidden).is_visible()
    assert page.locator("#plane svg").is_visible()
    page.set_viewport_size({"width": 718, "height": 900})  # A4 less its margins
    page.wait_for_function("document.documentElement.scrollWidth === 718")


def test_a_name_that_is_a_script_stays_text(show: Show) -> None:
    run = trajectories.make(trajectories.EVIL, num_points=4, config={trajectories.EVIL: trajectories.EVIL})
    page = show([run, trajectories.damaged("other")])
    page.select_option("#colour", trajectories.EVIL)
    page.locator("#plane .mark-symbol path").last.hover()
    page.wait_for_selector("#vg-tooltip-element.visible")
    assert trajectories.EVIL in names(page)
    assert page.evaluate("window.stolen") is None


def test_runs_of_one_name_are_told_apart(show: Show) -> None:
    page = show([trajectories.make("same", num_points=3), trajectories.make("same", num_points=3)])
    assert sorted(names(page)) == ["same", "same (2)"]


def test_no_points_is_a_page_that_says_so(show: Show) -> None:
    page = show([Trajectory(trajectories.make().protocol, {"name": "young"}, [])])
    assert page.locator("#verdict").inner_text() == "No points yet."
    assert page.locator("#step-text").inner_text() == "no points"
    assert page.locator("#play").is_disabled()
    assert "young has no points yet." in page.locator("#plane-note").inner_text()


def test_a_run_of_which_nothing_is_known_is_a_page_that_says_so(show: Show) -> None:
    page = show([Trajectory({}, {}, [Point(0)]), trajectories.make("sound", num_points=4, se=None)], allow_mixed=True)
    assert page.locator("#summary tbody").inner_text().count("not known") == 2
    assert "run has no layers on file." in page.locator("#heatmap-axis").inner_text()
    assert not page.locator("#heatmap").is_visible()


def test_one_point_is_a_page_with_one_point(show: Show) -> None:
    page = show([trajectories.make("young", num_points=1)])
    assert page.locator("#verdict").inner_text() == "One point: no change to speak of."
    assert page.locator("#step-text").inner_text() == "step 0 of 0"


def test_failed_points_are_visible_with_their_reason(show: Show) -> None:
    page = show([trajectories.damaged(), trajectories.make("sound", num_points=6)])
    assert "worn: 2 of 6 points have no value, the first at step" in page.locator("#plane-note").inner_text()
    assert "hook of L01 did not fire" in page.locator("#plane-note").inner_text()
    assert page.locator("#curves path[fill='#d0342c']").count() == 2
    assert "6, 1 failed" in page.locator("#summary tbody").inner_text()
    page.select_option("#focus", "0")
    assert page.locator("#heatmap path[fill='#d0342c']").count() == 5  # every site of the failed point
    page.locator("#step").fill("1")
    assert "hook of L01 did not fire" in page.locator("#readout").inner_text()


def test_a_foreign_protocol_has_its_banner(show: Show) -> None:
    page = show([trajectories.make("a"), trajectories.make("b", temperature="bounds")], allow_mixed=True)
    assert "Compare shapes, never numbers" in page.locator(".banner").first.inner_text()
    assert page.locator("#protocol h3").count() == 2
    assert page.locator("#verdict").inner_text().startswith("These runs are not ranked")
    assert page.locator("#summary [data-column=behind]").count() == 0


def test_twenty_runs_stay_below_5_megabytes_and_open_within_2_seconds(show: Show, tmp_path: Path) -> None:
    runs = [
        trajectories.make(f"run {i}", seed=i, num_points=40, num_layers=12, drop=i / 100, config={"seed": i})
        for i in range(20)
    ]
    assert len(runs[0].protocol["sites"]) == 13
    page = show(runs)
    assert (tmp_path / "0.html").stat().st_size < 5e6
    devtools = page.context.new_cdp_session(page)
    # processor time of the page's thread, in which all of its work is done: the machine may be busy with other things
    devtools.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.reload()
    page.wait_for_selector("html[data-ready=yes]", timeout=20_000)
    page.asked.pop()
    seconds = {metric["name"]: metric["value"] for metric in devtools.send("Performance.getMetrics")["metrics"]}
    assert 0 < seconds["TaskDuration"] < 2
    began = time.monotonic()
    page.locator("#step").fill("20")
    page.select_option("#site", "L05")
    assert time.monotonic() - began < 2


# ---- errors ----------------------------------------------------------------------------------------------------------


def tip_at_the_end(page: Any, chart: str) -> str:
    page.locator(f"{chart} .mark-symbol path").last.hover()
    page.wait_for_selector("#vg-tooltip-element.visible")
    return str(page.locator("#vg-tooltip-element").inner_text())


BAR_LENGTH = """() => Math.max(...[...document.querySelectorAll('#plane .mark-rule.role-mark line')]
    .map(bar => bar.getBoundingClientRect().width))"""
BAND_AREA = """() => { const box = document.querySelector('#curves .mark-area path').getBBox(); return box.height; }"""


def test_errors_of_all_points_together_are_wider_in_plane_and_curves(show: Show) -> None:
    run = trajectories.make("a")
    page = show([run])
    assert page.locator("#band option").all_inner_texts() == [
        *("each point (95 %)", "all points together (95 %)", "none"),
    ]
    assert "Bars: ± 1.96 standard errors, 95 % at each point by itself." in page.locator("#plane-note").inner_text()
    assert "band: ± 1.96 standard errors, 95 % at each point by itself" in page.locator("#curves-note").inner_text()
    narrow, low = page.evaluate(BAR_LENGTH), page.evaluate(BAND_AREA)
    page.select_option("#band", "simultaneous")
    settle(page, "#plane")
    settle(page, "#curves")
    assert "95 % at all points of a run and on both axes together." in page.locator("#plane-note").inner_text()
    assert "band: 95 % at all points of a run together" in page.locator("#curves-note").inner_text()
    rows = plane_rows([run], bands=True)
    number = rows[-1]["complexity_band"] / rows[-1]["complexity_se"]
    ratio = number / 1.96 / (plane_domain(rows)[1] / plane_domain(plane_rows([run]))[1])
    assert page.evaluate(BAR_LENGTH) / narrow == pytest.approx(ratio, rel=0.03)
    assert page.evaluate(BAND_AREA) > low
    page.select_option("#band", "pointwise")
    settle(page, "#plane")
    assert page.evaluate(BAR_LENGTH) == pytest.approx(narrow)


def test_tooltips_state_both_errors_whichever_is_drawn(show: Show) -> None:
    run = trajectories.make("a")
    page = show([run])
    for band in ("pointwise", "simultaneous"):
        page.select_option("#band", band)
        (*_, plane) = plane_rows([run], bands=True)
        (*_, row) = curve_rows([run], bands=True)
        for chart, column, se, width in (
            ("#plane", "complexity", plane["complexity_se"], plane["complexity_band"]),
            ("#curves", "value", row["se"], row["band"]),
        ):
            value = {**plane, **row}[column]
            text = f"{value:.4f} ± {1.96 * se:.4f}, for all points ± {width:.4f}"
            assert text in tip_at_the_end(page, chart)


def test_a_single_layer_has_the_band_of_independent_points(show: Show) -> None:
    run = trajectories.make("a")
    page = show([run])
    page.select_option("#band", "simultaneous")
    page.select_option("#site", "L01")
    assert "or more: it is the width that is enough" in page.locator("#curves-note").inner_text()
    (*_, row) = curve_rows([run], site="L01", bands=True)
    careful = careful_value(len(run.points), 64) * row["se"]
    assert f"{row['value']:.4f} ± {1.96 * row['se']:.4f}, for all points ± {careful:.4f}" in tip_at_the_end(
        page, "#curves"
    )
    page.select_option("#reading", "plugin")
    assert "95 %" not in page.locator("#curves-note").inner_text() + page.locator("#plane-note").inner_text()


def test_the_page_says_when_compression_began_with_an_interval(show: Show) -> None:
    run = trajectories.make("a")
    fall = find_phases(run).compression
    assert fall is not None
    assert fall.begins is not None
    low, high = fall.begins
    page = show([run, trajectories.make("still", shape="flat")])
    head = page.locator("#summary [data-column=since]")
    assert head.inner_text() == "since step (95\u00a0%)"
    texts = [row.split("\t") for row in page.locator("#summary tbody tr").all_inner_texts()]
    at = page.locator("#summary thead th").all_inner_texts().index("since step (95\u00a0%)")
    assert [row[at].strip() for row in texts] == [f"{fall.start} ({low:,}–{high:,})", "—"]
    head.click()
    assert names(page) == ["a", "still"]  # runs without one come last
    assert "the steps between which the fall begins" in page.locator("#summary-note").inner_text()
    assert f"(begun between {low} and {high})" in show([run]).locator("#verdict").inner_text()


# ---- reasons ---------------------------------------------------------------------------------------------------------


def test_the_page_finds_a_reason_where_python_does(chromium: Any) -> None:
    script = (files("ibtrack.report") / "page" / "notes.js").read_text(encoding="utf-8")
    page = chromium.new_page()
    reasons = page.evaluate(
        f"cases => {{ {script}; return cases.map(([key, notes, failure]) => whyMissing(notes, failure, key)); }}",
        [[case.key, case.notes, case.failure] for case in CASES],
    )
    names = page.evaluate(f"keys => {{ {script}; return keys.map(noteNames); }}", [case.key for case in CASES])
    page.close()
    assert reasons == [case.reason for case in CASES]
    assert names == [note_names(case.key) for case in CASES]


def test_undefined_quadgrams_are_explained_in_tooltip_caption_and_table(show: Show) -> None:
    page = show([trajectories.without_quadgrams(), trajectories.make("sound", num_points=5)])
    page.select_option("#order", "quadgram")
    reason = trajectories.ALL_DISTINCT
    assert (
        f"short: 5 of 5 points have no value, the first at step 0: {reason}."
        in page.locator("#plane-note").inner_text()
    )
    assert reason in page.locator("#readout tbody tr").filter(has_text="short").inner_text()
    assert page.locator("#summary tbody tr").filter(has_text="short").locator(f"td[title='{reason}']").count() == 3
    for chart in ("#curves", "#heatmap"):
        page.locator("#focus").select_option(label="short")
        page.locator(f"{chart} path[fill='#d0342c']").first.hover()
        page.wait_for_selector("#vg-tooltip-element.visible")
        assert reason in page.locator("#vg-tooltip-element").inner_text()
    page.select_option("#reading", "plugin")
    assert reason not in page.locator("#plane-note").inner_text()


def test_an_optimality_of_zero_by_zero_is_explained(show: Show) -> None:
    page = show([trajectories.without_quadgrams()])
    page.select_option("#quantity", "optimality")
    assert f"1 of 5 points have no value, the first at step 0: {trajectories.ZERO_BY_ZERO}." in (
        page.locator("#curves-note").inner_text()
    )
    page.locator("#curves path[fill='#d0342c']").hover()
    page.wait_for_selector("#vg-tooltip-element.visible")
    assert trajectories.ZERO_BY_ZERO in page.locator("#vg-tooltip-element").inner_text()


def test_the_table_keeps_a_value_whose_neighbour_is_missing(show: Show) -> None:
    run = trajectories.make("half", num_points=3)
    keys = [f"ib/mean/token/{quantity}" for quantity in ("expressivity", "told")]
    missing = dict.fromkeys(keys, math.nan)
    points = [
        replace(point, values={**point.values, **missing}, notes=dict.fromkeys(keys, "one label"))
        for point in run.points
    ]
    page = show([replace(run, points=points)])
    cells = page.locator("#readout tbody td").all_inner_texts()
    assert cells[1] == f"{run.points[-1].values['ib/mean/token/kept']:.3f} ± {1.96 * 0.004 / 0.48:.3f}"
    assert cells[2] == "one label"


def test_a_loss_that_was_not_finite_has_its_reason(show: Show) -> None:
    point = Point.from_json(Point(3, loss=math.inf).to_json())
    run = trajectories.make(num_points=2)
    page = show([replace(run, points=[run.points[0], point, run.points[1]])])
    page.select_option("#quantity", "loss")
    assert "not in this trajectory" in page.locator("#curves-note").inner_text()  # before the first step there is none
    page.locator("#curves path[fill='#d0342c']").last.hover()
    page.wait_for_selector("#vg-tooltip-element.visible")
    assert "training loss was inf" in page.locator("#vg-tooltip-element").inner_text()


def test_a_file_of_format_1_shows_its_reasons_at_the_quantities(show: Show, tmp_path: Path) -> None:
    run = trajectories.without_quadgrams("old")
    old = replace(run, points=[replace(p, notes={"input/quadgram": trajectories.ALL_DISTINCT}) for p in run.points])
    page = show([trajectories.write_older(old, tmp_path / "old", form=1)])
    assert "this file is of format 1" in page.locator(".banner").inner_text()
    page.select_option("#order", "quadgram")
    page.select_option("#quantity", "regularity")
    assert trajectories.ALL_DISTINCT in page.locator("#curves-note").inner_text()
    assert trajectories.ALL_DISTINCT in page.locator("#readout").inner_text()


# ---- what a newcomer could misread -----------------------------------------------------------------------------------


def test_a_run_with_a_collapse_alone_is_not_said_to_move_within_noise(show: Show) -> None:
    collapse = trajectories.mean_curves([0.40, 0.30, 0.20, 0.20, 0.20], [0.1] * 5)
    page = show([collapse])
    assert page.locator("#verdict").inner_text().startswith("First a collapse until step")
    assert page.locator("#summary [data-column=fall]").inner_text().startswith("compression: I(X;Z) falls by")
    assert re.search(r"none; a collapse by 0\.\d+", page.locator("#summary tbody").inner_text())
    assert "within noise" not in page.locator("main").inner_text()
    note = page.locator("#summary-note")
    words = "A fall of what had not been gained before is a collapse, and a fall of the fraction of log K alone is a"
    assert words in note.inner_text()


def test_the_unit_changes_the_plane_and_its_table_and_leaves_the_ranking(show: Show) -> None:
    page = show(trajectories.sweep())
    summary = run_by_run(page).inner_text()
    assert "kept I(X;Z) / I(Z;J), share of the ceiling" in marks(page)
    assert "shares of the ceiling" in page.locator("#summary-note").inner_text()
    before = page.locator("#readout").inner_text()
    to_log_k(page)
    assert "expressivity I(Y;Z), fraction of log K" in marks(page)
    assert "fractions of log K" in page.locator("#plane-note").inner_text()
    assert page.locator("#readout").inner_text() != before
    assert page.locator("#summary").inner_text() == summary
    values = trajectories.sweep()[0].points[-1].values
    assert f"{values['ib/mean/token/complexity']:.3f} ± {1.96 * 0.004:.3f}" in page.locator("#readout").inner_text()


def test_runs_whose_shares_have_no_errors_are_ranked_in_fractions_of_log_k(show: Show) -> None:
    def older(run: Trajectory) -> Trajectory:
        return with_values(
            run, lambda values: {k: v for k, v in values.items() if not k.endswith(("kept_se", "told_se"))}
        )

    page = show([older(run) for run in trajectories.sweep(1)])
    assert "of log K from step" in page.locator("#verdict").inner_text()
    assert "fractions of log K" in page.locator("#summary-note").inner_text()
    assert page.locator("#unit").input_value() == "share"  # their values are known all the same


def test_runs_without_shares_begin_in_fractions_of_log_k(show: Show) -> None:
    page = show([trajectories.mean_curves([0.1, 0.4, 0.3], ceiling=None)])
    assert page.locator("#unit").input_value() == "log_k"
    assert page.locator("#curves-axis").inner_text() == "complexity I(X;Z), fraction of log K"
    assert "have no value" not in page.locator("#plane-note").inner_text()


def test_the_bottleneck_curve_belongs_to_the_debiased_reading(show: Show) -> None:
    page = show([trajectories.make(bottleneck_curve=trajectories.CURVE)])
    to_log_k(page)
    for reading in ("plugin", "null"):
        page.select_option("#reading", reading)
        assert "ottleneck curve" not in marks(page) + page.locator("#plane-note").inner_text()
    page.select_option("#reading", "debiased")
    assert "bottleneck curve" in marks(page)


def test_the_choices_of_layer_and_reading_are_read_whole_on_a_phone(show: Show) -> None:
    page = show([trajectories.make(num_points=3)], width=400)
    room = page.evaluate(
        """() => ["site", "reading", "unit"].flatMap((id) => [...document.getElementById(id).options].map((option) => {
            const [select, pen] = [option.parentElement, document.createElement("canvas").getContext("2d")];
            const style = getComputedStyle(select);
            pen.font = `${style.fontSize} ${style.fontFamily}`;
            const arrow = 20;
            return select.clientWidth - 2 * parseFloat(style.paddingLeft) - arrow - pen.measureText(option.text).width;
        }))"""
    )
    assert min(room) > 0


def test_a_table_that_is_cut_off_says_that_it_scrolls(show: Show) -> None:
    page = show(trajectories.sweep(), width=400)
    run_by_run(page)
    hint = page.locator(".wide:has(#summary) + .scrolls")
    assert hint.inner_text() == "The table goes on to the right: scroll it sideways."
    assert hint.is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    page.set_viewport_size({"width": 1280, "height": 900})
    page.wait_for_function("document.querySelector('.wide:has(#summary) + .scrolls').hidden")


@pytest.mark.parametrize("width", [1280, 400])
def test_ticks_of_a_small_plane_stand_apart(show: Show, width: int) -> None:
    run = trajectories.make(num_points=6)
    small = with_values(run, lambda values: {key: value / 50 for key, value in values.items()})
    page = show([small], width=width)
    page.select_option("#reading", "null")
    labels = page.evaluate(
        """() => [...document.querySelectorAll("#plane .role-axis-label")].map((axis) =>
            [...axis.querySelectorAll("text")].filter((text) => getComputedStyle(text).opacity !== "0")
            .map((text) => text.getBoundingClientRect()).map(({ left, right }) => [left, right]))"""
    )
    below, beside = labels
    assert len({left for left, _ in beside}) == 1
    assert len(below) > 2
    for (_, end), (start, _) in pairwise(sorted(below)):
        assert start - end > 4


# ---- brackets --------------------------------------------------------------------------------------------------------


def test_the_bracket_is_shown_on_request_and_in_tooltips(show: Show) -> None:
    page = show([trajectories.make("demo", num_points=5)])
    share = marks(page, "#curves")
    page.locator("#bracket").check()
    assert marks(page, "#curves") != share  # a share has the bracket of what it is a share of
    page.locator("#bracket").uncheck()
    page.select_option("#quantity", "complexity")
    settle(page, "#curves")
    plain = marks(page, "#curves")
    assert "bracket" not in page.locator("#curves-note").inner_text()
    page.locator("#bracket").check()
    assert marks(page, "#curves") != plain
    assert "light band: bracket, from a lower end that assumes nothing" in page.locator("#curves-note").inner_text()
    page.locator("#curves .mark-symbol path").last.hover()
    page.wait_for_selector("#vg-tooltip-element.visible")
    values = trajectories.make("demo", num_points=5).points[-1].values
    low, high = (values[f"ib/mean/token/complexity_{end}"] for end in ("low", "high"))
    assert f"bracket {low:.4f} to {high:.4f}" in page.locator("#vg-tooltip-element").inner_text()
    page.select_option("#quantity", "optimality")
    assert "no bracket: it belongs to the debiased complexity" in page.locator("#curves-note").inner_text()
    page.select_option("#quantity", "complexity")
    page.locator("#bracket").uncheck()
    settle(page, "#curves")
    assert marks(page, "#curves").count(" d=") == plain.count(
        " d="
    )  # wider labels of the axis may have left their room
    assert "bracket" not in page.locator("#curves-note").inner_text()


def test_a_bracket_that_does_not_exist_or_does_not_hold_says_why(show: Show) -> None:
    run = trajectories.make("one", num_points=3)
    key = "ib/mean/token/complexity_low"
    alone = [replace(p, values={**p.values, key: math.nan}, notes={key: "one document"}) for p in run.points]
    page = show([replace(run, points=alone)])
    page.locator("#bracket").check()
    assert "no bracket: one document" in page.locator("#curves-note").inner_text()
    copies = [replace(point, notes={"token/complexity_low": "3 documents are copies"}) for point in run.points]
    page = show([replace(run, points=copies)])
    page.locator("#bracket").check()
    assert "the plug-in reading; 3 documents are copies" in page.locator("#curves-note").inner_text()
    old = with_values(run, lambda values: {k: v for k, v in values.items() if "_low" not in k and "_high" not in k})
    page = show([old])
    assert not page.locator("#bracket").is_visible()  # a file from before there were brackets


def test_a_value_in_doubt_is_said_in_caption_table_and_tooltip(show: Show) -> None:
    page = show([trajectories.doubted()])
    sentence = "doubted: 1 of 5 points in doubt, the first at step"
    for note in ("#plane-note", "#curves-note"):
        assert sentence in page.locator(note).inner_text()
    assert "(in doubt)" not in page.locator("#readout").inner_text()
    page.locator("#step").fill("2")
    assert page.locator("#readout").inner_text().count("(in doubt)") == 1
    page.locator("#curves .mark-symbol path").nth(2).hover()
    page.wait_for_selector("#vg-tooltip-element.visible")
    assert "In doubt: below its bracket" in page.locator("#vg-tooltip-element").inner_text()
    page.select_option("#order", "bigram")
    assert "in doubt" not in page.locator("#plane-note").inner_text()


def test_what_settings_do_stands_in_sentences_and_tables(show: Show) -> None:
    page = show(trajectories.sweep(3))
    assert (
        page.locator("#settings-groups").inner_text() == "Groups by model.width: width=32 (3 runs), width=64 (3 runs)."
    )
    rows = page.locator("#contrasts tbody tr")
    assert [row.split("\t")[0].strip() for row in rows.all_inner_texts()] == [
        *("I(X;Z), of the ceiling", "I(Y;Z), of the ceiling", "optimality"),
        *("fall of I(X;Z), of the ceiling", "loss on the probe, nats"),
    ]
    assert "width=64 less width=32" in page.locator("#contrasts thead").inner_text()
    assert page.locator("#contrasts tr.told .interval .between").count() >= 1
    assert (
        page.locator("#settings-sentences li")
        .first.inner_text()
        .startswith("width=64 keeps less than width=32 at step")
    )
    assert page.locator("#means tbody tr").count() == 2
    page.select_option("#matched", "loss")
    assert rows.last.inner_text().startswith("steps")
    assert "at a loss on the probe of" in page.locator("#settings-sentences li").first.inner_text()
    page.select_option("#matched", "tokens")
    page.select_option("#order", "bigram")
    assert "after 8,192,000 tokens" in page.locator("#settings-sentences li").first.inner_text()


def test_several_groups_have_a_row_for_each_pair(show: Show) -> None:
    runs = [trajectories.make(f"r{i}", num_points=4, config={"lr": i, "seed": 0}) for i in range(3)]
    page = show(runs, width=400)
    assert page.locator("#contrasts tbody tr").count() == 15
    assert page.locator("#contrasts tbody tr").nth(1).inner_text().split("\t")[1] == "lr=2 less lr=0"
    assert "One seed each: differences may be chance." in page.locator("#settings-sentences").inner_text()
    assert page.locator("#contrasts .between").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_without_groups_a_sentence_says_why_and_a_single_run_has_no_section(show: Show) -> None:
    runs = trajectories.sweep(2)
    page = show(runs[:2])
    assert page.locator("#settings-groups").inner_text() == (
        "No effects of settings are worked out: the runs differ in no setting but seeds, names and paths; an effect "
        "needs two groups or more."
    )
    assert not page.locator("#settings-found").is_visible()
    assert not show(runs[:1]).locator("#settings").is_visible()


def test_a_match_that_cannot_be_made_leaves_the_others(show: Show) -> None:
    runs = [replace(run, points=[replace(p, tokens_seen=None) for p in run.points]) for run in trajectories.sweep(1)]
    runs = [with_values(run, lambda values: {k: v for k, v in values.items() if k != "ib/tokens_seen"}) for run in runs]
    page = show(runs)
    page.select_option("#matched", "tokens")
    assert page.locator("#settings-groups").inner_text() == (
        "No effects of settings here: no run can be compared by tokens: it does not say how many tokens it has seen."
    )
    assert not page.locator("#contrasts").is_visible()
    page.select_option("#matched", "step")
    assert page.locator("#contrasts tbody tr").count() == 5


def test_orders_without_a_number_have_no_differences(show: Show) -> None:
    short = {name: trajectories.without_quadgrams(name) for name in ("a", "b")}
    runs = [replace(run, run={"name": name, "config": {"lr": ord(name)}}) for name, run in short.items()]
    page = show(runs)
    page.select_option("#order", "quadgram")
    assert page.locator("#contrasts tbody tr").count() == 1
    assert (
        "a is left out of I(X;Z), I(Y;Z), optimality and fall of I(X;Z) at step"
        in page.locator("#settings-sentences").inner_text()
    )


# ---- many runs -------------------------------------------------------------------------------------------------------


def test_many_runs_are_painted_thinned_and_said_to_be(show: Show, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheet, "MOST_DRAWN", 26 * 95)
    monkeypatch.setattr(sheet, "MOST_NUMBERS", 26 * 95 * 120)
    monkeypatch.setattr(sheet, "FEWEST_POINTS", 60)
    runs = [
        trajectories.make(f"r{i}", num_points=100, num_layers=1, config={"lr": i % 2, "seed": i}) for i in range(26)
    ]
    runs[3] = replace(runs[3], points=[replace(point, failure="out of memory") for point in runs[3].points])
    page = show(runs)
    banner = page.locator(".banner").inner_text()
    assert banner.startswith("So that it opens, this page draws at most ")
    assert "of up to 100 points of each run and holds the mean over the layers without the layers themselves." in banner
    assert page.locator("#plane canvas").count() == page.locator("#curves canvas").count() == 1
    assert page.locator("#plane svg").count() == 0
    assert len(names(page)) == 26
    box = page.locator("#summary").locator("..")
    assert box.evaluate("box => box.scrollHeight > box.clientHeight && box.clientHeight < 500")
    assert page.locator("#heatmap-axis").inner_text().startswith("This page of 26 runs holds the mean over the layers")
    assert page.locator("#site option").all_inner_texts() == ["mean of layers"]
    page.locator("#phases summary").click()
    assert (
        "100 of 100 points were not measured as a whole, the first at step 0: out of memory."
        in page.locator("#sentences").inner_text()
    )
    page.select_option("#view", "runs")
    page.select_option("#band", "simultaneous")
    assert "or more: it is the width that is enough however the errors of a run hang" in page.inner_text("#curves-note")
    page.locator("#theme").click()
    page.locator("#step").fill("7")
    assert page.locator("#readout tbody tr").count() == 26


def thinned(monkeypatch: pytest.MonkeyPatch) -> list[Trajectory]:
    """Runs of which a page has room for some points of the mean alone, and a page of one for all of it."""
    runs = [trajectories.make(f"r{i}", num_points=40, num_layers=2, drop=i / 100) for i in range(8)]
    monkeypatch.setattr(sheet, "MOST_NUMBERS", 60 * len(sheet.sheet(runs[0]).keys))
    return runs


def asked_for(page: Any, name: str) -> None:
    """Check that the page has loaded this file beside it, and nothing else."""
    assert page.asked.pop().endswith(f"_files/{name}")


def test_a_run_that_is_highlighted_brings_its_points_and_layers(show: Show, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = thinned(monkeypatch)
    page = show(runs)
    assert page.locator("#site option").all_inner_texts() == ["mean of layers"]
    drawn = int(page.locator("#step").get_attribute("max"))
    page.select_option("#focus", "1")
    page.wait_for_selector("#site option[value=L01]", state="attached")
    asked_for(page, "run001.js")
    assert int(page.locator("#step").get_attribute("max")) == 39 > drawn
    assert page.locator("#step").input_value() == "39"
    assert page.locator("#details-note").is_hidden()
    assert page.locator("#heatmap-axis").inner_text().startswith("r1: ")
    page.select_option("#site", "L01")
    settle(page, "#plane")
    assert page.locator("#readout tbody tr").count() == 1  # of the others no layers are there
    assert "Of 7 runs this page holds no layers." in page.locator("#plane-note").inner_text()
    page.locator("#step").fill("39")
    value = runs[1].points[-1].values["ib/L01/token/kept"]
    assert f"{value:.3f} ±" in page.locator("#readout tbody").inner_text()
    page.select_option("#focus", "")
    page.select_option("#focus", "1")  # once is enough
    settle(page, "#plane")
    assert len(page.asked) == 1


def test_without_its_folder_a_page_says_what_is_not_there(
    show: Show, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    page = show(thinned(monkeypatch))
    for file in (tmp_path / "0_files").iterdir():
        file.unlink()
    page.select_option("#focus", "2")
    page.wait_for_function("document.querySelector('#details-note').textContent.includes('are not beside the page')")
    asked_for(page, "run002.js")
    assert page.complaints.pop().startswith("Failed to load resource")
    assert page.locator("#readout tbody tr").count() == 8


def test_the_folder_of_another_report_is_told_from_its_own(
    show: Show, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    page = show(thinned(monkeypatch))
    write_details(trajectories.make("another", num_points=40), 0, tmp_path / "0.html")
    page.select_option("#focus", "0")
    page.wait_for_function("document.querySelector('#details-note').textContent.includes('that of another report')")
    asked_for(page, "run000.js")
    assert page.locator("#site option").all_inner_texts() == ["mean of layers"]


def test_of_many_runs_with_missing_points_the_first_are_named(show: Show) -> None:
    page = show([trajectories.damaged(f"r{i}", failure="out of memory") for i in range(11)])
    note = page.locator("#plane-note").inner_text()
    assert note.count("points have no value, the first at step") == 8
    assert note.endswith("3 more runs have points without a value.")


def test_no_number_of_points_is_too_many_arguments() -> None:
    for file in (files("ibtrack.report") / "page").iterdir():
        assert not re.search(r"Math\.(min|max)\(\.\.\.", file.read_text()), file.name


def test_a_chart_of_canvas_shows_its_colours_in_both_themes(show: Show, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheet, "MOST_DRAWN", 10**6)
    page = show([trajectories.make(num_points=700, num_layers=2)], color_scheme="light")
    assert page.locator("#heatmap canvas").count() == 1
    shade = """() => {
        const small = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
        small.drawImage(document.querySelector('#heatmap canvas'), 0, 0, 16, 16);
        const pixels = small.getImageData(0, 0, 16, 16).data;
        return Math.round(pixels.reduce((sum, value) => sum + value, 0) / pixels.length);
    }"""
    light = page.evaluate(shade)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"light => ({shade})() !== light", arg=light)
    page.emulate_media(color_scheme="light")
    page.wait_for_function(f"light => ({shade})() === light", arg=light)
