"""Counts, or rows in known groups, to the few means per label set that the readings are functions of.

Every moment is a mean over rows of something that each row adds; so the first-order effect of a document on any smooth
function of the moments follows from its gradient.

Letters: N rows, K anchors, L sites, S label sets, M labels, n_x rows of label x, P_x their mean, P_xh that of one of
two halves h; B bags of rows of one label and document; U classes of labels, V ranges of classes; G documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ibtrack.information.counts import Counts
from ibtrack.information.label_design import LabelDesign, pair_noise
from ibtrack.information.label_statistics import LabelStatistics
from ibtrack.information.row_statistics import TINY, RowStatistics, weighted_spread
from ibtrack.information.sample_sizes import SampleSizeBins, size_bins


@dataclass(frozen=True)
class Moments:
    """Means over the N rows of a label set, or, with leading dimensions (S, L), of several at several sites.

    Attributes:
        mean: (K,) of A_i: p.
        squares: (K,) of A_i².
        row_entropy: () of H(A_i).
        pairs: (K,) Σ_x (n_x - 1) P_x1 P_x2 / N: what two rows of one label, in two documents, have in common.
        conditional: () Σ_x n_x H(P_x) / N, the plug-in H(Z | X).
        halving: () Σ_x ( n_x H(P_x) - Σ_h n_xh H(P_xh) ) / N: what the halves lack.
        degrees: () Σ_x (n_x - 1) / N.
        shares: (U,) rows whose label is in this class.
        half_shares: (U,) rows whose half is in this class.
        repeated: (U,) rows in the class whose label has halves.
        inverse: (U,) mean of 1 / n in each class.
        clumps: (U,) mean of one over the effective number of documents of a label.
        mates: () Σ_b Σ_{i≠j in b} Σ_k p_k^-½ A_ik A_jk / n_b / N over bags b of one label and document: what two rows
            of one label in one document have in common.
        mate_degrees: () Σ_b (n_b - 1) / N.
        num_rows: N.
        crowding: () Σ_x n_x² / N², the chance that two rows share their label.
        noise: (3,) expected square of Σ_k p_k^-½ ( pairs / degrees - p² )_k if labels told nothing: the factors of
            (1 - ρ)², ρ (1 - ρ) and ρ², see `ibtrack.information.label_design.pair_noise`.
    """

    mean: Tensor
    squares: Tensor
    row_entropy: Tensor
    pairs: Tensor
    conditional: Tensor
    halving: Tensor
    degrees: Tensor
    shares: Tensor
    half_shares: Tensor
    repeated: Tensor
    inverse: Tensor
    clumps: Tensor
    mates: Tensor
    mate_degrees: Tensor
    num_rows: int
    crowding: Tensor
    noise: Tensor


def moments_of_rows(
    sites: Sequence[RowStatistics], label_sets: Sequence[LabelDesign], sums: Sequence[LabelStatistics]
) -> Moments:
    """The moments of S label sets whose groups are known at the L sites of all ``sites``, (S, L, ...)."""
    total, like = len(sites[0].rows), sites[0].mean
    num_sites = sum(len(site.mean) for site in sites)

    def of_sites(name: str) -> Tensor:
        values = torch.cat([getattr(site, name) for site in sites])
        return values.expand(len(label_sets), *values.shape)

    def of_sums(name: str) -> Tensor:
        return torch.stack([getattr(of_set, name) for of_set in sums]) / total

    def of_groups(name: str) -> Tensor:
        values = like.new_tensor([getattr(groups, name) for groups in label_sets])
        return values.unsqueeze(1).expand(-1, num_sites, *values.shape[1:])

    def of_classes(name: str, beyond: float = 0.0) -> Tensor:
        values = pad_sequence([getattr(groups.classes, name) for groups in label_sets], True, beyond)
        return values.unsqueeze(1).expand(-1, num_sites, -1)

    return Moments(
        of_sites("mean"),
        of_sites("squares"),
        of_sites("row_entropy"),
        of_sums("pairs"),
        of_sums("conditional"),
        of_sums("halving"),
        of_groups("degrees"),
        of_classes("shares"),
        of_classes("half_shares"),
        of_classes("repeated"),
        of_classes("inverse", 1.0),
        of_classes("clumps", 1.0),
        torch.stack([of_set.document_mates.sum(1) for of_set in sums]) / total,
        of_groups("mate_degrees"),
        total,
        of_groups("crowding"),
        of_sites("spread").unsqueeze(-1) * of_groups("pair_noise"),
    )


def document_influences(
    sites: Sequence[RowStatistics],
    label_sets: Sequence[LabelDesign],
    sums: Sequence[LabelStatistics],
    gradient: Moments,
) -> Tensor:
    """(S, L, G) first-order effect of every document on a function of the moments, from its gradient (S, L, ...); they
    sum to about 0."""
    g, documents = gradient, sites[0].documents
    of_sums, squares, entropy = (
        torch.cat([getattr(site, f"document_{name}") for site in sites]) for name in ("sums", "squares", "entropy")
    )
    cloud = torch.einsum("lgk,slk->slg", of_sums, g.mean) + torch.einsum("lgk,slk->slg", squares, g.squares)
    cloud += entropy * g.row_entropy.unsqueeze(-1)
    effects = []
    for s, (groups, of_set) in enumerate(zip(label_sets, sums, strict=True)):
        known = groups.classes
        effect = cloud[s] + _over_ranges(g.shares[s], known, known.shares) @ known.document_sizes.T
        effect += _over_ranges(g.repeated[s], known, known.repeated) @ known.document_repeated.T
        effect += _over_ranges(g.half_shares[s], known, known.half_shares) @ known.document_half_sizes.T
        effect += g.conditional[s].unsqueeze(1) * of_set.document_conditional
        effect += g.halving[s].unsqueeze(1) * of_set.document_halving
        effect += g.mates[s].unsqueeze(1) * of_set.document_mates
        effect += torch.einsum("lgk,lk->lg", of_set.document_pairs, g.pairs[s].float())
        effect += g.degrees[s].unsqueeze(1) * groups.document_degrees
        effect += g.mate_degrees[s].unsqueeze(1) * groups.document_mates
        effects.append(effect)
    return documents.influence(torch.stack(effects))


def _over_ranges(gradient: Tensor, classes: SampleSizeBins, shares: Tensor) -> Tensor:
    """(L, V) float32 means of a gradient (L, U) over the rows whose class is in a range."""
    weighted = gradient[:, : len(shares)] * shares
    sums = weighted.new_zeros(len(weighted), classes.document_sizes.shape[1]).index_add_(1, classes.range_of, weighted)
    rows = shares.new_zeros(sums.shape[1]).index_add_(0, classes.range_of, shares)
    return (sums / rows.clamp(min=TINY)).float()


def moments_of_counts(counts: Counts) -> Moments:
    """The moments of a label set that was streamed."""
    total = counts.total
    n, halves = counts.occurrences, counts.half_occurrences
    again = n > 1
    means = counts.sums / n.clamp(min=1).unsqueeze(1)
    half_means = counts.half_sums / halves.clamp(min=1).unsqueeze(2)
    entropies = _entropy(means)
    halving = (n * entropies - (halves * _entropy(half_means)).sum(0))[again].sum()
    inverse, class_of = size_bins(n.long(), halves[:, again].long().flatten())
    shares = n.new_zeros(len(inverse)).index_add_(0, class_of[n.long()], n)
    repeated = n.new_zeros(len(inverse)).index_add_(0, class_of[n[again].long()], n[again])
    first, second = half_means
    in_halves = halves[:, again].flatten()
    half_shares = n.new_zeros(len(inverse)).index_add_(0, class_of[in_halves.long()], in_halves)
    mean = counts.sums.sum(0) / total
    one_row = 1 / halves[:, again].T
    noise = mean.new_tensor(pair_noise(n[again] - 1, one_row, one_row))
    none = mean.new_zeros(())
    return Moments(
        mean,
        counts.products.diagonal() / total,
        counts.row_entropy / total,
        (n - 1).clamp(min=0) @ (first * second) / total,
        n @ entropies / total,
        halving / total,
        (total - (n > 0).sum()) / total,
        shares / total,
        half_shares / total,
        repeated / total,
        inverse,
        inverse,
        none,
        none,
        int(total),
        (n / total).square().sum(),
        weighted_spread(counts.products / total, mean) * noise,
    )


def _entropy(distribution: Tensor) -> Tensor:
    return torch.special.entr(distribution).sum(-1)
