"""The picture of what settings do."""

from __future__ import annotations

from pathlib import Path

import pytest

from ibtrack.analysis.effects import ONE_EACH, effects
from ibtrack.report.charts import save_png, to_spec
from ibtrack.report.effect_chart import effect_chart
from ibtrack.report.effect_rows import contrast_rows, run_rows
from tests import trajectories


@pytest.mark.parametrize("num_seeds", [1, 2])
def test_each_quantity_has_its_runs_and_its_differences(num_seeds: int) -> None:
    found = effects({run.name: run for run in trajectories.sweep(num_seeds)})
    spec = to_spec(effect_chart(found))
    panels = spec["vconcat"]
    assert len(panels) == len(found.effects) == 5
    drawn = list(spec["datasets"].values())
    for effect, (left, right) in zip(found.effects, (panel["hconcat"] for panel in panels), strict=True):
        assert left["layer"][0]["encoding"]["x"]["title"].startswith(effect.title)
        assert right["layer"][0]["encoding"]["x"]["title"].startswith(f"difference in {effect.title}")
        assert run_rows(effect) in drawn
        assert contrast_rows(effect) in drawn
    assert spec["title"]["text"] == "Effect of model.width"
    assert any(ONE_EACH in line for line in spec["title"]["subtitle"]) == (num_seeds == 1)


def test_it_is_drawn_without_a_browser(tmp_path: Path) -> None:
    found = effects({run.name: run for run in trajectories.sweep(2)})
    assert save_png(effect_chart(found), tmp_path / "effects.png").read_bytes().startswith(b"\x89PNG")
