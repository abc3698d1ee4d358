"""Deviations against the plane's own standard errors, and against numbers that were worked out by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from ibtrack import Probe, SoftOptions
from ibtrack.analysis.deviations import OF_CORRECTION, OF_SYSTEMATIC, Number, number_of
from ibtrack.metrics import InformationPlane
from ibtrack.record.influences import Influences
from ibtrack.record.trajectory import Point


def measured(anchor_draws: int = 1) -> Point:
    """A point of two sites, as a tracker would make it."""
    draw = torch.Generator().manual_seed(0)
    probe = Probe(torch.randint(0, 5, (24, 32), generator=draw), orders=(1, 2))
    plane = InformationPlane(probe, {"L00": 16, "L01": 16}, options=SoftOptions(anchor_draws=anchor_draws))
    table = torch.randn(5, 16, generator=draw)
    for site in ("L00", "L01"):
        rows = table[probe.inputs.flatten()] + torch.randn(probe.inputs.numel(), 16, generator=draw)
        plane.update(site, rows, torch.arange(probe.num_positions), rows=probe.positions)
    values = {key: float(value) for key, value in plane.compute().items()}
    return Point(8, values, influences=plane.influences(plane.readings(), plane.sites))


POINT = measured()
NO_DRAWS = np.zeros((1, 1, 0))
SHARED = ("entropy", "ceiling")
OF_ORDER = ("complexity", "expressivity", "kept", "told", "optimality", "regularity", "variation")


def sure(number: Number | None) -> Number:
    assert number is not None
    return number


def along(number: Number) -> float:
    """Length of the part of the correction's deviation that points into the direction of the documents'."""
    return float(np.linalg.norm(number.correction.reshape(2, -1)[:, :-1])) / OF_SYSTEMATIC


@pytest.mark.parametrize("site", ["mean", "L01"])
@pytest.mark.parametrize("quantity", [*SHARED, *(f"bigram/{name}" for name in OF_ORDER), "token/share", "bigram/share"])
def test_the_deviations_are_those_of_the_standard_error_of_the_plane(site: str, quantity: str) -> None:
    key = f"ib/{site}/{quantity}"
    number = sure(number_of(POINT, key))
    assert number.value == pytest.approx(POINT.values[key], rel=1e-5)
    documents, stated = np.linalg.norm(number.documents), POINT.values[f"{key}_se"]
    if quantity == "bigram/share":  # two corrections of one side: the plane takes them to err as one
        assert documents <= stated * 1.001
    else:
        assert math.hypot(documents, along(number)) == pytest.approx(stated, rel=2e-3)


def test_anchors_move_a_number_by_the_error_of_their_mean() -> None:
    point = measured(anchor_draws=4)
    for quantity in ("entropy", "token/complexity"):
        number = sure(number_of(point, f"ib/mean/{quantity}"))
        spread = point.values[f"ib/mean/{quantity}_anchor_sd"]
        assert np.linalg.norm(number.anchors) == pytest.approx(spread / 2, rel=1e-4)
    assert sure(number_of(POINT, "ib/mean/entropy")).anchors.shape == (0,)


def test_the_mean_over_draws_is_what_influences_are_of() -> None:
    point = measured(anchor_draws=4)
    number = sure(number_of(point, "ib/mean/token/complexity"))
    own = math.hypot(np.linalg.norm(number.documents), along(number))
    assert own == pytest.approx(point.values["ib/mean/token/complexity_se"], rel=2e-3)


def test_what_a_point_does_not_say_has_no_deviations() -> None:
    assert number_of(replace(POINT, influences=None), "ib/mean/entropy") is None
    for key in ("ib/mean/trigram/kept", "ib_plugin/mean/token/complexity", "ib/mean/mean_cosine", "ib/loss"):
        values = {**POINT.values, key: 0.5}
        assert number_of(replace(POINT, values=values), key) is None
    assert number_of(replace(POINT, values={**POINT.values, "ib/mean/entropy": math.nan}), "ib/mean/entropy") is None


def test_a_difference_of_equal_numbers_does_not_move_and_a_ratio_moves_by_the_quotient_rule() -> None:
    none = np.zeros(0)
    half = Number(0.5, np.array([0.1, -0.1]), none, none)
    fifth = Number(0.2, np.array([0.02, 0.04]), none, none)
    assert half.minus(half).deviations == pytest.approx(np.zeros(2))
    ratio = fifth.ratio(half)
    assert ratio.value == pytest.approx(0.4)
    assert ratio.documents == pytest.approx((np.array([0.02, 0.04]) - 0.4 * np.array([0.1, -0.1])) / 0.5)
    assert math.isnan(half.ratio(Number(0.0, np.zeros(2), none, none)).value)


def test_a_correction_errs_alike_where_documents_move_alike() -> None:
    def point(direction: list[float]) -> Point:
        by_document = np.array([[direction, direction]])
        names = ["token/complexity", "token/expressivity"]
        influences = Influences.pack(["mean"], names, by_document, np.full((1, 2), 0.05), np.zeros((1, 2, 0)))
        return Point(0, {"ib/mean/token/complexity": 0.3, "ib/mean/token/expressivity": 0.3}, influences=influences)

    def change(first: list[float], second: list[float]) -> float:
        numbers = (sure(number_of(point(each), "ib/mean/token/complexity")) for each in (first, second))
        return float(np.linalg.norm(next(numbers).minus(next(numbers)).correction)) / OF_SYSTEMATIC

    assert change([0.01, -0.01], [0.02, -0.02]) == pytest.approx(0.0, abs=1e-6)
    assert change([0.01, 0.0], [0.0, 0.01]) == pytest.approx(0.05 * 2**0.5)
    assert change([0.01, 0.0], [-0.01, 0.0]) == pytest.approx(0.1)


def test_a_correction_errs_by_a_share_of_its_change() -> None:
    def number(corrected: float) -> Number:
        influences = Influences.pack(["mean"], ["entropy"], np.array([[[0.1, -0.1]]]), np.zeros((1, 1)), NO_DRAWS)
        values = {"ib/mean/entropy": 0.3, "ib_plugin/mean/entropy": 0.3 + corrected}
        return sure(number_of(Point(0, values, influences=influences), "ib/mean/entropy"))

    assert np.linalg.norm(number(0.1).correction) == pytest.approx(OF_CORRECTION * 0.1)
    assert np.linalg.norm(number(0.1).minus(number(0.06)).correction) == pytest.approx(OF_CORRECTION * 0.04)


def test_the_corrections_of_the_two_sides_err_on_their_own() -> None:
    input_side, output_side = (
        sure(number_of(POINT, f"ib/mean/token/{name}")).correction for name in ("complexity", "expressivity")
    )
    assert input_side @ output_side == 0.0
    assert np.linalg.norm(input_side) > 0
    assert np.linalg.norm(output_side) > 0
