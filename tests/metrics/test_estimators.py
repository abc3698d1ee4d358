"""The other families: truths that one can write down, a slow loop, and the contract of torchmetrics."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
import torch
import torchmetrics
from scipy.special import digamma

from ibtrack.information.assignments import draw_anchors
from ibtrack.metrics import (
    GaussianInformation,
    HardMutualInformation,
    MatrixEntropy,
    MatrixInformation,
    NeighbourInformation,
    VariationalFloor,
)
from ibtrack.metrics.gaussian import oas_shrinkage
from ibtrack.metrics.matrix_renyi import renyi_entropy
from tests import references


def clouds(number=600, width=5, labels=6, apart=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.arange(number) % labels
    means = apart * torch.randn(labels, width, generator=generator)
    return means[ids] + torch.randn(number, width, generator=generator), ids


def value(metric, *data):
    metric.update(*data)
    return float(metric.compute())


# all of them


def families():
    rows, ids = clouds()
    yield HardMutualInformation(5, 6, 20), (rows, ids)
    yield GaussianInformation(5, 6), (rows, ids)
    yield NeighbourInformation(5, 6), (rows, ids)
    yield MatrixInformation(5, 6), (rows, ids)
    yield MatrixEntropy(5), (rows,)
    yield VariationalFloor(5), (rows, ids % 5)


NAMES = ["hard", "gaussian", "neighbours", "matrix", "entropy", "variational"]


@pytest.mark.parametrize(("metric", "data"), list(families()), ids=NAMES)
def test_the_torchmetrics_contract(metric, data):
    whole = value(metric, *data)
    metric.reset()
    for start in range(0, 600, 150):
        metric.update(*(part[start : start + 150] for part in data))
    assert float(metric.compute()) == pytest.approx(whole, rel=1e-9)
    for twin in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric)), metric.clone()):
        assert float(twin.compute()) == pytest.approx(whole, rel=1e-9)
    metric.reset()
    for half in (slice(0, 300), slice(300, 600)):
        metric(*(part[half] for part in data))
    result = metric.compute()
    assert float(result) == pytest.approx(whole, rel=1e-9)
    assert result.dtype == torch.float64 and result.shape == ()


@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric")
@pytest.mark.parametrize(("metric", "data"), list(families()), ids=NAMES)
def test_no_rows_and_bad_rows(metric, data):
    with pytest.raises(RuntimeError, match=rf"{type(metric).__name__}.compute\(\) needs at least"):
        metric.compute()
    poisoned = data[0].clone()
    poisoned[3, 1] = math.nan
    with pytest.raises(
        ValueError, match=r"must be finite.* got 1 such rows of 600|must give every target a finite loss"
    ):
        metric.update(poisoned, *data[1:])
    with pytest.raises(ValueError, match=r"shape \(N, 5\), got torch.float32 of shape \(600, 4\)"):
        metric.update(data[0][:, :4], *data[1:])
    if len(data) == 2:
        with pytest.raises(ValueError, match="labels must have one entry per row of activations, got 600 for 599"):
            metric.update(data[0][1:], data[1])
        with pytest.raises(ValueError, match=r"labels must lie in \[0, [56]\), got values from 0 to 99"):
            metric.update(data[0], torch.where(data[1] == 0, 99, 0))
    with pytest.raises(RuntimeError, match="needs at least"):
        metric.compute()  # nothing was added


@pytest.mark.parametrize("make", [HardMutualInformation, GaussianInformation, NeighbourInformation, MatrixInformation])
def test_at_least_two_labels(make):
    with pytest.raises(ValueError, match="num_labels must be an integer of at least 2, got 1"):
        make(5, 1)


class _OtherProcess:
    """Answers like the exchange between two processes, in the order in which a metric hands over its states."""

    def __init__(self, other: torchmetrics.Metric) -> None:
        self.states = [getattr(other, name) for name in other._reductions]

    def __call__(self, state: torch.Tensor, group: object) -> list[torch.Tensor]:
        theirs = self.states.pop(0)
        assert theirs.shape == state.shape and theirs.dtype == state.dtype  # or the real exchange would hang
        return [state, theirs]


@pytest.mark.parametrize("index", range(len(NAMES)), ids=NAMES)
def test_two_processes_with_uneven_shares_read_what_one_does(index):
    (one, data), (other, _), (whole, _) = (list(families())[index] for _ in range(3))
    one.update(*(part[:100] for part in data))
    other.update(*(part[100:] for part in data))
    one.dist_sync_fn, one.distributed_available_fn = _OtherProcess(other), lambda: True
    assert float(one.compute()) == pytest.approx(value(whole, *data), rel=1e-9)


# hard assignment


def test_hard_assignment_is_the_information_of_the_table():
    rows, ids = clouds(width=8)
    nearest = (torch.nn.functional.normalize(rows, dim=1) @ draw_anchors(8, 20, seed=3).T).argmax(1)
    one_hot = torch.nn.functional.one_hot(nearest, 20).double().numpy()
    expected = references.plugin_information(one_hot, ids.numpy())
    assert value(HardMutualInformation(8, 6, 20, seed=3), rows, ids) == pytest.approx(expected, abs=1e-12)


def test_hard_assignment_does_not_see_the_norm():
    rows, ids = clouds(width=8)
    scaled = rows * torch.rand(600, 1, generator=torch.Generator().manual_seed(1)).add(0.1)
    assert value(HardMutualInformation(8, 6), scaled, ids) == value(HardMutualInformation(8, 6), rows, ids)


def test_hard_assignment_refuses_rows_without_a_direction():
    with pytest.raises(ValueError, match="finite and not zero, got 2 such rows of 2"):
        HardMutualInformation(8, 6).update(torch.zeros(2, 8), torch.tensor([0, 1]))


# gaussian


@pytest.mark.parametrize("covariance", ["corrected", "oas"])
def test_gaussian_clouds_have_their_closed_form(covariance):
    """Means and noise are Gaussian: I = log det( 1 + Σ_between Σ_within⁻¹ ) / 2."""
    generator = torch.Generator().manual_seed(0)
    mix, spread = torch.randn(4, 4, generator=generator), torch.tensor([2.0, 1.0, 0.5, 0.0])
    ids = torch.arange(60_000) % 3000
    means = torch.randn(3000, 4, generator=generator) * spread
    rows = (means[ids] + torch.randn(60_000, 4, generator=generator)) @ mix  # any mixing keeps the information
    truth = 0.5 * math.log(5 * 2 * 1.25)
    assert value(GaussianInformation(4, 3000, covariance=covariance), rows, ids) == pytest.approx(truth, abs=0.03)


def test_gaussian_information_of_few_rows_is_without_bias():
    """60 dimensions, 80 rows more than labels: uncorrected, labels that tell nothing read 6.4 nats."""
    nothing = [value(GaussianInformation(60, 40), *clouds(120, 60, 40, apart=0.0, seed=seed)) for seed in range(20)]
    assert np.mean(nothing) == pytest.approx(0.0, abs=4 * np.std(nothing) / math.sqrt(20))
    assert np.std(nothing) < 1.5
    truth = value(GaussianInformation(60, 40), *clouds(40_000, 60, 40, apart=0.3))
    assert value(GaussianInformation(60, 40), *clouds(120, 60, 40, apart=0.3)) == pytest.approx(truth, abs=2.0)


def test_oas_reads_round_clouds_of_fewer_rows_than_dimensions():
    few = clouds(90, 60, 40, apart=0.3)
    truth = value(GaussianInformation(60, 40), *clouds(40_000, 60, 40, apart=0.3))
    assert value(GaussianInformation(60, 40, covariance="oas"), *few) == pytest.approx(truth, abs=1.5)
    with pytest.raises(
        RuntimeError, match="covariance='corrected' needs at least 60 rows more than labels, got 50; use"
    ):
        value(GaussianInformation(60, 40), *few)


def test_oas_is_the_formula_of_the_paper():
    rows = np.random.default_rng(0).normal(size=(30, 10)) * np.arange(1, 11)
    s = np.cov(rows.T)
    tr, tr2, p, n = np.trace(s), np.trace(s @ s), 10, 29
    expected = ((1 - 2 / p) * tr2 + tr**2) / ((n + 1 - 2 / p) * (tr2 - tr**2 / p))
    assert float(oas_shrinkage(torch.from_numpy(s), 29)) == pytest.approx(expected)
    assert float(oas_shrinkage(torch.eye(3).double(), 29)) == 1.0
    assert float(oas_shrinkage(torch.ones(1, 1).double(), 29)) == 0.0


def test_rows_that_a_gaussian_cannot_have():
    assert math.isnan(value(GaussianInformation(2, 6), torch.randn(6, 2), torch.arange(6)))
    flat = torch.randn(60, 2) * torch.tensor([1.0, 0.0])
    with pytest.raises(RuntimeError, match="activations must vary in every dimension"):
        value(GaussianInformation(2, 6), flat, torch.arange(60) % 6)
    with pytest.raises(ValueError, match="covariance must be one of 'corrected', 'oas', got 'ridge'"):
        GaussianInformation(2, 6, covariance="ridge")


# neighbours


def test_neighbours_are_the_slow_loop():
    rows, ids = clouds(number=90, width=3)
    ids[0], ids[1:3] = 6, 7  # seen once: left out; seen twice: one neighbour only
    points, labels = rows.double().numpy(), ids.numpy()
    kept = [i for i in range(90) if (labels == labels[i]).sum() > 1]
    terms = []
    for i in kept:
        distances = {j: float(np.linalg.norm(points[i] - points[j])) for j in kept if j != i}
        own = sorted(d for j, d in distances.items() if labels[j] == labels[i])
        k = min(4, len(own))
        within = sum(d <= own[k - 1] for d in distances.values())
        terms.append(digamma(k) - digamma(len(own) + 1) - digamma(within))
    expected = digamma(len(kept)) + np.mean(terms)
    assert value(NeighbourInformation(3, 8, neighbours=4), rows, ids) == pytest.approx(expected, abs=1e-12)


def test_neighbours_of_gaussians_read_the_integral():
    """Two unit Gaussians two apart, in 1 and in 3 dimensions of which one matters: the information is one integral."""
    x = np.linspace(-12, 12, 20_001)
    densities = [np.exp(-((x - m) ** 2) / 2) / math.sqrt(2 * math.pi) for m in (-1, 1)]
    mixture = sum(densities) / 2
    truth = sum(np.trapezoid(d * np.log(d / mixture), x) for d in densities) / 2
    generator = torch.Generator().manual_seed(0)
    ids = torch.arange(4000) % 2
    for width in (1, 3):
        rows = torch.randn(4000, width, generator=generator)
        rows[:, 0] += 2.0 * ids - 1
        assert value(NeighbourInformation(width, 2), rows, ids) == pytest.approx(truth, abs=0.04)


def test_neighbours_of_separate_clusters_read_the_entropy_and_of_noise_nothing():
    rows, ids = clouds(number=1200, apart=200.0)
    assert value(NeighbourInformation(5, 6), rows, ids) == pytest.approx(math.log(6), abs=0.005)
    rows, ids = clouds(number=1200, apart=0.0)
    assert value(NeighbourInformation(5, 6), rows, ids) == pytest.approx(0.0, abs=0.04)


def test_neighbours_in_pieces(monkeypatch):
    rows, ids = clouds()
    whole = value(NeighbourInformation(5, 6), rows, ids)
    monkeypatch.setattr("ibtrack.metrics.neighbours.MAX_DISTANCES", 600 * 37)
    assert value(NeighbourInformation(5, 6), rows, ids) == whole


def test_neighbours_of_distinct_labels_are_nan():
    assert math.isnan(value(NeighbourInformation(2, 6), torch.randn(6, 2), torch.arange(6)))


@pytest.mark.parametrize("make", [NeighbourInformation, MatrixInformation])
def test_more_rows_than_are_kept_are_refused(make):
    rows, ids = clouds(number=30)
    metric = make(5, 6, max_rows=40)
    metric.update(rows, ids)
    before = float(metric.compute())
    with pytest.raises(ValueError, match=r"takes at most max_rows=40 rows, .* got 60; give every n-th row"):
        metric.update(rows, ids)
    assert float(metric.compute()) == before


# kernel


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_matrix_entropy_of_directions_is_that_of_their_shares(alpha):
    shares = torch.tensor([0.5, 0.25, 0.25])
    rows = torch.eye(5)[torch.tensor([0, 0, 1, 2])] * torch.tensor([1.0, -3.0, 2.0, 0.1]).unsqueeze(1)
    expected = float(renyi_entropy(shares, alpha))
    assert value(MatrixEntropy(5, alpha=alpha), rows) == pytest.approx(expected, abs=1e-6)
    renyi = math.log(sum(s**alpha for s in shares.tolist())) / (1 - alpha) if alpha != 1 else 1.5 * math.log(2)
    assert expected == pytest.approx(renyi)


def test_matrix_entropy_is_that_of_the_kernel_matrix():
    rows, _ = clouds(number=50)
    unit = torch.nn.functional.normalize(rows.double(), dim=1)
    spectrum = torch.linalg.eigvalsh(unit @ unit.T / 50)
    assert value(MatrixEntropy(5, alpha=1.5), rows) == pytest.approx(float(renyi_entropy(spectrum, 1.5)), abs=1e-9)


@pytest.mark.parametrize("kernel", ["cosine", "gaussian"])
@pytest.mark.parametrize("alpha", [1.0, 2.0])
def test_matrix_information_of_a_code_and_of_noise(kernel, alpha):
    """Orthogonal rows, one for each label: all of log 4; each row with each label equally often: nothing."""
    options = {"kernel": kernel, "alpha": alpha, "bandwidth": 0.05 if kernel == "gaussian" else None}
    ids = torch.arange(32) % 4
    assert value(MatrixInformation(4, 4, **options), torch.eye(4)[ids], ids) == pytest.approx(math.log(4), abs=1e-6)
    noise = torch.eye(4)[torch.arange(32) // 8]
    assert value(MatrixInformation(4, 4, **options), noise, ids) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(("kernel", "alpha"), [("cosine", 1.0), ("gaussian", 1.0), ("gaussian", 1.01), ("cosine", 2.0)])
def test_matrix_information_is_that_of_the_three_matrices(kernel, alpha):
    rows, ids = clouds(number=60)
    points = rows.double().numpy()
    if kernel == "cosine":
        unit = points / np.linalg.norm(points, axis=1, keepdims=True)
        matrix = unit @ unit.T
    else:
        matrix = np.exp(-((points[:, None] - points[None]) ** 2).sum(-1) / (2 * 1.5**2))
    same = (ids.numpy()[:, None] == ids.numpy()[None]).astype(float)

    def s(a):
        eigenvalues = np.clip(np.linalg.eigvalsh(a / np.trace(a)), 1e-300, None)
        if alpha == 1:
            return -(eigenvalues * np.log(eigenvalues)).sum()
        return math.log((eigenvalues**alpha).sum()) / (1 - alpha)

    expected = s(matrix) + s(same) - s(matrix * same)
    metric = MatrixInformation(5, 6, kernel=kernel, alpha=alpha, bandwidth=1.5 if kernel == "gaussian" else None)
    assert value(metric, rows, ids) == pytest.approx(expected, abs=1e-6 if alpha > 1 else 1e-9)


def test_the_bandwidth_is_the_median_distance():
    rows, ids = clouds(number=61)
    median = float(torch.pdist(rows.double()).median())
    default, given = (
        MatrixInformation(5, 6, kernel="gaussian"),
        MatrixInformation(5, 6, kernel="gaussian", bandwidth=median),
    )
    assert value(default, rows, ids) == pytest.approx(value(given, rows, ids), rel=1e-12)
    with pytest.raises(RuntimeError, match="bandwidth must be given, as more than half of the distances"):
        value(MatrixInformation(5, 6, kernel="gaussian"), torch.ones(12, 5), torch.arange(12) % 6)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: MatrixEntropy(4, alpha=0), "alpha must be a finite number above 0, got 0"),
        (lambda: MatrixInformation(4, 2, kernel="linear"), "kernel must be one of 'cosine', 'gaussian', got 'linear'"),
        (
            lambda: MatrixInformation(4, 2, bandwidth=1.0),
            "bandwidth must be above 0, and is of kernel='gaussian' alone",
        ),
        (lambda: MatrixInformation(4, 2, kernel="gaussian", bandwidth=0.0), "bandwidth must be above 0"),
        (lambda: NeighbourInformation(4, 2, neighbours=0), "neighbours must be an integer of at least 1, got 0"),
        (lambda: NeighbourInformation(4, 2, max_rows=1), "max_rows must be an integer of at least 2, got 1"),
    ],
)
def test_bad_arguments(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


# variational


def test_the_floor_is_below_the_information_and_reaches_it_for_the_right_head():
    """Y follows Z through a known table: the true posteriors as logits prove I(Y; Z), wrong ones less."""
    joint = torch.tensor([[0.3, 0.1], [0.05, 0.25], [0.1, 0.2]], dtype=torch.float64)
    counts = (joint * 1000).round().long()
    z, y = counts.nonzero(as_tuple=True)
    z, y = z.repeat_interleave(counts[z, y]), y.repeat_interleave(counts.flatten())
    entropy = torch.special.entr
    truth = float(entropy(joint.sum(0)).sum() + entropy(joint.sum(1)).sum() - entropy(joint).sum())
    posterior = (joint / joint.sum(1, keepdim=True)).log()[z]
    assert value(VariationalFloor(2), posterior, y) == pytest.approx(truth, abs=1e-6)
    assert value(VariationalFloor(2), 3 * posterior, y) < truth - 0.01
    assert value(VariationalFloor(2), -posterior, y) < 0
