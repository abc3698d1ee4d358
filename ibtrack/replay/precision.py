"""The precision that a run trained in, for the forward passes of a replay.

A monitor measures in the precision of the training, which is no part of a checkpoint. Names are those of Lightning,
which the protocol of a run has.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ibtrack._checks import check_option
from ibtrack.capture.forward import default_forward
from ibtrack.tracking.measurement import Forward, device_of

_TYPES = {"bf16": torch.bfloat16, "16": torch.float16, "32": torch.float32, "64": torch.float64}
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true")


def check_precision(precision: str | None) -> str | None:
    """Return the name of a precision if there is such a one.

    Args:
        precision: One of `PRECISIONS`; None for that of the weights.

    Raises:
        ValueError: It is none of these.
    """
    return None if precision is None else check_option("precision", precision, PRECISIONS)


def forward_in(precision: str | None, forward: Forward = default_forward) -> Forward:
    """Make a forward pass as it was in a run of some precision, for ``InformationPlaneTracker(forward=)``.

    Args:
        precision: One of `PRECISIONS`; None for that of the weights. ``-mixed`` is an autocast.
        forward: Runs the model.

    Raises:
        ValueError: There is no such precision.

    Example:
        >>> forward_in("bf16-mixed")(nn.Linear(2, 2), torch.ones(1, 2)).dtype
        torch.bfloat16
    """
    check_precision(precision)

    def run(model: nn.Module, inputs: Tensor) -> Any:
        with _context(precision, device_of(model).type):
            return forward(model, inputs)

    return forward if precision is None else run


def cast_as_trained(model: nn.Module, precision: str | None) -> nn.Module:
    """Cast a model as Lightning does at the start of a run of some precision, buffers included.

    Rotary frequencies are such a buffer, which no checkpoint holds: a model of transformers that is loaded in bfloat16
    has them in float32, and one that Lightning has cast does not.

    Args:
        model: The model, which is changed.
        precision: One of `PRECISIONS`; only those that end in ``-true`` cast, and None does not.

    Raises:
        ValueError: There is no such precision.

    Example:
        >>> cast_as_trained(nn.Linear(2, 2), "bf16-true").weight.dtype
        torch.bfloat16
    """
    name, _, kind = (check_precision(precision) or "").partition("-")
    return model.to(_TYPES[name]) if kind == "true" else model


@contextlib.contextmanager
def _context(precision: str | None, device: str) -> Iterator[None]:
    """Enter what Lightning enters around a forward pass: an autocast, or another default type."""
    name, _, kind = (precision or "").partition("-")
    if kind == "mixed":
        with torch.autocast(device, dtype=_TYPES[name]):
            yield
        return
    before = torch.get_default_dtype()
    torch.set_default_dtype(_TYPES[name])
    try:
        yield
    finally:
        torch.set_default_dtype(before)
