"""Matrix-based Rényi entropy: the spectrum of a kernel matrix in the place of a distribution.

Source: Giraldo, Rao and Principe, Measures of entropy from data using infinitely divisible kernels, IEEE Transactions
on Information Theory 61(1), 2015, arXiv 1211.2459; for the layers of language models, with the cosine as kernel, Skean
et al., Layer by Layer, 2025, arXiv 2502.02013.
Letters: N rows z, D width, M labels x, n_x rows of label x, A kernel matrix of trace 1, α order, H_α Rényi entropy.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize
from torchmetrics import Metric

from ibtrack._checks import check_integer, check_option
from ibtrack.information.entropy import entropy
from ibtrack.metrics._rows import StoredRows, checked_rows

KERNELS = ("cosine", "gaussian")


class MatrixEntropy(Metric):
    """H_α(A) = log( tr A^α ) / (1 - α) of the cosines of the rows, A_ij = cos(z_i, z_j) / N; for α = 1, -tr A log A.

    The eigenvalues of A are those of the mean of z̄ z̄ᵀ over unit rows z̄, a D x D sum, so any number of rows is taken. It
    lies between 0, for one direction, and log D, for all directions equally often; opposite directions count as one.
    It cannot exceed log N, so it is too low for fewer rows than a few times D.

    Args:
        width: Width D of the rows.
        alpha: Order α, above 0.
        **options: Further arguments of ``torchmetrics.Metric``.

    Example:
        >>> metric = MatrixEntropy(width=4)
        >>> metric.update(torch.eye(4)[:2])  # two directions
        >>> round(float(metric.compute()), 4)
        0.6931
    """

    products: Tensor
    total: Tensor

    is_differentiable = False
    higher_is_better = None
    full_state_update = False

    def __init__(self, width: int, *, alpha: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        self.width, self.alpha = check_integer("width", width, minimum=1), _check_alpha(alpha)
        self.add_state("products", torch.zeros(width, width, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("total", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, activations: Tensor) -> None:
        """Add rows.

        Args:
            activations: (N, D) of any floating type.

        Raises:
            ValueError: Activations are not (N, D), or a row is zero or not finite; nothing is added then.
        """
        rows = normalize(checked_rows(activations, self.width), dim=1)
        self.products += rows.T @ rows
        self.total += len(rows)

    def compute(self) -> Tensor:
        """Return H_α(A), () float64, in nats, in [0, log D].

        Raises:
            RuntimeError: There is no row.
        """
        if not self.total:
            raise RuntimeError("MatrixEntropy.compute() needs at least one row; call update() first")
        return renyi_entropy(torch.linalg.eigvalsh(self.products / self.total), self.alpha)


class MatrixInformation(StoredRows):
    """I(X; Z) = H_α(A) + H_α(A') - H_α(A∘A') of the kernel A of the rows and that of the labels, A'_ij = [x_i = x_j].

    The product is by elements and scaled to trace 1. With α = 1 and the cosine it is the entropy of all rows less the
    mean entropy within labels, weighted by their shares, and lies between 0 and log D. It speaks of similarity under
    the kernel, not of probability. It is too high where labels have few rows, as n_x rows have an entropy of at most
    log n_x, and a Gaussian kernel that is too narrow gives H(X) for any rows.

    Args:
        width: Width D of the rows.
        num_labels: Number of labels M.
        alpha: Order α, above 0.
        kernel: ``cosine``; or ``gaussian``, exp( -|z_i - z_j|² / 2 bandwidth² ).
        bandwidth: Width of the Gaussian kernel; by default the median distance of two rows.
        max_rows: Largest number of rows, over all processes. Time grows with their cube: 2048 rows take one to three
            seconds on one core.
        **options: Further arguments of ``torchmetrics.Metric``.

    Example:
        >>> metric = MatrixInformation(width=4, num_labels=2)
        >>> metric.update(torch.eye(4), torch.tensor([0, 0, 1, 1]))  # four directions, two in each label
        >>> round(float(metric.compute()), 4)
        0.6931
    """

    def __init__(
        self,
        width: int,
        num_labels: int,
        *,
        alpha: float = 1.0,
        kernel: str = "cosine",
        bandwidth: float | None = None,
        max_rows: int = 2048,
        **options: Any,
    ) -> None:
        super().__init__(width, num_labels, max_rows, zero_allowed=kernel == "gaussian", **options)
        self.alpha, self.kernel = _check_alpha(alpha), check_option("kernel", kernel, KERNELS)
        if bandwidth is not None and not (kernel == "gaussian" and 0 < bandwidth < math.inf):
            raise ValueError(f"bandwidth must be above 0, and goes with kernel='gaussian' only, got {bandwidth}")
        self.bandwidth = bandwidth

    def compute(self) -> Tensor:
        """Return I(X; Z), () float64, in nats.

        Raises:
            RuntimeError: There is no row, or the median distance of two rows is needed and 0.
        """
        rows, labels = self.all_rows()
        matrix = self._matrix(rows) / len(rows)
        occurrences = torch.bincount(labels)
        label_entropy = renyi_entropy(occurrences[occurrences > 0].double() / len(rows), self.alpha)
        members = torch.split(labels.argsort(stable=True), occurrences.tolist())  # indices of the rows of each label
        blocks = [torch.linalg.eigvalsh(matrix[index][:, index]) for index in members if len(index)]
        row_entropy = renyi_entropy(torch.linalg.eigvalsh(matrix), self.alpha)
        return row_entropy + label_entropy - renyi_entropy(torch.cat(blocks), self.alpha)

    def _matrix(self, rows: Tensor) -> Tensor:
        """Return the kernel of all pairs of rows, (N, N) with ones on its diagonal.

        Raises:
            RuntimeError: The median distance of two rows is needed and 0.
        """
        if self.kernel == "cosine":
            unit = normalize(rows, dim=1)
            return unit @ unit.T
        distances = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
        if len(rows) == 1:
            return torch.ones_like(distances)
        bandwidth = self.bandwidth or float(torch.pdist(rows).median())
        if not bandwidth:
            raise RuntimeError("bandwidth must be given, as more than half of the distances between rows are 0")
        return torch.exp(-(distances / bandwidth).square() / 2)


def renyi_entropy(eigenvalues: Tensor, alpha: float) -> Tensor:
    """Return the Rényi entropy of eigenvalues that sum to 1, () in nats.

    Args:
        eigenvalues: Any number of them; those below 0 by rounding are taken as 0.
        alpha: Order α, above 0; 1 is Shannon's entropy.

    Example:
        >>> halves = torch.tensor([0.5, 0.5])
        >>> [round(float(renyi_entropy(halves, alpha)), 4) for alpha in (0.5, 1.0, 2.0)]
        [0.6931, 0.6931, 0.6931]
    """
    positive = eigenvalues.clamp(min=0)
    if alpha == 1:
        return entropy(positive)
    return positive.pow(alpha).sum().log() / (1 - alpha)


def _check_alpha(alpha: float) -> float:
    """Return the order as a number if there is an entropy of that order.

    Raises:
        ValueError: There is none.
    """
    if not 0 < alpha < math.inf:
        raise ValueError(f"alpha must be a finite number above 0, got {alpha}")
    return float(alpha)
