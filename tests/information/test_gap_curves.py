"""Gap curves: their closures, the observed null curve, and how they are read between their nodes."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from ibtrack.information.document_design import DocumentDesign
from ibtrack.information.entropy import entropy
from ibtrack.information.gap_curves import beta_gaps, drawn_variance, gap_curves, lognormal_gaps, nodes, read_curve
from ibtrack.information.row_statistics import RowStatistics
from tests import references, truths
from tests.information.samples import random_rows, repeated_text, side_by_side

MEAN = torch.tensor([0.5, 0.3, 0.2]).double()
LOG_K = math.log(10)


def _site(rows: Tensor) -> RowStatistics:
    return RowStatistics(rows.unsqueeze(1), DocumentDesign.from_index(torch.arange(len(rows))))


def _truth() -> Tensor:
    return truths.clusters(50, 2000, 64, spread=0, zipf=True, seed=0, truth_rows=2)[0]


def test_beta_gaps_are_those_of_a_dirichlet() -> None:
    concentration = 7.0
    variance = MEAN * (1 - MEAN) / (concentration + 1)
    draws = np.random.default_rng(0).dirichlet((MEAN * concentration).numpy(), 20_000)
    expected = references.entropy(MEAN.numpy()) - np.mean([references.entropy(p) for p in draws])
    assert float(beta_gaps(MEAN, variance).sum()) == pytest.approx(expected, abs=0.005)  # noise of the draws


def test_lognormal_gaps_are_those_of_lognormal_draws() -> None:
    variance = 0.8 * MEAN.square()
    spread = math.sqrt(math.log(1.8))
    draws = MEAN.numpy() * np.random.default_rng(0).lognormal(-(spread**2) / 2, spread, (1_000_000, 3))
    expected = (draws * np.log(draws)).mean(0) - MEAN.numpy() * np.log(MEAN.numpy())
    assert lognormal_gaps(MEAN, variance).tolist() == pytest.approx(expected.tolist(), rel=0.01)  # noise of the draws


def test_both_closures_agree_to_first_order_in_the_variance() -> None:
    variance = 1e-6 * MEAN.square()
    expected = (variance / MEAN / 2).tolist()  # the Taylor expansion of H around p
    assert beta_gaps(MEAN, variance).tolist() == pytest.approx(expected, rel=1e-3)
    assert lognormal_gaps(MEAN, variance).tolist() == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("certain", [[1.0, 1e-12], [0.5, 0.5]])
def test_without_a_spread_there_is_no_gap(certain: list[float]) -> None:
    """Also where all rows are sure of one anchor, and p (1 - p) is 0."""
    mean = torch.tensor(certain).double()
    for gaps in (beta_gaps, lognormal_gaps):
        assert gaps(mean, torch.zeros(2).double()).tolist() == pytest.approx([0, 0], abs=1e-9)


def test_beta_marginals_of_the_largest_variance_are_sure() -> None:
    largest = MEAN * (1 - MEAN)  # a mean of 0 and 1 alone, which has no entropy left
    gap = float(beta_gaps(MEAN, largest).sum())
    assert gap == pytest.approx(float(entropy(MEAN)), rel=0.003)  # .1 % of the variance is kept back
    assert float(beta_gaps(MEAN, 2 * largest).sum()) == gap


def test_means_of_up_to_32_rows_have_the_gap_that_is_observed() -> None:
    """At the nodes the null curve is the gap itself, for one row the ceiling.

    Of n rows that are drawn from N without replacement it is that of (N - n) / (N - 1) as much variance.
    """
    rows, _ = random_rows(num_rows=2000)
    site = _site(rows)
    curves = gap_curves([site])
    null = curves.beta + curves.null_excess
    sample = site.sample[:, 0].double()
    for node, n in enumerate((1, 2, 4, 8, 16, 32)):
        means = sample[: 2000 // n * n].view(-1, n, 10).mean(1)
        expected = float(entropy(rows.double().mean(0)) - entropy(means).mean())
        # pairs of groups are formed one after the other, so that a group may be left over before the end
        varies = (2000 - n) / 1999 / n
        assert float(null[0, node]) * varies == pytest.approx(expected, abs=2e-4 * LOG_K)
    ceiling = entropy(rows.double().mean(0)) - entropy(rows.double()).mean()
    assert float(null[0, 0]) == pytest.approx(float(ceiling), abs=1e-7)  # rows are float32


def test_the_gap_of_fresh_rows_is_that_of_rows_without_replacement_at_less_variance() -> None:
    """Means of 32 fresh rows, and what 600 rows say of them, on average over 40 draws side by side as sites."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return (4 * torch.randn(*shape, 10, generator=generator)).softmax(-1)

    fresh = draw(20_000, 32).double().mean(1)
    expected = float(entropy(fresh.mean(0)) - entropy(fresh).mean())
    curves = gap_curves([RowStatistics(draw(600, 40), DocumentDesign.from_index(torch.arange(600)))])
    read = float((curves.beta + curves.null_excess)[:, 5].mean()) / 32
    assert read == pytest.approx(expected, rel=0.02)  # noise of the draws; with replacement it would be 5 % less


