"""The protocol of a run: everything that must be equal for two of its numbers to be comparable."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

import ibtrack
from ibtrack.information.options import SoftOptions
from ibtrack.information.readings import ESTIMATOR_VERSION
from ibtrack.probe.probe import Probe
from ibtrack.tracking.measurement import Layout, device_of, measured_modules

AS_TRAINED, AVERAGED = "as trained", "averaged"
_PRECISIONS = {torch.float64: "64", torch.float32: "32", torch.bfloat16: "bf16", torch.float16: "16"}


def measurement_protocol(
    probe: Probe,
    options: SoftOptions,
    sites: Mapping[str, str],
    layouts: Mapping[str, Layout],
    precision: str,
    geometry_rows: int = 0,
    weights: str = AS_TRAINED,
    attention: str | None = None,
) -> dict[str, Any]:
    """Write down how a run is measured.

    Args:
        probe: The probe that is measured.
        options: How activations are turned into soft assignments.
        sites: Site to bare module name.
        layouts: Site to layout.
        precision: Precision that the model computes in.
        geometry_rows: Positions from which the geometry of every site is worked out; 0 for none, and then it is not
            named.
        weights: Which weights are measured, from `weights_of`.
        attention: Attention kernel of the model, from `attention_of`; where it has none to choose, it is not named.

    Returns:
        Entries that JSON can hold. ``versions``, ``bottleneck_curve``, ``copies`` and ``overlap`` are
        circumstances, see `ibtrack.record.protocol`; ``overlap`` is there if `Probe.find_in` has been called.
    """
    return {
        "probe": probe.protocol(),
        "copies": None if probe.copies is None else probe.copies.protocol(),
        **({} if probe.overlap is None else {"overlap": probe.overlap.protocol()}),
        "orders": list(probe.orders),
        "sites": dict(sites),
        "widths": {site: layouts[site].width for site in sites},
        **options.protocol(),
        "estimator": ESTIMATOR_VERSION,
        "unit": "fraction of log K",
        "precision": precision,
        "weights": weights,
        **({} if attention is None else {"attention": attention}),
        **({"geometry_rows": min(geometry_rows, probe.num_positions)} if geometry_rows else {}),
        "bottleneck_curve": probe.bottleneck_curve(options.num_anchors),
        "versions": _versions(),
    }


def weights_of(model: nn.Module, sites: Mapping[str, str]) -> str:
    """Say which weights a model has: those that the optimizer moves, or an average of them.

    Args:
        model: The model that is measured.
        sites: Site to bare module name.

    Returns:
        ``averaged`` if a site lies in a ``torch.optim.swa_utils.AveragedModel``, otherwise ``as trained``.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 2))
        >>> weights_of(model, {"L00": "0"}), weights_of(AveragedModel(model), {"L00": "0"})
        ('as trained', 'averaged')
    """
    averages = [module for module in model.modules() if isinstance(module, AveragedModel)]
    averaged = {part for average in averages for part in average.modules()}
    return AVERAGED if averaged & set(measured_modules(model, sites).values()) else AS_TRAINED


def attention_of(model: nn.Module) -> str | None:
    """Name the attention kernel that a model of transformers computes with, such as ``sdpa`` or ``eager``.

    Args:
        model: The model that is measured, or one that it is in.

    Returns:
        The name, or None for a model that has none to choose.

    Example:
        >>> model = nn.Linear(2, 2)
        >>> model.config = type("Config", (), {"_attn_implementation": "sdpa"})
        >>> attention_of(model), attention_of(nn.Linear(2, 2))
        ('sdpa', None)
    """
    configs = (getattr(module, "config", None) for module in model.modules())
    kernels = (getattr(config, "_attn_implementation", None) for config in configs)
    return next((kernel for kernel in kernels if isinstance(kernel, str)), None)


def precision_of(model: nn.Module) -> str:
    """Name the precision of a run in Lightning's words.

    Returns:
        ``bf16-true`` for weights in bfloat16, ``bf16-mixed`` inside an autocast to it, and so on; the precision of
        Fabric for a model that it has wrapped.

    Example:
        >>> precision_of(nn.Linear(2, 2)), precision_of(nn.Linear(2, 2, dtype=torch.bfloat16))
        ('32-true', 'bf16-true')
    """
    fabric = getattr(model, "_strategy", None)
    if fabric is not None:
        return str(fabric.precision.precision)
    device = device_of(model).type
    if torch.is_autocast_enabled(device):
        return f"{_PRECISIONS[torch.get_autocast_dtype(device)]}-mixed"
    weights = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    return f"{_PRECISIONS.get(weights, str(weights))}-true"


def _versions() -> dict[str, str]:
    """List versions that numbers may depend on in their last digits; lightning only where it is in use."""
    lightning = sys.modules.get("lightning")
    versions = {"ibtrack": ibtrack.__version__, "torch": torch.__version__}
    return versions if lightning is None else {**versions, "lightning": lightning.__version__}
