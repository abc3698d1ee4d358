"""Labels and documents to groups of rows: worked out once per probe, used at every measurement.

Letters: N rows, K anchors, M labels, n_x rows of label x; R labels that occur more than once; U classes of n; G
documents; h the half that a row was dealt to.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from ibtrack._checks import check_option
from ibtrack.bags import Bags
from ibtrack.counts import occurrence_ranks

EXACT_SIZES = 4  # labels seen more often are put into classes of similar n
SIZE_RATIO = 1.5
CLUMP_RATIO = 1.25  # of effective numbers of documents, most of which are near 1
LABEL_WEIGHTS = ("empirical", "uniform")

_Groups = TypeVar("_Groups")


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

    Rows of one document are alike for reasons of their own: a text repeats itself. So the occurrences of a label are
    dealt to two halves by documents, and what they have in common is of the label. Where there is one document only,
    rows are dealt.

    Attributes:
        num_rows: N.
        num_halved: R, labels that occur in two documents.
        once: (N1,) rows whose label occurs once.
        once_document: (N1,) document of each.
        parts: the other rows in 2 R + R' groups: halves of the labels, 2 x + h, and then the labels that occur several
            times in a single document. Their bags are of one label and one document.
        part_document: (N - N1,) document of each row, in the order of ``parts``.
        bag_of: (N - N1,) bag of each row, in the order of ``parts``.
        bag_document: (B,) document of each bag.
        occurrences: (R + R',) n_x.
        part_occurrences: (2 R + R',) rows in each part.
        inverse: (U,) mean of 1 / n over the rows of each class.
        clumps: (U,) mean of Σ_d n_d² / n², one over the effective number of documents.
        shares: (U,) share of the rows whose label is in the class.
        repeated: (U,) those of them whose label has halves.
        half_shares: (U,) share of the rows whose half is in the class.
        document_sizes: (G, U) rows of each document whose label is in the class.
        absence: (R,) D / (D - 1) for D documents of a label: without one of two, there are no halves left.
        document_repeated: (G, U) those of them whose label has halves, times its ``absence``.
        document_half_sizes: (G, U) rows of each document whose half is in the class, times ``absence``.
        degrees: Σ_x (n_x - 1) / N over the labels that have halves.
        crowding: Σ_x n_x² / N².
        pair_noise: of Σ_x (n_x - 1) P_x1 P_x2, see `pair_noise`.
    """

    num_rows: int
    num_halved: int
    once: Tensor
    once_document: Tensor
    parts: Bags
    part_document: Tensor
    bag_of: Tensor
    bag_document: Tensor
    occurrences: Tensor
    part_occurrences: Tensor
    inverse: Tensor
    clumps: Tensor
    shares: Tensor
    repeated: Tensor
    half_shares: Tensor
    document_sizes: Tensor
    absence: Tensor
    document_repeated: Tensor
    document_half_sizes: Tensor
    degrees: float
    crowding: float
    pair_noise: tuple[float, float, float]

    @classmethod
    def of(cls, labels: Tensor, documents: Documents) -> LabelGroups:
        """Group (N,) dense labels."""
        total, of = len(labels), documents.of
        apart = of if documents.number > 1 else torch.arange(total)
        cells = torch.unique(labels * (int(apart.max()) + 1) + apart, return_inverse=True)[1]  # by label, then document
        cell_sizes = torch.bincount(cells)
        cell_label = labels.new_zeros(len(cell_sizes)).index_put_((cells,), labels)
        spread = torch.bincount(cell_label)  # documents of each label
        occurrences = torch.bincount(labels)
        clumps = _clumps(cell_label, cell_sizes, len(occurrences))

        halved, single = spread > 1, (spread == 1) & (occurrences > 1)
        number = int(halved.sum())
        part_of_label = torch.where(halved, 2 * (halved.cumsum(0) - 1), 2 * number + single.cumsum(0) - 1)
        half = occurrence_ranks(cell_label) % 2 * halved[cell_label]
        part_of_cell = part_of_label[cell_label] + half
        again = occurrences[labels] > 1
        rows, once = again.nonzero().flatten(), (~again).nonzero().flatten()
        num_parts = 2 * number + int(single.sum())
        parts = Bags.of_groups(part_of_cell[cells[rows]], num_parts, rows, total, cells[rows])
        part_occurrences = torch.bincount(parts.of, minlength=num_parts)
        in_halves = halved[cell_label]
        half_clumps = _clumps(part_of_cell[in_halves], cell_sizes[in_halves], 2 * number)

        in_half = (parts.of < 2 * number).nonzero().flatten()
        n = torch.cat([occurrences[labels], part_occurrences[parts.of[in_half]]])
        q = torch.cat([clumps[labels], half_clumps[parts.of[in_half]]])
        class_of, inverse, alike = _classes(n, q)
        num_classes = len(inverse)
        by_class = _by_document(of, class_of[:total], documents.number, num_classes)
        absence = (spread / (spread - 1).clamp(min=1)).double()  # by label
        half_rows, half_class = parts.rows[in_half], class_of[total:]
        label_rows = halved[labels].nonzero().flatten()
        label_class = class_of[label_rows]

        def without(rows: Tensor, classes: Tensor) -> Tensor:
            return _by_document(of[rows], classes, documents.number, num_classes, absence[labels[rows]])

        weights = occurrences[halved].double() - 1
        return cls(
            total,
            number,
            once,
            of[once],
            parts,
            of[parts.rows],
            torch.arange(len(parts.starts)).repeat_interleave(parts.sizes.long()),
            of[parts.rows[parts.starts]],
            torch.cat([occurrences[halved], occurrences[single]]).double(),
            part_occurrences.double(),
            inverse,
            alike,
            by_class.sum(0) / total,
            torch.bincount(label_class, minlength=num_classes).double() / total,
            torch.bincount(half_class, minlength=num_classes).double() / total,
            by_class,
            absence[halved],
            without(label_rows, label_class),
            without(half_rows, half_class),
            float(weights.sum()) / total,
            float((occurrences.double() / total).square().sum()),
            pair_noise(weights, 1 / part_occurrences[: 2 * number].double().view(-1, 2), half_clumps.view(-1, 2)),
        )

    @property
    def sizes(self) -> Tensor:
        """(U,) n of each class."""
        return 1 / self.inverse


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


