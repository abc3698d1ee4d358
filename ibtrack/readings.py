"""Assignments of one site to its readings, each with what every document adds to it.

Letters: N positions, K anchors, M labels, G documents.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ibtrack import entropies
from ibtrack.moments import GroupMeans, LabelGroups, Moments, SiteRows, log_or_zero, moments_of_rows, row_effects

CORRECTION_ERROR = 0.04  # of the bias correction, one deviation; from the cases of experiments/benchmarks/truth.py
FAINT = 0.02  # fraction of log K below which an information is too small for its correction to be wrong


@dataclass(frozen=True)
class Estimate:
    """A number, how much each document moves it, and how far its correction may be off.

    Attributes:
        value: ().
        influence: (G,) first-order change of ``value`` by each document, summing to about 0. Positions inside a
            document depend on each other, documents do not; so the spread of these gives the sampling error.
        systematic: () standard deviation of what no number of documents would remove.
    """

    value: Tensor
    influence: Tensor
    systematic: Tensor

    @property
    def standard_error(self) -> Tensor:
        """() of sampling and correction together; ``nan`` for a single document."""
        documents = len(self.influence)
        if documents < 2:
            return torch.full_like(self.value, torch.nan)
        sampling = self.influence.square().sum() * documents / (documents - 1)
        return (sampling + self.systematic.square()).sqrt()

    def ratio(self, other: Estimate) -> Estimate:
        """self / other, by the delta method."""
        value = self.value / other.value
        influence = (self.influence - value * other.influence) / other.value
        return Estimate(value, influence, torch.hypot(self.systematic, value * other.systematic) / other.value.abs())

    def scaled(self, factor: float) -> Estimate:
        return Estimate(self.value * factor, self.influence * factor, self.systematic * abs(factor))

    @staticmethod
    def mean(estimates: Sequence[Estimate]) -> Estimate:
        """The mean, whose error accounts for the estimates sharing documents and the faults of their correction."""
        values, influences, systematics = zip(*((e.value, e.influence, e.systematic) for e in estimates), strict=True)
        return Estimate(torch.stack(values).mean(), torch.stack(influences).mean(0), torch.stack(systematics).mean())


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


def read_site(assignments: Tensor, label_sets: Mapping[str, LabelGroups], documents: Documents) -> SiteReading:
    """`read_sites` for one site."""
    return read_sites([assignments], label_sets, documents)[0]


def read_sites(
    assignments: Sequence[Tensor], label_sets: Mapping[str, LabelGroups], documents: Documents
) -> list[SiteReading]:
    """Read sites: entropy, ceiling, and every label set in its three readings.

    Args:
        assignments: (N, K) of every site.
        label_sets: name to the groups of its (N,) labels.
        documents: of the positions.
    """
    sites = [SiteRows.of(rows) for rows in assignments]
    curves = [entropies.null_curve(site) for site in sites]
    information: dict[str, list[Estimate]] = {}
    plugin: dict[str, list[Tensor]] = {}
    null: dict[str, list[Tensor]] = {}
    for name, groups in label_sets.items():
        means = [GroupMeans.of(site, groups) for site in sites]
        each = [moments_of_rows(site, groups, mean) for site, mean in zip(sites, means, strict=True)]
        moments = Moments.stack(each)
        values = entropies.debiased_information(moments)
        gradients = entropies.debiased_gradient(moments).unstack()
        plugins = entropies.plugin_information(moments)
        systematic = correction_error(values, plugins, assignments[0].shape[1])
        influences = [
            documents.influence(row_effects(site, groups, mean, gradient))
            for site, mean, gradient in zip(sites, means, gradients, strict=True)
        ]
        information[name] = [Estimate(*parts) for parts in zip(values, influences, systematic, strict=True)]
        plugin[name] = list(plugins)
        null[name] = [entropies.null_information(curve, m) for curve, m in zip(curves, each, strict=True)]
    return [
        SiteReading(
            *_of_the_cloud(site, documents),
            {name: found[index] for name, found in information.items()},
            {name: found[index] for name, found in plugin.items()},
            {name: found[index] for name, found in null.items()},
        )
        for index, site in enumerate(sites)
    ]


def _of_the_cloud(site: SiteRows, documents: Documents) -> tuple[Estimate, Estimate]:
    """Entropy and ceiling, which need no labels."""
    surprise = -(site.rows @ log_or_zero(site.mean))  # (N,)
    none = surprise.new_zeros(())
    entropy, gain = surprise, surprise - site.entropy
    return (
        Estimate(entropy.mean(), documents.influence(entropy), none),
        Estimate(gain.mean(), documents.influence(gain), none),
    )


def correction_error(debiased: Tensor, plugin: Tensor, num_anchors: int) -> Tensor:
    """(...) how far the bias correction may be off: a share of it, and nothing where there is no information."""
    return CORRECTION_ERROR * (plugin - debiased).abs() * debiased / (debiased + FAINT * math.log(num_anchors))
