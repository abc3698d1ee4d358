"""The soft estimator on streams of activations: update with a batch, compute a number, sum over processes.

Letters: N rows, D width, K anchors, M labels.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from ibtrack._checks import check_integer, check_labels, check_option, check_rows
from ibtrack.information.assignments import assign, bad_rows, draw_anchors, temperature
from ibtrack.information.counts import Counts, count, zero_counts
from ibtrack.information.debiased import debiased_from_moments
from ibtrack.information.entropy import entropy
from ibtrack.information.moments import moments_of_counts
from ibtrack.information.plugin import marginal_entropy, plugin_from_moments
from ibtrack.record.keys import READINGS

_SUMS = ("half_sums", "half_occurrences", "products", "row_entropy")


class _SoftAssignment(Metric):
    """Anchors, temperature and float64 counts, which the three streaming metrics share."""

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
        self.epsilon = temperature(width, num_anchors, rule)
        self.register_buffer("anchors", draw_anchors(width, num_anchors, seed=seed), persistent=False)
        for name in _SUMS:
            self.add_state(name, getattr(zero_counts(num_labels, num_anchors), name), dist_reduce_fx="sum")

    def _count(self, activations: Tensor, labels: Tensor) -> None:
        assigned = assign(check_rows(activations, self.width), self.anchors, self.epsilon)
        bad = int(bad_rows(assigned).sum())
        if bad:
            raise ValueError(f"activations must be finite and not zero, got {bad} rows of {len(assigned)} that are not")
        more = count(assigned, labels, self.num_labels, before=self.half_occurrences.sum(0))
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(more, name))

    def _counts(self) -> Counts:
        counts = Counts(**{name: getattr(self, name) for name in _SUMS})
        if counts.total == 0:
            raise RuntimeError(f"{type(self).__name__}.compute() needs at least one row; call update() first")
        return counts

    def _unit(self, nats: Tensor) -> Tensor:
        return nats / math.log(self.num_anchors) if self.normalized else nats

    def set_dtype(self, dst_type: str | torch.dtype) -> Metric:
        """Refuse anything but float64, as sums in half precision stop growing.

        Raises:
            ValueError: ``dst_type`` is another type.
        """
        if dst_type != torch.float64:
            raise ValueError(f"dst_type must be torch.float64, the type of the sums, got {dst_type}")
        return super().set_dtype(dst_type)


class SoftEntropy(_SoftAssignment):
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
        super().__init__(width, 1, num_anchors, seed, temperature, normalized, **options)

    def update(self, activations: Tensor) -> None:
        """Add (N, D) activations.

        Raises:
            ValueError: Activations are not (N, width), or rows are zero or not finite; nothing is added then.
        """
        self._count(activations, torch.zeros(len(activations), dtype=torch.int64, device=activations.device))

    def compute(self) -> Tensor:
        """Work out H(Z): () float64, in nats or as a fraction of log K.

        Raises:
            RuntimeError: There has been no row yet.
        """
        return self._unit(marginal_entropy(moments_of_counts(self._counts())))


class SoftMutualInformation(_SoftAssignment):
    """Soft mutual information I(X; Z) of activations with discrete labels.

    Source: as `SoftEntropy`; for ``debiased`` see `ibtrack.information.debiased`. That reading
    deals the rows of each label to two halves in turn, on each process by itself: over several processes it differs
    from that of one by the noise of this, about .001 log K, while ``plugin`` is the same.

    Args:
        width: Width D of the activations.
        num_labels: Number of labels M.
        num_anchors: Number of anchors K.
        seed: Seed of the anchors, and of the permutations of ``null``.
        temperature: Rule of the softmax temperature, ``exact``, ``bounds`` or ``leading_order``.
        reading: ``debiased``; ``plugin``, the published number; or ``null``, the plug-in after permuting the labels
            within each update, which says how much of ``plugin`` is bias if rows come in random order.
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
            ValueError: Shapes, types or values are out of range, or rows are zero or not finite; nothing is added
                then.
        """
        labels = check_labels(labels, self.num_labels, len(activations))
        if self.reading == "null":
            generator = torch.Generator().manual_seed(self.seed + self._update_count)
            labels = labels[torch.randperm(len(labels), generator=generator).to(labels.device)]
        self._count(activations, labels)

    def compute(self) -> Tensor:
        """Work out I(X;Z): () float64, in nats or as a fraction of log K.

        Returns:
            ``nan`` for ``debiased`` when no label occurs twice, or when only one label occurs.

        Raises:
            RuntimeError: There has been no row yet.
        """
        read = debiased_from_moments if self.reading == "debiased" else plugin_from_moments
        return self._unit(read(moments_of_counts(self._counts())))


class SoftDisentanglement(_SoftAssignment):
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
        super().__init__(width, num_labels, num_anchors, seed, temperature, normalized=False, **options)
        self.min_count = check_integer("min_count", min_count, minimum=1)

    def update(self, activations: Tensor, labels: Tensor) -> None:
        """Add (N, D) activations with (N,) labels in [0, M).

        Raises:
            ValueError: Shapes, types or values are out of range, or rows are zero or not finite; nothing is added
                then.
        """
        self._count(activations, check_labels(labels, self.num_labels, len(activations)))

    def compute(self) -> Tensor:
        """Work out the mean divergence: () float64 in [0, 1].

        Returns:
            ``nan`` if no label occurs ``min_count`` times beside another.

        Raises:
            RuntimeError: There has been no row yet.
        """
        counts = self._counts()
        sums, number = counts.sums, counts.occurrences
        other_sums, other_number = sums.sum(0) - sums, counts.total - number
        chosen = (number >= self.min_count) & (other_number > 0)
        if not chosen.any():
            return sums.new_tensor(math.nan)
        pair = torch.stack(  # (2, labels, K)
            [sums[chosen] / number[chosen, None], other_sums[chosen] / other_number[chosen, None]]
        )
        divergence = entropy(pair.mean(0)) - entropy(pair).mean(0)
        return divergence.mean() / math.log(2)
