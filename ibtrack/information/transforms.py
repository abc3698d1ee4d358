"""Centring and whitening of a cloud of activations by its own mean and covariance.

Letters: N rows, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ibtrack._checks import check_option
from ibtrack.distributed import sum_over_processes
from ibtrack.information.options import TRANSFORMS

SHRINKAGE = 1e-6  # of the mean variance, added to every one: directions without variance stay finite
ROWS_IN_FLOAT64 = 1 << 13  # rows that are cast to float64 together: 50 MB at width 768


@dataclass(frozen=True)
class Transform:
    """An affine map of activations.

    Attributes:
        mean: (D,) vector that is subtracted from every row.
        matrix: (D, D) matrix that centred rows are multiplied by, or None for centring alone.
    """

    mean: Tensor
    matrix: Tensor | None

    def __call__(self, activations: Tensor) -> Tensor:
        """Transform (N, D) activations of any floating dtype to (N, D) float32."""
        with torch.autocast(activations.device.type, enabled=False):
            centred = activations.float() - self.mean
            return centred if self.matrix is None else centred @ self.matrix


class CloudStatistics:
    """Means and covariances of the rows of several sites; those of all processes together.

    Source: centring before cosines as in Mu and Viswanath, arXiv 1702.01417; whitening by the inverse square root of
    the covariance (ZCA), which changes the cloud least, as in Kessy et al., arXiv 1512.00809.

    Args:
        widths: Site to its width D.
        rule: ``center`` or ``whiten``.
        device: Device of the activations.

    Raises:
        ValueError: There is no such rule.

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
        """Add activations of a site.

        Args:
            site: A site of ``widths``.
            activations: (n, D) of any floating dtype.
            rows: (N,) rows of them that count; by default all.
        """
        chosen = activations if rows is None else activations.index_select(0, rows)
        for piece in chosen.split(ROWS_IN_FLOAT64):
            vectors = piece.double()
            self._sums[site] += vectors.sum(0)
            if self._whiten:
                self._products[site] += vectors.T @ vectors
        self._number[site] += len(chosen)

    def transforms(self) -> dict[str, Transform]:
        """Make the transform of every site; the rows of all processes count, and all have to call this."""
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
