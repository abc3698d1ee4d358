"""The page: what it holds, what it refuses, and how it behaves in a real Chromium."""

import base64
import json
import math
import re
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from ibtrack.record.trajectory import Point, Trajectory
from ibtrack.report.html import write_report
from tests import trajectories

EVIL = "<script>window.stolen = 1</script><img src=x onerror='window.stolen = 2'>"
CURVE = {"complexity": [0.0, 0.1, 0.31, 0.49, 1.3], "expressivity": [0.0, 0.09, 0.25, 0.38, 0.9]}


def sweep(num_seeds=2, **kinds):
    return [
        trajectories.make(
            f"w{width}-s{seed}",
            seed=seed,
            drop=width / 1000,
            config={"model": {"width": width, "name": "llama"}, "seed": seed},
            **kinds,
        )
        for width in (32, 64)
        for seed in range(num_seeds)
    ]


def damaged(name="worn"):
    """Its second point failed and its third has no complexity at the mean."""
    run = trajectories.make(name, num_points=6)
    key = "ib/mean/token/complexity"
    points = [*run.points]
    points[1] = Point(points[1].step, failure=f"hook of L01 did not fire {EVIL}")
    points[2] = Point(points[2].step, {**points[2].values, key: math.nan}, notes={key: "zero-norm rows"})
    return Trajectory(run.protocol, run.run, points)


def data_of(path):
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text(), re.DOTALL)
    return json.loads(found.group(1))


# ---- what is written -------------------------------------------------------------------------------------------------


def test_the_page_is_one_file_that_names_no_address(tmp_path: Path) -> None:
    path = write_report(sweep(1), tmp_path / "new folder" / "report.html")
    text = path.read_text()
    assert [*path.parent.iterdir()] == [path]
    outside = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r"\bsrc=|<link|@import|url\(|https?:", outside)
    assert "default-src 'none'" in text


def test_numbers_survive_packing_to_one_part_in_100_000(tmp_path: Path) -> None:
    run = trajectories.make(num_points=5)
    (packed,) = data_of(write_report([run], tmp_path / "r.html"))["runs"]
    upper = np.frombuffer(base64.b64decode(packed["values"]), np.uint8).reshape(-1, 3)
    table = np.concatenate([np.zeros((len(upper), 1), np.uint8), upper], axis=1).reshape(-1).view("<f4")
    table = table.reshape(len(packed["keys"]), 5)
    for key, row in zip(packed["keys"], table, strict=True):
        np.testing.assert_allclose(row, run.values(key), rtol=2**-16)  # 15 of float32's 23 bits, rounded


def test_what_is_not_a_number_stays_so(tmp_path: Path) -> None:
    (packed,) = data_of(write_report([damaged()], tmp_path / "r.html"))["runs"]
    upper = np.frombuffer(base64.b64decode(packed["values"]), np.uint8).reshape(-1, 3)
    table = np.concatenate([np.zeros((len(upper), 1), np.uint8), upper], axis=1).reshape(-1).view("<f4")
    row = table.reshape(len(packed["keys"]), 6)[packed["keys"].index("ib/mean/token/complexity")]
    assert np.isnan(row).tolist() == [False, True, True, False, False, False]


def test_what_users_wrote_is_escaped_everywhere(tmp_path: Path) -> None:
    run = trajectories.make(EVIL, config={EVIL: EVIL}, num_points=2)
    probe = {**run.protocol["probe"], "name": EVIL}
    text = write_report(
        [Trajectory({**run.protocol, "probe": probe}, run.run, run.points)], tmp_path / "r.html"
    ).read_text()
    assert "<script>window.stolen" not in text
    assert "<img src=x" not in text
    assert "&lt;script&gt;window.stolen" in text


def test_the_page_holds_phases_verdict_and_what_differs(tmp_path: Path) -> None:
    data = data_of(write_report(sweep(), tmp_path / "r.html"))
    assert data["differing"] == ["model.width", "seed"]
    assert data["verdicts"]["token"].startswith("w64-s")
    assert data["runs"][0]["phases"]["bigram"]["compression"]["start"] == 278
    assert data["sites"] == ["mean", "embed", "L00", "L01", "L02", "L03"]


