"""The soft estimator on streams of activations: update with a batch, compute a number, sum over processes.

Letters: N rows, D width, K anchors, M labels.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from ibtrack._checks import check_integer, check_integers, check_labels, check_option, check_rows
from ibtrack.information.assignments import assign, bad_rows, draw_anchors, temperature
from ibtrack.information.entropy import entropy
from ibtrack.information.functional import read_rows
from ibtrack.record.keys import READINGS

OWN_DOCUMENT = -1  # of a row that came without a document: it counts as a document of its own


class _SoftAssignment(Metric):
    """Anchors and temperature, which the three streaming metrics share."""

    anchors: Tensor

    is_differentiable = False
    higher_is_better = None
    full_state_update = False

    def __init__(self, width: int, num_anchors: int, seed: int, rule: str, normalized: bool, **options: Any) -> None:
        super().__init__(**options)
        self.width, self.num_anchors, self.normalized = width, num_anchors, normalized
        self.epsilon, self.seed = temperature(width, num_anchors, rule), seed
        self.register_buffer("anchors", draw_anchors(width, num_anchors, seed=seed), persistent=False)

    def _assign(self, activations: Tensor) -> Tensor:
        if self.anchors.dtype != torch.float32:  # a module that holds the metric was cast, which moves the anchors
            self.anchors = draw_anchors(self.width, self.num_anchors, seed=self.seed).to(self.anchors.device)
        assigned = assign(check_rows(activations, self.width), self.anchors, self.epsilon)
        bad = int(bad_rows(assigned).sum())
        if bad:
            raise ValueError(f"activations must be finite and not zero, got {bad} rows of {len(assigned)} that are not")
        return assigned

    def _needs_rows(self, number: int) -> None:
        if number == 0:
            raise RuntimeError(f"{type(self).__name__}.compute() needs at least one row; call update() first")

    def _unit(self, nats: Tensor) -> Tensor:
        return nats / math.log(self.num_anchors) if self.normalized else nats


class _SoftSums(_SoftAssignment):
    """Sums of assignments by label, in float64: in bfloat16, 200 000 rows add up to 61 000."""

    sums: Tensor
    occurrences: Tensor

    def __init__(self, num_labels: int, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        zeros = torch.zeros(num_labels, self.num_anchors, dtype=torch.float64)
        self.add_state("sums", zeros, dist_reduce_fx="sum")
        self.add_state("occurrences", zeros[:, 0].clone(), dist_reduce_fx="sum")

    def _add(self, activations: Tensor, labels: Tensor) -> None:
        rows = self._assign(activations).double()
        self.sums = self.sums.index_add(0, labels, rows)
        self.occurrences = self.occurrences.index_add(0, labels, torch.ones_like(rows[:, 0]))

    def set_dtype(self, dst_type: str | torch.dtype) -> Metric:
        """Refuse anything but float64, as sums in half precision stop growing.

        Raises:
            ValueError: ``dst_type`` is another type.
        """
        if dst_type != torch.float64:
            raise ValueError(f"dst_type must be torch.float64, the type of the sums, got {dst_type}")
        return super().set_dtype(dst_type)


class SoftEntropy(_SoftSums):
    """Soft entropy H(Z) of activations on the sphere.

    Source: Conklin et al., arXiv 2604.07569; Conklin, arXiv 2505.23960, section 5.4.
    H(Z) = H(mean_i A_i), A_i the softmax of the cosines to K random directions over a temperature. The norm of an
    activation does not enter, and the kernel's own width does: see `ibtrack.information.plugin.ceiling`.

    Args:
        width: Width D of the activations.
        num_anchors: Number of anchors K.
        seed: Seed of the anchors.
        temperature: Rule of the softmax temperature, ``exact``, ``bounds`` or ``leading_order``; see
            `ibtrack.information.temperature`.
        normalized: Whether to return a fraction of log K, in [0, 1], instead of nats.
        **options: Options of ``torchmetrics.Metric``.

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
        super().__init__(1, width, num_anchors, seed, temperature, normalized, **options)

    def update(self, activations: Tensor) -> None:
        """Add (N, D) activations.

        Raises:
            ValueError: Activations are not (N, width), or rows are zero or not finite; nothing is added then.
        """
        self._add(activations, torch.zeros(len(activations), dtype=torch.int64, device=activations.device))

    def compute(self) -> Tensor:
        """Work out H(Z): () float64, in nats or as a fraction of log K.

        Raises:
            RuntimeError: There has been no row yet.
        """
        self._needs_rows(int(self.occurrences.sum()))
        return self._unit(entropy(self.sums[0] / self.occurrences[0]))


