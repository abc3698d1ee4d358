"""Effective ranks and the power law of a cloud: known spectra, a slow reference, and errors over documents."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from ibtrack.information.spectrum import (
    Geometry,
    alpha_req,
    cloud_geometry,
    fit_range,
    participation_ratio,
    rankme,
)
from ibtrack.record.quantities import GEOMETRY
from tests import references


def values(cloud: Tensor, documents: Tensor | None = None) -> dict[str, float]:
    """The three numbers of a cloud."""
    return {name: float(of.value) for name, of in cloud_geometry(cloud, documents).estimates.items()}


def halves(cloud: Tensor, documents: Tensor) -> dict[str, float]:
    """What half of the documents read."""
    return {name: float(half) for name, half in cloud_geometry(cloud, documents).halves.items()}


def noise(number: int, width: int, seed: int = 0) -> Tensor:
    """Gaussian rows of equal variance in all directions."""
    return torch.randn(number, width, generator=torch.Generator().manual_seed(seed))


def text(number: int, width: int, rows: int, *, alpha: float = 1.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Rows around the means of their documents, off the origin, whose covariance follows a power law."""
    documents = torch.arange(number) // rows
    cloud = 0.8 * noise(number, width, seed) + 0.6 * noise(number // rows, width, seed + 1)[documents]
    return cloud * torch.arange(1, width + 1) ** (-alpha / 2) + 0.2, documents


def with_spectrum(eigenvalues: Tensor, number: int = 400) -> Tensor:
    """Rows around the origin whose covariance has exactly these eigenvalues, along random directions."""
    width = len(eigenvalues)
    centred = noise(number, width).double()
    basis = torch.linalg.qr(centred - centred.mean(0)).Q * math.sqrt(number)
    rotation = torch.linalg.qr(noise(width, width, seed=7).double()).Q
    return basis * eigenvalues.double().sqrt() @ rotation.T


def test_equal_directions_count_each() -> None:
    cloud = with_spectrum(torch.tensor([2.0] * 6 + [0.0] * 14))
    found = values(cloud)
    assert found["rankme"] == pytest.approx(6, abs=1e-6)  # rounding leaves 1e-16 of a variance, 1e-8 of a length
    assert found["participation_ratio"] == pytest.approx(6, abs=1e-9)
    assert math.isnan(found["alpha_req"])  # the eigenvalues of the fit are 0


def test_one_direction_is_one() -> None:
    cloud = noise(50, 1) * noise(1, 20, seed=1)
    assert values(cloud)["rankme"] == pytest.approx(1, abs=1e-5)
    assert values(cloud)["participation_ratio"] == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 2.0, 3.0])
def test_the_exponent_of_a_power_law_is_found(alpha: float) -> None:
    cloud = with_spectrum(torch.arange(1, 65).double() ** -alpha)
    assert values(cloud)["alpha_req"] == pytest.approx(alpha, abs=1e-9)


def test_directions_outside_of_the_fit_do_not_move_the_exponent() -> None:
    eigenvalues = torch.arange(1, 65).double() ** -1.5
    first, last = fit_range(64)
    assert (first, last) == (5, 32)
    bent = eigenvalues.clone()
    bent[: first - 1] *= 1e3
    bent[last:] *= 1e-3
    assert float(alpha_req(bent)) == pytest.approx(1.5, abs=1e-9)
    bent[last - 1] *= 0.9
    assert float(alpha_req(bent)) > 1.5


@pytest.mark.parametrize("number", [15, 16])
def test_too_few_eigenvalues_have_no_exponent(number: int) -> None:
    exponent = float(alpha_req(torch.arange(1, number + 1).double() ** -1.0))
    assert math.isnan(exponent) if number < 16 else exponent == pytest.approx(1)


@pytest.mark.parametrize(("number", "width"), [(300, 24), (40, 60), (24, 24), (7, 3)])
def test_numbers_are_those_of_a_singular_value_decomposition(number: int, width: int) -> None:
    cloud, documents = text(number, width, 1)
    expected = references.geometry(cloud.numpy())
    assert values(cloud, documents) == pytest.approx(expected, rel=1e-6, nan_ok=True)
    of_halves = [references.geometry(cloud[side::2].numpy(), places=min(number - 1, width)) for side in (0, 1)]
    mean = {name: (of_halves[0][name] + of_halves[1][name]) / 2 for name in expected}
    assert halves(cloud, documents) == pytest.approx(mean, rel=1e-6, nan_ok=True)