def test_all_rows_have_no_variance_and_one_row_has_all() -> None:
    assert drawn_variance(torch.tensor([1.0, 1 / 300], dtype=torch.float64), 300).tolist() == pytest.approx(
        [1, 0], abs=1e-15
    )
    assert float(drawn_variance(torch.ones(()), 1)) == 1


def test_means_of_more_rows_than_are_observed_keep_the_last_mixture() -> None:
    curves = gap_curves([_site(random_rows(num_rows=2000)[0])])
    assert curves.beta.shape == curves.null_excess.shape == (1, 12)  # 2^-11 is below 1 / 2000
    mixture = (curves.null_excess / (curves.lognormal - curves.beta))[0]
    assert mixture[5:].tolist() == pytest.approx([float(mixture[5])] * 7)
    assert mixture[4] != pytest.approx(float(mixture[5]))


def test_few_rows_are_observed_as_far_as_16_groups_go() -> None:
    curves = gap_curves([_site(random_rows(num_rows=70)[0])])
    mixture = (curves.null_excess / (curves.lognormal - curves.beta))[0]
    assert len({round(value, 9) for value in mixture.tolist()}) == 3  # rows, and means of 2 and of 4


def test_the_curves_of_a_few_rows_have_the_four_nodes_that_a_cubic_needs() -> None:
    curves = gap_curves([_site(random_rows(num_rows=1)[0])])
    assert curves.beta.shape == curves.lognormal.shape == curves.null_excess.shape == (1, 4)


def test_closures_are_kept_divided_by_t() -> None:
    rows, _ = random_rows()
    curves = gap_curves([_site(rows)])
    p, squares = rows.double().mean(0).numpy(), rows.double().square().mean(0).numpy()
    for node, t in enumerate(nodes(curves.beta).tolist()):
        variance = t * (squares - p**2)
        assert float(curves.beta[0, node]) * t == pytest.approx(references.beta_gap(p, variance), rel=1e-6)
        assert float(curves.lognormal[0, node]) * t == pytest.approx(references.lognormal_gap(p, variance), rel=1e-6)


def test_sites_side_by_side_have_the_curves_of_each() -> None:
    rows, _, documents = repeated_text()
    together, apart = (gap_curves(sites) for sites in side_by_side(rows, documents))
    for name in ("squares", "beta", "lognormal", "null_excess"):
        torch.testing.assert_close(getattr(together, name), getattr(apart, name), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["beta", "lognormal"])
