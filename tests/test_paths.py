"""What the plane is drawn on."""

from ibtrack import charts
from ibtrack.paths import BOTTLENECK_WORDS
from tests import trajectories


def drawn_on(spec):
    """Layers with data of their own, as dictionaries."""
    return [layer for layer in spec["layer"] if "data" in layer]


def test_without_a_bottleneck_curve_a_spec_holds_no_rows_besides_its_points():
    """wandb's custom charts cannot take them (wandb#6766)."""
    spec = charts.to_spec(charts.plane(trajectories.make(num_points=3)))
    assert [*spec["datasets"]] == ["points"]
    assert [[*layer["data"]] for layer in drawn_on(spec)] == [["sequence"], ["sequence"]]


def test_the_curve_is_named_for_what_it_bounds():
    spec = charts.to_spec(charts.plane(trajectories.make(num_points=3, bottleneck_curve=[[0.0, 0.0], [0.3, 0.2]])))
    texts = [layer["mark"]["text"] for layer in spec["layer"] if "text" in layer["mark"]]
    assert "bottleneck curve" in texts and BOTTLENECK_WORDS in spec["title"]["subtitle"]
    rows = [{"at": 0, "bound_x": 0.0, "bound_y": 0.0}, {"at": 1, "bound_x": 0.3, "bound_y": 0.2}]
    assert rows in [
        layer["data"].get("values") or spec["datasets"].get(layer["data"].get("name")) for layer in drawn_on(spec)
    ]
