"""The variational floor: a lower bound on what a representation tells of the label, by the model's own head.

Letters: N rows, V classes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torchmetrics import Metric

from ibtrack._checks import check_integer, check_labels, check_rows
from ibtrack.information.entropy import entropy


class VariationalFloor(Metric):
    """H(Y) less the cross entropy of the model's predictions: a lower bound of I(Y; Z), negative for a bad head.

    Source: Barber and Agakov, The IM algorithm, NIPS 2003: H(Y) + E log q(Y | Z) <= I(Y; Z) for any q. In a finite
    sample H(Y) is too low by about (V - 1) / 2N nats (Miller 1955), and the floor with it. On the data that q was
    trained on it is no bound. The tracker logs the floor of its probe as ``ib/variational_floor``.

    Args:
        num_classes: Number of classes V.
        **options: Further arguments of ``torchmetrics.Metric``.

    Example:
        >>> metric = VariationalFloor(num_classes=2)
        >>> metric.update(torch.tensor([[50.0, 0.0], [0.0, 50.0]]), torch.tensor([0, 1]))  # right and sure
        >>> round(float(metric.compute()), 4)
        0.6931
    """

    loss: Tensor
    counts: Tensor

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    def __init__(self, num_classes: int, **options: Any) -> None:
        super().__init__(**options)
        self.num_classes = check_integer("num_classes", num_classes, minimum=2)
        self.add_state("loss", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("counts", torch.zeros(num_classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, logits: Tensor, targets: Tensor) -> None:
        """Add predictions with what came true.

        Args:
            logits: (N, V) of any floating type.
            targets: (N,) integers in [0, V).

        Raises:
            ValueError: Shapes, types or values are out of range, or a loss is not finite; nothing is added then.
        """
        targets = check_labels(targets, self.num_classes, len(logits))
        logits = check_rows(logits, self.num_classes).detach().float()
        loss = cross_entropy(logits, targets, reduction="none").double().sum()
        if not loss.isfinite():
            raise ValueError(f"logits must give every target a finite loss, got a sum of {float(loss)}")
        self.loss += loss
        self.counts += torch.bincount(targets, minlength=self.num_classes)

    def compute(self) -> Tensor:
        """Return the floor, () float64, in nats, at most log V.

        Raises:
            RuntimeError: There is no row.
        """
        total = self.counts.sum()
        if not total:
            raise RuntimeError("VariationalFloor.compute() needs at least one row; call update() first")
        return entropy(self.counts.double() / total) - self.loss / total
