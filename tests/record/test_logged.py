"""What of a point is logged."""

from typing import Any

import torch

from ibtrack import Point
from ibtrack.record.logged import logged_metrics, summary_line


def test_loggers_get_the_mean_whole_and_of_each_layer_the_debiased() -> None:
    keys = [
        f"{head}/{site}/token/complexity"
        for head in ("ib", "ib_plugin", "ib_null")
        for site in ("mean", "L00", "embed")
    ]
    metrics = logged_metrics(Point(1, dict.fromkeys(keys, 0.5)))
    missing = {key for key in keys if key not in metrics}
    assert missing == {key for key in keys if "_" in key and "mean" not in key}


def test_values_that_do_not_exist_are_not_logged() -> None:
    metrics = logged_metrics(Point(1, {"ib/mean/entropy": float("nan")}, failure="L00: 3 of 8 positions"))
    assert metrics == {"ib/failed": 1.0}


def test_values_are_not_tensors() -> None:
    values: dict[str, Any] = {"ib/mean/entropy": torch.tensor(0.5, dtype=torch.float64)}
    assert type(logged_metrics(Point(1, values))["ib/mean/entropy"]) is float


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