def test_runs_of_other_depth_width_and_versions_share_a_page(tmp_path: Path) -> None:
    runs = [
        trajectories.make(f"l{n}", num_layers=n, num_points=3, widths={"L00": 8 * n}, versions={"torch": f"2.{n}"})
        for n in (2, 4)
    ]
    assert data_of(write_report(runs, tmp_path / "r.html"))["sites"][-1] == "L03"


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


def test_settings_that_say_nothing_of_a_run_are_left_out(tmp_path: Path) -> None:
    def config(seed, width):
        return {"model": {"width": width}, "data": {"seed": seed}, "seed": seed, "run_dir": f"/out/{seed}{width}"}

    runs = [trajectories.make(f"{s} {w}", num_points=2, config=config(s, w)) for s in (0, 1) for w in (8, 16)]
    assert data_of(write_report(runs, tmp_path / "r.html"))["differing"] == ["model.width", "seed"]


# ---- in a browser ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chromium():
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: the page is not opened"
    )
    with playwright.sync_playwright() as driver:
        found = [shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")]
        path = next((name for name in [*found, driver.chromium.executable_path] if name and Path(name).exists()), None)
        if path is None:
            pytest.skip("no Chromium on this machine: the page is not opened")
        flags = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
        browser = driver.chromium.launch(executable_path=path, args=flags.split())
        yield browser
        browser.close()


@pytest.fixture
def show(chromium, tmp_path):
    """Open runs as a page; at the end there was no complaint in the console and no request."""
    opened = []

    def open_runs(runs, *, width=1280, allow_mixed=False, **options):
        path = write_report(runs, tmp_path / f"{len(opened)}.html", allow_mixed=allow_mixed)
        context = chromium.new_context(viewport={"width": width, "height": 900}, **options)
        page = context.new_page()
        page.complaints, page.asked = [], []
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready=yes]", timeout=20_000)
        opened.append((context, page, path))
        return page

    yield open_runs
    for context, page, path in opened:
        assert page.complaints == []
        assert page.asked == [path.as_uri()]
        context.close()


def marks(page, chart="#plane"):
    """All that is drawn in a chart."""
    return page.locator(f"{chart} svg").inner_html()


def names(page):
    return page.locator("#summary tbody .run button").all_inner_texts()


def test_the_answer_is_on_top(show) -> None:
    page = show(sweep())
    best = names(page)[0]
    assert page.locator("#verdict").inner_text().startswith(f"{best} compresses most: I(X;Z) falls by 0.1")
    assert [name[:3] for name in names(page)] == ["w64", "w64", "w32", "w32"]
    first = page.locator("#summary tbody tr").first.inner_text().split("\t")
    fall, num_se = float(first[1]), float(first[2])
    assert fall / (0.004 * 2**0.5) == pytest.approx(num_se, abs=0.15)  # the fall is rounded to .001
    assert page.locator("#sentences dd").count() == 4


@pytest.mark.parametrize(
    ("control", "chart"),
    [(name, "#plane") for name in ("order", "site", "reading", "colour", "focus")]
    + [(name, "#curves") for name in ("quantity", "x")],
)
def test_every_choice_of_every_control_redraws(show, control, chart) -> None:
    page = show(sweep())
    options = page.locator(f"#{control} option").evaluate_all("options => options.map(option => option.value)")
    drawn = {marks(page, chart)}
    changed = "([chart, before]) => document.querySelector(chart + ' svg')?.innerHTML !== before"
    for option in options:
        before = marks(page, chart)
        if page.locator(f"#{control}").input_value() != option:
            page.select_option(f"#{control}", option)
            page.wait_for_function(changed, arg=[chart, before])  # another axis is drawn anew, which takes a moment
        drawn.add(marks(page, chart))
    assert len(drawn) == len(options) >= 2


def test_the_slider_hides_later_steps_and_play_shows_them_one_by_one(show) -> None:
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


def test_hovering_shows_run_step_loss_and_values_with_errors(show) -> None:
    page = show([trajectories.make("demo")])
    page.locator("#plane svg path[aria-roledescription], #plane .mark-symbol path").last.hover()
    tip = page.locator("#vg-tooltip-element").inner_text()
    last = trajectories.make("demo").points[-1]
    value = last.values["ib/mean/token/complexity"]
    for part in ("demo", "4,000", "8,192,000", f"{last.loss:.3f}", f"{value:.4f} ± {1.96 * 0.004:.4f}"):
        assert part in tip


