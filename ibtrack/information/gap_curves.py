"""Gap curves: how much entropy the mean of few rows lacks, as a function of how much it varies.

Entropy is concave, so a label's mean of few rows looks purer than it is: E H(P) = H(p) - Γ for a random distribution P
of mean p. The Jensen gap Γ depends on the distribution of P. Here P varies by t v_k around p_k, where v_k is the
variance of a single row: t = 1 for rows, t = 1 / n for means of n random rows. Three curves over t:

- the null curve, the gap of means of 1 / t random rows, observed for up to 32 rows and continued as a mixture of the
  two others;
- Beta marginals, as of a Dirichlet distribution (Wolpert and Wolf, Physical Review E 52, 1995, the expected entropy):
  Σ_k p_k ( digamma(p_k ν_k + 1) - digamma(ν_k + 1) - log p_k ) with ν_k = p_k (1 - p_k) / (t v_k) - 1;
- lognormal marginals: Σ_k p_k / 2 log(1 + t v_k / p_k²), heavier tails and a smaller gap.

All are kept divided by t, which makes them smooth, at the nodes t = 1, 1/2, 1/4 … 2^-J.

Letters: N rows, K anchors, L sites, J + 1 nodes, U places. Leading dimensions are written (...).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ibtrack.information.entropy import entropy, positive, row_entropies
from ibtrack.information.row_statistics import RowStatistics, together

LARGEST_GROUP = 32  # rows; beyond it the curve keeps the mixture of the closures that it has there
FEWEST_GROUPS = 16  # that an observed entropy must be a mean over; chosen by hand
LARGEST_BETA_VARIANCE = 0.999  # of p (1 - p), the variance of a Beta distribution of 0 and 1 alone, where ν is 0
BETA_VARIANCE_FLOOR = 1e-9  # of p², below which ν has no digits left


def beta_gaps(p: Tensor, variance: Tensor) -> Tensor:
    """Work out the gap of Beta marginals with mean (..., K) and variance (..., K), anchor by anchor, nats: (..., K)."""
    variance = torch.minimum(variance, LARGEST_BETA_VARIANCE * p * (1 - p)).maximum(BETA_VARIANCE_FLOOR * p.square())
    nu = (p * (1 - p) / variance - 1).clamp(min=0)  # it is below 0 where p is 1
    return torch.special.entr(p) + p * (torch.digamma(p * nu + 1) - torch.digamma(nu + 1))


def lognormal_gaps(p: Tensor, variance: Tensor) -> Tensor:
    """Work out the gap of lognormal marginals, anchor by anchor, in nats: (..., K)."""
    return p * torch.log1p(variance / p.square()) / 2


_CLOSURES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"beta": beta_gaps, "lognormal": lognormal_gaps}


@dataclass(frozen=True)
class GapCurves:
    """The curves of L sites at their nodes, divided by t, float64.

    Attributes:
        squares: (L, K) mean of A².
        beta: (L, J + 1) gap of Beta marginals over t.
        lognormal: (L, J + 1) gap of lognormal marginals over t.
        null_excess: (L, J + 1) observed gap of means of 1 / t random rows over t, less ``beta``.
    """

    squares: Tensor
    beta: Tensor
    lognormal: Tensor
    null_excess: Tensor

    def jacobians(self, mean: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """Differentiate the closures at every node by p and by the mean of A².

        Args:
            mean: (L, K) p.

        Returns:
            ``beta`` and ``lognormal`` to (L, J + 1, K) and (L, J + 1, K).
        """
        t = nodes(self.beta).view(-1, 1)
        jacobians = {}
        for name, gaps in _CLOSURES.items():
            with torch.enable_grad():
                p, squares = (
                    x.unsqueeze(1).expand(-1, len(t), -1).clone().requires_grad_() for x in (mean, self.squares)
                )
                value = _scaled(gaps, p, squares, t).sum()
                jacobians[name] = torch.autograd.grad(value, (p, squares))
        return jacobians  # type: ignore[return-value]


def gap_curves(sites: Sequence[RowStatistics]) -> GapCurves:
    """Work out the curves of the L sites of all ``sites``.

    For the null curve the random rows of each site's sample are averaged in disjoint groups of 2, 4 … 32. One curve
    serves every label set of a site.
    """
    mean, squares = together([site.mean for site in sites]), together([site.squares for site in sites])
    number = max(4, len(sites[0].rows).bit_length() + 1)
    t = 0.5 ** torch.arange(number, dtype=mean.dtype, device=mean.device).view(-1, 1)
    beta, lognormal = (_scaled(gaps, mean.unsqueeze(1), squares.unsqueeze(1), t).sum(-1) for gaps in _CLOSURES.values())
    entropies = together([_entropies_of_means(site) for site in sites])[:, :number]  # (L, observed)
    gaps = entropy(positive(mean)).unsqueeze(1) - entropies
    observed = gaps / drawn_variance(t[: entropies.shape[1]].T, len(sites[0].rows))
    excess = observed - beta[:, : entropies.shape[1]]
    last = excess.shape[1] - 1
    difference = lognormal - beta  # all gaps agree in the limit of small t, so beyond the last the mixture is kept
    mixture = (excess[:, last] / difference[:, last]).masked_fill(difference[:, last] == 0, 0.0)
    rest = mixture.unsqueeze(1) * difference[:, last + 1 :]
    return GapCurves(squares, beta, lognormal, torch.cat([excess, rest], 1))


def nodes(curve: Tensor) -> Tensor:
    """List t of the nodes of a curve (..., J + 1): (J + 1,)."""
    return 0.5 ** torch.arange(curve.shape[-1], dtype=curve.dtype, device=curve.device)


def drawn_variance(t: Tensor, num_rows: int) -> Tensor:
    """Work out how much means of 1 / t rows vary around p if they are drawn from the N rows without replacement.

    Means of all rows do not vary, as p is itself the mean of the rows.

    Returns:
        The variance in units of that of a row, (N t - 1) / (N - 1), of the shape of ``t``.
    """
    return t - (1 - t) / max(num_rows - 1, 1)


def read_curve(curve: Tensor, t: Tensor) -> Tensor:
    """Read a curve between its nodes, by the cubic through the four around each place; linear in t below the last.

    A negative t reads the negative of the curve at -t, so that an estimate of t with noise around 0 gives a gap with
    noise around 0.

    Args:
        curve: (..., J + 1) a gap over t at t = 1, 1/2 … 2^-J, with J of at least 3.
        t: (..., U) places, at most 1.

    Returns:
        (..., U) the gap.

    Example:
        >>> curve = torch.tensor([2.0, 2.0, 2.0, 2.0])  # Δ(t) = 2 t
        >>> [round(gap, 4) for gap in read_curve(curve, torch.tensor([1.0, 0.3, 0.001, -0.3])).tolist()]
        [2.0, 0.6, 0.002, -0.6]
    """
    last = curve.shape[-1] - 1
    place = -t.abs().clamp(min=0.5**last, max=1.0).log2()
    first = (place.detach().nan_to_num().floor() - 1).clamp(0, last - 3)  # nan comes out as nan
    x = place - first
    weights = (
        (1 - x) * (x - 2) * (x - 3) / 6,
        x * (x - 2) * (x - 3) / 2,
        x * (1 - x) * (x - 3) / 2,
        x * (x - 1) * (x - 2) / 6,
    )
    start = first.long()
    one, two, three, four = (weight * curve.gather(-1, start + i) for i, weight in enumerate(weights))
    return t * (one + two + three + four)


def _scaled(gaps: Callable[[Tensor, Tensor], Tensor], mean: Tensor, squares: Tensor, t: Tensor) -> Tensor:
    """Work out gaps over t, (L, J + 1, K), of (L, 1 or J + 1, K) p and mean of A², at (J + 1, 1) nodes."""
    p = positive(mean)
    return gaps(p, t * (squares - p.square()).clamp(min=0)) / t


def _entropies_of_means(site: RowStatistics) -> Tensor:
    """Average the sample in groups: (L, m) mean entropy of one row, and of the means of 2, 4 … rows."""
    sums, n = site.sample, 1
    observed = [site.row_entropy]
    sample_entropy = row_entropies(sums).mean(0, dtype=torch.float64)
    while 2 * n <= LARGEST_GROUP and len(sums) >= 2 * FEWEST_GROUPS:
        sums, n = sums[: len(sums) // 2 * 2 : 2] + sums[1::2], 2 * n
        entropies = row_entropies(sums / n).mean(0, dtype=torch.float64)
        observed.append(entropies + site.row_entropy - sample_entropy)  # the sample's rows may be purer than all are
    return torch.stack(observed, 1)
