import math
from typing import Any

import mpmath
import numpy as np
import pytest
import torch
from soft_entropy.temp_calibration import find_eps

from ibtrack.information.assignments import AnchorDraws, assign, bad_rows, bfloat16_parts, draw_anchors, temperature
from ibtrack.information.devices import ROWS_AT_ONCE
from tests import references

RTOL_FLOAT32 = 2e-5  # of a softmax over scores of up to 1 / ε ~ 50 in float32


@pytest.mark.parametrize("width", [2, 3, 4, 16, 64, 256, 1024, 4096, 16384])
@pytest.mark.parametrize("num_anchors", [2, 100, 1000])
def test_exact_temperature_meets_the_divergence(width: int, num_anchors: int) -> None:
    epsilon = temperature(width, num_anchors)
    with mpmath.workdps(40):
        residual = references.divergence(1 / epsilon, width) - mpmath.log(num_anchors)
        step = 1e-4
        slope = (references.divergence((1 + step) / epsilon, width) - references.divergence(1 / epsilon, width)) / step
    assert abs(float(residual / slope)) < 1e-6  # the relative error of ε, by one Newton step of the oracle


@pytest.mark.parametrize("width", [3, 4, 64, 128, 256, 512, 1000, 1024, 2048, 4096, 16384])
def test_bounds_temperature_is_that_of_soft_entropy(width: int) -> None:
    assert temperature(width, 100, "bounds") == pytest.approx(find_eps(100, width), rel=1e-8)


def test_leading_order_temperature() -> None:
    assert temperature(64, 100, "leading_order") == pytest.approx(1 / math.sqrt(2 * 64 * math.log(100)), rel=1e-15)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((1, 100), "width must be an integer of at least 2, got 1"),
        ((64, 1), "num_anchors must be an integer of at least 2, got 1"),
        ((64, 100, "best"), "temperature must be one of 'exact', 'bounds', 'leading_order', got 'best'"),
        ((2, 100, "bounds"), "temperature='bounds' needs a width of at least 3, got 2"),
    ],
)
def test_bad_temperature_arguments(arguments: tuple[Any, ...], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        temperature(*arguments)


def test_anchors_do_not_touch_the_global_generator() -> None:
    before = torch.get_rng_state()
    first, second = draw_anchors(16, 10, seed=3), draw_anchors(16, 10, seed=3)
    assert first.equal(second)
    assert before.equal(torch.get_rng_state())
    assert not first.equal(draw_anchors(16, 10, seed=4))


@pytest.mark.parametrize("width", [2, 8, 200])
def test_assignments_follow_the_formula(width: int) -> None:
    rows = torch.randn(40, width, generator=torch.Generator().manual_seed(1)) * torch.logspace(-3, 3, 40)[:, None]
    anchors = draw_anchors(width, 12)
    expected = references.soft_assignments(rows.numpy(), anchors.numpy(), 0.05)
    assigned = assign(rows, anchors, 0.05)
    np.testing.assert_allclose(assigned, expected, atol=RTOL_FLOAT32)
    assert assigned.dtype == torch.float32


def test_half_precision_rows_are_cast_in_pieces_and_read_the_same() -> None:
    rows = torch.randn(ROWS_AT_ONCE + 5, 16, generator=torch.Generator().manual_seed(1)).bfloat16()
    anchors = draw_anchors(16)
    assert assign(rows, anchors, 0.05).equal(assign(rows.float(), anchors, 0.05))


@pytest.mark.parametrize("bad", [0.0, math.nan, math.inf, -math.inf, 1e30])
def test_rows_without_a_direction_are_marked_and_leave_the_others_alone(bad: float) -> None:
    rows = torch.randn(5, 8, generator=torch.Generator().manual_seed(1))
    good = assign(rows, draw_anchors(8), 0.05)
    rows[2] = bad  # 1e30 has a norm beyond float32
    assigned = assign(rows, draw_anchors(8), 0.05)
    assert bad_rows(assigned).tolist() == [False, False, True, False, False]
    assert assigned[[0, 1, 3, 4]].equal(good[[0, 1, 3, 4]])


def test_low_matmul_precision_of_the_run_does_not_reach_the_scores() -> None:
    rows, anchors = torch.randn(64, 512, generator=torch.Generator().manual_seed(1)), draw_anchors(512)
    expected = assign(rows, anchors, 0.01)
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert assign(rows, anchors, 0.01).equal(expected)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_three_bfloat16_numbers_hold_a_float32_number() -> None:
    values = torch.randn(10_000, generator=torch.Generator().manual_seed(0)) * torch.logspace(-6, 6, 10_000)
    parts = bfloat16_parts(values)
    assert all(part.dtype == torch.bfloat16 for part in parts)
    assert torch.equal(torch.stack([part.double() for part in parts]).sum(0), values.double())


def test_scores_from_three_parts_are_those_of_float32() -> None:
    """What a GPU does with bfloat16 rows; here the products are of float64 numbers, which hold them exactly."""
    rows = torch.randn(500, 768, generator=torch.Generator().manual_seed(1)).bfloat16()
    anchors = AnchorDraws(draw_anchors(768).unsqueeze(0), temperature(768))
    assert len(anchors.parts) % 8 == 0
    in_parts = (rows.double() @ anchors.parts.double().T)[:, :300].unflatten(1, (3, 100)).sum(1)
    torch.testing.assert_close(in_parts, rows.double() @ anchors.scaled.double().T, rtol=1e-13, atol=1e-11)
