"""The specs are valid and say what they show; the pictures have the marks where the numbers put them."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import numpy.typing as npt
import pytest
from altair.utils import schemapi
from PIL import Image

from ibtrack.record.keys import READINGS
from ibtrack.record.quantities import QUANTITIES
from ibtrack.record.trajectory import Trajectory
from ibtrack.report import charts, style, tables
from tests import trajectories

CURVE = {"complexity": [0.0, 0.2, 1.2], "expressivity": [0.0, 0.2, 0.5]}


def points(chart: alt.LayerChart) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = charts.to_spec(chart)["datasets"]["points"]
    return rows


def layers(chart: alt.LayerChart, mark: str) -> list[dict[str, Any]]:
    return [layer for layer in charts.to_spec(chart)["layer"] if layer["mark"]["type"] == mark]


def pixels(chart: alt.LayerChart) -> npt.NDArray[np.int64]:
    return np.asarray(Image.open(io.BytesIO(charts.to_png(chart, scale=1))).convert("RGB")).astype(int)


def near(image: npt.NDArray[np.int64], colour: str, tolerance: int = 30) -> npt.NDArray[np.bool_]:
    """Which pixels (H, W) have a colour, anti-aliased edges aside."""
    rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    close: npt.NDArray[np.bool_] = np.abs(image - rgb).max(axis=2) < tolerance
    return close


def damaged() -> Trajectory:
    return trajectories.damaged("run", first=2, failure="hook of L01 did not fire")


def test_the_plane_joins_points_in_step_order_and_shares_one_square_domain() -> None:
    chart = charts.plane(trajectories.make())
    spec = charts.to_spec(chart)
    line = next(layer for layer in layers(chart, "line") if "order" in layer["encoding"])
    assert line["encoding"]["order"] == {"field": "step", "type": "quantitative", "sort": "ascending"}
    assert spec["width"] == spec["height"]
    scales = [line["encoding"][axis]["scale"]["domain"] for axis in "xy"]
    assert scales == [[{"expr": "left"}, {"expr": "right"}], [{"expr": "bottom"}, {"expr": "top"}]]
    values = {parameter["name"]: parameter["value"] for parameter in spec["params"]}
    square = {"low": 0.0, "left": 0.0, "bottom": 0.0, "high": 0.9, "right": 0.9, "top": 0.9}
    assert values == {"until": 4000, **square, "bottleneck": True, "simultaneous": False, "bars": True}


def test_the_plane_reads_plain_columns_from_one_named_dataset() -> None:
    chart = charts.plane(trajectories.make(num_points=3))
    assert charts.to_spec(chart)["data"] == {"name": "points"}
    first, *_, last = points(chart)
    assert (first["step"], first["loss"], last["tokens"]) == (0, None, 2048 * 4000)
    assert first["complexity_se"] == pytest.approx(0.004 * 0.5 / 0.27)  # half of a ceiling of .54
    in_log_k = points(charts.plane(trajectories.make(num_points=3), unit="log_k"))
    assert in_log_k[0]["complexity_se"] == 0.004
    assert first["complexity"] == pytest.approx(in_log_k[0]["complexity"] * 0.5 / 0.27)


def test_one_run_is_coloured_by_step_and_several_by_run() -> None:
    run = trajectories.make()
    coloured = {
        layer["encoding"]["color"]["field"]
        for layer in layers(charts.plane(run), "point")
        if "color" in layer["encoding"]
    }
    assert coloured == {"step"}
    several = charts.plane([run, trajectories.make("other")])
    assert {layer["encoding"]["color"]["field"] for layer in layers(several, "point")} == {"run"}
    assert layers(several, "point")[0]["encoding"]["size"]["field"] == "step"
    assert {layer["encoding"]["color"]["field"] for layer in layers(charts.plane(run, colour="run"), "point")} == {
        "run"
    }


def test_the_diagonal_is_named_for_what_it_is() -> None:
    texts = [layer["mark"].get("text") for layer in layers(charts.plane(trajectories.make()), "text")]
    assert "I(X;Z) = I(Y;Z), not a bound" in texts


def test_the_bottleneck_curve_is_drawn_for_tokens_where_the_runs_agree_on_one() -> None:
    def drawn(chart: alt.LayerChart) -> bool:
        return int(near(pixels(chart), style.RED).sum()) > 50

    run = trajectories.make(bottleneck_curve=CURVE)
    assert drawn(charts.plane(run, unit="log_k"))
    assert not drawn(charts.plane(run))
    assert not drawn(charts.plane(run, order="bigram", unit="log_k"))
    assert not drawn(charts.plane(trajectories.make(), unit="log_k"))
    other = trajectories.make("other", bottleneck_curve={"complexity": [0.0], "expressivity": [0.0]})
    assert not drawn(charts.plane([run, other], unit="log_k"))


def test_points_without_a_place_are_named_in_the_caption() -> None:
    chart = charts.plane(damaged())
    subtitle = charts.to_spec(chart)["title"]["subtitle"]
    assert any(line.startswith("run: 2 of 6 points cannot be drawn, the first at step ") for line in subtitle)
    assert any("hook of L01 did not fire" in line for line in subtitle)
    assert [row["why"] for row in points(chart)][2:4] == ["hook of L01 did not fire", "zero-norm rows"]


def test_a_chart_without_points_says_so() -> None:
    empty = Trajectory({}, {"name": "empty"}, [])
    for chart in (charts.plane(empty), charts.curves(empty), charts.heatmap(empty)):
        assert "no points yet" in charts.to_spec(chart)["title"]["subtitle"]
        assert len(charts.to_png(chart)) > 1000


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("site", ["mean", "embed", "L03"])
def test_every_site_and_reading_has_its_plane(site: str, reading: str) -> None:
    chart = charts.plane(trajectories.make(), site=site, order="bigram", reading=reading)
    assert all(row["complexity"] is not None for row in points(chart))
    assert (points(chart)[0]["complexity_se"] is None) == (reading != "debiased")


@pytest.mark.parametrize("quantity", QUANTITIES)
@pytest.mark.parametrize("x", ["step", "tokens"])
def test_every_quantity_has_its_curve(quantity: str, x: str) -> None:
    chart = charts.curves(trajectories.make(num_points=5, geometry=True), quantity=quantity, x=x)
    assert sum(row["value"] is not None for row in points(chart)) == (4 if quantity == "loss" else 5)
    shown = [layer["encoding"]["x"]["field"] for layer in charts.to_spec(chart)["layer"]]
    assert set(shown) == {x}
    assert charts.to_spec(chart)["layer"][-1]["encoding"]["x"]["scale"]["type"] == "symlog"


def test_the_curve_has_band_null_and_ceiling() -> None:
    chart = charts.curves(trajectories.make(), quantity="complexity")
    row = points(chart)[-1]
    assert (row["se"], row["null"]) == (0.004, 0.05)
    assert row["ceiling"] > row["value"]
    assert (
        "dashed: the plug-in of shuffled labels · dotted: ceiling I(Z;J)" in charts.to_spec(chart)["title"]["subtitle"]
    )
    assert points(charts.curves(trajectories.make(), quantity="entropy"))[-1]["null"] is None
    share = points(charts.curves(trajectories.make()))[-1]
    assert share["null"] == pytest.approx(0.05 / row["ceiling"])
    assert share["ceiling"] is None


def test_an_effective_rank_has_what_half_of_the_documents_read() -> None:
    chart = charts.curves(trajectories.make(geometry=True), quantity="rankme")
    row = points(chart)[-1]
    assert row["half"] == pytest.approx(0.9 * row["value"])
    assert row["null"] is row["ceiling"] is None
    assert charts.to_spec(chart)["title"]["subtitle"] == [
        "mean over the layers · band: 95 % at each point",
        "dashed: half of the documents; far from the line, rows are too few",
    ]
    assert points(charts.curves(trajectories.make()))[-1]["half"] is None


def test_the_heatmap_orders_layers_from_input_to_output() -> None:
    chart = charts.heatmap(trajectories.make(num_points=3))
    depth = {row["site"]: row["depth"] for row in points(chart)}
    assert sorted(depth, key=depth.__getitem__) == ["embed", "L00", "L01", "L02", "L03"]
    assert len(points(chart)) == 5 * 3


def test_wrong_choices_are_named_with_the_right_ones() -> None:
    run = trajectories.make(num_points=2)
    with pytest.raises(ValueError, match="reading must be one of 'debiased', 'plugin', 'null', got 'raw'"):
        charts.plane(run, reading="raw")
    with pytest.raises(ValueError, match="unit must be one of 'share', 'log_k', got 'bits'"):
        charts.plane(run, unit="bits")
    with pytest.raises(ValueError, match="colour must be one of 'step', 'run', got 'loss'"):
        charts.plane(run, colour="loss")
    with pytest.raises(ValueError, match="x must be one of 'step', 'tokens', got 'time'"):
        charts.curves(run, x="time")
    for draw in (charts.plane, charts.curves):
        with pytest.raises(ValueError, match="band must be one of 'pointwise', 'simultaneous', got 'wide'"):
            draw(run, band="wide")
    with pytest.raises(ValueError, match=r"quantity must be one of .* got 'speed'"):
        charts.curves(run, quantity="speed")
    with pytest.raises(ValueError, match=r"quantity must be one of .* got 'loss'"):
        charts.heatmap(run, quantity="loss")


def test_runs_of_one_name_stay_apart(tmp_path: Path) -> None:
    runs = [trajectories.make("same") for _ in range(2)]
    folders = [trajectories.write(run, tmp_path / name) for run, name in zip(runs, ("a", "b"), strict=True)]
    loaded = [Trajectory.load(folder) for folder in folders]
    assert {row["run"] for row in points(charts.plane(loaded))} == {"same (a)", "same (b)"}


def test_a_picture_has_its_points_where_the_numbers_put_them() -> None:
    """The ring of the start and the disc of the end, in a square of 420 pixels for 0 to .3; the legend is cut off."""
    image = pixels(charts.plane(trajectories.mean_curves([0.1, 0.27], [0.05, 0.22], se=None)))[:, :460]
    start, end = (np.argwhere(near(image, colour)) for colour in (style.RAMP[0], style.RAMP[-1]))
    (y0, x0), (y1, x1) = start.mean(axis=0), end.mean(axis=0)
    assert x1 - x0 == pytest.approx(0.17 * 420 / 0.3, abs=3)  # the line covers a little of the ring
    assert y0 - y1 == pytest.approx(0.17 * 420 / 0.3, abs=3)


def test_a_picture_shows_each_run_in_its_colour_and_scales() -> None:
    runs = [trajectories.make(f"r{i}", drop=0.05 * i) for i in range(3)]
    image = pixels(charts.plane(runs))
    for colour in style.PALETTE[:3]:
        assert near(image, colour).sum() > 100
    assert near(image, style.PALETTE[3]).sum() < 5
    small, large = (Image.open(io.BytesIO(charts.to_png(charts.plane(runs), scale=scale))).size for scale in (1, 2))
    assert large == pytest.approx([2 * side for side in small], abs=2)


def test_a_failed_point_is_a_red_cross_in_the_curve_and_in_the_heatmap() -> None:
    sound, worn = trajectories.make(num_points=6), damaged()
    for draw in (charts.curves, charts.heatmap):
        assert near(pixels(draw(sound)), style.RED).sum() == 0
        assert near(pixels(draw(worn)), style.RED).sum() > 20


def test_save_png_writes_a_png(tmp_path: Path) -> None:
    path = charts.save_png(charts.heatmap(trajectories.make(num_points=3)), tmp_path / "heat.png", scale=1)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_undefined_values_are_crosses_whose_tooltip_says_why() -> None:
    run = trajectories.without_quadgrams()
    for draw in (charts.curves, charts.heatmap):
        chart = draw(run, order="quadgram")
        assert {row["why"] for row in points(chart)} == {trajectories.ALL_DISTINCT}
        cross = layers(chart, "point")[-1]
        assert {"field": "why", "title": "no value", "type": "nominal"} in cross["encoding"]["tooltip"]
    assert {row["why"] for row in points(charts.plane(run, order="quadgram"))} == {trajectories.ALL_DISTINCT}
    assert {row["why"] for row in points(charts.plane(run, order="quadgram", reading="plugin"))} == {None}
    optimality = points(charts.curves(run, quantity="optimality"))
    assert [row["why"] for row in optimality] == [trajectories.ZERO_BY_ZERO, None, None, None, None]


def test_without_vl_convert_the_install_line_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(ImportError, match=r"a PNG of a chart needs vl-convert-python, .*'ibtrack\[report\]'"):
        charts.to_png(charts.plane(trajectories.make(num_points=2)))


def test_a_plane_of_mixed_protocols_says_so() -> None:
    runs = [trajectories.make(name, num_points=3, num_anchors=k) for name, k in (("a", 100), ("b", 50))]
    assert charts.MIXED in charts.to_spec(charts.plane(runs))["title"]["subtitle"]
    assert charts.MIXED not in charts.to_spec(charts.plane([runs[0], runs[0]]))["title"]["subtitle"]


@pytest.mark.parametrize("name", ["plane.svg", "plane", "png"])
def test_save_png_names_the_file_for_what_it_is(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"path must end in \.png, as charts are written as PNG, got "):
        charts.save_png(charts.plane(trajectories.make(num_points=2)), tmp_path / name)


def test_the_bracket_is_a_band_where_it_is_asked_for() -> None:
    run = trajectories.doubted()
    plain, banded = (charts.curves(run, quantity="complexity", bracket=bracket) for bracket in (False, True))
    assert [to_param(chart, "bracket") for chart in (plain, banded)] == [False, True]
    assert len(charts.to_png(plain)) != len(charts.to_png(banded))
    subtitles = [charts.to_spec(chart)["title"]["subtitle"] for chart in (plain, banded)]
    assert ["light band: bracket" in " ".join(lines) for lines in subtitles] == [False, True]
    assert "doubted: 1 of 5 points in doubt, the first at step" in " ".join(subtitles[0])
    other = charts.to_spec(charts.curves(run, reading="plugin", bracket=True))
    assert "light band" not in " ".join(other["title"]["subtitle"])


@pytest.mark.parametrize("draw", [charts.plane, charts.curves])
def test_simultaneous_bands_are_wider_and_are_called_so(draw: Any) -> None:
    runs = [trajectories.make("a", num_points=8), trajectories.make("b", num_points=8)]
    narrow, wide = (draw(runs, band=band) for band in ("pointwise", "simultaneous"))
    assert [to_param(chart, "simultaneous") for chart in (narrow, wide)] == [False, True]
    first = [charts.to_spec(chart)["title"]["subtitle"][0] for chart in (narrow, wide)]
    assert first[0].endswith(": 95 % at each point")
    assert first[1].endswith(": 95 % for all points together")
    column = "complexity_band" if draw is charts.plane else "band"
    assert {row[column] for row in points(narrow)} == {None}
    assert all(row[column] > 2.5 * row[column.replace("band", "se")] for row in points(wide))
    ink = [int((pixels(chart).min(axis=2) < 250).sum()) for chart in (narrow, wide)]
    assert ink[1] > ink[0] + 100


def test_bars_are_as_long_as_the_numbers_say() -> None:
    """The bar of one point in the middle of a square of 420 pixels for 0 to .65: 1.96 or 2.24 errors on either side."""
    run = trajectories.mean_curves([0.3], [0.3], se=0.05)
    for band, low in (("pointwise", 1.96), ("simultaneous", 2.24)):
        chart = charts.plane(run, band=band)
        numbers = to_param(chart, "low"), to_param(chart, "high")
        image = pixels(chart)[:, :480]
        bar = near(image, style.RAMP[0], 140) & (np.ptp(image, axis=2) > 25)
        across = np.flatnonzero(bar.any(axis=0))
        length = (across.max() - across.min()) * (numbers[1] - numbers[0]) / 420
        number = tables.plane_rows([run], bands=True)[0]["complexity_band"] / 0.05
        assert length == pytest.approx(2 * 0.05 * (1.96 if band == "pointwise" else number), abs=0.006)
        assert (1.96 if band == "pointwise" else number) == pytest.approx(low, abs=0.12)


def test_a_tooltip_states_the_simultaneous_error_where_there_is_one() -> None:
    text = style.value_text("value", "se", "band", "sd", "low", "high", "z")
    assert "(isValid(datum.se) ? ' ± ' + format(1.96 * datum.se, '.4f') : '')" in text
    assert "(isValid(datum.band) ? ', for all points ± ' + format(datum.band, '.4f') : '')" in text


def test_a_chart_without_errors_does_not_speak_of_them() -> None:
    run = trajectories.make(num_points=3)
    for chart in (charts.plane(run, reading="plugin"), charts.curves(run, quantity="loss", band="simultaneous")):
        assert "95 %" not in " ".join(charts.to_spec(chart)["title"]["subtitle"])


def to_param(chart: Any, name: str) -> Any:
    """The value of a parameter of a chart."""
    return next(each["value"] for each in charts.to_spec(chart)["params"] if each["name"] == name)


def test_rows_are_handed_on_as_they_are_and_checked_against_no_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[int] = []
    check = schemapi.validate_jsonschema

    def counted(spec: Any, *args: Any, **kwargs: Any) -> Any:
        checked.append(len(str(spec)))
        return check(spec, *args, **kwargs)

    monkeypatch.setattr(schemapi, "validate_jsonschema", counted)
    sizes = []
    for num_points in (3, 60):
        checked.clear()
        chart = charts.curves(trajectories.make(num_points=num_points))
        spec = charts.to_spec(chart)
        assert spec["datasets"]["points"] is chart.datasets["points"]
        assert len(spec["datasets"]["points"]) == num_points
        sizes.append((len(checked), sum(checked)))
    assert sizes[0] == sizes[1]
