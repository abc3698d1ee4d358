"""Assignments of one site to its readings, each with what every document adds to it.

Letters: N positions, K anchors, M labels, G documents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ibtrack import entropies
from ibtrack.counts import Counts, count


@dataclass(frozen=True)
class Estimate:
    """A number and how much each document moves it.

    Attributes:
        value: ().
        influence: (G,) first-order change of ``value`` by each document, summing to about 0. Positions inside a
            document depend on each other, documents do not; so the spread of these gives the standard error.
    """

    value: Tensor
    influence: Tensor

    @property
    def standard_error(self) -> Tensor:
        """() over documents; ``nan`` for a single one."""
        documents = len(self.influence)
        if documents < 2:
            return torch.full_like(self.value, torch.nan)
        return (self.influence.square().sum() * documents / (documents - 1)).sqrt()

    def ratio(self, other: Estimate) -> Estimate:
        """self / other, by the delta method."""
        value = self.value / other.value
        return Estimate(value, (self.influence - value * other.influence) / other.value)

    def scaled(self, factor: float) -> Estimate:
        return Estimate(self.value * factor, self.influence * factor)

    @staticmethod
    def mean(estimates: Sequence[Estimate]) -> Estimate:
        """The mean, whose error accounts for the estimates sharing their documents."""
        values, influences = zip(*((e.value, e.influence) for e in estimates), strict=True)
        return Estimate(torch.stack(values).mean(), torch.stack(influences).mean(0))


@dataclass(frozen=True)
class Documents:
    """Which document each position belongs to.

    Attributes:
        of: (N,) index in [0, G).
        number: G.
    """

    of: Tensor
    number: int

    def influence(self, rows: Tensor) -> Tensor:
        """(N,) contributions to a mean over positions, to (G,) influences on it."""
        sums = rows.new_zeros(self.number).index_add_(0, self.of, rows - rows.mean())
        return sums / len(rows)


@dataclass(frozen=True)
class SiteReading:
    """All readings of one site, in nats.

    Attributes:
        entropy: H(Z).
        ceiling: I(Z; J), see `ibtrack.entropies.ceiling`.
        information: label set (``input/token`` …) to debiased I.
        plugin: label set to the published reading.
        null: label set to the part of it that stands after permuting the labels.
    """

    entropy: Estimate
    ceiling: Estimate
    information: Mapping[str, Estimate]
    plugin: Mapping[str, Tensor]
    null: Mapping[str, Tensor]

    @staticmethod
    def mean(readings: Sequence[SiteReading]) -> SiteReading:
        """The uniform mean over sites, each number by itself."""
        names = readings[0].information
        return SiteReading(
            Estimate.mean([r.entropy for r in readings]),
            Estimate.mean([r.ceiling for r in readings]),
            {name: Estimate.mean([r.information[name] for r in readings]) for name in names},
            {name: torch.stack([r.plugin[name] for r in readings]).mean() for name in names},
            {name: torch.stack([r.null[name] for r in readings]).mean() for name in names},
        )


def read_site(
    assignments: Tensor, label_sets: Mapping[str, Tensor], num_labels: Mapping[str, int], documents: Documents
) -> SiteReading:
    """Read one site: entropy, ceiling, and every label set in its three readings.

    Args:
        assignments: (N, K).
        label_sets: name to (N,) labels.
        num_labels: name to M.
        documents: of the positions.
    """
    curve = entropies.null_curve(assignments)
    rows = assignments.double()
    log_marginal = curve.mean.log().nan_to_num(neginf=0.0)  # an anchor with p = 0 has A = 0 everywhere
    surprise = -(rows @ log_marginal)  # (N,)
    row_entropy = entropies.entropy(rows)  # (N,)
    information, plugin, null = {}, {}, {}
    for name, labels in label_sets.items():
        counts = count(assignments, labels, num_labels[name])
        information[name] = _debiased(rows, labels, counts, surprise, documents)
        plugin[name] = entropies.information(counts, "plugin")
        null[name] = entropies.null_information(curve, counts.occurrences)
    return SiteReading(
        Estimate(surprise.mean(), documents.influence(surprise)),
        Estimate((surprise - row_entropy).mean(), documents.influence(surprise - row_entropy)),
        information,
        plugin,
        null,
    )


def _debiased(rows: Tensor, labels: Tensor, counts: Counts, surprise: Tensor, documents: Documents) -> Estimate:
    """The debiased information with the influence values Σ_k A_ik log( Q_xk / p_k ) of its rows."""
    means = entropies.shrunken_means(counts)  # (M, K)
    log_means = means.log().nan_to_num(nan=torch.nan, neginf=0.0)
    gain = surprise + (rows * log_means[labels]).sum(-1)  # (N,)
    return Estimate(entropies.conditional_information(counts, means), documents.influence(gain))
