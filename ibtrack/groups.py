"""Labels and documents to groups of rows: worked out once per probe, used at every measurement.

Letters: N rows, K anchors, M labels, n_x rows of label x; R labels that occur more than once; U classes of n; G
documents; h the half that a row was dealt to.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from ibtrack._checks import check_option
from ibtrack.counts import occurrence_ranks

BAG = 64  # rows that are added up in single precision; beyond, the sums would lose digits
ROWS_AT_ONCE = 1 << 11  # more or less: what is worked out per row stays in the cache
EXACT_SIZES = 12  # labels seen more often are put into classes of similar n
SIZE_RATIO = 1.3
LABEL_WEIGHTS = ("empirical", "uniform")

_Groups = TypeVar("_Groups")


@dataclass(frozen=True)
class Bags:
    """Rows by group, each group in bags of at most 64 rows.

    Attributes:
        rows: (n,) rows, group after group.
        of: (n,) group of each of them, ascending.
        starts: (B,) where in ``rows`` each bag begins.
        bag_group: (B,) group of each bag.
        pattern: (number, N) sparse, a place for each row in the line of its group.
        number: of groups.
        pieces: consecutive parts of ``rows`` and of the bags: first and last row, first and last bag.
    """

    rows: Tensor
    of: Tensor
    starts: Tensor
    bag_group: Tensor
    pattern: Tensor
    number: int
    pieces: tuple[tuple[int, int, int, int], ...]

    @classmethod
    def of_groups(cls, groups: Tensor, number: int, rows: Tensor | None = None, num_rows: int | None = None) -> Bags:
        """Put rows into bags.

        Args:
            groups: (n,) in [0, number).
            number: of groups.
            rows: (n,) which rows are in them, by default all.
            num_rows: N, if these are not all rows.
        """
        by_group = torch.argsort(groups, stable=True)
        starts = (occurrence_ranks(groups)[by_group] % BAG == 0).nonzero().flatten()
        of = groups[by_group]
        order = by_group if rows is None else rows[by_group]
        piece_of = starts // ROWS_AT_ONCE
        cuts = [*(piece_of.diff(prepend=piece_of.new_tensor([-1])).nonzero().flatten()).tolist(), len(starts)]
        ends = [*starts[cuts[:-1]].tolist(), len(of)]
        pieces = tuple(zip(ends[:-1], ends[1:], cuts[:-1], cuts[1:], strict=True))
        pattern = _pattern(
            torch.bincount(groups, minlength=number), order, len(groups) if num_rows is None else num_rows
        )
        return cls(order, of, starts, of[starts], pattern, number, pieces)

    def sums(self, values: Tensor) -> Tensor:
        """Add up the rows of (N, K) float32 by group: (number, K) float32, good to the last digits.

        Example:
            >>> bags = Bags.of_groups(torch.tensor([1, 0, 1]), number=2)
            >>> bags.sums(torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])).tolist()
            [[0.5, 0.5], [1.0, 1.0]]
        """
        return self._by_group(embedding_bag(self.rows, values, self.starts, mode="sum"))

    def sums_of_squares(self, values: Tensor) -> Tensor:
        """Add up the squares of the rows of (N, K) float32 by group: (number, K) float32."""
        sums = []
        for begin, end, first, last in self.pieces:
            squares = values.index_select(0, self.rows[begin:end]).square_()
            places = torch.arange(end - begin, device=values.device)
            sums.append(embedding_bag(places, squares, self.starts[first:last] - begin, mode="sum"))
        return self._by_group(torch.cat(sums))

    def products(self, values: Tensor, table: Tensor) -> Tensor:
        """Multiply every row of (N, K) float32 with the row of its group in a (number, K) table: (n,), in the order of
        ``rows``."""
        return torch.sparse.sampled_addmm(self.pattern, table, values.T, beta=0).values()

    def _by_group(self, sums: Tensor) -> Tensor:
        if len(sums) == self.number:
            return sums
        whole = sums.new_zeros(self.number, sums.shape[1], dtype=torch.float64)
        return whole.index_add_(0, self.bag_group, sums.double()).float()


@dataclass(frozen=True)
class Documents:
    """Which document each row belongs to: rows inside a document depend on each other, documents do not.

    Attributes:
        of: (N,) index in [0, G).
        number: G.
        sizes: (G,) rows of each, as float64.
        bags: the rows by document.
    """

    of: Tensor
    number: int
    sizes: Tensor
    bags: Bags

    @classmethod
    def of_rows(cls, of: Tensor) -> Documents:
        """Documents of (N,) rows, from their dense index."""
        number = int(of.max()) + 1
        return cls(of, number, torch.bincount(of).double(), Bags.of_groups(of, number))

    def totals(self, values: Tensor, of: Tensor | None = None) -> Tensor:
        """(G,) sums of (n,) numbers by document; ``of`` says of which, by default those of all rows."""
        return torch.bincount(self.of if of is None else of, weights=values, minlength=self.number)

    def influence(self, totals: Tensor) -> Tensor:
        """(..., G) sums of what the rows add to a mean over rows, to (..., G) influences on it."""
        number = len(self.of)
        return (totals - self.sizes * (totals.sum(-1, keepdim=True) / number)) / number


@dataclass(frozen=True)
class LabelGroups:
    """The rows of a label set in groups: labels seen once need no slot, only their own row.

    Attributes:
        num_rows: N.
        num_labels: M.
        once: (N1,) rows whose label occurs once.
        once_document: (N1,) document of each.
        halves: the other rows in 2 R groups, by repeated label and half, 2 slot + h.
        half_document: (N - N1,) document of each row, in the order of ``halves``.
        occurrences: (R,) n_x.
        half_occurrences: (2 R,) n_xh.
        sizes: (U,) classes of n.
        shares: (U,) share of the rows whose label is in the class.
        half_shares: (U,) share of the rows that have a repeated label and whose half is in the class.
        document_sizes: (G, U) rows of each document whose label is in the class.
        document_half_sizes: (G, U) the same of the halves.
        crowding: Σ_x n_x² / N².
        pair_noise: Σ_x (n_x - 1)² / (n_x1 n_x2) / ( Σ_x (n_x - 1) )².
    """

    num_rows: int
    num_labels: int
    once: Tensor
    once_document: Tensor
    halves: Bags
    half_document: Tensor
    occurrences: Tensor
    half_occurrences: Tensor
    sizes: Tensor
    shares: Tensor
    half_shares: Tensor
    document_sizes: Tensor
    document_half_sizes: Tensor
    crowding: float
    pair_noise: float

    @classmethod
    def of(cls, labels: Tensor, documents: Documents) -> LabelGroups:
        """Group (N,) dense labels."""
        occurrences = torch.bincount(labels)
        repeated = occurrences > 1
        slot_of = repeated.cumsum(0) - 1  # by label
        again = repeated[labels]
        rows, once = again.nonzero().flatten(), (~again).nonzero().flatten()
        in_halves = 2 * slot_of[labels[rows]] + occurrence_ranks(labels)[rows] % 2
        halves = Bags.of_groups(in_halves, 2 * int(repeated.sum()), rows, len(labels))
        half_occurrences = torch.bincount(in_halves, minlength=halves.number)
        sizes, class_of = size_classes(occurrences, half_occurrences)
        by_class = _by_document(documents.of, class_of[occurrences[labels]], documents.number, len(sizes))
        by_half_class = _by_document(
            documents.of[rows], class_of[half_occurrences[in_halves]], documents.number, len(sizes)
        )
        return cls(
            len(labels),
            len(occurrences),
            once,
            documents.of[once],
            halves,
            documents.of[halves.rows],
            occurrences[repeated].double(),
            half_occurrences.double(),
            sizes,
            by_class.sum(0) / len(labels),
            by_half_class.sum(0) / len(labels),
            by_class,
            by_half_class,
            float((occurrences.double() / len(labels)).square().sum()),
            float(pair_noise(occurrences[repeated].double(), half_occurrences.double().view(-1, 2).T)),
        )


@dataclass(frozen=True)
class LabelWeights:
    """How much each label counts in the plug-in reading, if not by how often it occurs.

    Source: the first submission of Conklin et al., arXiv 2604.07569, took all labels that occur at least five times as
    equal: ``rule="uniform"``, ``min_count=5``.

    Attributes:
        repeated: (R,) weight of the labels that occur more than once.
        once: weight of each of the others.
        sizes: (U,) distinct n_x.
        shares: (U,) weight of all labels that occur so often.
    """

    repeated: Tensor
    once: float
    sizes: Tensor
    shares: Tensor

    @classmethod
    def of(cls, groups: LabelGroups, rule: str, min_count: int) -> LabelWeights:
        """Weights that sum to 1, or are ``nan`` if no label occurs ``min_count`` times.

        Args:
            groups: of the labels.
            rule: ``empirical``, by n_x, or ``uniform``.
            min_count: labels that occur less often are left out.
        """
        check_option("label_weights", rule, LABEL_WEIGHTS)
        occurrences = torch.cat([groups.occurrences, groups.occurrences.new_ones(len(groups.once))])
        weight = (occurrences >= min_count) * (occurrences if rule == "empirical" else torch.ones_like(occurrences))
        weight = weight / weight.sum()
        sizes, where = torch.unique(occurrences, return_inverse=True)
        shares = torch.zeros_like(sizes).index_add_(0, where, weight)
        number = len(groups.occurrences)
        return cls(weight[:number], float(weight[number]) if len(groups.once) else 0.0, sizes, shares)


def _pattern(sizes: Tensor, columns: Tensor, num_columns: int) -> Tensor:
    ends = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse")  # that they are young, and are not checked
        return torch.sparse_csr_tensor(
            ends, columns, torch.zeros(len(columns)), (len(sizes), num_columns), check_invariants=False
        )


def moved(groups: _Groups, device: torch.device) -> _Groups:
    """The same groups with every tensor on a device."""
    changed: dict[str, Any] = {}
    for field in fields(groups):  # type: ignore[arg-type]
        value = getattr(groups, field.name)
        if isinstance(value, Tensor):
            changed[field.name] = value.to(device)
        elif is_dataclass(value):
            changed[field.name] = moved(value, device)
    return replace(groups, **changed)  # type: ignore[type-var]


def _by_document(documents: Tensor, classes: Tensor, num_documents: int, num_classes: int) -> Tensor:
    """(G, U) how many of (n,) rows of a document are in a class."""
    cells = torch.bincount(documents * num_classes + classes, minlength=num_documents * num_classes)
    return cells.view(num_documents, num_classes).double()


def pair_noise(occurrences: Tensor, halves: Tensor) -> Tensor:
    """Σ_x (n_x - 1)² / (n_x1 n_x2) / ( Σ_x (n_x - 1) )² for (R,) occurrences and (2, R) halves of repeated labels."""
    return ((occurrences - 1).square() / halves.prod(0)).sum() / (occurrences - 1).sum().square()


def size_classes(occurrences: Tensor, half_occurrences: Tensor) -> tuple[Tensor, Tensor]:
    """Classes of n: every n up to 16, then ranges of similar n under the mean of their 1 / n.

    Returns:
        (U,) sizes in float64, and the class of every n from 0 up.
    """
    number = torch.bincount(torch.cat([occurrences, half_occurrences]))
    n = torch.arange(len(number), device=number.device)
    grid = n.clamp(max=EXACT_SIZES) + (n.clamp(min=EXACT_SIZES) / EXACT_SIZES).log().div(_LOG_RATIO).round().long()
    used = (number > 0) & (n > 0)
    kept, where = torch.unique(grid[used], return_inverse=True)
    rows = (number * n)[used].double()
    weight = rows.new_zeros(len(kept)).index_add_(0, where, rows)
    inverse = rows.new_zeros(len(kept)).index_add_(0, where, rows / n[used])
    class_of = torch.zeros_like(n).masked_scatter_(used, where)
    return weight / inverse, class_of


_LOG_RATIO = math.log(SIZE_RATIO)