def test_the_table_sorts_both_ways_by_mouse_and_keyboard(show) -> None:
    page = show(sweep())
    button = page.locator("#summary [data-column=loss]")
    page.locator("#summary [data-column=run]").click()
    assert names(page) == ["w32-s0", "w32-s1", "w64-s0", "w64-s1"]
    assert page.locator("#summary th[aria-sort]").get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Enter")  # the button keeps the focus when the head is made anew
    assert names(page) == ["w64-s1", "w64-s0", "w32-s1", "w32-s0"]
    button.click()
    assert page.locator("#summary th[aria-sort]").get_attribute("aria-sort") == "descending"


def test_runs_can_be_hidden_and_highlighted(show) -> None:
    page = show(sweep())
    everything = marks(page)
    page.locator("#summary input").first.uncheck()
    assert page.locator("#readout tbody tr").count() == 3
    assert len(marks(page)) < len(everything)
    page.locator("#summary input").first.check()
    assert marks(page) == everything
    page.get_by_role("button", name="w32-s1", exact=True).click()
    assert page.locator("#focus").input_value() == "1"
    assert page.locator("#heatmap-axis").inner_text().startswith("w32-s1: complexity")
    assert page.locator("#plane [opacity='0.15']").count() > 10
    page.get_by_role("button", name="w32-s1", exact=True).click()
    assert page.locator("#plane [opacity='0.15']").count() == 0


def test_runs_are_grouped_by_a_setting_that_differs(show) -> None:
    page = show(sweep(3))
    page.select_option("#colour", "model.width")
    groups = page.locator("#groups tbody tr").all_inner_texts()
    assert [group.split()[:4] for group in groups] == [["32", "3", "of", "3"], ["64", "3", "of", "3"]]
    assert float(re.search(r"0\.\d+", groups[1]).group()) > float(re.search(r"0\.\d+", groups[0]).group())


def test_the_ranking_says_how_far_behind_each_run_is_and_which_are_tied(show) -> None:
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
    assert float(rows[2][3]) == pytest.approx((float(rows[0][1]) - float(rows[2][1])) / 0.008, abs=0.3)
    assert "Tied: noise could make" in page.locator("#summary-note").inner_text()
    assert page.locator("#heatmap-axis").inner_text().startswith(f"{rows[0][0]}: complexity")
    assert page.locator("#sentences dt").first.inner_text() == rows[0][0]


def test_many_runs_are_coloured_by_the_setting_that_parts_them(show) -> None:
    page = show(sweep(4))
    assert page.locator("#colour").input_value() == "model.width"
    assert page.locator("#groups tbody tr").count() == 2
    assert page.locator("#phases").get_attribute("open") is None
    page.locator("#phases summary").click()
    assert page.locator("#sentences dd").first.is_visible()


def test_keys_that_some_runs_have_are_shown_where_they_are(show) -> None:
    run, other = trajectories.make("a", num_points=4), trajectories.make("b", num_points=4)
    for point in run.points:
        point.values["ib/mean/token/complexity_anchor_sd"] = 0.0123
        point.values["ib/mean/preference_information_se"] = 0.001
    for point in other.points:
        for key in [key for key in point.values if key.endswith("preference_information")]:
            del point.values[key]
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


def test_a_preference_probe_has_curves_and_no_plane(show) -> None:
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


def test_null_ceiling_and_bottleneck_curve_are_drawn(show) -> None:
    page = show([trajectories.make(bottleneck_curve=CURVE)])
    assert "bottleneck curve" in marks(page)
    assert "Red: bottleneck curve" in page.locator("#plane-note").inner_text()
    page.select_option("#order", "bigram")
    assert "bottleneck curve" not in marks(page) + page.locator("#plane-note").inner_text()
    assert page.locator("#curves [stroke-dasharray]").count() == 2
    assert "dashed" in page.locator("#curves-note").inner_text()
    page.locator("#references").uncheck()
    assert page.locator("#curves [stroke-dasharray]").count() == 0