@pytest.mark.parametrize("shape", [(300, 24), (40, 60)])
@pytest.mark.parametrize("change", ["rotation", "scale", "tiny scale", "order", "more units"])
def test_what_does_not_change_the_shape_of_a_cloud_changes_nothing(shape: tuple[int, int], change: str) -> None:
    cloud, documents = text(*shape, 4)
    cloud = cloud.double()
    order = torch.randperm(len(cloud), generator=torch.Generator().manual_seed(2))
    changes: dict[str, Callable[[], tuple[Tensor, Tensor]]] = {
        "rotation": lambda: (cloud @ torch.linalg.qr(noise(shape[1], shape[1], seed=3).double()).Q, documents),
        "scale": lambda: (-1e6 * cloud, documents),
        "tiny scale": lambda: (1e-200 * cloud, documents),
        "order": lambda: (cloud[order], documents[order]),
        "more units": lambda: (torch.cat([cloud, cloud], 1), documents),
    }
    before, after = cloud_geometry(cloud, documents), cloud_geometry(*changes[change]())
    # twice the units are twice the width, which is the number of rows or more: more eigenvalues enter the fit
    for name in GEOMETRY[:2] if change == "more units" else GEOMETRY:
        for one, other in (
            (before.estimates[name].value, after.estimates[name].value),
            (before.estimates[name].standard_error, after.estimates[name].standard_error),
            (before.halves[name], after.halves[name]),
        ):
            torch.testing.assert_close(one, other, rtol=1e-6, atol=0)


def test_a_shift_moves_rankme_alone() -> None:
    cloud, documents = text(300, 24, 6)
    before, after = values(cloud.double(), documents), values(cloud.double() + 3, documents)
    assert after["rankme"] < before["rankme"] - 3
    assert after["participation_ratio"] == pytest.approx(before["participation_ratio"], rel=1e-9)
    assert after["alpha_req"] == pytest.approx(before["alpha_req"], rel=1e-9)


@pytest.mark.parametrize(
    ("number", "width", "rows", "alpha", "tolerance"),
    [
        # the jackknife leaves out whole documents, which moves a number by its second order too, the less the more
        # rows there are for each direction
        (2000, 32, 20, 1.0, 0.06),
        (2000, 32, 20, 2.0, 0.06),
        (600, 32, 6, 0.5, 0.25),
    ],
)
def test_errors_are_those_of_leaving_documents_out(
    number: int, width: int, rows: int, alpha: float, tolerance: float
) -> None:
    cloud, documents = text(number, width, rows, alpha=alpha)
    without = [values(cloud[documents != document], None) for document in documents.unique()]
    for name, estimate in cloud_geometry(cloud, documents).estimates.items():
        left_out = np.array([each[name] for each in without])
        jackknife = math.sqrt((len(left_out) - 1) * left_out.var())
        assert float(estimate.standard_error) == pytest.approx(jackknife, rel=tolerance)
        moved = (left_out.mean() - left_out) * (len(left_out) - 1)
        assert np.corrcoef(estimate.influence[0].numpy() * len(left_out), moved)[0, 1] > 0.9
        assert float(estimate.influence.sum()) == pytest.approx(0, abs=1e-9 * float(estimate.value))


def test_errors_tell_the_spread_over_other_texts() -> None:
    repeats = [cloud_geometry(*text(800, 32, 16, seed=2 * seed + 10)) for seed in range(40)]
    for name in GEOMETRY:
        spread = float(torch.cat([each.estimates[name].value for each in repeats]).std())
        error = float(torch.cat([each.estimates[name].standard_error for each in repeats]).mean())
        assert error == pytest.approx(spread, rel=0.5)  # a deviation of 40 is good to 11 %, and few documents add to it


@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_half_of_the_documents_tell_which_way_few_rows_pull_and_about_how_far(alpha: float) -> None:
    truth = torch.arange(1, 65).double() ** -alpha
    expected = {
        "rankme": rankme(truth),
        "participation_ratio": participation_ratio(truth),
        "alpha_req": alpha_req(truth),
    }
    documents = torch.arange(400) // 4
    clouds = [noise(400, 64, seed) * truth.sqrt().float() for seed in range(10)]
    for name in GEOMETRY:
        whole = np.mean([values(cloud, documents)[name] for cloud in clouds])
        half = np.mean([halves(cloud, documents)[name] for cloud in clouds])
        bias = whole - float(expected[name])
        assert 0.5 < (half - whole) / bias < 2.5, name


