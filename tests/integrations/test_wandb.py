"""What wandb gets of a run."""

import json
import math
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import wandb
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger

from ibtrack import InformationPlaneMonitor, Point, schedules
from ibtrack.analysis.phases import find_phases
from ibtrack.integrations.wandb import MOST, PAGE, PICTURE, TABLE, WandbLog, thinned
from ibtrack.record.logged import LOGS, logged_metrics, point_metrics
from ibtrack.record.trajectory import Trajectory
from ibtrack.report.plane_page import plane_page
from ibtrack.report.tables import TABLE_COLUMNS, table_rows
from tests import trajectories
from tests.models import Module, loader, probe, trainer


def read_back(folder: Path) -> list[dict[str, Any]]:
    """The rows of a local wandb run, by wandb's own reader."""
    (file,) = folder.rglob("*.wandb")
    reader = Path(sys.executable).parent / "wandb"
    out = subprocess.run([reader, "leet", "inspect", "--json", file], capture_output=True, text=True, check=True).stdout
    return [json.loads(line) for line in out.splitlines()]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait at the end for what is drawn on a machine that is busy with other things."""
    monkeypatch.setattr("ibtrack.integrations.wandb.WAIT_AT_END", 900.0)


@pytest.fixture
def blank_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the page blank, which takes seconds to write."""
    monkeypatch.setattr("ibtrack.report.draw.plane_page", lambda trajectory: "<p>a page</p>")


@pytest.fixture
def clean_wandb(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    yield
    wandb.finish()
    os.environ.pop("WANDB_MODE", None)


def _fit(folder: Path, logger: Logger, **options: Any) -> InformationPlaneMonitor:
    watch = InformationPlaneMonitor(probe(), path=folder / "t.jsonl", verbose=False, **options)
    with warnings.catch_warnings():  # of lightning 2.6 about its own calls, and of small loaders
        warnings.simplefilter("ignore")
        trainer(folder, callbacks=[watch], logger=logger, log_every_n_steps=50).fit(
            Module(), loader(), loader(blocks=16, shuffle=False)
        )
    return watch


def test_wandb_holds_every_due_step_once_with_its_x_axis(tmp_path: Path, clean_wandb: None) -> None:
    logger = WandbLogger(project="ib", offline=True, save_dir=tmp_path)
    watch = _fit(tmp_path, logger, schedule=schedules.every(4))
    wandb.finish()
    records = read_back(tmp_path / "wandb")
    rows = [record["history"]["item"] for record in records if record["type"] == "history"]
    points = [row for row in rows if "ib/mean/token/kept" in row]
    assert [row["trainer/global_step"] for row in points] == watch.trajectory.steps == [0, 4, 8, 12]
    for row, point in zip(points, watch.trajectory.points, strict=True):
        for key, value in logged_metrics(point).items():
            assert row[key] == pytest.approx(value, rel=1e-12)
    defined = {r["metric"]["name"]: r["metric"].get("step_metric") for r in records if "name" in r.get("metric", {})}
    assert all(defined[key] == "trainer/global_step" for key in logged_metrics(watch.trajectory.points[-1]))
    assert rows[-1]["ib/information_plane_picture._type"] == "image-file"
    assert rows[-1]["ib/information_plane._type"] == "html-file"
    summary = {key: value for r in records for key, value in r.get("summary", {}).get("update", {}).items()}
    assert "compression" in summary["ib/phases"]
    (picture,) = (tmp_path / "wandb").rglob("media/images/ib/information_plane_picture*.png")
    assert picture.read_bytes().startswith(b"\x89PNG")
    (page,) = (tmp_path / "wandb").rglob("media/html/ib/information_plane*.html")
    assert page.read_text("utf-8") == plane_page(watch.trajectory)
    assert (rows[-1]["ib_more/points._type"], rows[-1]["ib_more/points.log_mode"]) == ("table-file", "MUTABLE")
    table = json.loads(next((tmp_path / "wandb").rglob(rows[-1]["ib_more/points.path"])).read_text())
    assert table["columns"] == [*TABLE_COLUMNS]
    expected = table_rows(watch.trajectory, watch.trajectory.name)  # which has the id in it
    assert table["data"] == [[row[column] for column in TABLE_COLUMNS] for row in expected]


@pytest.mark.parametrize("log", LOGS)
def test_any_lightning_logger_gets_one_call_per_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: Literal["few", "all"]
) -> None:
    calls: list[tuple[int | None, dict[str, float]]] = []
    monkeypatch.setattr(CSVLogger, "log_metrics", lambda self, metrics, step=None: calls.append((step, metrics)))
    watch = _fit(tmp_path, CSVLogger(tmp_path), schedule=schedules.every(5), log=log)
    ours = [(step, metrics) for step, metrics in calls if "ib/mean/token/kept" in metrics]
    assert ours == [(point.step, logged_metrics(point, log=log)) for point in watch.trajectory.points]
    assert all(type(value) is float for _, metrics in ours for value in metrics.values())


