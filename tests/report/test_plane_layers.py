"""What the plane is drawn on."""

from itertools import pairwise
from typing import Any

import altair as alt
import pytest
import torch

from ibtrack import Probe
from ibtrack.record.quantities import PLANE_UNITS, QUANTITIES
from ibtrack.report import charts
from ibtrack.report.plane_layers import BOTTLENECK_WORDS
from tests import trajectories


def drawn_on(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """Layers with data of their own, as dictionaries."""
    return [layer for layer in spec["layer"] if "data" in layer]


def test_without_a_bottleneck_curve_a_spec_holds_no_rows_besides_its_points() -> None:
    """The custom charts of wandb cannot take them (wandb#6766)."""
    spec = charts.to_spec(charts.plane(trajectories.make(num_points=3)))
    assert [*spec["datasets"]] == ["points"]
    assert [[*layer["data"]] for layer in drawn_on(spec)] == [["sequence"], ["sequence"]]


def curve_of(chart: alt.LayerChart) -> list[tuple[float, float]]:
    """The points of the bottleneck curve that a plane holds, in order."""
    spec = charts.to_spec(chart)
    (rows,) = [rows for rows in spec["datasets"].values() if rows and "bound_x" in rows[0]]
    return [(row["bound_x"], row["bound_y"]) for row in rows]


def test_the_curve_goes_through_its_points_and_reaches_the_edge_of_any_plane() -> None:
    given = {"complexity": [0.3, 0.0, 1.3], "expressivity": [0.25, 0.0, 0.9]}
    points = curve_of(charts.plane(trajectories.make(num_points=3, bottleneck_curve=given), unit="log_k"))
    assert points[0] == (0.0, 0.0)
    assert points[-1] == pytest.approx((1.3, 0.9))
    assert any(point == pytest.approx((0.3, 0.25)) for point in points)
    assert max(b[0] - a[0] for a, b in pairwise(points)) <= 0.005 + 1e-12
    assert all(a[0] < b[0] for a, b in pairwise(points))


def test_the_curve_is_named_for_what_it_bounds() -> None:
    curve = {"complexity": [0.0, 0.3], "expressivity": [0.0, 0.2]}
    spec = charts.to_spec(charts.plane(trajectories.make(num_points=3, bottleneck_curve=curve), unit="log_k"))
    texts = [layer["mark"]["text"] for layer in spec["layer"] if "text" in layer["mark"]]
    assert "bottleneck curve" in texts
    assert BOTTLENECK_WORDS in spec["title"]["subtitle"]


def test_the_curve_of_a_probe_can_be_drawn() -> None:
    tokens = torch.randint(9, (8, 40), generator=torch.Generator().manual_seed(0))
    curve = Probe(tokens, orders=(1,)).bottleneck_curve()
    assert curve_of(charts.plane(trajectories.make(num_points=3, bottleneck_curve=curve), unit="log_k"))[-1][0] > 0.1


@pytest.mark.parametrize("unit", PLANE_UNITS)
def test_axes_and_tooltip_name_the_quantities_of_the_unit(unit: str) -> None:
    run = trajectories.make(num_points=3, bottleneck_curve=trajectories.CURVE)
    spec = charts.to_spec(charts.plane(run, unit=unit))
    titles = {
        axis: {layer["encoding"][axis].get("title") for layer in spec["layer"] if axis in layer["encoding"]}
        for axis in "xy"
    }
    names = PLANE_UNITS[unit][:2]
    for axis, name in zip("xy", names, strict=True):
        assert titles[axis] == {f"{QUANTITIES[name].title}, {QUANTITIES[name].unit}"}
    tooltips = [
        each["title"] for layer in spec["layer"] for each in layer["encoding"].get("tooltip", []) if "title" in each
    ]
    assert {*names} <= {*tooltips}


def test_the_bottleneck_curve_has_no_share_of_a_ceiling() -> None:
    run = trajectories.make(num_points=3, bottleneck_curve=trajectories.CURVE)
    spec = charts.to_spec(charts.plane(run))
    assert [*spec["datasets"]] == ["points"]
    assert BOTTLENECK_WORDS not in spec["title"]["subtitle"]
