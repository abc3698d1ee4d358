"""The rows behind the charts."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibtrack.analysis.bands import critical_value
from ibtrack.analysis.curves import curve
from ibtrack.record.influences import Influences
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


# ---- simultaneous bands ----------------------------------------------------------------------------------------------


def test_a_band_is_the_error_times_one_number_for_all_points_of_a_run() -> None:
    runs = [trajectories.make("a"), trajectories.make("b", num_points=5)]
    rows = tables.curve_rows(runs, bands=True)
    for run, name in zip(runs, "ab", strict=True):
        number = critical_value([curve(run, "ib/mean/token/kept")], of_changes=False)
        of_run = [row for row in rows if row["run"] == name]
        assert len(of_run) == len(run.points)
        assert [row["band"] for row in of_run] == pytest.approx([number * row["se"] for row in of_run])
        assert number > 2.3 > Z95


def test_both_axes_of_the_plane_share_the_number() -> None:
    run = trajectories.make()
    keys = ("ib/L01/bigram/complexity", "ib/L01/bigram/expressivity")
    number = critical_value([curve(run, key) for key in keys], of_changes=False)
    for row in tables.plane_rows([run], site="L01", order="bigram", unit="log_k", bands=True):
        assert row["complexity_band"] == pytest.approx(number * row["complexity_se"])
        assert row["expressivity_band"] == pytest.approx(number * row["expressivity_se"])


def test_there_is_no_band_where_it_was_not_asked_for_or_there_is_no_error() -> None:
    run = trajectories.make(num_points=3)
    no_errors = trajectories.make(num_points=3, se=None)
    for rows in (
        tables.curve_rows([run]),
        tables.curve_rows([run], reading="plugin", bands=True),
        tables.curve_rows([run], quantity="loss", bands=True),
        tables.curve_rows([no_errors], bands=True),
    ):
        assert [row["band"] for row in rows] == [None] * 3
    for rows in (
        tables.plane_rows([run]),
        tables.plane_rows([run], reading="null", bands=True),
        tables.plane_rows([no_errors], bands=True),
    ):
        assert {row[f"{name}_band"] for row in rows for name in tables.PLANE_COLUMNS} == {None}
    gone = tables.curve_rows([trajectories.damaged()], bands=True)
    assert [row["band"] is None for row in gone] == [False, True, False, False, False, False]


def test_an_old_file_has_the_band_of_independent_points() -> None:
    old = trajectories.mean_curves([0.1, 0.2, 0.3, 0.2], old=True)
    (first, *_) = tables.curve_rows([old], bands=True)
    assert first["band"] / first["se"] == pytest.approx(2.49, abs=0.06)  # of four: 1 - 0.95^(1/4), on two sides


def test_the_domain_holds_the_bands() -> None:
    runs = [trajectories.make(num_points=5, se=0.05)]
    narrow, wide = (tables.plane_domain(tables.plane_rows(runs, bands=bands)) for bands in (False, True))
    assert wide[0] < narrow[0]
    assert wide[1] > narrow[1]


NUM_DOCUMENTS, NUM_DRAWS = 64, 200
TRUTH = {"token/complexity": np.linspace(0.5, 0.3, 12), "token/expressivity": np.linspace(0.0, 0.2, 12)}


def drawn(draw: np.random.Generator) -> Trajectory:
    """A run whose values are means over documents: these differ, and what one adds changes slowly along the run."""
    by_document = {}
    for name, truth in TRUTH.items():
        steps = draw.standard_normal((len(truth), NUM_DOCUMENTS))
        for point in range(1, len(truth)):
            steps[point] = 0.8 * steps[point - 1] + 0.6 * steps[point]
        by_document[name] = truth[:, None] + 0.1 * steps
    points = []
    for point in range(12):
        values: dict[str, float] = {}
        influences = []
        for name, numbers in by_document.items():
            mean = numbers[point].mean()
            influences.append((numbers[point] - mean) / NUM_DOCUMENTS)
            se = numbers[point].std(ddof=1) / math.sqrt(NUM_DOCUMENTS)
            values |= {f"ib/mean/{name}": mean, f"ib/mean/{name}_se": se}
        nothing = np.zeros((1, 2))
        packed = Influences.pack(["mean"], [*TRUTH], np.array([influences]), nothing, nothing[..., None][..., :0])
        points.append(Point(point, values, influences=packed))
    return Trajectory({}, {"name": "drawn"}, points)


def test_bands_hold_a_known_truth_at_all_points_as_often_as_they_say() -> None:
    draw = np.random.default_rng(0)
    names = ("curve", "plane", "curve, pointwise", "plane, pointwise")
    held = dict.fromkeys(names, 0)
    x, y = TRUTH.values()
    for _ in range(NUM_DRAWS):
        run = drawn(draw)
        curve_rows = tables.curve_rows([run], quantity="complexity", bands=True)
        plane_rows = tables.plane_rows([run], unit="log_k", bands=True)
        for at, (row, true) in enumerate(zip(curve_rows, x, strict=True)):
            assert row["se"] == pytest.approx(plane_rows[at]["complexity_se"])
            assert abs(row["value"] - true) < 10 * row["se"]
        held["curve"] += all(abs(r["value"] - t) <= r["band"] for r, t in zip(curve_rows, x, strict=True))
        held["curve, pointwise"] += all(
            abs(r["value"] - t) <= Z95 * r["se"] for r, t in zip(curve_rows, x, strict=True)
        )
        sides = [
            (row, name, true[at])
            for at, row in enumerate(plane_rows)
            for name, true in (("complexity", x), ("expressivity", y))
        ]
        held["plane"] += all(abs(r[n] - t) <= r[f"{n}_band"] for r, n, t in sides)
        held["plane, pointwise"] += all(abs(r[n] - t) <= Z95 * r[f"{n}_se"] for r, n, t in sides)
    shares = {name: count / NUM_DRAWS for name, count in held.items()}
    assert 0.92 <= shares["curve"] <= 0.98
    assert 0.92 <= shares["plane"] <= 0.98
    assert shares["curve, pointwise"] < 0.85
    assert shares["plane, pointwise"] < 0.7
