"""A lower end of an information that assumes nothing but that documents are independent of each other.

    I(X;J) ≥ E Σ_k A_k log( q_k / p_k )    for every distribution q that is made without the document of the row A

For a row of label x the right side is KL( P_x ‖ p ) - KL( P_x ‖ q ) on average, and the average of the first term is
the information (Barber and Agakov, NIPS 2003). So a q near P_x makes a tight bound, and no q makes one that is too
high. It is made of the rows of label x in other documents, and drawn towards a prior π where they are few:

    q = ( S_x - S_xd + α π ) / ( n_x - n_xd + α )

S_x is the sum of the n_x rows of label x, S_xd that of the n_xd of them in the document d of the row. The prior of a
k-gram is the q of the k-gram that is shorter by one, and the prior of a token is the mean of all rows in other
documents. This is back-off, as language models smooth the counts of rare k-grams: Katz (IEEE Transactions on Acoustics,
Speech, and Signal Processing 35, 1987), Kneser and Ney (ICASSP 1995), and Teh (ACL 2006), for whom it is a hierarchy of
priors. A k-gram that no other document holds has its prior as q. That a row is judged without its own document is
cross-validation (Stone, Journal of the Royal Statistical Society B 36, 1974).

The upper end is the plug-in reading, which is biased upward. Nothing in the two is a model of how labels differ, so
they tell when the debiased reading, which has one, has gone wrong. Only copies may raise the lower end above the
information: if documents share text that was not written anew in each, leaving out one does not leave out its rows. The
derivation is in docs/brackets.md.

Letters: N rows, m of them that are evaluated, K anchors, L sites, G documents, n_x rows of label x.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ibtrack.information.document_design import DocumentDesign
from ibtrack.information.entropy import TINY
from ibtrack.information.grouping import grouped, occurrence_ranks
from ibtrack.information.label_design import cells_of
from ibtrack.information.row_statistics import RowStatistics
from ibtrack.information.segments import Segments, sum_between
from ibtrack.information.standard_errors import Estimate

# rows whose q is worked out: of a probe of 15k rows they make standard errors of .001 to .008 of log K, where all rows
# would make .001 to .003; with them brackets.py --cost stays below a fifth of the time of the readings
EVALUATED_ROWS = 3 << 9
STRATUM_ROWS = 1 << 4  # evaluated rows of a stratum of rows with alike labels
STRENGTH_ROWS = 1 << 7  # evaluated rows that choose α: with 1024 the lower ends rise by less than .001 of log K
# candidates for α, from labels that tell all to labels that tell nothing; with ten times as many the lower ends rise by
# less than .004 of log K
STRENGTHS = tuple(4.0**power for power in range(-3, 6))


@dataclass(frozen=True)
class LevelDesign:
    """One label set of a chain: the evaluated rows whose label occurs in another document as well.

    Attributes:
        name: Name of the label set.
        sums: All rows of their labels, by label; after these groups, all rows of their labels and documents, by both.
        pairs: (2 m_c,) for each of these rows two groups of ``sums``, that of the label and that of label and document,
            int32.
        signs: (2 m_c,) 1 and -1 in turn, float32: so signed, a pair adds up to S_x - S_xd.
        starts: (m_c,) where each pair begins, int32.
        num_others: (m_c, 1) n_x - n_xd, float32.
        descents: (candidates - 1, 1) sum of 1 / (n + α) over the rows that choose α, half-way between the candidates,
            float32.
    """

    name: str
    sums: Segments
    pairs: Tensor
    signs: Tensor
    starts: Tensor
    num_others: Tensor
    descents: Tensor

    @property
    def step(self) -> int:
        """Every how many evaluated rows one chooses α."""
        return -(-len(self.num_others) // STRENGTH_ROWS)

    def sums_of_others(self, rows: Tensor) -> Tensor:
        """Add up the rows of the same label in other documents: (m_c, L, K) from (N, L, K), both float32."""
        sums = sum_between(self.starts, self.pairs, self.sums.sum_rows(rows), self.signs)
        return sums.clamp_(min=TINY)  # where rounding leaves less than nothing


@dataclass(frozen=True)
class ChainDesign:
    """Label sets of which each refines the one before it, so that its prior is the q of that one.

    All rows are put into an order in which labels that are as frequent, equal labels and equal finer labels are near
    each other, and cut into H strata; from each as many rows are drawn at random. So the evaluated rows have the labels
    of all rows, and the labels of all rows in a document are known to its influence.

    Attributes:
        rows: (m,) evaluated rows, int32; those of every level come before those of fewer levels.
        documents: (m,) document of each of them.
        strata: (m,) stratum of each of them.
        weights: (m,) rows for which each of them stands, float64.
        stratum_rows: (G, H) rows of each document in each stratum, float64.
        levels: The label sets, the coarsest first.
    """

    rows: Tensor
    documents: Tensor
    strata: Tensor
    weights: Tensor
    stratum_rows: Tensor
    levels: tuple[LevelDesign, ...]


@dataclass(frozen=True)
class BracketDesign:
    """All that the lower ends of a probe need and that does not depend on activations; it is worked out once.

    Attributes:
        chains: Label sets that refine each other, or single ones.
        strengths: The candidates for α, float32.
        between: (candidates - 1, 1, 1, 1) half-way between them in logarithms, float32.
    """

    chains: tuple[ChainDesign, ...]
    strengths: Tensor
    between: Tensor

    @classmethod
    def from_chains(
        cls,
        chains: Iterable[Mapping[str, Tensor]],
        documents: DocumentDesign,
        *,
        num_evaluated: int = EVALUATED_ROWS,
        strengths: Sequence[float] = STRENGTHS,
    ) -> BracketDesign:
        """Describe label sets.

        Args:
            chains: Chains of name to (N,) dense labels, each label set refining the one before it in its chain.
            documents: Documents of the rows.
            num_evaluated: Number of rows that are evaluated, all if there are no more than that. Standard errors count
                that others are not.
            strengths: The candidates for α, ascending.

        Raises:
            ValueError: A label set does not refine the one before it.
        """
        candidates = torch.tensor(strengths, dtype=torch.float32)
        between = (candidates[1:] * candidates[:-1]).sqrt().view(-1, 1, 1)  # half-way, in logarithms
        return cls(
            chains=tuple(_chain(labels, documents, num_evaluated, between) for labels in chains),
            strengths=candidates,
            between=between.unsqueeze(-1),
        )


def lower_ends(sites: Sequence[RowStatistics], design: BracketDesign) -> dict[str, Estimate]:
    """Work out the lower end of every label set at the L sites of all ``sites``.

    Args:
        sites: Rows of the sites.
        design: The label sets.

    Returns:
        Name of a label set to its lower end, nats. It is an average over rows, so it may lie below 0, where nothing was
        shown. Its influences are those of a plain mean over documents. What they leave out is that a document also
        moves the q of the others: as q and P_x both sum to 1, that is a product of two small differences, q from P_x
        and q from what it is without the document. The lower ends are ``nan`` where there is a single document.
    """
    parts = [_ends_of_site(site, design) for site in sites]
    return {name: Estimate.join([part[name] for part in parts]) for name in parts[0]}


def _chain(
    label_sets: Mapping[str, Tensor], documents: DocumentDesign, num_evaluated: int, between: Tensor
) -> ChainDesign:
    """Describe a chain.

    Raises:
        ValueError: A label set does not refine the one before it.
    """
    cells, others = {}, {}
    coarser = ""
    for name, labels in label_sets.items():
        if coarser and not _refines(labels, label_sets[coarser]):
            raise ValueError(f"labels must refine those before them, got {name} that does not tell {coarser}")
        cell = cells_of(labels, documents)
        cells[name] = cell.number
        others[name] = (torch.bincount(labels).index_select(0, cell.first) - cell.sizes).index_select(0, cell.number)
        coarser = name
    stratum = _strata(list(label_sets.values()), num_evaluated)
    rows = _draw(stratum, num_evaluated)
    depth = torch.stack([number[rows] > 0 for number in others.values()]).sum(0)  # a finer level has fewer of them
    rows = rows[torch.argsort(depth, descending=True, stable=True)]
    stratum_rows = torch.zeros(documents.num_documents, int(stratum.max()) + 1, dtype=torch.float64)
    stratum_rows.index_put_((documents.index, stratum), stratum_rows.new_ones(()), accumulate=True)
    return ChainDesign(
        rows=rows.int(),
        documents=documents.index[rows],
        strata=stratum[rows],
        weights=(stratum_rows.sum(0) / torch.bincount(stratum[rows]))[stratum[rows]],
        stratum_rows=stratum_rows,
        levels=tuple(
            _level(name, labels, cells[name], others[name], rows[others[name][rows] > 0], between)
            for name, labels in label_sets.items()
        ),
    )


def _strata(label_sets: Sequence[Tensor], num_evaluated: int) -> Tensor:
    """Cut rows into strata of alike labels, as many as there are times 16 evaluated rows: (N,).

    The most frequent labels come first, and of equally frequent ones the last.
    """
    total = len(label_sets[0])
    order = torch.arange(total)
    for labels in reversed(label_sets):
        occurrences = torch.bincount(labels)
        by_occurrences = grouped(occurrences, int(occurrences.max()) + 1).order.flip(
            0
        )  # and of equal ones the last first
        rank = torch.empty_like(by_occurrences).index_copy_(0, by_occurrences, torch.arange(len(occurrences)))
        ranks = rank.index_select(0, labels).index_select(0, order)
        order = order.index_select(0, grouped(ranks, len(occurrences)).order)
    number = max(1, num_evaluated // STRATUM_ROWS) if total > num_evaluated else 1
    return torch.empty_like(order).index_copy_(0, order, torch.arange(total) * number // total)


def _draw(stratum: Tensor, num_evaluated: int) -> Tensor:
    """Draw as many rows from every stratum; all if there is one only."""
    if len(stratum) <= num_evaluated:
        return torch.arange(len(stratum))
    shuffled = torch.randperm(len(stratum), generator=torch.Generator().manual_seed(0))
    each = num_evaluated // (int(stratum.max()) + 1)
    return shuffled[occurrence_ranks(stratum[shuffled], int(stratum.max()) + 1) < each]


def _refines(labels: Tensor, coarser: Tensor) -> bool:
    """Whether rows of one label all have one coarser label."""
    coarser_of = torch.zeros(int(labels.max()) + 1, dtype=torch.int64).index_put_((labels,), coarser)
    return bool((coarser_of.index_select(0, labels) == coarser).all())


def _level(name: str, labels: Tensor, cells: Tensor, others: Tensor, rows: Tensor, between: Tensor) -> LevelDesign:
    first = int(labels.max()) + 1
    pairs = torch.stack([labels[rows], cells[rows] + first], 1).flatten()
    wanted, places = torch.unique(pairs, return_inverse=True)
    number = torch.full((first + int(cells.max()) + 1,), -1).index_put_((wanted,), torch.arange(len(wanted)))
    groups = [number[:first].index_select(0, labels), number[first:].index_select(0, cells)]
    kept = [(each >= 0).nonzero().flatten() for each in groups]
    kept_groups = torch.cat([each.index_select(0, some) for each, some in zip(groups, kept, strict=True)])
    num_others = others[rows].float().unsqueeze(1)
    step = max(1, -(-len(rows) // STRENGTH_ROWS))
    return LevelDesign(
        name=name,
        sums=Segments.from_groups(kept_groups, len(wanted), torch.cat(kept)),
        pairs=places.int(),
        signs=torch.tensor([1.0, -1.0], dtype=torch.float32).repeat(len(rows)),
        starts=torch.arange(0, len(places), 2, dtype=torch.int32),
        num_others=num_others,
        descents=(num_others[::step] + between).reciprocal().sum(1),
    )


def _ends_of_site(site: RowStatistics, design: BracketDesign) -> dict[str, Estimate]:
    """Work out the lower ends at the sites of one table."""
    documents = site.documents
    num_sites, num_anchors = site.mean.shape
    if documents.num_documents == 1:
        missing = site.mean.new_full((num_sites,), math.nan)
        nothing = Estimate(value=missing, influence=missing.unsqueeze(1), systematic=missing)
        return {level.name: nothing for chain in design.chains for level in chain.levels}
    # One row that is uniform stands beside those of other documents, as anchors at which these never point would have
    # the probability 0 otherwise, and the lower end would be minus infinity.
    sums = site.document_sums.sum(1, keepdim=True) - site.document_sums + 1 / num_anchors  # (L, G, K)
    without = sums / (len(documents.index) - documents.sizes + 1).view(1, -1, 1)
    prior = without.float().movedim(0, 1).contiguous()  # (G, L, K)
    log_mean = site.mean.clamp(min=TINY).log().float()
    ends: dict[str, Estimate] = {}
    for chain in design.chains:
        estimates = _means(_gains(site, chain, prior, log_mean, design), chain, documents)
        ends |= dict(zip((level.name for level in chain.levels), estimates, strict=True))
    return ends


def _gains(
    site: RowStatistics, chain: ChainDesign, prior: Tensor, log_mean: Tensor, design: BracketDesign
) -> list[Tensor]:
    """Work out Σ_k A_k log( q_k / p_k ) of every evaluated row: (m, L) float32 for each level.

    Args:
        site: Rows of L sites.
        chain: The label sets.
        prior: (G, L, K) mean of the rows outside of each document.
        log_mean: (L, K) log p.
        design: What the chain is part of, with the candidates for α.
    """
    rows = site.rows.index_select(0, chain.rows)  # (m, L, K)
    mean_gain = (rows * log_mean).sum(-1)
    number = len(chain.levels[0].num_others)  # of rows whose label another document holds
    weights = prior.index_select(0, chain.documents[:number])  # (m_c, L, K), q times ``total``
    total = rows.new_ones(1, 1)
    alone = prior.index_select(0, chain.documents[number:]).log_().mul_(rows[number:]).sum(-1)
    gain = torch.cat([torch.zeros_like(mean_gain[:number]), alone - mean_gain[number:]])
    gains = []
    for level in chain.levels:
        number = len(level.num_others)
        if number:
            rows, weights, total = rows[:number], weights[:number], total[:number]
            sums = level.sums_of_others(site.rows)
            alpha = _strength(rows, sums, weights, total, level, design)  # (L,)
            weights = sums.addcmul_(weights, (alpha / total).unsqueeze(-1))
            total = level.num_others + alpha  # (m_c, L)
            own = weights.log().mul_(rows).sum(-1) - total.log() - mean_gain[:number]
            gain = torch.cat([own, gain[number:]])
        gains.append(gain)
    return gains


def _strength(
    rows: Tensor, sums: Tensor, weights: Tensor, total: Tensor, level: LevelDesign, design: BracketDesign
) -> Tensor:
    """Choose α of each site, (L,), at which the lower end of some of the rows is greatest.

    The lower end rises with α as long as Σ_k A_k π_k / ( S_k + α π_k ) - 1 / ( n + α ) is positive on average. It is
    worked out half-way between the candidates, in logarithms, and counted how often it is: as good as the lower ends of
    all candidates, and half the time, as no logarithms are taken.
    """
    step = level.step
    prior = weights[::step] / (total[::step] if len(total) > 1 else total).unsqueeze(-1)  # (rows, L, K)
    mixed = torch.addcmul(sums[::step], prior, design.between)  # (candidates - 1, rows, L, K)
    slope = (prior * rows[::step]).div(mixed).sum((1, 3)) - level.descents
    return design.strengths[(slope > 0).sum(0)]


def _means(gains: Sequence[Tensor], chain: ChainDesign, documents: DocumentDesign) -> list[Estimate]:
    """Average the (m, L) gains of evaluated rows over all rows, for each level.

    What a row gains is the mean of its stratum and a rest. The influence of a document has the means of all its rows,
    and the rest of those that are evaluated.
    """
    weighted = torch.cat(list(gains), 1).double() * chain.weights.unsqueeze(1)  # (m, levels * L)
    sums = weighted.new_zeros(chain.stratum_rows.shape[1], weighted.shape[1]).index_add_(0, chain.strata, weighted)
    means = sums / chain.stratum_rows.sum(0).unsqueeze(1)  # (H, levels * L)
    rest = weighted - means[chain.strata] * chain.weights.unsqueeze(1)
    totals = (chain.stratum_rows @ means).index_add_(0, chain.documents, rest).T.contiguous()  # (levels * L, G)
    values, influences = totals.sum(1) / len(documents.index), documents.influence(totals)
    parts = (values, influences, torch.zeros_like(values))
    levels = zip(*(part.split(gains[0].shape[1]) for part in parts), strict=True)
    return [Estimate(value=value, influence=influence, systematic=none) for value, influence, none in levels]
