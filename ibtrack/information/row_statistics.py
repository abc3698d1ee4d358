"""The rows of sites, and what every label set asks of them.

Letters: N rows, K anchors, L sites, G documents.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ibtrack.information.document_design import DocumentDesign
from ibtrack.information.segments import ROWS_AT_ONCE

SAMPLE = 1 << 13  # rows that tell what a random row is like; the noise of what they tell is about .001 log K
TINY = 1e-37  # a probability that is 0 in single precision adds nothing to an entropy


@dataclass(frozen=True)
class RowStatistics:
    """The rows of L sites and what all of their label sets share, worked out when it is first asked for.

    Attributes:
        rows: (N, L, K) assignments, float32.
        documents: of the rows.
    """

    rows: Tensor
    documents: DocumentDesign

    @cached_property
    def entropy(self) -> Tensor:
        """(N, L) H(A_i), float32."""
        return row_entropies(self.rows)

    @cached_property
    def document_sums(self) -> Tensor:
        """(L, G, K) Σ A_i over the rows of a document, float64."""
        return self.documents.bags.sums(self.rows).double().movedim(1, 0)

    @cached_property
    def mean(self) -> Tensor:
        """(L, K) p, float64."""
        return self.document_sums.sum(1) / len(self.rows)

    @cached_property
    def document_squares(self) -> Tensor:
        """(L, G, K) Σ A_i² over the rows of a document, float64."""
        squares = [piece.sums_of_squares(self.rows) for piece in self.documents.pieces]
        return torch.cat(squares).double().movedim(1, 0)

    @cached_property
    def document_entropy(self) -> Tensor:
        """(L, G) Σ H(A_i) over the rows of a document, float64."""
        return self.documents.bags.sums(self.entropy).double().T

    @cached_property
    def row_entropy(self) -> Tensor:
        """(L,) mean of H(A_i), float64."""
        return self.entropy.mean(0, dtype=torch.float64)

    @cached_property
    def squares(self) -> Tensor:
        """(L, K) mean of A_i², float64."""
        return self.document_squares.sum(1) / len(self.rows)

    @cached_property
    def weight(self) -> Tensor:
        """(L, K) p^-½, float32: what products of rows are weighted by."""
        return positive(self.mean).rsqrt().float()

    @cached_property
    def weighted_squares(self) -> Tensor:
        """(N, L) Σ_k p_k^-½ A_ik², float32."""
        pieces = [piece.square().mul_(self.weight).sum(-1) for piece in self.rows.split(ROWS_AT_ONCE)]
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    @cached_property
    def sample(self) -> Tensor:
        """(S, L, K) rows in random order, at most 8192, the same for every site."""
        drawn = torch.randperm(len(self.rows), generator=torch.Generator().manual_seed(0))[:SAMPLE]
        return self.rows.index_select(0, drawn.to(self.rows.device))

    @cached_property
    def spread(self) -> Tensor:
        """(L,), see `weighted_spread`."""
        few = self.sample[: SAMPLE // 4].movedim(1, 0)  # (L, S', K)
        return weighted_spread((few.mT @ few).double() / few.shape[1], few.mean(1, dtype=torch.float64))


def row_entropies(rows: Tensor) -> Tensor:
    """(N, ...) entropies of (N, ..., K) float32 distributions in nats, without a copy of them all."""
    pieces = [(piece * piece.clamp(min=TINY).log_()).sum(-1).neg_() for piece in rows.split(ROWS_AT_ONCE)]
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces)


def weighted_spread(products: Tensor, mean: Tensor) -> Tensor:
    """(...) tr(C²) for C_kl = cov(A_k, A_l) (p_k p_l)^-¼, from (..., K, K) mean products and (..., K) means: the
    variance of Σ_k p_k^-½ a_k b_k over independent rows a, b."""
    covariance = products - mean.unsqueeze(-1) * mean.unsqueeze(-2)
    weight = positive(mean).pow(-0.25)
    return (weight.unsqueeze(-1) * covariance * weight.unsqueeze(-2)).square().sum((-2, -1))


def positive(mean: Tensor) -> Tensor:
    """A mean that can be divided by."""
    return mean.clamp(min=1e-12)
