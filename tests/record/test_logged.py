"""What of a point is logged."""

import math
from dataclasses import replace
from typing import Any

import torch

from ibtrack import Point
from ibtrack.integrations.wandb import FIRST, STEP_KEY, shown_key
from ibtrack.record.keys import metric_key
from ibtrack.record.logged import LOGS, PLANE, logged_metrics, point_metrics, summary_line
from tests import trajectories

NOT_OF_TOKENS = ("preference_information", "preference_information_se")


def _point(**options: Any) -> Point:
    """The last point of a run of 12 layers that measures all it can, with four label sets and a norm at the end."""
    point = trajectories.make(num_points=2, num_layers=12, geometry=True, **options).points[-1]
    of_last = {
        key.replace("/L11/", "/final/"): value for key, value in point.values.items() if key.startswith("ib/L11/")
    }
    values = {key: value for key, value in {**point.values, **of_last}.items() if not key.endswith(NOT_OF_TOKENS)}
    return replace(point, values=values)


def test_twelve_layers_are_at_most_sixty_keys_with_what_else_wandb_gets() -> None:
    metrics = logged_metrics(_point())
    assert {"ib_layers/embed/token/kept", "ib_layers/L11/token/told", "ib_layers/final/token/kept"} <= {*metrics}
    assert {"ib_more/mean/quadgram/told_se", "ib_more/mean/rankme", "ib_run/probe_loss"} <= {*metrics}
    assert len({*metrics, *map(shown_key, FIRST), STEP_KEY}) <= 60
    assert len(logged_metrics(_point(), log="all")) > 500


def test_the_plane_comes_first_however_names_are_sorted() -> None:
    for log in LOGS:
        keys = {*logged_metrics(_point(), prefix="seen", log=log), *(shown_key(thing, "seen") for thing in FIRST)}
        for names in (sorted(keys), sorted(keys, key=str.lower), sorted(keys, key=lambda key: key.split("/"))):
            assert names[:2] == ["seen/information_plane", "seen/information_plane_picture"]
            assert {*names[2:7]} == {f"seen/mean/token/{name}" for name in PLANE}
            assert names[7].startswith("seen_layers/")


def test_the_first_label_set_is_the_one_that_the_probe_names_first_though_it_has_no_value() -> None:
    values = {"ib/L00/bigram/kept": math.nan, "ib/L00/token/kept": 0.5, "ib/mean/bigram/kept": 0.4}
    assert [*logged_metrics(Point(1, values))] == ["ib/mean/bigram/kept", "ib_run/failed"]


def test_a_probe_of_preferences_has_its_number_first_and_that_of_each_layer() -> None:
    names = ("preference_information", "preference_information_se", "entropy")
    values = {metric_key(name, site=site): 0.1 for site in ("mean", "L00") for name in names}
    assert [*logged_metrics(Point(1, values))] == [
        "ib/mean/preference_information",
        "ib_more/mean/preference_information_se",
        "ib_layers/L00/preference_information",
        "ib_run/failed",
    ]


def test_all_are_all_that_can_be_monitored_under_names_that_differ_in_their_section() -> None:
    every, logged = point_metrics(_point()), logged_metrics(_point(), log="all")
    assert [*every.values()] == [*logged.values()]
    for name, key in zip(every, logged, strict=True):
        assert name.partition("/")[2] == key.partition("/")[2]
    assert {key.partition("/")[0] for key in logged} == {
        f"ib{section}" for section in ("", "_layers", "_more", "_null", "_plugin", "_run")
    }
    assert logged_metrics(_point()).items() <= logged.items()


def test_every_number_of_the_mean_can_be_monitored_and_of_each_layer_the_debiased() -> None:
    keys = [
        f"{head}/{site}/token/complexity"
        for head in ("ib", "ib_plugin", "ib_null")
        for site in ("mean", "L00", "embed")
    ]
    metrics = point_metrics(Point(1, dict.fromkeys(keys, 0.5)))
    missing = {key for key in keys if key not in metrics}
    assert missing == {key for key in keys if "_" in key and "mean" not in key}


def test_values_that_do_not_exist_are_not_logged() -> None:
    point = Point(1, {"ib/mean/token/kept": float("nan")}, failure="L00: 3 of 8 positions")
    assert logged_metrics(point) == {"ib_run/failed": 1.0}
    assert point_metrics(point) == {"ib/failed": 1.0}


def test_values_are_not_tensors() -> None:
    values: dict[str, Any] = {"ib/mean/token/kept": torch.tensor(0.5, dtype=torch.float64)}
    assert type(logged_metrics(Point(1, values))["ib/mean/token/kept"]) is float


def test_the_line_of_a_preference_probe_names_its_own_number() -> None:
    point = Point(5, {"ib/mean/preference_information": 0.1})
    assert summary_line(point) == "ibtrack step 5: I(pref;Z) 0.100 (0.00 s)"


def test_the_line_of_a_point_without_values_says_so() -> None:
    assert summary_line(Point(8)) == "ibtrack step 8: no values (0.00 s)"
    assert summary_line(Point(8, {"ib/mean/token/optimality_se": 0.1})) == "ibtrack step 8: no values (0.00 s)"


def test_the_line_states_the_half_width_that_charts_and_tables_state() -> None:
    point = Point(5, {"ib/mean/token/optimality": 0.4, "ib/mean/token/optimality_se": 0.01})
    assert summary_line(point) == "ibtrack step 5: optimality 0.400 ± 0.020 (0.00 s)"


def test_an_error_without_its_value_is_not_in_the_line() -> None:
    point = Point(5, {"ib/mean/entropy": 0.9, "ib/mean/token/optimality_se": 0.01})
    assert summary_line(point) == "ibtrack step 5: H 0.900 (0.00 s)"


def test_the_line_names_the_prefix_of_a_second_monitor() -> None:
    point = Point(5, {"ib/mean/entropy": 0.9})
    assert summary_line(point, prefix="code") == "ibtrack code step 5: H 0.900 (0.00 s)"
    assert summary_line(Point(5, failure="L00"), prefix="code") == "ibtrack code step 5: not measured: L00"