def _by_document(
    documents: Tensor, classes: Tensor, num_documents: int, num_classes: int, weights: Tensor | None = None
) -> Tensor:
    """(G, U) how many of (n,) rows of a document are in a class, or the sum of their weights."""
    cells = torch.bincount(documents * num_classes + classes, weights, minlength=num_documents * num_classes)
    return cells.view(num_documents, num_classes).double()


def pair_noise(weights: Tensor, inverse: Tensor, clumps: Tensor) -> tuple[float, float, float]:
    """How Σ_x w_x P_x1 P_x2 / Σ_x w_x varies if labels tell nothing, in units of the variance of one product of rows.

    The mean of a half varies by (1 - ρ) / n + ρ q, where ρ is how alike rows of one document are.

    Args:
        weights: (R,) w.
        inverse: (R, 2) 1 / n of the halves.
        clumps: (R, 2) q.

    Returns:
        the factors of (1 - ρ)², of ρ (1 - ρ) and of ρ².
    """
    share = (weights / weights.sum()).square()
    crossed = inverse * clumps.flip(1)
    terms = inverse.prod(1), crossed.sum(1), clumps.prod(1)
    first, second, third = (float(share @ term) for term in terms)
    return first, second, third


def _clumps(groups: Tensor, cell_sizes: Tensor, number: int) -> Tensor:
    """(number,) Σ n_d² / ( Σ n_d )² over the cells of each group."""
    sizes = cell_sizes.double()
    sums = torch.bincount(groups, sizes, minlength=number).double()  # float32 if there is nothing to count
    return torch.bincount(groups, sizes.square(), minlength=number) / sums.clamp(min=1).square()


def _classes(n: Tensor, clumps: Tensor, rows: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Classes of similar n and similar effective number of documents.

    Args:
        n: (m,) occurrences of a label or a half.
        clumps: (m,) one over its effective number of documents.
        rows: (m,) how many rows that goes for, by default one.

    Returns:
        (m,) class of each, (U,) mean of 1 / n and (U,) mean of ``clumps`` over the rows of each class.
    """
    grid = _grid(n.double()), (-clumps.log() / _LOG_CLUMPS).round().long()
    class_of = torch.unique(grid[0] * (int(grid[1].max()) + 1) + grid[1], return_inverse=True)[1]
    weights = torch.ones_like(clumps) if rows is None else rows.double()
    number = torch.bincount(class_of, weights)
    return class_of, *(torch.bincount(class_of, weights * values) / number for values in (1 / n.double(), clumps))


def _grid(n: Tensor) -> Tensor:
    """Which of the small numbers, or which range of similar ones."""
    beyond = (n.clamp(min=EXACT_SIZES) / EXACT_SIZES).log() / _LOG_RATIO
    return (n.clamp(max=EXACT_SIZES) + beyond).round().long()


def size_classes(occurrences: Tensor, half_occurrences: Tensor) -> tuple[Tensor, Tensor]:
    """Classes of n for a label set without documents.

    Returns:
        (U,) mean of 1 / n over the rows of each class, and the class of every n from 0 up.
    """
    number = torch.bincount(torch.cat([occurrences, half_occurrences]))
    number[0] = 0
    used = number.nonzero().flatten()
    classes, inverse, _ = _classes(used, 1 / used.double(), number[used] * used)
    return inverse, torch.zeros_like(number).index_put_((used,), classes)


_LOG_RATIO, _LOG_CLUMPS = math.log(SIZE_RATIO), math.log(CLUMP_RATIO)