class SoftMutualInformation(_SoftAssignment):
    """Soft mutual information I(X; Z) of activations with discrete labels.

    Source: as `SoftEntropy`; for ``debiased`` see `ibtrack.information.debiased`. It is the estimator of
    `InformationPlane`: the same rows, labels and documents give the same number, however they are split into updates
    and processes. The state is the assignments, K numbers for each row.

    Args:
        width: Width D of the activations.
        num_labels: Number of labels M.
        num_anchors: Number of anchors K.
        seed: Seed of the anchors.
        temperature: Rule of the softmax temperature, ``exact``, ``bounds`` or ``leading_order``.
        reading: ``debiased``; ``plugin``, the published number; or ``null``, what the plug-in would read if labels told
            nothing.
        normalized: Whether to return a fraction of log K instead of nats.
        **options: Options of ``torchmetrics.Metric``.

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

    assignments: list[Tensor]
    labels: list[Tensor]
    documents: list[Tensor]

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
        self.num_labels = check_integer("num_labels", num_labels, minimum=2)
        super().__init__(width, num_anchors, seed, temperature, normalized, **options)
        for name in ("assignments", "labels", "documents"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, activations: Tensor, labels: Tensor, documents: Tensor | None = None) -> None:
        """Add (N, D) activations with (N,) labels in [0, M).

        Args:
            activations: (N, D) of any floating dtype.
            labels: (N,) integers in [0, M).
            documents: (N,) integers of at least 0, the document of each row, numbered alike in every update and on
                every process. Rows of one document resemble each other for other reasons than their label, as a text
                repeats itself. Without documents each row counts as one, and what rows of a document share is read as
                information.

        Raises:
            ValueError: Shapes, types or values are out of range, or rows are zero or not finite; nothing is added
                then.
        """
        labels = check_labels(labels, self.num_labels, len(activations))
        if documents is None:
            documents = torch.full_like(labels, OWN_DOCUMENT)
        else:
            documents = check_integers("documents", documents, ndim=1).to(labels.device)
            if len(documents) != len(labels) or bool((documents < 0).any()):
                smallest = int(documents.min()) if len(documents) else None
                raise ValueError(
                    "documents must be one integer of at least 0 per row, "
                    f"got {len(documents)} for {len(labels)} rows, the smallest {smallest}"
                )
        self.assignments.append(self._assign(activations))
        self.labels.append(labels)
        self.documents.append(documents)

    def compute(self) -> Tensor:
        """Work out I(X;Z): () float64, in nats or as a fraction of log K.

        Returns:
            ``nan`` for ``debiased`` when no label occurs in two documents, or when only one label occurs.

        Raises:
            RuntimeError: There has been no row yet.
        """
        self._needs_rows(len(self.labels) and len(dim_zero_cat(self.labels)))  # there are updates without rows
        rows, labels, documents = (dim_zero_cat(state) for state in (self.assignments, self.labels, self.documents))
        own = documents == OWN_DOCUMENT
        documents = torch.where(own, documents.max() + 1 + own.cumsum(0), documents)
        return self._unit(read_rows(rows, labels, documents, self.reading))


class SoftDisentanglement(_SoftSums):
    """How far apart the activations of one label lie from those of all others, on average over labels.

    Source: Conklin and Smith, arXiv 2406.02449: the Jensen-Shannon divergence between the distributions of Z given a
    label and given any other, here over soft assignments and divided by log 2. It is a plug-in number: labels with few
    rows read too far apart, so leave them out by ``min_count``.

    Args:
        width: Width D of the activations.
        num_labels: Number of labels M.
        num_anchors: Number of anchors K.
        seed: Seed of the anchors.
        temperature: Rule of the softmax temperature, ``exact``, ``bounds`` or ``leading_order``.
        min_count: Fewest rows of a label that counts in the mean.
        **options: Options of ``torchmetrics.Metric``.

    Example:
        >>> labels = torch.arange(400) % 2
        >>> activations = torch.eye(16)[labels] + 0.01 * torch.randn(400, 16)
        >>> metric = SoftDisentanglement(width=16, num_labels=2)
        >>> metric.update(activations, labels)
        >>> bool(metric.compute() > 0.7)
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
        min_count: int = 5,
        **options: Any,
    ) -> None:
        check_integer("num_labels", num_labels, minimum=2)
        super().__init__(num_labels, width, num_anchors, seed, temperature, normalized=False, **options)
        self.min_count = check_integer("min_count", min_count, minimum=1)

    def update(self, activations: Tensor, labels: Tensor) -> None:
        """Add (N, D) activations with (N,) labels in [0, M).

        Raises:
            ValueError: Shapes, types or values are out of range, or rows are zero or not finite; nothing is added
                then.
        """
        self._add(activations, check_labels(labels, len(self.sums), len(activations)))

    def compute(self) -> Tensor:
        """Work out the mean divergence: () float64 in [0, 1].

        Returns:
            ``nan`` if no label occurs ``min_count`` times beside another.

        Raises:
            RuntimeError: There has been no row yet.
        """
        sums, number = self.sums, self.occurrences
        self._needs_rows(int(number.sum()))
        other_sums, other_number = sums.sum(0) - sums, number.sum() - number
        chosen = (number >= self.min_count) & (other_number > 0)
        if not chosen.any():
            return sums.new_tensor(math.nan)
        pair = torch.stack(  # (2, labels, K)
            [sums[chosen] / number[chosen, None], other_sums[chosen] / other_number[chosen, None]]
        )
        divergence = entropy(pair.mean(0)) - entropy(pair).mean(0)
        return divergence.mean() / math.log(2)
