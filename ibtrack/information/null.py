"""The null reading: what the plug-in would read if labels told nothing.

Letters: N rows, K anchors, L sites, U sample sizes, n rows that are averaged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ibtrack.information.entropy import entropy, positive, row_entropies
from ibtrack.information.jensen_gap import beta_gap, interpolate_cubic, power_nodes
from ibtrack.information.row_statistics import RowStatistics
from ibtrack.information.sample_sizes import SampleSizeBins

BASES, LARGEST_GROUP = (1, 3), 32  # entropies are observed at 1, 2, 4 … and 3, 6, 12 … rows, up to 32, beyond which the
#                                    gap is nearly that of Beta marginals: with these it agrees with permuting to .002
FEWEST_GROUPS = 16  # that an observed entropy must be a mean over; chosen by hand


@dataclass(frozen=True)
class NullCurve:
    """Expected entropy h(n) of the mean of n random rows of L sites; see `null_curve`.

    Attributes:
        mean: (L, K) p.
        variance: (L, K) variance of one row.
        sizes: (number of sizes,) n at which groups of rows were averaged, ascending from 1.
        excess: (L, number of sizes) observed entropy less that of Beta marginals, at these n.
        num_rows: N, the largest n that is asked for.
    """

    mean: Tensor
    variance: Tensor
    sizes: Tensor
    excess: Tensor
    num_rows: int

    def __call__(self, n: Tensor) -> Tensor:
        """Work out (L, U) h(n), in nats, for (U,) distinct n of at least 1."""
        p, nodes = positive(self.mean).unsqueeze(1), power_nodes(self.num_rows, like=n)
        beta = entropy(p) - beta_gap(p, self.variance.unsqueeze(1) / nodes.exp2().unsqueeze(1))  # (L, nodes)
        return interpolate_cubic(beta, n.log2().expand(len(beta), -1)) + _interpolate(n, self.sizes, self.excess)


def null_curve(sites: Sequence[RowStatistics]) -> NullCurve:
    """Learn h(n), the entropy that the mean of n random rows has on average.

    For n = 1 it is the mean entropy of the rows. For a few n up to 32 the random rows of the site's sample are averaged
    in disjoint groups. Between and beyond them the curve follows that of Beta marginals with the moments of the mean,
    p_k and v_k / n, plus the excess over it, linear in log n and falling as 1 / n beyond the last. One curve serves
    every label set of a site, and agrees with permuting the labels to about .002 of log K.
    """
    mean = torch.cat([site.mean for site in sites])
    squares = torch.cat([site.squares for site in sites])
    variance, no_excess = (squares - mean.square()).clamp(min=0), mean.new_zeros(len(mean), 1)
    curve = NullCurve(mean, variance, mean.new_ones(1), no_excess, len(sites[0].rows))
    observed = [_entropies_of_means(site) for site in sites]
    sizes = sorted(observed[0])
    at = mean.new_tensor(sizes)
    entropies = torch.cat([torch.stack([by_size[n] for n in sizes], 1) for by_size in observed])
    return replace(curve, sizes=at, excess=entropies - curve(at))


def null_information(sites: Sequence[RowStatistics], bins: Mapping[str, SampleSizeBins]) -> dict[str, Tensor]:
    """Work out H(p) - Σ_n share(n) h(n), by one curve per site for all label sets.

    Args:
        sites: Rows of L sites.
        bins: Name of a label set to the sample sizes of its labels.

    Returns:
        Name to (L,) float64, nats.
    """
    curve = null_curve(sites)
    expected = curve(torch.cat([each.sizes for each in bins.values()]))  # (L, Σ U)
    by_set = expected.split([len(each.sizes) for each in bins.values()], dim=1)
    marginal = entropy(curve.mean)
    return {
        name: marginal - values @ each.row_shares for (name, each), values in zip(bins.items(), by_set, strict=True)
    }


def _entropies_of_means(site: RowStatistics) -> dict[int, Tensor]:
    """Average the sample in groups: number of rows to the (L,) mean entropy of the mean of as many."""
    observed = {1: site.row_entropy}
    for base in BASES:
        sums, n = _sums_of_groups(site.sample, base), base
        while n <= LARGEST_GROUP and len(sums) >= FEWEST_GROUPS:
            if n > 1:
                observed[n] = row_entropies(sums / n).mean(0, dtype=torch.float64)
            sums, n = _sums_of_groups(sums, 2), 2 * n
    return observed


def _sums_of_groups(rows: Tensor, size: int) -> Tensor:
    """Add up consecutive groups of so many rows; a rest is dropped."""
    first, *others = rows[: len(rows) // size * size].view(-1, size, *rows.shape[1:]).unbind(1)
    return sum(others, start=first)


def _interpolate(n: Tensor, sizes: Tensor, excess: Tensor) -> Tensor:
    """Interpolate (L, U) linearly in log n between the sizes, and as 1 / n beyond the last."""
    right = torch.searchsorted(sizes, n).clamp(1, max(len(sizes) - 1, 1)).clamp(max=len(sizes) - 1)
    left = (right - 1).clamp(min=0)
    span = (sizes[right] / sizes[left]).log()
    share = torch.where(span > 0, (n / sizes[left]).log() / span, 0.0)
    between = excess[:, left] + share * (excess[:, right] - excess[:, left])
    return torch.where(n > sizes[-1], excess[:, -1:] * sizes[-1] / n, between)
