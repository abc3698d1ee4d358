"""Centring and whitening of a cloud of activations by its own statistics.

Letters: n rows, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ibtrack._checks import check_option
from ibtrack.distributed import sum_over_processes

TRANSFORMS = ("none", "center", "whiten")
SHRINKAGE = 1e-6  # of the mean variance, added to every one: directions without any stay finite
ROWS_AT_ONCE = 1 << 13


@dataclass(frozen=True)
class Transform:
    """An affine map of activations.

    Attributes:
        mean: (D,) what is subtracted.
        matrix: (D, D) what the rest is multiplied with, if anything.
    """

    mean: Tensor
    matrix: Tensor | None

    def __call__(self, activations: Tensor) -> Tensor:
        """(n, D) of any floating dtype to (n, D) float32."""
        with torch.autocast(activations.device.type, enabled=False):
            centred = activations.float() - self.mean
            return centred if self.matrix is None else centred @ self.matrix


class CloudStatistics:
    """Mean and covariance of the rows of several sites, summed over processes.

    Source: centring before cosines as in Mu and Viswanath, arXiv 1702.01417; whitening by the inverse square root of
    the covariance (ZCA), which changes the cloud least, as in Kessy et al., arXiv 1512.00809.

    Args:
        widths: site to D.
        rule: ``center`` or ``whiten``.
        device: of the activations.

    Example:
        >>> statistics = CloudStatistics({"L00": 2}, "whiten", torch.device("cpu"))
        >>> statistics.add("L00", torch.tensor([[1.0, 4.0], [3.0, 4.0], [1.0, 8.0], [3.0, 8.0]]))
        >>> statistics.transforms()["L00"](torch.tensor([[3.0, 8.0]])).round(decimals=3).tolist()
        [[1.0, 1.0]]
    """

    def __init__(self, widths: Mapping[str, int], rule: str, device: torch.device) -> None:
        self._whiten = check_option("transform", rule, TRANSFORMS[1:]) == "whiten"
        zero = torch.zeros((), dtype=torch.float64, device=device)
        self._sums = {site: zero.new_zeros(width) for site, width in widths.items()}
        self._products = {site: zero.new_zeros(width, width) for site, width in widths.items() if self._whiten}
        self._number = dict.fromkeys(widths, 0)

    def add(self, site: str, activations: Tensor, rows: Tensor | None = None) -> None:
        """Add (n, D) activations, or the given rows of them."""
        chosen = activations if rows is None else activations.index_select(0, rows)
        for piece in chosen.split(ROWS_AT_ONCE):
            vectors = piece.double()
            self._sums[site] += vectors.sum(0)
            if self._whiten:
                self._products[site] += vectors.T @ vectors
        self._number[site] += len(chosen)

    def transforms(self) -> dict[str, Transform]:
        """Site to what centres, and whitens, its cloud; the rows of all processes count."""
        return {site: self._transform(site) for site in self._sums}

    def _transform(self, site: str) -> Transform:
        number = sum_over_processes(self._sums[site].new_tensor(self._number[site]))
        mean = sum_over_processes(self._sums[site].clone()) / number
        if not self._whiten:
            return Transform(mean.float(), None)
        covariance = sum_over_processes(self._products[site].clone()) / number - mean.outer(mean)
        if not covariance.isfinite().all():  # the decomposition would raise; the readings will say what is wrong
            return Transform(mean.float(), torch.full_like(covariance, torch.nan).float())
        variances, directions = torch.linalg.eigh(covariance)
        scale = (variances.clamp(min=0) + SHRINKAGE * variances.clamp(min=0).mean()).rsqrt()
        return Transform(mean.float(), ((directions * scale) @ directions.T).float())
