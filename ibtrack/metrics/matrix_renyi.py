"""Matrix-based Rényi entropy: the spectrum of a kernel matrix in the place of a distribution.

Source: Giraldo, Rao and Principe, Measures of entropy from data using infinitely divisible kernels, IEEE Transactions
on Information Theory 61(1), 2015, arXiv 1211.2459; for the layers of language models, with the cosine as kernel, Skean
et al., Layer by Layer, 2025, arXiv 2502.02013.
Letters: N rows, D width, M labels, A kernel matrix of trace 1, α order.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize
from torchmetrics import Metric

from ibtrack._checks import check_integer, check_option
from ibtrack.metrics._rows import KeptRows, checked_rows

KERNELS = ("cosine", "gaussian")


class MatrixEntropy(Metric):
    """S(A) = log( tr A^α ) / (1 - α) of the rows' cosines, A_ij = cos(z_i, z_j) / N; α = 1 is -tr A log A.

    The eigenvalues of A are those of the mean of z̄ z̄ᵀ over unit rows z̄, a D x D sum, so any number of rows is taken. It
    is between 0, one direction, and log D, all directions alike; opposite directions count as one. For fewer rows than
    some D it is too low.

    Args:
        width: D.
        alpha: order α, above 0.

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
        """Add (N, D) activations.

        Raises:
            ValueError: not (N, width), or rows that are zero or not finite; nothing is added then.
        """
        rows = normalize(checked_rows(activations, self.width), dim=1)
        self.products += rows.T @ rows
        self.total += len(rows)

    def compute(self) -> Tensor:
        """() float64, nats.

        Raises:
            RuntimeError: there is no row.
        """
        if not self.total:
            raise RuntimeError("MatrixEntropy.compute() needs at least one row; call update() first")
        return renyi_entropy(torch.linalg.eigvalsh(self.products / self.total), self.alpha)


class MatrixInformation(KeptRows):
    """I(X; Z) = S(A) + S(B) - S(A∘B) of the rows' kernel A and the labels' kernel B, where B_ij = [x_i = x_j].

    With α = 1 and the cosine it is S of all rows less the mean S within labels, weighted by their share, and between 0
    and log D. It speaks of similarity under the kernel, not of probability. Where labels have few rows it reads too
    high, as n_x rows can have no more than log n_x within; and a gaussian kernel that is too narrow reads H(X) of
    anything.

    Args:
        width: D.
        num_labels: M.
        alpha: order α, above 0.
        kernel: ``cosine``; or ``gaussian``, exp( -|z_i - z_j|² / 2 σ² ).
        bandwidth: σ of ``gaussian``; by default the median distance of two rows.
        max_rows: most rows, over all processes; time grows with their cube, some seconds at 2048.

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
            raise ValueError(f"bandwidth must be above 0, and is of kernel='gaussian' alone, got {bandwidth}")
        self.bandwidth = bandwidth

    def compute(self) -> Tensor:
        """() float64, nats."""
        rows, labels = self.kept()
        matrix = self._matrix(rows) / len(rows)
        occurrences = torch.bincount(labels)
        of_labels = renyi_entropy(occurrences[occurrences > 0].double() / len(rows), self.alpha)
        groups = labels.argsort(stable=True).split(occurrences.tolist())
        blocks = [torch.linalg.eigvalsh(matrix[group][:, group]) for group in groups if len(group)]
        whole = renyi_entropy(torch.linalg.eigvalsh(matrix), self.alpha)
        return whole + of_labels - renyi_entropy(torch.cat(blocks), self.alpha)

    def _matrix(self, rows: Tensor) -> Tensor:
        """(N, N) with ones on its diagonal."""
        if self.kernel == "cosine":
            unit = normalize(rows, dim=1)
            return unit @ unit.T
        distances = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
        if len(rows) == 1:
            return torch.ones_like(distances)
        width = self.bandwidth or float(torch.pdist(rows).median())
        if not width:
            raise RuntimeError("bandwidth must be given, as more than half of the distances between rows are 0")
        return torch.exp(-(distances / width).square() / 2)


def renyi_entropy(eigenvalues: Tensor, alpha: float) -> Tensor:
    """() Rényi entropy in nats of (...) eigenvalues that sum to 1; those below 0 by rounding are taken as 0.

    Example:
        >>> halves = torch.tensor([0.5, 0.5])
        >>> [round(float(renyi_entropy(halves, alpha)), 4) for alpha in (0.5, 1.0, 2.0)]
        [0.6931, 0.6931, 0.6931]
    """
    positive = eigenvalues.clamp(min=0)
    if alpha == 1:
        return torch.special.entr(positive).sum()
    return positive.pow(alpha).sum().log() / (1 - alpha)


def _check_alpha(alpha: float) -> float:
    if not 0 < alpha < math.inf:
        raise ValueError(f"alpha must be a finite number above 0, got {alpha}")
    return float(alpha)
