"""Matrix-based Rényi entropy: spectra of kernel matrices, and the information of a code and of noise."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ibtrack.metrics import MatrixEntropy, MatrixInformation
from ibtrack.metrics.matrix_renyi import renyi_entropy
from tests.metrics.contract import Contract, LabelledContract, clouds, value


def spectral_entropy(matrix: np.ndarray, alpha: float = 1.0) -> float:
    """Rényi entropy of a kernel matrix, from its eigenvalues at trace 1."""
    eigenvalues = np.clip(np.linalg.eigvalsh(matrix / np.trace(matrix)), 1e-300, None)
    if alpha == 1:
        return float(-(eigenvalues * np.log(eigenvalues)).sum())
    return math.log((eigenvalues**alpha).sum()) / (1 - alpha)


def cosines(rows: Tensor) -> np.ndarray:
    points = rows.double().numpy()
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    return np.asarray(unit @ unit.T)


def three_matrices(matrix: np.ndarray, ids: Tensor, alpha: float = 1.0) -> float:
    """Entropies of rows and of labels less that of both, each of its own N x N matrix."""
    same = (ids.numpy()[:, None] == ids.numpy()[None]).astype(float)
    entropies = [spectral_entropy(each, alpha) for each in (matrix, same, matrix * same)]
    return entropies[0] + entropies[1] - entropies[2]


class TestMatrixEntropy(Contract):
    refusal = "must be finite and not zero, got 1 rows of 600 that are not"

    def make(self) -> MatrixEntropy:
        return MatrixEntropy(5)

    def data(self) -> tuple[Tensor, ...]:
        return clouds()[:1]

    def reference(self, *data: Tensor) -> float:
        return spectral_entropy(cosines(data[0]))


class TestMatrixInformation(LabelledContract):
    refusal = "must be finite and not zero, got 1 rows of 600 that are not"

    def make(self) -> MatrixInformation:
        return MatrixInformation(5, 6)

    def reference(self, *data: Tensor) -> float:
        return three_matrices(cosines(data[0]), data[1])


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_matrix_entropy_of_directions_is_that_of_their_shares(alpha: float) -> None:
    shares = torch.tensor([0.5, 0.25, 0.25])
    rows = torch.eye(5)[torch.tensor([0, 0, 1, 2])] * torch.tensor([1.0, -3.0, 2.0, 0.1]).unsqueeze(1)
    expected = float(renyi_entropy(shares, alpha))
    assert value(MatrixEntropy(5, alpha=alpha), rows) == pytest.approx(expected, abs=1e-6)  # shares in float32
    renyi = math.log(sum(s**alpha for s in shares.tolist())) / (1 - alpha) if alpha != 1 else 1.5 * math.log(2)
    assert expected == pytest.approx(renyi)


def test_matrix_entropy_is_that_of_the_kernel_matrix() -> None:
    rows, _ = clouds(number=50)
    unit = torch.nn.functional.normalize(rows.double(), dim=1)
    spectrum = torch.linalg.eigvalsh(unit @ unit.T / 50)
    assert value(MatrixEntropy(5, alpha=1.5), rows) == pytest.approx(float(renyi_entropy(spectrum, 1.5)), abs=1e-9)


@pytest.mark.parametrize("kernel", ["cosine", "gaussian"])
@pytest.mark.parametrize("alpha", [1.0, 2.0])
def test_matrix_information_of_a_code_and_of_noise(kernel: str, alpha: float) -> None:
    """Orthogonal rows, one for each label: all of log 4; each row with each label equally often: nothing."""
    options: dict[str, Any] = {"kernel": kernel, "alpha": alpha, "bandwidth": 0.05 if kernel == "gaussian" else None}
    ids = torch.arange(32) % 4
    assert value(MatrixInformation(4, 4, **options), torch.eye(4)[ids], ids) == pytest.approx(math.log(4), abs=1e-6)
    noise = torch.eye(4)[torch.arange(32) // 8]
    assert value(MatrixInformation(4, 4, **options), noise, ids) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(("kernel", "alpha"), [("cosine", 1.0), ("gaussian", 1.0), ("gaussian", 1.01), ("cosine", 2.0)])
def test_matrix_information_is_that_of_the_three_matrices(kernel: str, alpha: float) -> None:
    rows, ids = clouds(number=60)
    points = rows.double().numpy()
    gaussian = np.exp(-((points[:, None] - points[None]) ** 2).sum(-1) / (2 * 1.5**2))
    expected = three_matrices(cosines(rows) if kernel == "cosine" else gaussian, ids, alpha)
    metric = MatrixInformation(5, 6, kernel=kernel, alpha=alpha, bandwidth=1.5 if kernel == "gaussian" else None)
    assert value(metric, rows, ids) == pytest.approx(expected, abs=1e-9)  # rounding is some 1e-14


def test_the_bandwidth_is_the_median_distance() -> None:
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
            "bandwidth must be above 0, and goes with kernel='gaussian' only",
        ),
        (lambda: MatrixInformation(4, 2, kernel="gaussian", bandwidth=0.0), "bandwidth must be above 0"),
        (lambda: MatrixInformation(5, 1), "num_labels must be an integer of at least 2, got 1"),
    ],
)
def test_bad_arguments(make: Callable[[], object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make()
