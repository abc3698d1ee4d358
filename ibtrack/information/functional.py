"""Entropy and information of soft assignments in one call, for one site and one label set.

Letters: N rows, K anchors, M labels, G documents.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ibtrack._checks import check_integers, check_option
from ibtrack.information.brackets import BracketDesign, lower_ends
from ibtrack.information.devices import to_device
from ibtrack.information.document_design import DocumentDesign
from ibtrack.information.label_design import LabelDesign
from ibtrack.information.readings import Readings, site_readings
from ibtrack.information.row_statistics import RowStatistics
from ibtrack.information.standard_errors import Estimate


def plugin_information(assignments: Tensor, labels: Tensor, *, label_weights: str = "frequency") -> Tensor:
    """Work out the plug-in information H(Z) - Σ_x (n_x / N) H(Z | X=x), the published reading.

    Source: Conklin et al., arXiv 2604.07569. It is biased upward, by most of its value where labels are rare.

    Args:
        assignments: (N, K) soft assignments, from `assign`.
        labels: (N,) integers of any range.
        label_weights: ``frequency``, or ``equal`` for H(Z) - mean_x H(Z | X=x) over the labels that occur five times or
            more, as in the paper's first submission. See `ibtrack.information.plugin`.

    Returns:
        () float64, nats; ``nan`` where labels are to count alike and none occurs five times.

    Raises:
        ValueError: ``assignments`` are not a finite floating point matrix, ``labels`` not one integer per row, or there
            are no such weights.

    Example:
        >>> assignments = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
        >>> round(float(plugin_information(assignments, torch.tensor([5, 5, 7, 7]))), 4)  # labels tell all: log 2
        0.6931
    """
    rows, dense = _check(assignments, labels)
    documents = DocumentDesign.from_index(torch.zeros(len(rows), dtype=torch.int64))
    equal = check_option("label_weights", label_weights, ("frequency", "equal")) == "equal"
    read = _readings(rows, dense, documents, "plugin", equal_weights=equal)
    return (read.plugin_equal if equal else read.plugin)["labels"].squeeze(0)


def debiased_information(assignments: Tensor, labels: Tensor, documents: Tensor | None = None) -> Estimate:
    """Estimate the information itself, with a standard error over documents.

    See `ibtrack.information.debiased` for the estimator.

    Args:
        assignments: (N, K) soft assignments, from `assign`.
        labels: (N,) integers of any range.
        documents: (N,) integers; rows of one document depend on each other. By default each row is its own
            document; what rows of a document share is then read as information, and the error is too small.

    Returns:
        An estimate of one number, (1,): ``value`` in nats, ``influence`` of each document, ``standard_error``. The
        value is ``nan`` if no label occurs in two of several documents.

    Raises:
        ValueError: ``assignments`` are not a finite floating point matrix, or ``labels`` or ``documents`` not one
            integer per row.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> assignments = torch.randn(2000, 20, generator=generator).softmax(-1)
        >>> labels = torch.arange(2000) % 500  # each is seen four times, and tells nothing
        >>> estimate = debiased_information(assignments, labels)
        >>> bool(plugin_information(assignments, labels) > 0.1), bool(estimate.value < 0.01)
        (True, True)
    """
    rows, dense = _check(assignments, labels)
    index = torch.arange(len(rows)) if documents is None else _dense("documents", documents, len(rows))
    return _readings(rows, dense, DocumentDesign.from_index(index), "debiased").debiased["labels"]


def information_lower_end(assignments: Tensor, labels: Tensor | Sequence[Tensor], documents: Tensor) -> Estimate:
    """Work out a lower end of I(X;J) in one call, for one site; the upper end is `plugin_information`.

    Args:
        assignments: (N, K) soft assignments, from `assign`.
        labels: (N,) integers of any range; or several such label sets, the coarsest first, of which each refines the
            one before it. The lower end is that of the last.
        documents: (N,) integers of any range; rows of different documents must be independent of each other.

    Returns:
        An estimate of one number, (1,): ``value`` in nats, ``standard_error`` over documents. It is ``nan`` if there is
        a single document.

    Raises:
        ValueError: ``assignments`` are not a finite floating point matrix, there are no labels, labels or documents are
            not one integer per row, or labels do not refine those before them.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> labels = torch.randint(0, 20, (2000,), generator=generator)
        >>> rows = (4 * torch.eye(20)[labels] + torch.randn(2000, 20, generator=generator)).softmax(-1)
        >>> low = information_lower_end(rows, labels, torch.arange(2000) // 50)
        >>> bool(0.5 < low.value < plugin_information(rows, labels))
        True
    """
    sets = [labels] if isinstance(labels, Tensor) else list(labels)
    rows = _check_shape(assignments)
    if not rows.isfinite().all():
        raise ValueError("assignments must be finite, got some that are not")
    if not sets:
        raise ValueError("labels must be a tensor or several, got none")
    chain = {str(level): _dense("labels", ids, len(rows)) for level, ids in enumerate(sets)}
    partition = DocumentDesign.from_index(_dense("documents", documents, len(rows)))
    design = to_device(BracketDesign.from_chains([chain], partition), rows.device)
    site = RowStatistics(rows.float().unsqueeze(1), to_device(partition, rows.device))
    return lower_ends([site], design)[str(len(sets) - 1)]


def read_rows(assignments: Tensor, labels: Tensor, documents: Tensor, reading: str) -> Tensor:
    """Work out one of the three readings of one site and one label set.

    Args:
        assignments: (N, K) soft assignments.
        labels: (N,) integers of any range.
        documents: (N,) integers of any range.
        reading: ``debiased``, ``plugin`` or ``null``.

    Returns:
        () float64, nats.

    Raises:
        ValueError: As `debiased_information`.

    Example:
        >>> rows, labels = torch.eye(2).repeat(8, 1), torch.arange(16) % 2
        >>> round(float(read_rows(rows, labels, torch.arange(16), "plugin")), 4)
        0.6931
    """
    rows, dense = _check(assignments, labels)
    design = DocumentDesign.from_index(_dense("documents", documents, len(rows)))
    read = _readings(rows, dense, design, reading)
    values = read.debiased["labels"].value if reading == "debiased" else getattr(read, reading)["labels"]
    return values.squeeze(0)


def _readings(
    rows: Tensor, labels: Tensor, documents: DocumentDesign, reading: str, *, equal_weights: bool = False
) -> Readings:
    design, partition = to_device((LabelDesign.from_labels(labels, documents), documents), rows.device)
    return site_readings([rows], {"labels": design}, partition, readings=(reading,), equal_weights=equal_weights)


def _check(assignments: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    bad = int((~_check_shape(assignments).isfinite()).any(1).sum())
    if bad:
        raise ValueError(f"assignments must be finite, got {bad} rows of {len(assignments)} that are not")
    return assignments.float(), _dense("labels", labels, len(assignments))


def _check_shape(assignments: Tensor) -> Tensor:
    if assignments.ndim != 2 or not assignments.is_floating_point() or not len(assignments):
        raise ValueError(
            "assignments must be a floating point tensor of shape (N, K) with at least one row, "
            f"got {assignments.dtype} of shape {tuple(assignments.shape)}"
        )
    return assignments


def _dense(name: str, values: Tensor, num_rows: int) -> Tensor:
    """Number the distinct values from 0 on, on the CPU, where designs are worked out.

    Raises:
        ValueError: ``values`` are not one integer per row.
    """
    values = check_integers(name, values, ndim=1)
    if len(values) != num_rows:
        raise ValueError(f"{name} must have one entry per row of assignments, got {len(values)} for {num_rows}")
    return torch.unique(values.cpu(), return_inverse=True)[1]
