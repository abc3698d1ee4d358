"""The task: patterns of 12 points on a sphere, each lit or not, and a label that no rotation of the sphere changes.

Source: Shwartz-Ziv and Tishby, arXiv 1703.00810, section 3.1. A pattern lights some of 12 evenly spread points, here
the corners of an icosahedron. Its power spectrum P_l = Σ_ij x_i x_j P_l(p_i · p_j), by the addition theorem of
spherical harmonics, takes 64 different values over the 4096 patterns: the 64 orbits of the paper. A real function f of
the spectrum gives p(y = 1 | x) = sigmoid(γ (f(x) - θ)), with θ such that p(y = 1) = .5 and γ such that I(X;Y) is .99
bits.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from lightning import LightningDataModule
from scipy.optimize import brentq
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

from ibtrack import Probe

NUM_POINTS = 12
DEGREE = 3  # highest degree of the power spectrum: dot products of corners have four values, so higher ones add nothing
RULE_SEED = 3  # seed of the weights in f: the first with which .99 bits can be reached at p(y = 1) = .5


class PatternData(LightningDataModule):
    """All 4096 patterns: most of them to train on, the others held out, and all of them to measure on.

    Args:
        batch_size: Number of patterns in a batch.
        train_share: Share of the patterns to train on; the paper has 85 %.
        seed: Seed of the labels, which are drawn once, of the split and of the order of the batches.

    Raises:
        ValueError: ``train_share`` is out of range.

    Example:
        >>> data = PatternData(batch_size=512)
        >>> data.setup()
        >>> [tuple(part.shape) for part in next(iter(data.train_dataloader()))]
        [(512, 12), (512,)]
    """

    def __init__(self, *, batch_size: int, train_share: float = 0.85, seed: int = 0) -> None:
        super().__init__()
        if not 0 < train_share < 1:
            raise ValueError(f"train_share must lie between 0 and 1, got {train_share!r}")
        self.batch_size, self.train_share, self.seed = batch_size, train_share, seed

    @property
    def model_settings(self) -> dict[str, Any]:
        """The arguments that the model takes from the data: none."""
        return {}

    @property
    def probe_source(self) -> tuple[Tensor, Tensor, Tensor]:
        """The arguments of `pattern_probe`: inputs, labels and orbits."""
        return self.inputs, self.labels, self.orbits

    def setup(self, stage: str | None = None) -> None:
        """Make the patterns, draw their labels and split them; one seed always gives the same.

        Sets ``inputs``, 0 or 1, (4096, 12); ``labels``, 0 or 1, (4096,); ``orbits``, from 0 to 63, (4096,).

        Args:
            stage: The stage that Lightning sets up; all of them need the same.
        """
        generator = torch.Generator().manual_seed(self.seed)
        self.inputs = patterns().float()
        function, self.orbits = symmetric_function()
        self.labels = torch.bernoulli(label_probability(function), generator=generator).long()
        order = torch.randperm(len(self.inputs), generator=generator)
        self._train, self._held_out = order.split_with_sizes(_sizes(len(order), self.train_share))

    def train_dataloader(self) -> DataLoader[Any]:
        """Return batches of patterns (batch_size, 12) and labels (batch_size,), shuffled anew in each epoch."""
        sampler = RandomSampler(self._train, generator=torch.Generator().manual_seed(self.seed))
        return self._loader(self._train, BatchSampler(sampler, self.batch_size, drop_last=False))

    def val_dataloader(self) -> DataLoader[Any]:
        """Return the held-out patterns and their labels in one batch."""
        return self._loader(self._held_out, BatchSampler(range(len(self._held_out)), len(self._held_out), False))

    def _loader(self, chosen: Tensor, batches: BatchSampler) -> DataLoader[Any]:
        dataset = TensorDataset(self.inputs[chosen], self.labels[chosen])
        generator = torch.Generator().manual_seed(self.seed)
        return DataLoader(dataset, sampler=batches, batch_size=None, generator=generator)


def pattern_probe(inputs: Tensor, labels: Tensor, orbits: Tensor) -> Probe:
    """Make a probe of all patterns, each of which is a document of its own.

    Args:
        inputs: The patterns, (4096, 12).
        labels: The label of each pattern, which takes the place of an output label, (4096,).
        orbits: The orbit of each pattern, which takes the place of an input label, (4096,).
    """
    return Probe(inputs, labels={"input/orbit": orbits, "output/orbit": labels}, name="patterns")


def patterns() -> Tensor:
    """Return every way to light 12 points: 0 or 1 as float64, (4096, 12)."""
    return (torch.arange(1 << NUM_POINTS)[:, None] >> torch.arange(NUM_POINTS) & 1).double()


def corners() -> Tensor:
    """Return the corners of an icosahedron as unit vectors, float64, (12, 3).

    They are the cyclic permutations of (0, ±1, ±golden ratio), normalized.
    """
    golden = (1 + math.sqrt(5)) / 2
    points = [(0.0, a, b * golden) for a in (-1.0, 1.0) for b in (-1.0, 1.0)]
    turned = [point[shift:] + point[:shift] for shift in range(3) for point in points]
    return torch.nn.functional.normalize(torch.tensor(turned, dtype=torch.float64), dim=1)


def power_spectrum() -> Tensor:
    """Return P_0 to P_DEGREE of every pattern, float64, (4096, DEGREE + 1); no rotation of the sphere changes them."""
    lit, cosines = patterns(), corners() @ corners().T
    legendre = [torch.ones_like(cosines), cosines]
    for degree in range(1, DEGREE):
        legendre.append(((2 * degree + 1) * cosines * legendre[-1] - degree * legendre[-2]) / (degree + 1))
    return torch.stack([((lit @ polynomial) * lit).sum(1) for polynomial in legendre], 1)


def symmetric_function() -> tuple[Tensor, Tensor]:
    """Return a function f of the power spectrum with random weights.

    Returns:
        The value of f at every pattern, of standard deviation 1, (4096,), and which of its 64 values that is, (4096,).
    """
    spectrum = power_spectrum()
    standard = (spectrum - spectrum.mean(0)) / spectrum.std(0)
    weights = torch.randn(DEGREE + 1, generator=torch.Generator().manual_seed(RULE_SEED), dtype=torch.float64)
    values = standard @ weights
    rounded = values.round(decimals=6)  # equal values differ in the last digits, as they are sums in another order
    return values / values.std(), torch.unique(rounded, return_inverse=True)[1]


def label_probability(function: Tensor, *, information: float = 0.99) -> Tensor:
    """Return p(y = 1 | x) of every pattern, such that p(y = 1) = .5 and I(X;Y) is as given.

    Args:
        function: The function f of the power spectrum, (4096,).
        information: I(X;Y) in bits.
    """

    def at(log_gamma: float) -> Tensor:
        scaled = math.exp(log_gamma) * function
        low, high = float(scaled.min()), float(scaled.max())
        threshold: float = brentq(lambda t: float((scaled - t).sigmoid().mean()) - 0.5, low, high)
        return (scaled - threshold).sigmoid()

    return at(brentq(lambda log_gamma: label_information(at(log_gamma)) - information, 0, 8))


def label_information(probability: Tensor) -> float:
    """Return I(X;Y) in bits, where all x are equally likely and have these p(y = 1 | x)."""
    return float(_binary_entropy(probability.mean()) - _binary_entropy(probability).mean())


def _binary_entropy(probability: Tensor) -> Tensor:
    bits: Tensor = (torch.special.entr(probability) + torch.special.entr(1 - probability)) / math.log(2)
    return bits


def _sizes(number: int, share: float) -> list[int]:
    first = round(number * share)
    return [first, number - first]
