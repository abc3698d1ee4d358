"""The information plane of hard bins, in which every unit is cut into 30 equal bins as by Shwartz-Ziv and Tishby.

T is here, as in their paper, the layer as a random variable, after binning. All 4096 patterns X are equally likely and
the network is deterministic, so T is a function of X and I(X;T) = H(T), the entropy of the shares of patterns that fall
into each combination of bins.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
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

NUM_BINS = 30  # of each unit, as in arXiv 1703.00810


class Row(NamedTuple):
    """A layer at a step, as a place in the plane.

    Attributes:
        step: Optimizer step.
        layer: Name of the layer.
        input: I(X;T) in bits.
        label: I(T;Y) in bits.
    """

    step: int
    layer: str
    input: float
    label: float


class BinnedPlane(Callback):
    """Keeps all activations at each point that the monitor records, and at the end of the run bins and writes them.

    They are kept until then because a ReLU has no largest value: its bins reach to the largest activation of the run.

    Args:
        path: Path of the CSV file to write.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self._activations: dict[int, dict[str, Tensor]] = {}  # by step and layer

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Keep the activations if the monitor has just recorded a point."""
        self._keep(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the last activations, bin all of them, and write the file."""
        self._keep(trainer, pl_module)
        modules = dict(pl_module.named_modules())
        layers = find_sites(pl_module, "layers.*")
        labels = trainer.datamodule.labels  # type: ignore[attr-defined]
        with self.path.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(Row._fields)
            for site, name in layers.items():
                activations = {step: by_site[site] for step, by_site in self._activations.items()}
                activation: Any = modules[name].activation
                low, high = bounds(activation, activations.values())
                for step, values in activations.items():
                    rows.writerow(Row(step, site, *binned_information(values, labels, low, high)))

    on_train_start = on_train_batch_end

    def _keep(self, trainer: Trainer, pl_module: LightningModule) -> None:
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        monitor = next(callback for callback in callbacks if isinstance(callback, InformationPlaneMonitor))
        steps = monitor.trajectory.steps
        if not steps or steps[-1] in self._activations:
            return
        by_site: dict[str, Tensor] = {}
        inputs = trainer.datamodule.inputs.to(pl_module.device)  # type: ignore[attr-defined]
        with undisturbed(pl_module), capture(pl_module, find_sites(pl_module, "layers.*"), by_site.__setitem__):
            pl_module(inputs)
        self._activations[steps[-1]] = {site: values.cpu() for site, values in by_site.items()}


def bounds(activation: nn.Module, values: Iterable[Tensor]) -> tuple[float, float]:
    """Return the least and the largest value that an activation function can have.

    Args:
        activation: The function.
        values: All activations of the run, whose largest stands for that of a function without one.
    """
    if isinstance(activation, nn.Tanh):
        return -1.0, 1.0
    if isinstance(activation, nn.Softmax):
        return 0.0, 1.0
    return 0.0, max(float(each.max()) for each in values)


def binned_information(activations: Tensor, labels: Tensor, low: float, high: float) -> tuple[float, float]:
    """Return I(X;T) and I(T;Y) in bits, where T is the combination of bins that the units of a layer are in.

    Args:
        activations: Activations of N different and equally likely inputs, (N, D).
        labels: Labels as integers from 0, (N,).
        low: Lower end of the first of `NUM_BINS` equal bins.
        high: Upper end of the last bin. Activations beyond an end belong to the bin at that end.

    Example:
        >>> activations = torch.tensor([[0.0], [0.01], [0.5], [1.0]])  # the first two share a bin
        >>> information_x, information_y = binned_information(activations, torch.tensor([0, 1, 1, 1]), 0.0, 1.0)
        >>> information_x, round(information_y, 6)
        (1.5, 0.311278)
    """
    inner = torch.linspace(low, high, NUM_BINS + 1)[1:-1]
    bins = torch.bucketize(activations.contiguous(), inner)
    combination = torch.unique(bins, dim=0, return_inverse=True)[1]
    entropy = _entropy(combination)
    return entropy, entropy + _entropy(labels) - _entropy(combination * (int(labels.max()) + 1) + labels)


def _entropy(ids: Tensor) -> float:
    """Return the entropy in bits of the ids (N,) of equally likely inputs."""
    share = torch.bincount(ids).double() / len(ids)
    return float(torch.special.entr(share).sum()) / math.log(2)