def test_jacobians_are_the_slopes_of_the_closures(name: str) -> None:
    rows, _ = random_rows(num_anchors=4)
    site = _site(rows)
    curves = gap_curves([site])
    by_mean, by_squares = curves.jacobians(site.mean)[name]
    gap = {"beta": references.beta_gap, "lognormal": references.lognormal_gap}[name]
    p, squares, step = site.mean[0].numpy(), site.squares[0].numpy(), 1e-6
    for node, t in enumerate(nodes(curves.beta).tolist()):
        for k in range(4):
            nudge = step * np.eye(4)[k]
            up, down = (gap(p + s * nudge, t * (squares - (p + s * nudge) ** 2)) for s in (1, -1))
            assert float(by_mean[0, node, k]) == pytest.approx((up - down) / (2 * step * t), rel=1e-4, abs=1e-5)
            up, down = (gap(p, t * (squares + s * nudge - p**2)) for s in (1, -1))
            assert float(by_squares[0, node, k]) == pytest.approx((up - down) / (2 * step * t), rel=1e-4, abs=1e-5)


def test_a_curve_is_read_exactly_at_its_nodes() -> None:
    curve = torch.tensor([5.0, 3.0, 2.0, 1.5, 1.25, 1.125]).double()
    torch.testing.assert_close(read_curve(curve, nodes(curve)), curve * nodes(curve), rtol=1e-14, atol=0)


@pytest.mark.parametrize(
    "rows", [random_rows(num_rows=2000)[0], repeated_text()[0], _truth()], ids=["spiky", "text", "100"]
)
@pytest.mark.parametrize("name", ["beta", "lognormal"])
def test_between_the_nodes_a_curve_is_the_gap(name: str, rows: Tensor) -> None:
    """To .0005 of log K for means of two rows and more; between one row and two the cubic has nodes on one side only.

    The largest errors found are .0017 at t = .8 for the Beta marginals of 100 anchors, and .0005 at t = .4.
    """
    curve = getattr(gap_curves([_site(rows)]), name)[0]
    gaps = {"beta": beta_gaps, "lognormal": lognormal_gaps}[name]
    p, squares = rows.double().mean(0), rows.double().square().mean(0)
    t = torch.linspace(0.002, 1, 500).double()
    expected = gaps(p, t.view(-1, 1) * (squares - p.square())).sum(-1)
    error = (read_curve(curve, t) - expected).abs() / math.log(rows.shape[1])
    assert float(error[t <= 0.5].max()) < 0.0005
    assert float(error.max()) < 0.002


def test_a_curve_is_read_by_the_cubic_through_four_nodes() -> None:
    curve = torch.rand(9, generator=torch.Generator().manual_seed(0)).double()
    for t in (1.0, 0.9, 0.5, 0.3, 0.02, 0.005, 0.0039, 0.001, -0.3, -1.0):
        expected = references.interpolated(curve.tolist(), t)
        assert float(read_curve(curve, torch.tensor([t], dtype=torch.float64))) == pytest.approx(expected, abs=1e-13)


def test_a_negative_place_reads_the_negative_gap() -> None:
    curve = torch.rand(2, 3, 7, generator=torch.Generator().manual_seed(0)).double()
    t = torch.linspace(0, 1, 50).double().expand(2, 3, -1)
    assert read_curve(curve, -t).tolist() == (-read_curve(curve, t)).tolist()
    assert read_curve(curve, torch.zeros(2, 3, 1).double()).eq(0).all()


def test_below_the_last_node_the_gap_is_linear() -> None:
    curve = torch.tensor([5.0, 3.0, 2.0, 1.5]).double()
    t = torch.tensor([0.125, 0.01, 1e-9]).double()
    torch.testing.assert_close(read_curve(curve, t), 1.5 * t, rtol=1e-14, atol=0)


def test_a_place_that_is_no_number_reads_as_none() -> None:
    assert read_curve(torch.ones(5), torch.tensor([torch.nan, 0.5])).isnan().tolist() == [True, False]


def test_the_slope_at_zero_is_that_of_few_rows() -> None:
    curve = torch.tensor([5.0, 3.0, 2.0, 1.5]).double()
    t = torch.tensor([0.0, 1e-3, 0.125, 0.4, 1.0, -0.4]).double().requires_grad_()
    (slope,) = torch.autograd.grad(read_curve(curve, t).sum(), t)
    assert slope.isfinite().all()
    assert slope[:2].tolist() == [1.5, 1.5]
    assert slope[3] == slope[5]
