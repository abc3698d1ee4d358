"""Hard bins: what a layer knows when every unit is cut into 30 steps, as Shwartz-Ziv and Tishby did.

All 4096 patterns are equally likely and the network is deterministic, so T, the binned layer, is a function of X and
I(X;T) = H(T): the entropy of how many patterns share each combination of bins.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch import Callback
from torch import Tensor, nn

from ibtrack import InformationPlaneMonitor
from ibtrack.capture.hooks import capture
from ibtrack.capture.isolation import undisturbed
from ibtrack.capture.sites import find_sites

NUM_BINS = 30


class Row(NamedTuple):
    """A place in the plane: I(X;T) and I(T;Y) of a layer at a step, in bits."""

    step: int
    layer: str
    input: float
    label: float


class BinnedPlane(Callback):
    """Keeps all activations whenever the monitor has recorded a point; at the end bins them and writes ``bins.csv``.

    A ReLU has no largest value, so its bins reach to the largest seen in the run.

    Args:
        path: the file.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self._kept: dict[int, dict[str, Tensor]] = {}

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self._keep(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._keep(trainer, pl_module)
        modules = dict(pl_module.named_modules())
        layers = find_sites(pl_module, "layers.*")
        labels = trainer.datamodule.labels  # type: ignore[attr-defined]
        with self.path.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(Row._fields)
            for site, name in layers.items():
                activations = {step: kept[site] for step, kept in self._kept.items()}
                low, high = bounds(modules[name].activation, activations.values())
                for step, values in activations.items():
                    rows.writerow(Row(step, site, *binned_information(values, labels, low, high)))

    on_train_start = on_train_batch_end

    def _keep(self, trainer: Trainer, pl_module: LightningModule) -> None:
        monitor = next(found for found in trainer.callbacks if isinstance(found, InformationPlaneMonitor))
        steps = monitor.trajectory.steps
        if not steps or steps[-1] in self._kept:
            return
        kept: dict[str, Tensor] = {}
        inputs = trainer.datamodule.inputs.to(pl_module.device)  # type: ignore[attr-defined]
        with undisturbed(pl_module), capture(pl_module, find_sites(pl_module, "layers.*"), kept.__setitem__):
            pl_module(inputs)
        self._kept[steps[-1]] = {site: values.cpu() for site, values in kept.items()}


def bounds(activation: nn.Module, seen: Any) -> tuple[float, float]:
    """Least and largest value of an activation; ``seen`` are all that occurred, for those without a largest."""
    if isinstance(activation, nn.Tanh):
        return -1.0, 1.0
    if isinstance(activation, nn.Softmax):
        return 0.0, 1.0
    return 0.0, max(float(values.max()) for values in seen)


def binned_information(activations: Tensor, labels: Tensor, low: float, high: float) -> tuple[float, float]:
    """I(X;T) and I(T;Y) in bits, T the combination of bins that all units of a layer are in.

    Args:
        activations: (N, D), of N different and equally likely inputs.
        labels: (N,) integers from 0.
        low: where the first of `NUM_BINS` equal bins begins.
        high: where the last ends; what lies outside belongs to the outer bins.

    Example:
        >>> activations = torch.tensor([[0.0], [0.01], [0.5], [1.0]])  # the first two share a bin
        >>> binned_information(activations, torch.tensor([0, 1, 1, 1]), 0.0, 1.0)
        (1.5, 0.3112781244591329)
    """
    inner = torch.linspace(low, high, NUM_BINS + 1)[1:-1]
    bins = torch.bucketize(activations.contiguous(), inner)
    combination = torch.unique(bins, dim=0, return_inverse=True)[1]
    known = _entropy(combination)
    return known, known + _entropy(labels) - _entropy(combination * (int(labels.max()) + 1) + labels)


def _entropy(ids: Tensor) -> float:
    """In bits, of (N,) ids that are equally likely."""
    share = torch.bincount(ids).double() / len(ids)
    return float(torch.special.entr(share).sum()) / math.log(2)
