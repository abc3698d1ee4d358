"""The task: 12 points on a sphere, lit or not, and a label that no rotation of the sphere changes.

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
DEGREE = 3  # of the power spectrum; the dot products of corners take four values, so no higher one tells more
RULE_SEED = 3  # of the weights in f: the first with which .99 bits can be reached at p(y = 1) = .5


class PatternData(LightningDataModule):
    """All 4096 patterns: some to train on, the others held out, and all of them to measure on.

    Args:
        batch_size: patterns in a batch.
        train_share: of the patterns; 85 % in the paper.
        seed: of the labels, which are drawn once, of the split and of the order of batches.

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
        """Nothing: a model need not know of these data."""
        return {}

    @property
    def probe_source(self) -> tuple[Tensor, Tensor, Tensor]:
        """What `pattern_probe` takes."""
        return self.inputs, self.labels, self.orbits

    def setup(self, stage: str | None = None) -> None:
        """Make the patterns, draw their labels, and split; the same for one seed, however often it is called.

        Sets ``inputs`` (4096, 12) of 0 and 1, ``labels`` (4096,) in {0, 1}, ``orbits`` (4096,) in [0, 64).
        """
        generator = torch.Generator().manual_seed(self.seed)
        self.inputs = patterns().float()
        function, self.orbits = symmetric_function()
        self.labels = torch.bernoulli(label_probability(function), generator=generator).long()
        order = torch.randperm(len(self.inputs), generator=generator)
        self._train, self._held_out = order.split_with_sizes(_sizes(len(order), self.train_share))

    def train_dataloader(self) -> DataLoader[Any]:
        """Batches of patterns (B, 12) and labels (B,), shuffled anew each epoch."""
        sampler = RandomSampler(self._train, generator=torch.Generator().manual_seed(self.seed))
        return self._loader(self._train, BatchSampler(sampler, self.batch_size, drop_last=False))

    def val_dataloader(self) -> DataLoader[Any]:
        """The held-out patterns, in one batch."""
        return self._loader(self._held_out, BatchSampler(range(len(self._held_out)), len(self._held_out), False))

    def _loader(self, chosen: Tensor, batches: BatchSampler) -> DataLoader[Any]:
        dataset = TensorDataset(self.inputs[chosen], self.labels[chosen])
        generator = torch.Generator().manual_seed(self.seed)
        return DataLoader(dataset, sampler=batches, batch_size=None, generator=generator)


def pattern_probe(inputs: Tensor, labels: Tensor, orbits: Tensor) -> Probe:
    """All patterns, each a document of its own: what a layer tells of the orbit, and of the label."""
    return Probe(inputs, labels={"input/orbit": orbits, "output/orbit": labels}, name="patterns")


def patterns() -> Tensor:
    """(4096, 12) float64, every way to light 12 points."""
    return (torch.arange(1 << NUM_POINTS)[:, None] >> torch.arange(NUM_POINTS) & 1).double()


def corners() -> Tensor:
    """(12, 3) float64 unit vectors: the corners of an icosahedron, cyclic permutations of (0, ±1, ±golden ratio)."""
    golden = (1 + math.sqrt(5)) / 2
    points = [(0.0, a, b * golden) for a in (-1.0, 1.0) for b in (-1.0, 1.0)]
    turned = [point[shift:] + point[:shift] for shift in range(3) for point in points]
    return torch.nn.functional.normalize(torch.tensor(turned, dtype=torch.float64), dim=1)


def power_spectrum() -> Tensor:
    """(4096, DEGREE + 1) float64, P_0 to P_DEGREE of every pattern; rotations do not change it."""
    lit, cosines = patterns(), corners() @ corners().T
    legendre = [torch.ones_like(cosines), cosines]
    for degree in range(1, DEGREE):
        legendre.append(((2 * degree + 1) * cosines * legendre[-1] - degree * legendre[-2]) / (degree + 1))
    return torch.stack([((lit @ polynomial) * lit).sum(1) for polynomial in legendre], 1)


def symmetric_function() -> tuple[Tensor, Tensor]:
    """A function f of the power spectrum with random weights: its values (4096,), and which of its 64 they are."""
    spectrum = power_spectrum()
    standard = (spectrum - spectrum.mean(0)) / spectrum.std(0).clamp_min(1e-9)  # P_1 of an icosahedron may stand still
    weights = torch.randn(DEGREE + 1, generator=torch.Generator().manual_seed(RULE_SEED), dtype=torch.float64)
    values = standard @ weights
    orbits = torch.unique(values.round(decimals=6), return_inverse=True)[
        1
    ]  # sums in another order differ in the last digits
    return values / values.std(), orbits


def label_probability(function: Tensor, *, information: float = 0.99) -> Tensor:
    """p(y = 1 | x) of every pattern: half of all labels are 1, and x tells ``information`` bits of y."""

    def at(log_gamma: float) -> Tensor:
        scaled = math.exp(log_gamma) * function
        threshold = brentq(
            lambda t: float((scaled - t).sigmoid().mean()) - 0.5, float(scaled.min()), float(scaled.max())
        )
        return (scaled - threshold).sigmoid()

    return at(brentq(lambda log_gamma: label_information(at(log_gamma)) - information, 0, 8))


def label_information(probability: Tensor) -> float:
    """I(X;Y) in bits, of equally likely x with these p(y = 1 | x)."""
    return float(_binary_entropy(probability.mean()) - _binary_entropy(probability).mean())


def _binary_entropy(probability: Tensor) -> Tensor:
    return (torch.special.entr(probability) + torch.special.entr(1 - probability)) / math.log(2)


def _sizes(number: int, share: float) -> list[int]:
    first = round(number * share)
    return [first, number - first]
