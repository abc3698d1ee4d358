"""The three readings of every site and label set, plug-in, null and debiased, with entropy and ceiling.

Letters: N rows, K anchors, L sites, C label sets, G documents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TypeVar

import torch
from torch import Tensor

from ibtrack.information.brackets import BracketDesign, lower_ends
from ibtrack.information.debiased import debiased_with_gradient
from ibtrack.information.devices import rows_on_accelerator
from ibtrack.information.document_design import DocumentDesign
from ibtrack.information.gap_curves import GapCurves, gap_curves
from ibtrack.information.label_design import LabelDesign
from ibtrack.information.label_statistics import (
    LabelStatistics,
    conditional_entropies,
    equally_weighted_entropies,
    label_statistics,
)
from ibtrack.information.moments import moments_of_rows
from ibtrack.information.null import null_information
from ibtrack.information.plugin import FEWEST_OCCURRENCES, plugin_from_moments
from ibtrack.information.row_statistics import RowStatistics
from ibtrack.information.standard_errors import Estimate, correction_error
from ibtrack.information.variance_components import label_share, null_deviation
from ibtrack.record.keys import READINGS

ESTIMATOR_VERSION = 2  # raised whenever a reading of the same activations would move by more than rounding
# positions times sites (on a CPU), and sites times documents times label sets, that are read together
CELLS_AT_ONCE = 1 << 18

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Readings:
    """All readings of L sites, in nats.

    Attributes:
        entropy: H(Z).
        ceiling: I(Z;J), see `ibtrack.information.plugin.ceiling`.
        debiased: Name of a label set, such as ``input/token``, to its debiased information.
        plugin: Name of a label set to its plug-in information, (L,).
        null: Name of a label set to the part of that which stands after permuting the labels, (L,).
        z: Name of a label set to (L,) the spread between labels in standard deviations of what it would be if labels
            told nothing: above 2 or so, labels tell something. It comes with ``debiased``.
        lower_ends: Name of a label set to the lower end of its information, see `ibtrack.information.brackets`.
        plugin_equal: Name of a label set to the plug-in in which all frequent labels count alike, (L,); see
            `ibtrack.information.plugin`.
    """

    entropy: Estimate
    ceiling: Estimate
    debiased: Mapping[str, Estimate]
    plugin: Mapping[str, Tensor]
    null: Mapping[str, Tensor]
    z: Mapping[str, Tensor]
    lower_ends: Mapping[str, Estimate] = field(default_factory=dict)
    plugin_equal: Mapping[str, Tensor] = field(default_factory=dict)

    def map_tensors(self, change: Callable[[Tensor], Tensor]) -> Readings:
        """Change the leading dimension of every tensor, such as to pick or to average sites.

        The standard errors of averaged sites account for the documents that they share, and for corrections that err
        together.
        """
        return Readings(
            entropy=self.entropy.map(change),
            ceiling=self.ceiling.map(change),
            debiased={name: estimate.map(change) for name, estimate in self.debiased.items()},
            plugin={name: change(values) for name, values in self.plugin.items()},
            null={name: change(values) for name, values in self.null.items()},
            z={name: change(values) for name, values in self.z.items()},
            lower_ends={name: estimate.map(change) for name, estimate in self.lower_ends.items()},
            plugin_equal={name: change(values) for name, values in self.plugin_equal.items()},
        )

    def with_permutations(self, name: str, permuted: Tensor) -> Readings:
        """Take the null and the bias of a label set from permutations of its labels, and its error from their spread.

        Args:
            name: A label set that has a plug-in reading; its debiased reading becomes plug-in less null.
            permuted: (L, draws) see `ibtrack.information.permutation.permuted_information`.
        """
        null, spread = permuted.mean(1), permuted.std(1)
        value = self.plugin[name] - null
        debiased = replace(self.debiased[name], value=value, systematic=spread)
        return replace(
            self,
            debiased={**self.debiased, name: debiased},
            null={**self.null, name: null},
            z={**self.z, name: value / spread},
        )

    def only(self, readings: Sequence[str]) -> Readings:
        """Keep some of the three readings; the mappings of the others become empty."""
        return replace(
            self,
            debiased=self.debiased if "debiased" in readings else {},
            plugin=self.plugin if "plugin" in readings else {},
            null=self.null if "null" in readings else {},
            z=self.z if "debiased" in readings else {},
            plugin_equal=self.plugin_equal if "plugin" in readings else {},
        )

    @staticmethod
    def join(parts: Sequence[Readings]) -> Readings:
        """Put the sites of all parts one after the other."""
        if len(parts) == 1:
            return parts[0]
        first = parts[0]
        return Readings(
            entropy=Estimate.join([part.entropy for part in parts]),
            ceiling=Estimate.join([part.ceiling for part in parts]),
            debiased={name: Estimate.join([part.debiased[name] for part in parts]) for name in first.debiased},
            plugin={name: torch.cat([part.plugin[name] for part in parts]) for name in first.plugin},
            null={name: torch.cat([part.null[name] for part in parts]) for name in first.null},
            z={name: torch.cat([part.z[name] for part in parts]) for name in first.z},
            lower_ends={name: Estimate.join([part.lower_ends[name] for part in parts]) for name in first.lower_ends},
            plugin_equal={name: torch.cat([part.plugin_equal[name] for part in parts]) for name in first.plugin_equal},
        )


def site_readings(
    assignments: Sequence[Tensor],
    designs: Mapping[str, LabelDesign],
    documents: DocumentDesign,
    *,
    readings: Sequence[str] = READINGS,
    brackets: BracketDesign | None = None,
    equal_weights: bool = False,
) -> Readings:
    """Work out entropy, ceiling, and every label set in its readings, of every site.

    Args:
        assignments: (N, K) float32 soft assignments of each site.
        designs: Name of a label set to its design.
        documents: Documents of the rows.
        readings: Which of ``debiased``, ``plugin`` and ``null``; the mappings of the others are empty.
        brackets: Label sets whose lower ends are worked out; by default none are.
        equal_weights: Whether the plug-in is also worked out with all frequent labels counting alike.
    """
    number, num_anchors = assignments[0].shape
    on_cpu = assignments[0].device.type == "cpu"
    at_once = max(1, CELLS_AT_ONCE // number if on_cpu else rows_on_accelerator(number * num_anchors))
    parts = _parts(assignments, at_once)
    read = [_read_together(part, designs, documents, readings, brackets, equal_weights) for part in parts]
    return Readings.join(read)


def _parts(items: Sequence[_Item], at_once: int) -> Iterator[Sequence[_Item]]:
    return (items[start : start + at_once] for start in range(0, len(items), at_once))


def _read_together(
    assignments: Sequence[Tensor],
    designs: Mapping[str, LabelDesign],
    documents: DocumentDesign,
    readings: Sequence[str],
    brackets: BracketDesign | None,
    equal_weights: bool,
) -> Readings:
    units = documents.units
    sites = _side_by_side(assignments, units)
    debiased: dict[str, Estimate] = {}
    z: dict[str, Tensor] = {}
    entropy, ceiling = _entropy_and_ceiling(sites)
    curves = cache(lambda: gap_curves(sites))  # for all label sets, and not for the plug-in
    conditional: dict[str, Tensor] = {}  # (L,) Σ_x n_x H(P_x) of each label set
    at_once = max(1, CELLS_AT_ONCE // (len(assignments) * units.num_documents))  # sums by document are kept
    for names in _parts(list(designs), at_once):
        some = [designs[name] for name in names]
        if "debiased" in readings:
            statistics = label_statistics(sites, some)
            estimates, scores = _debiased(sites, some, statistics, curves())
            debiased |= dict(zip(names, estimates, strict=True))
            z |= dict(zip(names, scores, strict=True))
            conditional |= {name: each.conditional for name, each in zip(names, statistics, strict=True)}
        elif "plugin" in readings:
            conditional |= dict(zip(names, conditional_entropies(sites, some), strict=True))
    plugin = {name: entropy.value - sums / len(units.index) for name, sums in conditional.items()}
    with_null = designs if "null" in readings else {}
    with_equal = designs if equal_weights and "plugin" in readings else {}
    equal = equally_weighted_entropies(sites, list(with_equal.values()), FEWEST_OCCURRENCES)
    read = Readings(
        entropy=entropy,
        ceiling=ceiling,
        debiased=debiased,
        plugin=plugin if "plugin" in readings else {},
        null={name: null_information(curves(), design.sizes) for name, design in with_null.items()},
        z=z,
        lower_ends={} if brackets is None else lower_ends(sites, brackets),
        plugin_equal={name: entropy.value - mean for name, mean in zip(with_equal, equal, strict=True)},
    )
    return read if units is documents else _without_errors(read)


def _without_errors(readings: Readings) -> Readings:
    """Let the one document stand for all rows: its influence is 0, and there is no standard error."""

    def whole(estimate: Estimate) -> Estimate:
        return replace(estimate, influence=torch.zeros_like(estimate.influence[:, :1]))

    return replace(
        readings,
        entropy=whole(readings.entropy),
        ceiling=whole(readings.ceiling),
        debiased={name: whole(estimate) for name, estimate in readings.debiased.items()},
        lower_ends={  # they are made of other documents
            name: whole(estimate).map(lambda part: torch.full_like(part, torch.nan))
            for name, estimate in readings.lower_ends.items()
        },
    )


def _side_by_side(assignments: Sequence[Tensor], documents: DocumentDesign) -> list[RowStatistics]:
    """Put all sites into one table on an accelerator, where a call costs more than what it does.

    On a CPU each has its own, which stays in the cache.
    """
    if assignments[0].device.type == "cpu":
        return [RowStatistics(rows.unsqueeze(1), documents) for rows in assignments]
    return [RowStatistics(torch.stack(list(assignments), 1), documents)]


def _debiased(
    sites: Sequence[RowStatistics],
    designs: Sequence[LabelDesign],
    statistics: Sequence[LabelStatistics],
    curves: GapCurves,
) -> tuple[list[Estimate], Tensor]:
    """Work out one estimate of L sites for each label set, and (C, L) the spread between labels over its noise."""
    moments, influences = moments_of_rows(sites, designs, statistics, curves)
    values, gradient = debiased_with_gradient(moments)
    changes = influences.of(gradient)
    estimates = [
        Estimate(value=value, influence=influence, systematic=correction_error(value, plugin, design.met_share))
        for value, influence, plugin, design in zip(values, changes, plugin_from_moments(moments), designs, strict=True)
    ]
    return estimates, label_share(moments) / null_deviation(moments)


def _entropy_and_ceiling(sites: Sequence[RowStatistics]) -> tuple[Estimate, Estimate]:
    """Work out what needs no labels; the influence of a row on H(Z) is its surprise -Σ_k A_ik log p_k."""
    documents = sites[0].documents
    surprise, row_entropy = (
        torch.cat([getattr(site, f"document_{name}") for site in sites]) for name in ("surprise", "entropy")
    )

    def mean_of(totals: Tensor) -> Estimate:
        value = totals.sum(1) / len(documents.index)
        return Estimate(value=value, influence=documents.influence(totals), systematic=torch.zeros_like(value))

    return mean_of(surprise), mean_of(surprise - row_entropy)
