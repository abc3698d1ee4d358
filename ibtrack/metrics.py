"""The estimators as torchmetrics: update with activations, compute a number, sum over processes.

Letters: N rows, D width, K anchors, M labels, L sites.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from ibtrack import assignments, entropies
from ibtrack._checks import check_integer, check_labels, check_option, check_rows
from ibtrack.assignments import bad_rows, draw_anchors, soft_assign
from ibtrack.counts import Counts, count, zero_counts
from ibtrack.keys import READINGS, metric_key
from ibtrack.labels import LONE_LABELS
from ibtrack.moments import LabelGroups, moments_of_counts
from ibtrack.probe import Probe
from ibtrack.readings import Documents, Estimate, SiteReading, read_sites
from ibtrack.swaps import swapped_information

_SUMS = ("half_sums", "half_occurrences", "products", "row_entropy")


class _SoftAssignment(Metric):
    """Anchors, temperature and float64 counts, shared by the two streaming metrics."""

    anchors: Tensor
    half_sums: Tensor
    half_occurrences: Tensor
    products: Tensor
    row_entropy: Tensor

    is_differentiable = False
    higher_is_better = None
    full_state_update = True  # which half a row is dealt to depends on the rows before it

    def __init__(
        self, width: int, num_labels: int, num_anchors: int, seed: int, rule: str, normalized: bool, **options: Any
    ) -> None:
        super().__init__(**options)
        self.width, self.num_labels, self.num_anchors = width, num_labels, num_anchors
        self.normalized = normalized
        self.epsilon = assignments.temperature(width, num_anchors, rule)
        self.register_buffer("anchors", draw_anchors(width, num_anchors, seed=seed), persistent=False)
        for name in _SUMS:
            self.add_state(name, getattr(zero_counts(num_labels, num_anchors), name), dist_reduce_fx="sum")

    def _count(self, activations: Tensor, labels: Tensor) -> None:
        assigned = soft_assign(check_rows(activations, self.width), self.anchors, self.epsilon)
        bad = int(bad_rows(assigned).sum())
        if bad:
            raise ValueError(f"activations must be finite and not zero, got {bad} such rows of {len(assigned)}")
        more = count(assigned, labels, self.num_labels, before=self.half_occurrences.sum(0))
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(more, name))

    def _counts(self) -> Counts:
        counts = Counts(*(getattr(self, name) for name in _SUMS))
        if counts.total == 0:
            raise RuntimeError(f"{type(self).__name__}.compute() needs at least one row; call update() first")
        return counts

    def _unit(self, nats: Tensor) -> Tensor:
        return nats / math.log(self.num_anchors) if self.normalized else nats

    def set_dtype(self, dst_type: str | torch.dtype) -> Metric:
        """Refuse anything but float64: sums in half precision stop growing."""
        if dst_type != torch.float64:
            raise ValueError(f"dst_type must be torch.float64, the type of the sums, got {dst_type}")
        return super().set_dtype(dst_type)


class SoftEntropy(_SoftAssignment):
    """Soft entropy H(Z) of activations on the sphere.

    Source: Conklin et al., arXiv 2604.07569; Conklin, arXiv 2505.23960, section 5.4.
    H(Z) = H(mean_i A_i), A_i the softmax of the cosines to K random directions over a temperature. The norm of an
    activation does not enter, and the kernel's own width does: see `ibtrack.entropies.ceiling`.

    Args:
        width: D.
        num_anchors: K.
        seed: of the anchors.
        temperature: ``exact``, ``bounds`` or ``leading_order``, see `ibtrack.assignments.temperature`.
        normalized: a fraction of log K, in [0, 1], instead of nats.

    Example:
        >>> metric = SoftEntropy(width=16, normalized=True)
        >>> metric.update(torch.randn(4096, 16, generator=torch.Generator().manual_seed(0)))
        >>> bool(metric.compute() > 0.95)  # directions spread over the sphere
        True
    """

    def __init__(
        self,
        width: int,
        num_anchors: int = 100,
        *,
        seed: int = 0,
        temperature: str = "exact",
        normalized: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(width, 1, num_anchors, seed, temperature, normalized, **options)

    def update(self, activations: Tensor) -> None:
        """Add (N, D) activations.

        Raises:
            ValueError: not (N, width), or rows that are zero or not finite; nothing is added then.
        """
        self._count(activations, torch.zeros(len(activations), dtype=torch.int64, device=activations.device))

    def compute(self) -> Tensor:
        """() float64."""
        return self._unit(entropies.marginal_entropy(moments_of_counts(self._counts())))


class SoftMutualInformation(_SoftAssignment):
    """Soft mutual information I(X; Z) of activations with discrete labels.

    Source: as `SoftEntropy`; for ``debiased`` see `ibtrack.entropies.debiased_information`. That reading deals the rows
    of each label to two halves in turn, on each process by itself: over several processes it differs from that of one
    by the noise of this, about .001 log K, while ``plugin`` is the same.

    Args:
        width: D.
        num_labels: M.
        num_anchors: K.
        seed: of the anchors, and of the permutations of ``null``.
        temperature: ``exact``, ``bounds`` or ``leading_order``.
        reading: ``debiased``; ``plugin``, the published number; or ``null``, the plug-in after permuting the labels
            within each update, which says how much of ``plugin`` is bias if rows come in random order.
        normalized: a fraction of log K instead of nats.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> labels = torch.arange(2000) % 500
        >>> activations = torch.randn(2000, 64, generator=generator)  # know nothing of the labels
        >>> readings = {}
        >>> for reading in ("plugin", "debiased"):
        ...     metric = SoftMutualInformation(64, 500, reading=reading, normalized=True)
        ...     metric.update(activations, labels)
        ...     readings[reading] = float(metric.compute())
        >>> readings["plugin"] > 0.25 and abs(readings["debiased"]) < 0.02
        True
    """

    def __init__(
        self,
        width: int,
        num_labels: int,
        num_anchors: int = 100,
        *,
        seed: int = 0,
        temperature: str = "exact",
        reading: str = "debiased",
        normalized: bool = False,
        **options: Any,
    ) -> None:
        self.reading = check_option("reading", reading, READINGS)
        check_integer("num_labels", num_labels, minimum=2)
        super().__init__(width, num_labels, num_anchors, seed, temperature, normalized, **options)
        self.seed = seed

    def update(self, activations: Tensor, labels: Tensor) -> None:
        """Add (N, D) activations with (N,) labels in [0, M).

        Raises:
            ValueError: shapes, types or values out of range, or rows that are zero or not finite; nothing is added
                then.
        """
        labels = check_labels(labels, self.num_labels, len(activations))
        if self.reading == "null":
            generator = torch.Generator().manual_seed(self.seed + self._update_count)
            labels = labels[torch.randperm(len(labels), generator=generator).to(labels.device)]
        self._count(activations, labels)

    def compute(self) -> Tensor:
        """() float64; ``nan`` for ``debiased`` when no label occurs twice."""
        read = entropies.debiased_information if self.reading == "debiased" else entropies.plugin_information
        return self._unit(read(moments_of_counts(self._counts())))


class InformationPlane(Metric):
    """All sites and label sets of a probe at once, in every reading, with standard errors over documents.

    Source: as `SoftMutualInformation`; quantities as in Conklin et al., arXiv 2604.07569: complexity I(X; Z),
    expressivity I(Y; Z), optimality I(Y; Z) / I(X; Z), regularity I(X; Z) / H(Z). ``mean`` is the uniform mean over all
    sites but ``embed``; ratios are taken after it.

    The state is the assignments themselves, one row per position of the probe. They are summed over processes, each of
    which fills the rows it has measured: the numbers are the same for any number of processes. At the label counts of a
    language model they are also less than the sums by label.

    Args:
        probe: positions, labels and documents.
        widths: site to D, in order.
        num_anchors: K.
        seed: of the anchors; sites of one width share theirs.
        temperature: ``exact``, ``bounds`` or ``leading_order``.

    Example:
        >>> probe = Probe(torch.arange(64).view(4, 16) % 7, orders=(1,))
        >>> plane = InformationPlane(probe, {"L00": 8})
        >>> activations = torch.randn(7, 8, generator=torch.Generator().manual_seed(0))[probe.inputs.flatten()]
        >>> plane.update("L00", activations, torch.arange(probe.num_positions), rows=probe.positions)
        >>> round(float(plane.compute()["ib/L00/token/optimality"]), 6)  # the next token follows from the token
        1.0
    """

    assignments: Tensor
    seen: Tensor
    documents: Tensor

    is_differentiable = False
    higher_is_better = None
    full_state_update = False

    def __init__(
        self,
        probe: Probe,
        widths: Mapping[str, int],
        *,
        num_anchors: int = 100,
        seed: int = 0,
        temperature: str = "exact",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if not widths:
            raise ValueError("widths must name at least one site, got none")
        self.widths, self.num_anchors = dict(widths), num_anchors
        self.sites = list(widths)
        self.orders = probe.orders
        self.num_documents = probe.num_documents
        self.epsilons = {
            width: assignments.temperature(width, num_anchors, temperature) for width in set(widths.values())
        }
        for width in self.epsilons:
            self.register_buffer(f"anchors_{width}", draw_anchors(width, num_anchors, seed=seed), persistent=False)
        self._groups = {name: LabelGroups.of(labels) for name, labels in probe.label_sets.items()}
        self._lone = {name: labels for name, labels in probe.label_sets.items() if name in LONE_LABELS}
        self.register_buffer("documents", probe.documents, persistent=False)
        rows = (len(self.sites), probe.num_positions)
        self.add_state("assignments", torch.zeros(*rows, num_anchors), dist_reduce_fx="sum")
        self.add_state("seen", torch.zeros(*rows, dtype=torch.int32), dist_reduce_fx="sum")

    def update(self, site: str, activations: Tensor, positions: Tensor, rows: Tensor | None = None) -> None:
        """Fill in the positions of the probe that were measured.

        Args:
            site: one of ``widths``.
            activations: (n, D).
            positions: (m,) which of the probe's N kept positions these are.
            rows: (m,) rows of ``activations`` that hold them; by default all.

        Raises:
            ValueError: unknown site, or activations that are not (n, D). Rows that are zero or not finite are not an
                error: their site reads ``nan``, and `faults` says why.
        """
        if site not in self.widths:
            raise ValueError(f"site must be one of {self.sites}, got {site!r}")
        width = self.widths[site]
        anchors = getattr(self, f"anchors_{width}")
        assigned = soft_assign(check_rows(activations, width), anchors, self.epsilons[width])
        assigned = assigned if rows is None else assigned[rows]
        index = self.sites.index(site)
        self.assignments[index].index_add_(0, positions, assigned)
        self.seen[index].index_add_(0, positions, torch.ones_like(positions, dtype=torch.int32))

    def compute(self) -> dict[str, Tensor]:
        """Key (`ibtrack.keys.metric_key`) to () float64; entropies and informations as fractions of log K."""
        bad = self.assignments[:, :, 0].isnan().sum(1)
        self._found = torch.stack([bad, (self.seen == 0).sum(1), (self.seen > 1).sum(1)])  # (3, L), over all processes
        device = self.documents.device
        groups = {name: known.to(device) for name, known in self._groups.items()}
        documents = Documents(self.documents, self.num_documents)
        read = read_sites([self._whole(index) for index in range(len(self.sites))], groups, documents)
        for name, labels in self._lone.items():
            read = [
                debiased_by_swaps(reading, name, self._swapped(index, labels.to(device)))
                for index, reading in enumerate(read)
            ]
        readings = dict(zip(self.sites, read, strict=True))
        blocks = [reading for site, reading in readings.items() if site != "embed"] or list(readings.values())
        readings = {"mean": SiteReading.mean(blocks), **readings}
        return {
            key: value
            for site, reading in readings.items()
            for key, value in _named(site, reading, self.orders, math.log(self.num_anchors)).items()
        }

    def faults(self) -> dict[str, str]:
        """Site to what `compute` found wrong with it; empty if every position was measured once and had a direction."""
        found = self._found.tolist()
        of = f"of {self.seen.shape[1]} positions"
        words = (f"{of} are zero or not finite", f"{of} were not measured", f"{of} were measured more than once")
        faults = {}
        for site, counts in zip(self.sites, zip(*found, strict=True), strict=True):
            reasons = [f"{number} {word}" for number, word in zip(counts, words, strict=True) if number]
            if reasons:
                faults[site] = "; ".join(reasons)
        return faults

    def _swapped(self, index: int, labels: Tensor) -> Tensor:
        return swapped_information(self._whole(index), labels, self.documents, num_documents=self.num_documents)

    def _whole(self, index: int) -> Tensor:
        """(N, K) assignments of a site, all ``nan`` if any position was missed or measured twice."""
        once = (self.seen[index] == 1).all()
        return self.assignments[index] + torch.where(once, 0.0, torch.nan)


def debiased_by_swaps(reading: SiteReading, name: str, swapped: Tensor) -> SiteReading:
    """Take the bias of a label set, and the error of labels that tell nothing, from `swapped_information`."""
    null = swapped.mean()
    estimate = replace(reading.information[name], value=reading.plugin[name] - null, systematic=swapped.std())
    return replace(reading, information={**reading.information, name: estimate}, null={**reading.null, name: null})


def _named(site: str, reading: SiteReading, orders: tuple[str, ...], log_anchors: float) -> dict[str, Tensor]:
    """The numbers of one site under their keys."""
    named: dict[str, Tensor] = {}

    def add(quantity: str, estimate: Estimate, order: str | None = None) -> None:
        named[metric_key(quantity, site=site, order=order)] = estimate.value
        named[metric_key(f"{quantity}_se", site=site, order=order)] = estimate.standard_error

    unit = 1 / log_anchors
    entropy = reading.entropy.scaled(unit)
    add("entropy", entropy)
    add("ceiling", reading.ceiling.scaled(unit))
    for lone in sorted(reading.information.keys() & set(LONE_LABELS)):
        quantity = f"{lone}_information"
        add(quantity, reading.information[lone].scaled(unit))
        named[metric_key(quantity, site=site, reading="plugin")] = reading.plugin[lone] * unit
        named[metric_key(quantity, site=site, reading="null")] = reading.null[lone] * unit
    for order in orders:
        complexity = reading.information[f"input/{order}"].scaled(unit)
        expressivity = reading.information[f"output/{order}"].scaled(unit)
        add("complexity", complexity, order)
        add("expressivity", expressivity, order)
        add("optimality", expressivity.ratio(complexity), order)
        add("regularity", complexity.ratio(entropy), order)
        for name, values in (("plugin", reading.plugin), ("null", reading.null)):
            known, told = values[f"input/{order}"] * unit, values[f"output/{order}"] * unit
            named[metric_key("complexity", site=site, order=order, reading=name)] = known
            named[metric_key("expressivity", site=site, order=order, reading=name)] = told
            if name == "plugin":
                named[metric_key("optimality", site=site, order=order, reading=name)] = told / known
                named[metric_key("regularity", site=site, order=order, reading=name)] = known / entropy.value
    return named
