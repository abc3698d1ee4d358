"""Curves that are read at once, against those that are read one after the other."""

import pytest
import torch
from torch import Tensor

from ibtrack.information.curve_table import read_curves
from ibtrack.information.gap_curves import read_curve

EXACT = 1e-12  # float64 in another order of operations


def _curves() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    curves = torch.rand(2, 3, 1, 8, generator=generator, dtype=torch.float64)
    t = torch.rand(3, 4, 50, generator=generator, dtype=torch.float64) * 2 - 1
    t[0, 0, :6] = torch.tensor([1.0, 0.5, 0.25, 2.0**-7, 2.0**-9, -0.3])
    return curves, t


def test_values_and_derivatives_are_those_of_each_curve() -> None:
    curves, t = (each.requires_grad_() for each in _curves())
    weights = torch.rand(2, 3, 4, 50, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    together = read_curves(curves, t)
    apart = torch.stack([read_curve(curve.expand(3, 4, -1), t) for curve in curves])
    torch.testing.assert_close(together, apart, rtol=EXACT, atol=EXACT)
    found = torch.autograd.grad((together * weights).sum(), (curves, t))
    expected = torch.autograd.grad((apart * weights).sum(), (curves, t))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=EXACT, atol=EXACT)


def test_derivatives_are_those_of_small_differences() -> None:
    curves, t = _curves()
    t = t[:, :, 6:12].clamp(0.05, 0.95)
    assert torch.autograd.gradcheck(read_curves, (curves.requires_grad_(), t.requires_grad_()))


@pytest.mark.parametrize("place", [0.0, torch.nan])
def test_at_nothing_there_is_no_gap_and_nan_stays(place: float) -> None:
    curves, _ = _curves()
    read = read_curves(curves, torch.full((3, 1, 1), place, dtype=torch.float64))
    assert read.isnan().all() if place else read.eq(0).all()