def test_what_loggers_do_not_get_can_be_monitored_all_the_same(tmp_path: Path) -> None:
    watch = InformationPlaneMonitor(probe(), path=tmp_path / "t.jsonl", schedule=schedules.every(4), verbose=False)
    rare = "ib/L01/bigram/regularity_se"
    stop = EarlyStopping(rare, patience=100, check_on_train_epoch_end=True)
    fit = trainer(tmp_path, callbacks=[watch, stop], limit_val_batches=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit.fit(Module(), loader())
    expected = point_metrics(watch.trajectory.points[-1])
    assert rare in expected
    assert not {key for key in logged_metrics(watch.trajectory.points[-1]) if "L01/bigram" in key}
    assert {key: float(fit.callback_metrics[key]) for key in expected} == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert math.isfinite(float(stop.best_score))


EMPTY = Trajectory({}, {}, [])


class _Run:
    name, id = "run", "1x"

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.defined: list[str] = []
        self.summary: dict[str, Any] = {}
        self._open: dict[str, Any] = {}
        self.alerts: list[tuple[str, str]] = []

    def alert(self, title: str, text: str) -> None:
        self.alerts.append((title, text))

    def define_metric(self, key: str, step_metric: str) -> None:
        self.defined.append(key)

    def log(self, row: dict[str, Any], commit: bool = True) -> None:
        self._open |= row
        if commit:
            self.rows.append(self._open)
            self._open = {}


KEYS = {"_table": "ib_more/points", "_picture": "ib/information_plane_picture", "_page": "ib/information_plane"}


def wait_for(log: WandbLog) -> None:
    for aside in log._asides.values():
        assert aside.wait(300)


@pytest.mark.parametrize(
    ("thing", "sentence"),
    [
        ("_table", r"only this is missing there: the table of all points \("),
        ("_picture", r"only this is missing there: the picture of the plane \("),
        ("_page", r"only this is missing there: the page of the plane \("),
    ],
)
def test_what_fails_to_be_drawn_costs_neither_the_numbers_nor_the_others(
    monkeypatch: pytest.MonkeyPatch, thing: str, sentence: str
) -> None:
    run = _Run()
    log = WandbLog(run)
    for name in KEYS:
        monkeypatch.setattr(log, name, lambda run, trajectory, name=name: name)
    monkeypatch.setattr(log, thing, lambda run, trajectory: 1 / 0)
    log.log(Point(5, {"ib/mean/token/kept": 0.5}, wall_time=1e6), EMPTY)
    wait_for(log)
    with pytest.raises(RuntimeError, match=rf"^{sentence}ZeroDivisionError: division by zero\)$"):
        log.log(Point(6, {"ib/mean/token/kept": 0.6}, wall_time=1.0), EMPTY)
    others = {key: name for name, key in KEYS.items() if name != thing}
    first, second = run.rows
    assert first == {"ib/mean/token/kept": 0.5, "ib_run/failed": 0.0, "trainer/global_step": 5}
    assert second == {"ib/mean/token/kept": 0.6, "ib_run/failed": 0.0, "trainer/global_step": 6, **others}
    with pytest.raises(RuntimeError, match=sentence):
        log.finish(trajectories.make(num_points=3))
    assert run.rows[2:] == [{"trainer/global_step": 4000, **others}]


def test_nothing_waits_for_a_table_that_hangs_but_the_end_and_that_not_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate, run = threading.Event(), _Run()
    log = WandbLog(run)
    begun: list[str] = []

    def hang(run: _Run, trajectory: Trajectory) -> str:
        begun.append("table")
        gate.wait(600)
        return "late"

    monkeypatch.setattr(log, "_table", hang)
    monkeypatch.setattr(log, "_picture", lambda run, trajectory: "picture")
    monkeypatch.setattr(log, "_page", lambda run, trajectory: "page")
    monkeypatch.setattr("ibtrack.integrations.wandb.WAIT_AT_END", 1.0)
    for step in range(5):
        log.log(Point(step, {}, wall_time=1e6), EMPTY)
        assert log._asides[PICTURE].wait(300)
        assert log._asides[PAGE].wait(300)
    assert [row["trainer/global_step"] for row in run.rows] == [0, 1, 2, 3, 4]
    assert begun == ["table"]  # one at a time
    with pytest.raises(RuntimeError, match=r"there: the table of all points \(TimeoutError: given up after 1 s\)$"):
        log.finish(trajectories.make(num_points=3))
    assert run.rows[-1] == {
        "trainer/global_step": 4000,
        "ib/information_plane_picture": "picture",
        "ib/information_plane": "page",
    }
    gate.set()
    wait_for(log)


def test_table_and_pictures_stay_below_their_share_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("ibtrack.tracking.aside.time.monotonic", lambda: now[0])
    monkeypatch.setattr("ibtrack.tracking.aside.time.thread_time", lambda: now[0])

    def make(seconds: float) -> Callable[[_Run, Trajectory], str]:
        def takes(run: _Run, trajectory: Trajectory) -> str:
            now[0] += seconds
            return f"took {seconds}"

        return takes

    run = _Run()
    log = WandbLog(run)
    monkeypatch.setattr(log, "_table", make(0.1))
    monkeypatch.setattr(log, "_picture", make(3.0))
    monkeypatch.setattr(log, "_page", lambda run, trajectory: None)
    for hundred in range(20):
        log.log(Point(hundred, {}, wall_time=100.0 * hundred), EMPTY)
        wait_for(log)
    log.log(Point(20, {}, wall_time=2000.0), EMPTY)
    wait_for(log)
    tables, pictures = (sum(key in row for row in run.rows) for key in [*KEYS.values()][:2])
    assert tables == 18
    assert 0 < pictures <= 6
    assert log._budget.spent <= 0.01 * 2000
    assert run.defined == ["ib_run/failed"]


def test_a_long_run_has_a_short_table_and_picture(monkeypatch: pytest.MonkeyPatch, blank_page: None) -> None:
    monkeypatch.setitem(MOST, TABLE, 10)
    run, trajectory = _Run(), trajectories.make(num_points=32)
    WandbLog(run).finish(trajectory)
    (row,) = run.rows
    steps = row["ib_more/points"].get_column("step")
    assert len(steps) == 9 * len(trajectory.protocol["orders"])
    assert sorted({*steps}) == [*trajectory.steps[:31:4], trajectory.steps[-1]]
    assert (
        trajectory.steps
        == thinned(replace(trajectory, points=trajectory.points[:10]), 10).steps + trajectory.steps[10:]
    )


@pytest.mark.parametrize("number", [1, 999, 1000, 1001, 1002, 1999, 2000, 2001, 20_000])
def test_a_run_of_any_length_is_cut_to_a_thousand_points_with_its_ends(number: int) -> None:
    steps = thinned(Trajectory({}, {}, [Point(step) for step in range(number)])).steps
    assert min(number, 500) <= len(steps) <= 1000
    assert (steps[0], steps[-1]) == (0, number - 1)
    assert sorted({*steps}) == steps


def test_the_page_is_made_again_when_there_are_half_as_many_points_again(monkeypatch: pytest.MonkeyPatch) -> None:
    run, whole = _Run(), trajectories.make(num_points=40)
    log = WandbLog(run)
    for name in ("_table", "_picture"):
        monkeypatch.setattr(log, name, lambda run, trajectory: None)
    monkeypatch.setattr(log, "_page", lambda run, trajectory: len(trajectory.points))
    for number, point in enumerate(whole.points, start=1):
        log.log(replace(point, wall_time=1e6), replace(whole, points=whole.points[:number]))
        wait_for(log)
    log.finish(whole)
    assert [row[KEYS["_page"]] for row in run.rows if KEYS["_page"] in row] == [1, 2, 3, 5, 8, 12, 18, 27, 40]


def test_the_page_of_a_long_run_shows_a_hundred_of_its_points(monkeypatch: pytest.MonkeyPatch) -> None:
    run, trajectory = _Run(), trajectories.make(num_points=230, num_layers=1)
    shown: list[int] = []

    def page(trajectory: Trajectory) -> str:
        shown.append(len(trajectory.points))
        return "<p>a page</p>"

    monkeypatch.setattr("ibtrack.report.draw.plane_page", page)
    WandbLog(run).finish(trajectory)
    assert 50 <= shown[0] <= 100


def test_the_table_names_runs_apart_and_the_summary_can_be_sorted(blank_page: None) -> None:
    run, trajectory = _Run(), trajectories.make("demo")
    log = WandbLog(run)
    log.tell(find_phases(trajectory))
    log.finish(trajectory)
    (row,) = run.rows
    assert {*row["ib_more/points"].get_column("run")} == {"run 1x"}
    assert row["ib_more/points"].get_column("order").count("bigram") == len(trajectory.points)
    phases = find_phases(trajectory)
    assert phases.compression is not None
    assert phases.fitting is not None
    assert run.summary["ib/phases"] == phases.sentence()
    assert run.summary["ib/phases/compression_num_se"] == phases.compression.num_se
    assert run.summary["ib/phases/fitting_end"] == phases.fitting.end


def test_a_probe_without_label_orders_has_its_numbers_and_no_plane() -> None:
    run = _Run()
    point = Point(5, {"ib/mean/preference_information": 0.1}, wall_time=1e6)
    trajectory = Trajectory({"orders": []}, {}, [point])
    log = WandbLog(run)
    log.log(point, trajectory)
    log.finish(trajectory)
    assert run.rows == [{"ib/mean/preference_information": 0.1, "ib_run/failed": 0.0, "trainer/global_step": 5}]
    assert run.summary == {}


def test_a_phase_that_is_no_longer_found_does_not_stay_in_the_summary() -> None:
    run = _Run()
    log = WandbLog(run)
    log.tell(find_phases(trajectories.make("demo")))
    assert run.summary["ib/phases/compression"] > 0
    log.tell(find_phases(trajectories.make("demo", shape="rise")))
    assert run.summary["ib/phases/compression"] is None
    assert run.summary["ib/phases/fitting"] > 0


def test_an_alert_is_raised_by_the_run() -> None:
    run = _Run()
    assert WandbLog(run).alert("a: compression has begun", "compression has begun, between steps 1 and 4")
    assert run.alerts == [("a: compression has begun", "compression has begun, between steps 1 and 4")]
