"""The precision that a run trained in, for the forward passes of a replay."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ibtrack.capture.forward import default_forward
from ibtrack.tracking.measurement import Forward


def forward_in(precision: str | None, forward: Forward = default_forward) -> Forward:
    """Return the forward pass of a model as it was in a run of this precision, for ``InformationPlaneTracker(forward=)``.

    Args:
        precision: ``bf16-mixed``, ``16-mixed``, ``32-true``, ``bf16-true``, ``16-true``, ``64-true``, as the protocol of
            a run names it; None for that of the weights.
        forward: Runs the model.

    Raises:
        ValueError: It is none of these.
    """
    raise NotImplementedError


def cast_weights(model: nn.Module, precision: str | None) -> nn.Module:
    """Cast a model as Lightning does for a run of this precision: weights and buffers, the rotary frequencies included.

    Args:
        model: The model, which is changed.
        precision: As in `forward_in`; only ``bf16-true``, ``16-true`` and ``64-true`` cast.
    """
    raise NotImplementedError
