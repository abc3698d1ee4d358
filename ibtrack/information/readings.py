"""Assignments of sites to their readings, each with what every document adds to it.

Letters: N positions, K anchors, M labels, G documents, L sites.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ibtrack.information import debiased
from ibtrack.information.document_design import DocumentDesign
from ibtrack.information.label_design import LabelDesign
from ibtrack.information.label_statistics import LabelStatistics, label_entropies, label_statistics
from ibtrack.information.moments import document_influences, moments_of_rows
from ibtrack.information.row_statistics import RowStatistics
from ibtrack.information.sample_sizes import SampleSizeBins
from ibtrack.record.keys import READINGS

CORRECTION_ERROR = 0.04  # of the bias correction, one deviation; from the cases of experiments/benchmarks/truth.py
FAINT = 0.02  # fraction of log K below which an information is too small for its correction to be wrong
POSITIONS_AT_ONCE = 1 << 18  # sites are read together while they have no more than this many


@dataclass(frozen=True)
class Estimate:
    """Numbers of several sites, how much each document moves them, and how far their correction may be off.

    Attributes:
        value: (L,).
        influence: (L, G) first-order change of ``value`` by each document, summing to about 0. Positions inside a
            document depend on each other, documents do not; so the spread of these gives the sampling error.
        systematic: (L,) standard deviation of what no number of documents would remove.
    """

    value: Tensor
    influence: Tensor
    systematic: Tensor

    @property
    def standard_error(self) -> Tensor:
        """(L,) of sampling and correction together; ``nan`` for a single document."""
        documents = self.influence.shape[-1]
        if documents < 2:
            return torch.full_like(self.value, torch.nan)
        sampling = self.influence.square().sum(-1) * documents / (documents - 1)
        return (sampling + self.systematic.square()).sqrt()

    def ratio(self, other: Estimate) -> Estimate:
        """self / other, by the delta method."""
        value = self.value / other.value
        influence = (self.influence - value.unsqueeze(-1) * other.influence) / other.value.unsqueeze(-1)
        return Estimate(value, influence, torch.hypot(self.systematic, value * other.systematic) / other.value.abs())

    def minus(self, other: Estimate) -> Estimate:
        """self - other, whose corrections err together."""
        systematic = (self.systematic - other.systematic).abs()
        return Estimate(self.value - other.value, self.influence - other.influence, systematic)

    def scaled(self, factor: float) -> Estimate:
        return Estimate(self.value * factor, self.influence * factor, self.systematic * abs(factor))

    def parts(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.value, self.influence, self.systematic


@dataclass(frozen=True)
class Readings:
    """All readings of several sites, in nats.

    Attributes:
        entropy: H(Z).
        ceiling: I(Z; J), see `ibtrack.information.debiased.ceiling`.
        information: label set (``input/token`` …) to debiased I.
        plugin: label set to the published reading, (L,).
        null: label set to the part of it that stands after permuting the labels, (L,).
    """

    entropy: Estimate
    ceiling: Estimate
    information: Mapping[str, Estimate]
    plugin: Mapping[str, Tensor]
    null: Mapping[str, Tensor]

    def each(self, change: Callable[[Tensor], Tensor]) -> Readings:
        """Change the leading dimension of every tensor, such as to pick or average sites.

        The errors of averaged sites account for the documents that they share, and for the faults of their correction.
        """

        def changed(estimate: Estimate) -> Estimate:
            return Estimate(*(change(part) for part in estimate.parts()))

        return Readings(
            changed(self.entropy),
            changed(self.ceiling),
            {name: changed(estimate) for name, estimate in self.information.items()},
            {name: change(values) for name, values in self.plugin.items()},
            {name: change(values) for name, values in self.null.items()},
        )

    def debiased_by_swaps(self, name: str, swapped: Tensor) -> Readings:
        """Take the bias of a label set, and the error of labels that tell nothing, from draws of
        `ibtrack.information.permutation.permuted_information`, (L, F)."""
        null = swapped.mean(1)
        found = replace(self.information[name], value=self.plugin[name] - null, systematic=swapped.std(1))
        return replace(self, information={**self.information, name: found}, null={**self.null, name: null})

    @staticmethod
    def join(parts: Sequence[Readings]) -> Readings:
        """The sites of all parts, one after the other."""

        def joined(estimates: Sequence[Estimate]) -> Estimate:
            return Estimate(*(torch.cat(column) for column in zip(*(e.parts() for e in estimates), strict=True)))

        if len(parts) == 1:
            return parts[0]
        names = parts[0].information
        return Readings(
            joined([part.entropy for part in parts]),
            joined([part.ceiling for part in parts]),
            {name: joined([part.information[name] for part in parts]) for name in names},
            {name: torch.cat([part.plugin[name] for part in parts]) for name in names},
            {name: torch.cat([part.null[name] for part in parts]) for name in names},
        )


def site_readings(
    assignments: Sequence[Tensor],
    label_sets: Mapping[str, LabelDesign],
    documents: DocumentDesign,
    *,
    readings: Sequence[str] = READINGS,
) -> Readings:
    """Read sites: entropy, ceiling, and every label set in its three readings.

    Args:
        assignments: (N, K) float32 of every site.
        label_sets: name to the groups of its (N,) labels.
        documents: of the positions.
        readings: which of ``debiased``, ``plugin`` and ``null``; the others' mappings are empty.
    """
    at_once = max(1, POSITIONS_AT_ONCE // len(documents.of))
    parts = [assignments[start : start + at_once] for start in range(0, len(assignments), at_once)]
    return Readings.join([_read_together(part, label_sets, documents, readings) for part in parts])


def _read_together(
    assignments: Sequence[Tensor],
    label_sets: Mapping[str, LabelDesign],
    documents: DocumentDesign,
    readings: Sequence[str],
) -> Readings:
    sites = _side_by_side(assignments, documents)
    information: dict[str, Estimate] = {}
    of_labels: dict[str, tuple[Tensor, Tensor]] = {}  # their entropies and those of rows, see `label_entropies`
    names = list(label_sets)
    at_once = max(1, POSITIONS_AT_ONCE // (len(assignments) * documents.number))  # sums by document are kept meanwhile
    for some in (names[start : start + at_once] for start in range(0, len(names), at_once)):
        groups = [label_sets[name] for name in some]
        if "debiased" in readings:
            sums = label_statistics(sites, groups)
            information |= dict(zip(some, _debiased(sites, groups, sums), strict=True))
            of_labels |= {name: (of_set.label_entropy, of_set.once) for name, of_set in zip(some, sums, strict=True)}
        elif "plugin" in readings:
            of_labels |= dict(zip(some, label_entropies(sites, groups), strict=True))
    entropy, ceiling = _of_the_cloud(sites, documents)
    plugin: dict[str, Tensor] = {}
    if "plugin" in readings:
        for name, known in of_labels.items():
            plugin[name] = entropy.value - _conditional(label_sets[name], *known)
    null: dict[str, Tensor] = {}
    if "null" in readings:
        null = _null(sites, {name: groups.classes for name, groups in label_sets.items()})
    return Readings(entropy, ceiling, information, plugin, null)


def _side_by_side(assignments: Sequence[Tensor], documents: DocumentDesign) -> list[RowStatistics]:
    """All sites in one table on an accelerator, where a call costs more than what it does; else each in its own, which
    stays in the cache."""
    if assignments[0].device.type == "cpu":
        return [RowStatistics(rows.unsqueeze(1), documents) for rows in assignments]
    return [RowStatistics(torch.stack(list(assignments), 1), documents)]


def _debiased(
    sites: Sequence[RowStatistics], groups: Sequence[LabelDesign], sums: Sequence[LabelStatistics]
) -> list[Estimate]:
    moments = moments_of_rows(sites, groups, sums)
    values = debiased.debiased_information(moments)
    effects = document_influences(sites, groups, sums, debiased.debiased_gradient(moments))
    errors = correction_error(values, debiased.plugin_information(moments), sites[0].rows.shape[-1])
    return [Estimate(*parts) for parts in zip(values, effects, errors, strict=True)]


def _conditional(groups: LabelDesign, label_entropy: Tensor, once: Tensor) -> Tensor:
    """(L,) Σ_x p(x) H(P_x), from (L, R + R') n_x H(P_x) of the repeated labels and (L,) Σ H(A_i) of the other rows."""
    return (label_entropy.sum(1) + once) / groups.num_rows


def _null(sites: Sequence[RowStatistics], label_sets: Mapping[str, SampleSizeBins]) -> dict[str, Tensor]:
    """(L,) per label set: H(p) - Σ_n share(n) h(n), by one curve per site for all of them."""
    counts = [len(known.sizes) for known in label_sets.values()]
    curve = debiased.null_curve(sites)
    expected = curve(torch.cat([known.sizes for known in label_sets.values()]))  # (L, Σ U)
    entropy = debiased.entropy(curve.mean)
    return {
        name: entropy - values @ known.shares
        for (name, known), values in zip(label_sets.items(), expected.split(counts, dim=1), strict=True)
    }


def _of_the_cloud(sites: Sequence[RowStatistics], documents: DocumentDesign) -> tuple[Estimate, Estimate]:
    """Entropy and ceiling, which need no labels."""
    number = len(documents.of)
    sums, mean, given = (
        torch.cat([getattr(site, name) for site in sites]) for name in ("document_sums", "mean", "document_entropy")
    )
    surprise = -(sums @ mean.clamp(min=_TINY).log().unsqueeze(-1)).squeeze(-1)  # (L, G)
    value, gain = surprise.sum(1) / number, (surprise - given).sum(1) / number
    none = torch.zeros_like(value)
    return (
        Estimate(value, documents.influence(surprise), none),
        Estimate(gain, documents.influence(surprise - given), none),
    )


def correction_error(debiased: Tensor, plugin: Tensor, num_anchors: int) -> Tensor:
    """(...) how far the bias correction may be off: a share of it, and nothing where there is no information."""
    return CORRECTION_ERROR * (plugin - debiased).abs() * debiased / (debiased + FAINT * math.log(num_anchors))


_TINY = 1e-300
