"""The network: a few narrow layers, with tanh as in Shwartz-Ziv and Tishby or with ReLU as in Saxe et al."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

from lightning import LightningModule
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU}


class Layer(nn.Module):
    """A linear map and an activation function; the map is a module of its own, so that its output can be measured too.

    Args:
        inputs: Number of units of the layer before.
        outputs: Number of units of this layer.
        activation: The activation function.
    """

    def __init__(self, inputs: int, outputs: int, activation: nn.Module) -> None:
        super().__init__()
        self.linear, self.activation = nn.Linear(inputs, outputs), activation
        nn.init.trunc_normal_(self.linear.weight, std=1 / math.sqrt(inputs))

    def forward(self, hidden: Tensor) -> Tensor:
        """Return the layer's units, (batch_size, outputs), for those of the layer before, (batch_size, inputs)."""
        units: Tensor = self.activation(self.linear(hidden))
        return units


class Network(LightningModule):
    """A classifier of patterns.

    Args:
        activation: Activation function of the hidden layers, ``tanh`` or ``relu``; the output is a softmax.
        optimizer: Function from parameters to an optimizer.
        widths: Numbers of units of the input, the hidden layers and the output.

    Raises:
        ValueError: There is no such activation function.

    Example:
        >>> import torch
        >>> Network("tanh", optimizer=torch.optim.SGD)(torch.zeros(3, 12)).shape
        torch.Size([3, 2])
    """

    def __init__(
        self, activation: str, *, optimizer: Callable[..., Optimizer], widths: Sequence[int] = (12, 10, 7, 5, 4, 3, 2)
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
        self.optimizer = optimizer
        functions = [ACTIVATIONS[activation]() for _ in widths[2:]] + [nn.Softmax(dim=-1)]
        sizes = itertools.pairwise(widths)
        self.layers = nn.Sequential(*(Layer(*size, function) for size, function in zip(sizes, functions, strict=True)))

    def forward(self, patterns: Tensor) -> Tensor:
        """Return the probabilities of the labels, (batch_size, 2), for patterns (batch_size, 12)."""
        probabilities: Tensor = self.layers(patterns)
        return probabilities

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """Return the mean cross-entropy of the labels in nats, and log it as ``train/loss``."""
        loss = cross_entropy(self._logits(batch[0]), batch[1])
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        """Log the mean cross-entropy and the accuracy of held-out patterns, ``val/loss`` and ``val/accuracy``."""
        logits = self._logits(batch[0])
        self.log("val/loss", cross_entropy(logits, batch[1]))
        self.log("val/accuracy", (logits.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self) -> Optimizer:
        """Return the optimizer of all parameters."""
        return self.optimizer(self.parameters())

    def _logits(self, patterns: Tensor) -> Tensor:
        last: Any = self.layers[-1]
        logits: Tensor = last.linear(self.layers[:-1](patterns))
        return logits
