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
from ibtrack.information.joint_design import JointDesign
from ibtrack.information.joint_statistics import (
    joint_conditional_entropies,
    joint_equally_weighted_entropies,
    joint_statistics,
)
from ibtrack.information.label_design import LabelDesign
from ibtrack.information.label_statistics import (
    LabelStatistics,
    conditional_entropies,
    equally_weighted_entropies,
    label_statistics,
)
from ibtrack.information.moments import moments_of_rows
from ibtrack.information.null import null_information, null_informations
from ibtrack.information.plugin import FEWEST_OCCURRENCES, plugin_from_moments
from ibtrack.information.row_statistics import RowStatistics, together
from ibtrack.information.standard_errors import Estimate, correction_error, correction_factor
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
    designs: JointDesign | Mapping[str, LabelDesign],
    documents: DocumentDesign,
    *,
    readings: Sequence[str] = READINGS,
    brackets: BracketDesign | None = None,
    lost: Tensor | None = None,
    equal_weights: bool = False,
) -> Readings:
    """Work out entropy, ceiling, and every label set in its readings, of every site.

    Args:
        assignments: (N, K) float32 soft assignments of each site.
        designs: Name of a label set to its design, or a design that joins them, for an accelerator.
        documents: Documents of the rows.
        readings: Which of ``debiased``, ``plugin`` and ``null``; the mappings of the others are empty.
        brackets: Label sets whose lower ends are worked out; by default none are.
        equal_weights: Whether the plug-in is also worked out with all frequent labels counting alike.
        lost: (L,) ``nan`` for sites that shall have no numbers, as rows of them were lost, and 0 for the others.
    """
    number, num_anchors = assignments[0].shape
    if isinstance(designs, JointDesign):
        at_once = rows_on_accelerator(number * num_anchors)
        no_numbers = [None] * len(assignments) if lost is None else lost.split(at_once)
        tables = (_table(*part) for part in zip(_parts(assignments, at_once), no_numbers, strict=False))
        read = [
            _read_at_once(RowStatistics(rows, documents.units), designs, readings, brackets, equal_weights)
            for rows in tables
        ]
        joined = Readings.join(read)
    else:  # each site has its own table, which stays in the cache
        parts = _parts(assignments, max(1, CELLS_AT_ONCE // number))
        read = [_read_together(_apart(part, documents), designs, readings, brackets, equal_weights) for part in parts]
        joined = Readings.join(read)
        if lost is not None:
            joined = joined.map_tensors(lambda part: part + lost.view(-1, *[1] * (part.ndim - 1)))
    return joined if documents.units is documents else _without_errors(joined)


def _table(assignments: Sequence[Tensor], lost: Tensor | None) -> Tensor:
    """Put sites into a table (N, L, K); those that shall have no numbers have none in a row, and so in no sum."""
    rows = torch.stack(list(assignments), 1)
    if lost is not None:
        rows[0] += lost.unsqueeze(1)
    return rows


def _apart(assignments: Sequence[Tensor], documents: DocumentDesign) -> list[RowStatistics]:
    return [RowStatistics(rows.unsqueeze(1), documents.units) for rows in assignments]


def _parts(items: Sequence[_Item], at_once: int) -> Iterator[Sequence[_Item]]:
    return (items[start : start + at_once] for start in range(0, len(items), at_once))


def _read_together(
    sites: Sequence[RowStatistics],
    designs: Mapping[str, LabelDesign],
    readings: Sequence[str],
    brackets: BracketDesign | None,
    equal_weights: bool,
) -> Readings:
    documents = sites[0].documents
    debiased: dict[str, Estimate] = {}
    z: dict[str, Tensor] = {}
    entropy, ceiling = _entropy_and_ceiling(sites)
    curves = cache(lambda: gap_curves(sites))  # for all label sets, and not for the plug-in
    conditional: dict[str, Tensor] = {}  # (L,) Σ_x n_x H(P_x) of each label set
    at_once = max(1, CELLS_AT_ONCE // (len(sites) * documents.num_documents))  # sums by document are kept
    for names in _parts(list(designs), at_once):
        some = [designs[name] for name in names]
        if "debiased" in readings:
            statistics = label_statistics(sites, some)
            factors = torch.tensor([correction_factor(design.met_share) for design in some], dtype=torch.float64)
            estimates, scores = _debiased(sites, some, statistics, curves(), factors.unsqueeze(1))
            debiased |= dict(zip(names, estimates, strict=True))
            z |= dict(zip(names, scores, strict=True))
            conditional |= {name: each.conditional for name, each in zip(names, statistics, strict=True)}
        elif "plugin" in readings:
            conditional |= dict(zip(names, conditional_entropies(sites, some), strict=True))
    plugin = {name: entropy.value - sums / len(documents.index) for name, sums in conditional.items()}
    with_null = designs if "null" in readings else {}
    with_equal = designs if equal_weights and "plugin" in readings else {}
    equal = equally_weighted_entropies(sites, list(with_equal.values()), FEWEST_OCCURRENCES)
    return Readings(
        entropy=entropy,
        ceiling=ceiling,
        debiased=debiased,
        plugin=plugin if "plugin" in readings else {},
        null={name: null_information(curves(), design.sizes) for name, design in with_null.items()},
        z=z,
        lower_ends={} if brackets is None else lower_ends(sites, brackets),
        plugin_equal={name: entropy.value - mean for name, mean in zip(with_equal, equal, strict=True)},
    )


def _read_at_once(
    site: RowStatistics,
    joint: JointDesign,
    readings: Sequence[str],
    brackets: BracketDesign | None,
    equal_weights: bool,
) -> Readings:
    """Do the same for the L sites of a table, and all label sets at once, in few calls."""
    entropy, ceiling = _entropy_and_ceiling([site])
    debiased: dict[str, Estimate] = {}
    z: dict[str, Tensor] = {}
    plugin, plugin_equal, null = {}, {}, {}
    curves = gap_curves([site]) if {"debiased", "null"} & {*readings} else None
    if curves is not None and "debiased" in readings:
        statistics = joint_statistics(site, joint)
        factors = joint.tables.correction_factors
        estimates, scores = _debiased([site], joint, statistics, curves, factors)
        debiased, z = dict(zip(joint.names, estimates, strict=True)), dict(zip(joint.names, scores, strict=True))
        conditional = torch.stack([each.conditional for each in statistics])
    elif "plugin" in readings:
        conditional = joint_conditional_entropies(site, joint)
    if "plugin" in readings:
        plugin = dict(zip(joint.names, entropy.value - conditional / len(site.rows), strict=True))
        if equal_weights:
            equal = joint_equally_weighted_entropies(site, joint, FEWEST_OCCURRENCES)
            plugin_equal = dict(zip(joint.names, entropy.value - equal, strict=True))
    if curves is not None and "null" in readings:
        null = dict(zip(joint.names, null_informations(curves, joint.tables), strict=True))
    return Readings(
        entropy=entropy,
        ceiling=ceiling,
        debiased=debiased,
        plugin=plugin,
        null=null,
        z=z,
        lower_ends={} if brackets is None else lower_ends([site], brackets),
        plugin_equal=plugin_equal,
    )


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


def _debiased(
    sites: Sequence[RowStatistics],
    designs: JointDesign | Sequence[LabelDesign],
    statistics: Sequence[LabelStatistics],
    curves: GapCurves,
    factors: Tensor,
) -> tuple[list[Estimate], Tensor]:
    """Work out one estimate of L sites for each label set, and (C, L) the spread between labels over its noise."""
    moments, influences = moments_of_rows(sites, designs, statistics, curves)
    values, gradient = debiased_with_gradient(moments, few_calls=isinstance(designs, JointDesign))
    errors = correction_error(values, plugin_from_moments(moments), factors)
    changes = influences.of(gradient)
    estimates = [
        Estimate(value=value, influence=influence, systematic=systematic)
        for value, influence, systematic in zip(values, changes, errors, strict=True)
    ]
    return estimates, label_share(moments) / null_deviation(moments)


def _entropy_and_ceiling(sites: Sequence[RowStatistics]) -> tuple[Estimate, Estimate]:
    """Work out what needs no labels; the influence of a row on H(Z) is its surprise -Σ_k A_ik log p_k."""
    documents = sites[0].documents
    surprise, row_entropy = (
        together([getattr(site, f"document_{name}") for site in sites]) for name in ("surprise", "entropy")
    )

    def mean_of(totals: Tensor) -> Estimate:
        value = totals.sum(1) / len(documents.index)
        return Estimate(value=value, influence=documents.influence(totals), systematic=torch.zeros_like(value))

    return mean_of(surprise), mean_of(surprise - row_entropy)