def test_rows_in_half_precision_are_summed_in_double() -> None:
    cloud = with_spectrum(torch.arange(1, 33).double() ** -4.0).float() * 3e3 + 1e4  # squares overflow in float16
    for dtype in (torch.float16, torch.bfloat16):
        assert values(cloud.to(dtype)) == values(cloud.to(dtype).double())
    with torch.autocast("cpu", torch.bfloat16):
        assert values(cloud) == values(cloud.double())


def test_a_direction_far_above_all_others_leaves_them_their_digits() -> None:
    eigenvalues = torch.cat([torch.tensor([1e12]), torch.ones(23)])  # as of massive activations, in float32
    found = values(with_spectrum(eigenvalues).float())
    assert found["rankme"] == pytest.approx(float(rankme(eigenvalues)), rel=1e-3)  # the rows themselves are rounded


def nothing(name: str) -> tuple[Tensor, Tensor]:
    """Clouds that have no number of some kind."""
    clouds = {
        "two rows": noise(2, 20),
        "no rows": noise(0, 20),
        "not finite": noise(60, 20).index_fill(0, torch.tensor([3]), math.inf),
        "zero": torch.zeros(60, 20),
        "equal": noise(1, 20).expand(60, 20) / 3,
        "narrow": noise(60, 1),
    }
    return clouds[name], torch.arange(len(clouds[name])) % 4


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("two rows", set(GEOMETRY)),
        ("no rows", set(GEOMETRY)),
        ("not finite", set(GEOMETRY)),
        ("zero", set(GEOMETRY)),
        ("equal", {"participation_ratio", "alpha_req"}),
        ("narrow", {"alpha_req"}),
    ],
)
def test_numbers_that_do_not_exist_are_nan(name: str, missing: set[str]) -> None:
    found = cloud_geometry(*nothing(name))
    assert {key for key, of in found.estimates.items() if of.value.isnan()} == missing
    assert {key for key, of in found.estimates.items() if of.standard_error.isnan()} >= missing
    assert {key for key, half in found.halves.items() if half.isnan()} >= missing
    for key in set(GEOMETRY) - missing:
        assert float(found.estimates[key].value) == pytest.approx(1)


def test_one_document_has_neither_error_nor_halves() -> None:
    found = cloud_geometry(noise(100, 20), torch.zeros(100, dtype=torch.int64))
    for name in GEOMETRY:
        assert found.estimates[name].value.isfinite()
        assert found.estimates[name].standard_error.isnan()
        assert found.halves[name].isnan()


def test_documents_may_be_any_integers() -> None:
    cloud, documents = text(200, 20, 4)
    one, other = cloud_geometry(cloud, documents), cloud_geometry(cloud, documents * 7 - 90)
    for name in GEOMETRY:
        assert torch.equal(one.estimates[name].influence, other.estimates[name].influence)
        assert torch.equal(one.halves[name], other.halves[name])


def test_sites_are_joined_in_order() -> None:
    parts = [cloud_geometry(*text(200, 20, 4, seed=seed)) for seed in (0, 2)]
    both = Geometry.join(parts)
    for name in GEOMETRY:
        assert both.estimates[name].influence.shape == (2, 50)
        for site, part in enumerate(parts):
            assert float(both.estimates[name].value[site]) == float(part.estimates[name].value)
            assert float(both.halves[name][site]) == float(part.halves[name])


@pytest.mark.parametrize(
    ("cloud", "documents", "sentence"),
    [
        (torch.zeros(4), None, r"floating point tensor of shape \(N, D\), got torch.float32 of shape \(4,\)"),
        (torch.zeros(4, 2).long(), None, r"floating point tensor of shape \(N, D\), got torch.int64"),
        (torch.zeros(4, 2), torch.zeros(3).long(), "one entry per row of activations, got 3 for 4"),
        (torch.zeros(4, 2), torch.zeros(4), "documents must be"),
    ],
)
def test_bad_input(cloud: Tensor, documents: Tensor | None, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        cloud_geometry(cloud, documents)
