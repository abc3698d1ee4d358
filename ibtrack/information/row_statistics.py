"""Statistics of the rows of sites that need no labels, each worked out when it is first asked for.

Letters: N rows, K anchors, L sites, G documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from torch import Tensor

from ibtrack.information.devices import in_pieces
from ibtrack.information.document_design import DocumentDesign
from ibtrack.information.entropy import positive, row_entropies

SMALLEST_PROBABILITY = 1e-300  # in float64, where the logarithm of an anchor's mean is taken
SAMPLE_ROWS = 1 << 13  # rows that tell what a random row is like; the error of what they tell is about .001 of log K


@dataclass(frozen=True)
class RowStatistics:
    """The rows of L sites, and what all label sets of these sites share.

    Attributes:
        rows: (N, L, K) soft assignments, float32.
        documents: Documents of the rows.
    """

    rows: Tensor
    documents: DocumentDesign

    @cached_property
    def entropy(self) -> Tensor:
        """(N, L) H(A_i), float32."""
        return row_entropies(self.rows)

    @cached_property
    def document_sums(self) -> Tensor:
        """(L, G, K) Σ A_i over the rows of each document, float64."""
        return self.documents.segments.sum_rows(self.rows).double().movedim(1, 0)

    @cached_property
    def mean(self) -> Tensor:
        """(L, K) p, the mean of A_i, float64."""
        return self.document_sums.sum(1) / len(self.rows)

    @cached_property
    def document_surprise(self) -> Tensor:
        """(L, G) Σ -log p_k A_ik over the rows of each document: what each adds to N H(p), and to first order to H."""
        return -(self.document_sums @ self.mean.clamp(min=SMALLEST_PROBABILITY).log().unsqueeze(-1)).squeeze(-1)

    @cached_property
    def document_squares(self) -> Tensor:
        """(L, G, K) Σ A_i² over the rows of each document, float64."""
        if self.rows.device.type != "cpu":
            return self.documents.segments.sum_rows(self.rows.square()).double().movedim(1, 0)
        squares = [chunk.sum_squares(self.rows) for chunk in self.documents.chunks]  # these stay in the cache
        return torch.cat(squares).double().movedim(1, 0)

    @cached_property
    def document_entropy(self) -> Tensor:
        """(L, G) Σ H(A_i) over the rows of each document, float64."""
        return self.documents.segments.sum_rows(self.entropy).double().T

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
        """(L, K) `anchor_weight`, float32."""
        return anchor_weight(self.mean).float()

    @cached_property
    def other_products(self) -> tuple[Tensor, Tensor]:
        """(L,) mean of Σ_k p_k^-½ A_ik A_jk over rows of two documents, and (L, G) the influence of each document."""
        weight, sizes = anchor_weight(self.mean).unsqueeze(1), self.documents.sizes
        rest = self.document_sums.sum(1, keepdim=True) - self.document_sums
        products = (weight * self.document_sums * rest).sum(-1)  # (L, G)
        pairs = sizes * (sizes.sum() - sizes)
        mean = products.sum(1) / pairs.sum()
        return mean, 2 * (products - mean.unsqueeze(1) * pairs) / pairs.sum()

    @cached_property
    def marginal_bias(self) -> Tensor:
        """(L,) how much H(p) lacks on average as p is a mean over few documents, nats.

        To second order it is Σ_k var(p_k) / (2 p_k) (Miller, 1955), with the variance of the mean of clusters.
        """
        number = self.documents.num_documents
        change = self.documents.influence(self.document_sums.mT)  # (L, K, G)
        variance = change.square().sum(-1) * number / max(number - 1, 1)
        return (variance / positive(self.mean)).sum(-1) / 2

    @cached_property
    def weighted_squares(self) -> Tensor:
        """(N, L) Σ_k p_k^-½ A_ik², float32."""
        pieces = [piece.square().mul_(self.weight).sum(-1) for piece in in_pieces(self.rows)]
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    @cached_property
    def sample(self) -> Tensor:
        """(at most 8192, L, K) rows in a random order, which is the same for every site."""
        return self.rows.index_select(0, sample_order(len(self.rows), self.rows.device))

    @cached_property
    def product_variance(self) -> Tensor:
        """(L,) see `product_variance`, from a quarter of the sample."""
        rows = self.sample[: SAMPLE_ROWS // 4].movedim(1, 0)  # (L, 2048, K)
        return product_variance((rows.mT @ rows).double() / rows.shape[1], rows.mean(1, dtype=torch.float64))


def together(parts: Sequence[Tensor]) -> Tensor:
    """Put the sites of all parts one after the other, (L, ...); a single part stays as it is."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


@lru_cache(maxsize=8)
def sample_order(number: int, device: torch.device) -> Tensor:
    """Draw at most 8192 of so many rows; on an accelerator they stay, as each move would wait for it."""
    return torch.randperm(number, generator=torch.Generator().manual_seed(0))[:SAMPLE_ROWS].to(device)


def anchor_weight(mean: Tensor) -> Tensor:
    """Weigh the anchors in sums of products of two rows: p_k^-½.

    This lies between the weight 1, under which the anchors of large p_k decide, and 1 / p_k, the weight of a χ²
    distance, under which the noise of rare anchors does.
    """
    return positive(mean).rsqrt()


def product_variance(mean_products: Tensor, mean: Tensor) -> Tensor:
    """Work out the variance of Σ_k p_k^-½ a_k b_k over independent centred rows a and b.

    It is tr(C²) for C_kl = cov(A_k, A_l) (p_k p_l)^-¼.

    Args:
        mean_products: (..., K, K) mean of A_i A_iᵀ.
        mean: (..., K) mean of A_i.

    Returns:
        (...) in the dtype of the arguments.
    """
    covariance = mean_products - mean.unsqueeze(-1) * mean.unsqueeze(-2)
    weight = anchor_weight(mean).sqrt()
    return (weight.unsqueeze(-1) * covariance * weight.unsqueeze(-2)).square().sum((-2, -1))
