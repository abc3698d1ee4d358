"""The picture of the experiment, from runs of both networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from experiments import train
from experiments.tishby.picture import picture, read
from ibtrack import Trajectory
from ibtrack.report.charts import to_png
from tests.runs import TRAINING, config

pytestmark = TRAINING


def test_a_run_leaves_bins_at_every_point_and_a_picture(tmp_path: Path) -> None:
    for activation in ("tanh", "relu"):
        options = [f"model.activation={activation}", f"run_dir={tmp_path / activation}", "logger=none"]
        train.train(config("experiment=tishby", "trainer.max_steps=5", "trainer.val_check_interval=5", *options))
        rows, trajectory = read(tmp_path / activation), Trajectory.load(tmp_path / activation)
        assert {row.step for row in rows} == set(trajectory.steps) == {0, 1, 2, 3, 4, 5}
        assert [row.layer for row in rows if row.step == 0] == ["L00", "L01", "L02", "L03", "L04", "L05"]
        assert all(
            -1e-9 <= row.label <= min(row.input, 1) + 1e-9 and row.input <= 12 + 1e-9 for row in rows
        )  # rounding
        assert not any(point.failure for point in trajectory.points)
    chart: Any = picture([tmp_path / "tanh", tmp_path / "relu"])
    assert to_png(chart).startswith(b"\x89PNG")