def test_everything_can_be_done_from_the_keyboard(show) -> None:
    page = show(sweep())
    reached = []
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.dataset.column || ''"))
    assert {
        "theme",
        "fall",
        "order",
        "site",
        "reading",
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


def test_the_theme_follows_the_system_until_it_is_chosen(show) -> None:
    def paper(page):
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


def test_a_phone_sees_all_of_it_without_scrolling_sideways(show) -> None:
    page = show(sweep(), width=390, device_scale_factor=2, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    box = page.locator("#plane svg").bounding_box()
    assert box["width"] <= 366
    assert box["height"] > 250
    page.set_viewport_size({"width": 800, "height": 900})
    page.wait_for_function("document.querySelector('#plane svg').getBoundingClientRect().width > 400")


def test_print_is_light_and_leaves_the_controls_out(show) -> None:
    page = show(sweep(4), color_scheme="dark")
    assert page.pdf(format="A4").startswith(b"%PDF")
    assert page.locator("#protocol").get_attribute("open") is not None  # print shows what is folded
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.querySelector('h1')).color") == "rgb(29, 35, 41)"
    for hidden in (".controls", "#theme", "#play"):
        assert not page.locator(hidden).is_visible()
    assert page.locator("#plane svg").is_visible()
    page.set_viewport_size({"width": 718, "height": 900})  # A4 less its margins
    page.wait_for_function("document.documentElement.scrollWidth === 718")


def test_a_name_that_is_a_script_stays_text(show) -> None:
    run = trajectories.make(EVIL, num_points=4, config={EVIL: EVIL})
    page = show([run, damaged("other")])
    page.select_option("#colour", EVIL)
    page.locator("#plane .mark-symbol path").last.hover()
    page.wait_for_selector("#vg-tooltip-element.visible")
    assert EVIL in names(page)
    assert page.evaluate("window.stolen") is None


def test_runs_of_one_name_are_told_apart(show) -> None:
    page = show([trajectories.make("same", num_points=3), trajectories.make("same", num_points=3)])
    assert sorted(names(page)) == ["same", "same (2)"]


def test_no_points_is_a_page_that_says_so(show) -> None:
    page = show([Trajectory(trajectories.make().protocol, {"name": "young"}, [])])
    assert page.locator("#verdict").inner_text() == "No points yet."
    assert page.locator("#step-text").inner_text() == "no points"
    assert page.locator("#play").is_disabled()
    assert "young has no points yet." in page.locator("#plane-note").inner_text()


def test_a_run_of_which_nothing_is_known_is_a_page_that_says_so(show) -> None:
    page = show([Trajectory({}, {}, [Point(0)]), trajectories.make("sound", num_points=4, se=None)], allow_mixed=True)
    assert page.locator("#summary tbody").inner_text().count("not known") == 2
    assert "run has no layers on file." in page.locator("#heatmap-axis").inner_text()
    assert not page.locator("#heatmap").is_visible()


def test_one_point_is_a_page_with_one_point(show) -> None:
    page = show([trajectories.make("young", num_points=1)])
    assert page.locator("#verdict").inner_text() == "One point: no change to speak of."
    assert page.locator("#step-text").inner_text() == "step 0 of 0"


def test_failed_points_are_visible_with_their_reason(show) -> None:
    page = show([damaged(), trajectories.make("sound", num_points=6)])
    assert "worn: 2 of 6 points have no value, the first at step" in page.locator("#plane-note").inner_text()
    assert "hook of L01 did not fire" in page.locator("#plane-note").inner_text()
    assert page.locator("#curves path[fill='#d0342c']").count() == 2
    assert "6, 1 failed" in page.locator("#summary tbody").inner_text()
    page.select_option("#focus", "0")
    assert page.locator("#heatmap path[fill='#d0342c']").count() == 5  # every site of the failed point
    page.locator("#step").fill("1")
    assert "hook of L01 did not fire" in page.locator("#readout").inner_text()


def test_a_foreign_protocol_has_its_banner(show) -> None:
    page = show([trajectories.make("a"), trajectories.make("b", temperature="bounds")], allow_mixed=True)
    assert "Compare shapes, never numbers" in page.locator(".banner").first.inner_text()
    assert page.locator("#protocol h3").count() == 2
    assert page.locator("#verdict").inner_text().startswith("These runs are not ranked")
    assert page.locator("#summary [data-column=behind]").count() == 0


def test_twenty_runs_stay_below_5_megabytes_and_open_within_2_seconds(show, tmp_path: Path) -> None:
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
