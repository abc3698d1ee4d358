"""The rows behind the charts."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibtrack.record.quantities import Z95
from ibtrack.record.trajectory import Point, Trajectory
from ibtrack.report import tables
from tests import trajectories


def test_each_point_has_a_row_in_every_table() -> None:
    run = trajectories.make(num_points=4, num_layers=2)
    assert len(tables.plane_rows([run, run])) == 2 * 4
    assert len(tables.curve_rows([run], quantity="entropy")) == 4
    assert len(tables.heatmap_rows(run)) == 3 * 4  # the embedding and two layers
    rows = tables.table_rows(run, "a")
    assert len(rows) == len(trajectories.ORDERS) * 4
    assert all(set(tables.TABLE_COLUMNS) <= set(row) for row in rows)


def test_a_row_says_why_its_value_is_missing() -> None:
    rows = tables.plane_rows([trajectories.damaged(failure="out of memory")])
    assert [row["why"] for row in rows] == [None, "out of memory", "zero-norm rows", None, None, None]
    assert rows[2]["complexity"] is None
    assert rows[2]["expressivity"] is not None


def test_a_loss_that_was_not_finite_has_its_reason() -> None:
    point = Point.from_json(Point(3, loss=float("inf")).to_json())
    (row,) = tables.curve_rows([Trajectory({}, {}, [point])], quantity="loss")
    assert (row["value"], row["why"]) == (None, "training loss was inf")


def test_undefined_quadgrams_have_their_reason_at_every_site_and_quantity() -> None:
    run = trajectories.without_quadgrams()
    for quantity in ("complexity", "optimality", "share"):
        rows = tables.heatmap_rows(run, quantity=quantity, order="quadgram")
        assert {row["why"] for row in rows} == {trajectories.ALL_DISTINCT}
    assert {row["why"] for row in tables.heatmap_rows(run, order="trigram")} == {None}


def test_only_what_is_bounded_has_null_and_ceiling() -> None:
    run = trajectories.make(num_points=1)
    (row,) = tables.curve_rows([run], quantity="expressivity", reading="plugin")
    assert row["null"] == 0.05
    assert row["ceiling"] is not None
    (row,) = tables.curve_rows([run], reading="null")
    assert row["null"] is None
    (row,) = tables.curve_rows([run], quantity="optimality")
    assert row["null"] is row["ceiling"] is None


def test_the_table_of_wandb_has_both_units() -> None:
    run = trajectories.make(num_points=2)
    (first, *_) = tables.table_rows(run, "a")
    values = run.points[0].values
    for name in ("complexity", "expressivity", "kept", "told"):
        assert first[name] == values[f"ib/mean/token/{name}"]
        assert first[f"{name}_se"] == values[f"ib/mean/token/{name}_se"]
    gone = replace(run.points[0], values={**values, "ib/mean/token/kept": math.nan}, notes={"token/kept": "no ceiling"})
    assert tables.table_rows(replace(run, points=[gone]), "a")[0]["why"] == "no ceiling"


def test_tokens_come_from_the_point_or_from_what_was_logged() -> None:
    assert tables.tokens_of(Point(1, {"ib/tokens_seen": 5.0}, tokens_seen=4)) == 4
    assert tables.tokens_of(Point(1, {"ib/tokens_seen": 5.0})) == 5
    assert tables.tokens_of(Point(1)) is None


@given(
    st.lists(
        st.tuples(*[st.none() | st.floats(-0.2, 2)] * 2, *[st.none() | st.floats(0, 0.1)] * 2), min_size=1, max_size=5
    )
)
def test_the_domain_holds_zero_every_point_and_every_bar(points: list[tuple[float | None, ...]]) -> None:
    columns = ("complexity", "expressivity", "complexity_se", "expressivity_se")
    rows = [dict(zip(columns, point, strict=True)) for point in points]
    low, high = tables.plane_domain(rows)
    assert low <= 0 < high
    for row in rows:
        for name in ("complexity", "expressivity"):
            value, bar = row[name], Z95 * (row[f"{name}_se"] or 0)
            if value is not None:
                assert low <= value - bar
                assert value + bar <= high


def test_every_run_with_missing_points_has_a_line() -> None:
    rows = tables.plane_rows([trajectories.damaged("a", failure="out of memory"), trajectories.make("b")])
    (line,) = tables.missing_lines(rows)
    assert line.startswith("a: 2 of 6 points cannot be drawn, the first at step ")
    assert line.endswith(": out of memory")


def test_an_unknown_reading_or_unit_is_refused() -> None:
    run = trajectories.make(num_points=1)
    with pytest.raises(ValueError, match="reading must be one of 'debiased', 'plugin', 'null', got 'raw'"):
        tables.plane_rows([run], reading="raw")
    with pytest.raises(ValueError, match="unit must be one of 'share', 'log_k', got 'bits'"):
        tables.plane_rows([run], unit="bits")


def test_rows_have_the_bracket_and_the_doubt() -> None:
    run = trajectories.doubted()
    for rows in (tables.plane_rows([run], unit="log_k"), tables.curve_rows([run])):
        assert [row["doubt"] for row in rows] == [None, None, "below its bracket", None, None]
        assert {row["why"] for row in rows} == {None}
    (row, *_) = tables.curve_rows([run])
    values = run.points[0].values
    ceiling = values["ib/mean/ceiling"]
    assert row["low"] == pytest.approx(row["value"] - 0.05 / ceiling)
    assert row["high"] == pytest.approx(values["ib_plugin/mean/token/complexity"] / ceiling)
    (row, *_) = tables.curve_rows([run], quantity="complexity")
    assert row["low"] == pytest.approx(row["value"] - 0.05)
    assert row["high"] == values["ib_plugin/mean/token/complexity"]
    (row, *_) = tables.plane_rows([run], unit="log_k")
    assert row["expressivity_low"] == pytest.approx(row["expressivity"] - 0.05)
    assert {row["doubt"] for row in tables.curve_rows([run], quantity="expressivity")} == {None}
    assert {row["low"] for row in tables.curve_rows([run], quantity="optimality")} == {None}
    assert {row["high"] for row in tables.curve_rows([run], reading="plugin")} == {None}
