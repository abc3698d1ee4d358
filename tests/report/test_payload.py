"""The numbers of the page: what its script gets."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from ibtrack.analysis.bands import careful_value, critical_value
from ibtrack.analysis.curves import curve
from ibtrack.analysis.phases import phases_of_runs
from ibtrack.record.trajectory import Point, Trajectory
from ibtrack.report import charts
from ibtrack.report import payload as payload_module
from ibtrack.report import sheet as module
from ibtrack.report.claims import NOT_RANKED, claims
from ibtrack.report.payload import payload
from ibtrack.report.run_labels import run_labels
from ibtrack.report.sheet import LEFT_OUT, sheet
from ibtrack.report.style import PALETTE
from tests import trajectories


def data_of(runs: Sequence[Trajectory], *, comparable: bool = True) -> Any:
    """The payload as the script gets it."""
    sheets = [sheet(run, len(runs)) for run in runs]
    return json.loads(json.dumps(payload(sheets, run_labels(runs), comparable=comparable), allow_nan=False))


def unpacked(text: str, num_columns: int) -> npt.NDArray[np.float32]:
    """The inverse of `packed`, written by another route."""
    upper = np.frombuffer(base64.b64decode(text), np.uint8).reshape(-1, 3)
    table = np.concatenate([np.zeros((len(upper), 1), np.uint8), upper], axis=1).reshape(-1).view("<f4")
    return table.reshape(-1, num_columns)


def test_numbers_survive_packing_to_one_part_in_100_000() -> None:
    run = trajectories.make(num_points=5)
    whole = data_of([run])
    (data,), (keys,) = whole["runs"], whole["keys"]
    assert data["keys"] == 0
    for key, row in zip(keys, unpacked(data["values"], 5), strict=True):
        np.testing.assert_allclose(row, run.values(key), rtol=2**-16)  # 15 of float32's 23 bits, rounded


def test_what_is_not_a_number_stays_so() -> None:
    whole = data_of([trajectories.damaged()])
    (data,), (keys,) = whole["runs"], whole["keys"]
    row = unpacked(data["values"], 6)[keys.index("ib/mean/token/complexity")]
    assert np.isnan(row).tolist() == [False, True, True, False, False, False]


def test_runs_share_a_list_of_keys_where_theirs_are_equal() -> None:
    runs = [trajectories.make(name, num_points=2, num_layers=layers) for name, layers in (("a", 1), ("b", 2), ("c", 1))]
    whole = data_of(runs)
    assert [run["keys"] for run in whole["runs"]] == [0, 1, 0]
    for run, trajectory in zip(whole["runs"], runs, strict=True):
        in_file = {key for key in trajectory.points[0].values if not key.endswith(LEFT_OUT)}
        assert {*whole["keys"][run["keys"]]} == in_file


def test_it_holds_phases_verdict_and_what_differs() -> None:
    data = data_of(trajectories.sweep())
    assert data["differing"] == ["model.width", "seed"]
    headline, rest = data["claims"]["mean"]["token"]["verdict"]
    assert headline.startswith("width=64 compresses more than width=32 at step 4000: ")
    assert rest.startswith("Of single runs, w64-s")
    assert data["claims"]["mean"]["bigram"]["phases"][0]["compression"]["start"] == 278
    assert data["sites"] == ["mean", "embed", "L00", "L01", "L02", "L03"]


def test_settings_that_say_nothing_of_a_run_are_left_out() -> None:
    def config(seed: int, width: int) -> dict[str, Any]:
        return {"model": {"width": width}, "data": {"seed": seed}, "seed": seed, "run_dir": f"/out/{seed}{width}"}

    runs = [trajectories.make(f"{s} {w}", num_points=2, config=config(s, w)) for s in (0, 1) for w in (8, 16)]
    assert data_of(runs)["differing"] == ["model.width", "seed"]


def test_runs_that_are_not_comparable_have_no_verdict_and_no_distance_to_the_first() -> None:
    for site in data_of(trajectories.sweep(), comparable=False)["claims"].values():
        assert site["token"]["verdict"] == [NOT_RANKED, ""]
        assert {place["behind"] for place in site["token"]["ranking"]} == {None}


def test_each_layer_and_label_set_has_claims_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = trajectories.sweep()
    data = data_of(runs)
    assert [*data["claims"]] == data["sites"]
    assert all([*each] == data["orders"] for each in data["claims"].values())
    named = dict(zip(run_labels(runs), runs, strict=True))
    phases = phases_of_runs(named, "bigram", site="L02")
    of_layer = data["claims"]["L02"]["bigram"]
    assert of_layer == json.loads(json.dumps(claims(named, phases, order="bigram", site="L02")))
    assert of_layer["phases"] != data["claims"]["mean"]["bigram"]["phases"]
    num_points = sum(len(run.points) for run in runs) * 5 * 4
    monkeypatch.setattr(module, "MOST_CLAIMED", num_points - 1)
    assert [*data_of(runs)["claims"]] == ["mean"]
    monkeypatch.setattr(module, "MOST_CLAIMED", num_points)
    assert [*data_of(runs)["claims"]] == data["sites"]
    size = len(json.dumps(list(data["claims"].values())[1:]))
    monkeypatch.setattr(payload_module, "MOST_LETTERS", size // 2)
    assert [*data_of(runs)["claims"]] == ["mean"]


@pytest.mark.parametrize(("num_seeds", "colour"), [(1, "run"), (3, "run"), (4, "model.width")])
def test_more_runs_than_colours_are_coloured_by_the_most_telling_setting(num_seeds: int, colour: str) -> None:
    runs = trajectories.sweep(num_seeds)
    assert (len(runs) > len(PALETTE)) == (colour != "run")
    assert data_of(runs)["colour"] == colour
    assert data_of(runs[:1])["colour"] == "step"


def test_notes_and_failures_are_kept_by_point() -> None:
    whole = data_of([trajectories.damaged(failure="no hook fired")])
    (data,), texts = whole["runs"], whole["texts"]
    assert {i: texts[why] for i, why in data["failures"].items()} == {"1": "no hook fired"}
    (numbers,), of_point = data["notes"], data["noted"]
    assert of_point == {"2": 0}
    read = [texts[number] for number in numbers]
    assert dict(zip(read[::2], read[1::2], strict=True)) == {
        "ib/mean/token/complexity": "zero-norm rows",
        "ib/mean/token/kept": "zero-norm rows",
    }


def test_points_of_equal_notes_share_them_and_runs_share_their_texts() -> None:
    runs = [trajectories.without_quadgrams(name) for name in "ab"]
    whole = data_of(runs)
    assert len(whole["texts"]) == len(set(whole["texts"]))
    assert whole["texts"].count(trajectories.ALL_DISTINCT) == 1
    for data in whole["runs"]:
        assert data["noted"] == {"0": 0} | {str(i): 1 for i in range(1, 5)}
        assert len(data["notes"]) == 2


def test_the_axes_of_charts_reach_as_far_as_those_of_all_points() -> None:
    runs = [trajectories.make("a"), trajectories.make("b", num_points=5)]
    specs = data_of(runs)["specs"]
    for x in ("step", "tokens"):
        on_page, whole = (
            next(layer["encoding"]["x"] for layer in spec["layer"])
            for spec in (specs[f"curves_{x}"], charts.to_spec(charts.curves(runs, x=x)))
        )
        assert on_page == whole


def test_charts_hold_no_rows_and_leave_the_looks_to_the_page() -> None:
    specs = data_of(trajectories.sweep())["specs"]
    assert set(specs) == {"plane_share", "plane_log_k", "curves_step", "curves_tokens", "heatmap"}
    assert all(spec["datasets"]["points"] == [] and "title" not in spec for spec in specs.values())
    colours = [layer["encoding"].get("color", {}).get("field") for layer in specs["plane_share"]["layer"]]
    assert {"line", "colour"} <= set(colours)
    assert "run" not in colours


def test_runs_with_the_same_keys_share_one_list_of_them() -> None:
    old = trajectories.make("old", num_points=1)
    old = replace(old, points=[Point(0, {"ib/mean/entropy": 0.5})])
    page = data_of([trajectories.make("a"), old, trajectories.make("b")])
    assert [run["keys"] for run in page["runs"]] == [0, 1, 0]
    assert page["keys"][1] == ["ib/mean/entropy"]
    assert not any(key.endswith(("variation", "_high", "_low_se")) for key in page["keys"][0])
    assert "ib/mean/token/complexity_low" in page["keys"][0]


def test_the_mean_has_a_number_of_errors_for_each_curve_and_for_each_plane() -> None:
    runs = [trajectories.make("a", num_points=6), trajectories.make("b", num_points=9)]
    page = data_of(runs)
    (names,) = page["bandNames"]
    assert len(names) == len({*names})
    curves = [name for name in names if " " not in name]
    assert {f"{name}_se" for name in curves} == {
        key for key in page["keys"][0] if key[-3:] == "_se" and "/mean/" in key
    }
    sides = (("kept", "told"), ("complexity", "expressivity"))  # the units, the usual one first
    planes = [" ".join(f"ib/mean/{order}/{side}" for side in pair) for pair in sides for order in trajectories.ORDERS]
    assert names[len(curves) :] == planes
    for run, data in zip(runs, page["runs"], strict=True):
        numbers = dict(zip(names, unpacked(data["bands"], len(names))[0], strict=True))
        for name in ("ib/mean/token/kept", "ib/mean/bigram/optimality", "ib/mean/token/kept ib/mean/token/told"):
            expected = critical_value([curve(run, key) for key in name.split()], of_changes=False)
            assert numbers[name] == pytest.approx(expected, rel=2**-16)
        careful = [careful_value(number * len(run.points), 64) for number in (1, 2)]
        assert data["careful"] == pytest.approx(careful)


def test_runs_without_errors_or_points_have_no_number_of_errors() -> None:
    runs = [trajectories.make("a", num_points=3, se=None), Trajectory(trajectories.make().protocol, {"name": "b"}, [])]
    page = data_of(runs)
    assert page["bandNames"] == [[], []]
    assert [run["bands"] for run in page["runs"]] == ["", ""]
    assert page["runs"][1]["careful"] == [None, None]


def test_runs_that_differ_in_their_seeds_alone_are_grouped() -> None:
    groups = {
        "by": "model.width",
        "members": [
            {"name": "width=32", "runs": [0, 1], "seeds": "seed 0, 1"},
            {"name": "width=64", "runs": [2, 3], "seeds": "seed 0, 1"},
        ],
    }
    assert data_of(trajectories.sweep())["groups"] == groups
    assert {each["seeds"] for each in data_of(trajectories.sweep(5))["groups"]["members"]} == {
        ""
    }  # too many for a cell
    assert data_of(trajectories.sweep(1))["groups"] is None
    assert data_of(trajectories.sweep()[:2])["groups"] is None
