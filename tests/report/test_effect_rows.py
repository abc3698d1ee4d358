"""The rows of what settings do: numbers, and how they are written."""

from __future__ import annotations

import pytest

from ibtrack.analysis.effects import Effects, effects
from ibtrack.report.effect_rows import contrast_rows, group_rows, run_rows
from tests import trajectories


def found(num_seeds: int = 2, se: float | None = 0.004) -> Effects:
    return effects({run.name: run for run in trajectories.sweep(num_seeds, se=se)})


def test_a_row_per_group_has_means_and_spreads() -> None:
    first, second = group_rows(found())
    assert (first["group"], first["runs"], len(first["cells"])) == ("width=32", 2, 5)
    effect = found()["complexity"]
    low, high = sorted(effect.values["width=64"].values())
    assert second["cells"][0] == f"{(low + high) / 2:.3f} (sd {(high - low) / 2**0.5:.3f})"
    assert group_rows(found(1))[0]["cells"][0].count("sd") == 0


def test_a_row_per_run_has_its_group_and_its_mean() -> None:
    rows = run_rows(found()["complexity"])
    assert [(row["group"], row["run"]) for row in rows] == [
        *(("width=32", "w32-s0"), ("width=32", "w32-s1"), ("width=64", "w64-s0"), ("width=64", "w64-s1")),
    ]
    assert rows[0]["mean"] == pytest.approx((rows[0]["value"] + rows[1]["value"]) / 2)


def test_a_row_per_pair_has_both_errors_where_there_are_some() -> None:
    effect = found()["complexity"]
    (row,), (contrast,) = contrast_rows(effect), effect.contrasts
    assert contrast.interval is not None
    assert (row["quantity"], row["unit"], row["pair"]) == ("I(X;Z)", "of the ceiling", "width=64 less width=32")
    assert (row["difference"], row["low"], row["high"]) == (contrast.difference, *contrast.interval)
    assert row["interval_text"] == f"{contrast.interval[0]:+.3f} to {contrast.interval[1]:+.3f}"
    assert row["probe"] == pytest.approx(1.96 * contrast.probe_se)
    assert row["probe_text"] == f"± {1.96 * contrast.probe_se:.3f}"
    assert row["told"] is contrast.is_told
    (row,) = contrast_rows(found(1)["probe_loss"])
    assert [row[name] for name in ("low", "high", "interval_text", "probe", "probe_text", "told")] == [
        *(None, None, "—", None, "—", False),
    ]
