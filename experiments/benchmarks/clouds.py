"""Clouds: made-up sources of activations whose I(X; J) is known, with a Gaussian for each label.

X is the label and J the anchor that the soft assignment draws. Letters: N positions, D width, K anchors, M labels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from numpy.random import SeedSequence
from torch import Generator, Tensor

from ibtrack.information.assignments import assign, draw_anchors, temperature
from ibtrack.information.document_design import DocumentDesign

NUM_ANCHORS = 100
LOG_K = math.log(NUM_ANCHORS)
LABELS_AT_ONCE = 64
MOST_ROUNDS = 32  # a frequent label gets up to so many times the rows of an average one
CLOUD, SAMPLE, TRUTH = range(3)  # streams of random numbers
PIECES = 8  # a label's rows are cut so that whole, halves, quarters and eighths show how the truth nears its limit


@dataclass(frozen=True)
class Recipe:
    """How to make a cloud.

    Attributes:
        name: Name that is printed.
        strength: Length of the label means, in units of the spread inside a label.
        exponent: Exponent of the labels' law: shares are rank^-exponent, so 0 is uniform and 1 is Zipf's law.
        offset: Length of a vector that is added to all activations, in the same units.
        means: How the label means lie, a key of `MEANS`.
        spreads: How the labels' spreads differ, a key of `SPREADS`.
        heavy_rows: Degrees of freedom of t-distributed rows, or 0 for Gaussian rows.
        independent: Whether rows are drawn from the Gaussian of another, random label, so that the true I(X; J) is 0.
        repeats: Share of positions whose label is one that their document already has.
        cell_effect: Deviation of the effect that a label has in one document only, in units of a label's spread.
        document_effect: Deviation of the effect that a document has on all its rows, in the same units.
        document_length: Positions in a document.
        width: Width of the activations, D.
        num_labels: Number of labels, M.
        sizes: Sizes of the samples to draw, N.
        seed: Seed of everything that is fixed about the cloud, including its anchors.
    """

    name: str
    strength: float
    exponent: float = 1.0
    offset: float = 0.0
    means: str = "scattered"
    spreads: str = "equal"
    heavy_rows: int = 0
    independent: bool = False
    repeats: float = 0.0
    cell_effect: float = 0.0
    document_effect: float = 0.3
    document_length: int = 120
    width: int = 64
    num_labels: int = 2000
    sizes: tuple[int, ...] = (4000, 8000, 16_000, 64_000)
    seed: int = 0


@dataclass(frozen=True)
class Sample:
    """A sample of a cloud.

    Attributes:
        assignments: Soft assignments of the positions, (N, K).
        labels: Label of each position, from 0 to M - 1, (N,).
        documents: Document of each position; a document is a run of positions.
    """

    assignments: Tensor
    labels: Tensor
    documents: DocumentDesign


@dataclass(frozen=True)
class Truth:
    """I(X; J) of a cloud, as a fraction of log K.

    Attributes:
        value: The information.
        error: Its standard error.
    """

    value: float
    error: float

    def __str__(self) -> str:
        return f"{self.value:.4f} ±{self.error:.4f}"


class Cloud:
    """The distribution that a recipe describes, with the anchors of the soft assignment.

    Args:
        recipe: The recipe.

    Attributes:
        recipe: The recipe.
        share: Probability of each label, float64, the most frequent label first, (M,).
        means: Means of the labels' Gaussians, (M, D).
        spread: Square root of the trace of each Gaussian's covariance, which is isotropic, (M,).
        anchors: Anchors, (K, D).
        temperature: Temperature of the soft assignment by the exact rule.
    """

    def __init__(self, recipe: Recipe) -> None:
        generator = stream(recipe.seed, CLOUD)
        share = torch.arange(1, recipe.num_labels + 1).double().pow(-recipe.exponent)
        self.recipe = recipe
        self.share = share / share.sum()
        common = torch.nn.functional.normalize(torch.randn(recipe.width, generator=generator), dim=0)
        means = MEANS[recipe.means](recipe.num_labels, recipe.width, generator)
        self.means = recipe.strength * means + recipe.offset * common  # (M, D)
        self.spread = SPREADS[recipe.spreads](recipe.num_labels, generator)  # (M,)
        self.anchors = draw_anchors(recipe.width, NUM_ANCHORS, seed=recipe.seed)
        self.temperature = temperature(recipe.width, NUM_ANCHORS)

    def sample(self, num_rows: int, *, repetition: int = 0) -> Sample:
        """Draw labels, and rows that also depend on their document.

        Args:
            num_rows: Size of the sample, N.
            repetition: Number of the sample; each has random numbers of its own.
        """
        generator = stream(self.recipe.seed, SAMPLE, num_rows, repetition)
        document = torch.arange(num_rows) // self.recipe.document_length
        labels = self._draw_labels(num_rows, generator)
        if self.recipe.repeats:
            labels = repeated(labels, self.recipe.repeats, self.recipe.document_length, generator)
        documents = DocumentDesign.from_index(document)
        shared = self._noise(documents.num_documents, generator)
        own = self._noise(num_rows, generator)
        effect = self.recipe.document_effect
        residual = 1 - effect**2 - self.recipe.cell_effect**2  # the three variances add up to 1
        noise = math.sqrt(residual) * own + effect * shared[document]
        if self.recipe.cell_effect:
            cells = torch.unique(labels * documents.num_documents + document, return_inverse=True)[1]
            noise += self.recipe.cell_effect * self._noise(int(cells.max()) + 1, generator)[cells]
        return Sample(self._assign(labels, noise, generator), labels, documents)

    def rows(self, labels: Tensor, generator: Generator) -> Tensor:
        """Draw rows, each in a document of its own.

        Args:
            labels: Label of each row, (N,).
            generator: Source of the random numbers.

        Returns:
            The soft assignments of the rows, (N, K).
        """
        return self._assign(labels, self._noise(len(labels), generator), generator)

    def _draw_labels(self, number: int, generator: Generator) -> Tensor:
        return torch.multinomial(self.share, number, replacement=True, generator=generator)

    def _noise(self, number: int, generator: Generator) -> Tensor:
        return torch.randn(number, self.recipe.width, generator=generator) / math.sqrt(self.recipe.width)

    def _assign(self, labels: Tensor, noise: Tensor, generator: Generator) -> Tensor:
        gaussian = self._draw_labels(len(labels), generator) if self.recipe.independent else labels
        scale = self.spread[gaussian]
        if self.recipe.heavy_rows:
            freedom = self.recipe.heavy_rows
            squares = torch.randn(len(gaussian), freedom, generator=generator).square().sum(1)
            scale = scale * (freedom / squares).sqrt()
        return assign(self.means[gaussian] + scale.unsqueeze(1) * noise, self.anchors, self.temperature)


def repeated(labels: Tensor, share: float, length: int, generator: Generator) -> Tensor:
    """Replace each label, with this probability, by a random one of the labels before it in its document."""
    labels = labels.clone()
    again = torch.rand(len(labels), generator=generator) < share
    back = torch.rand(len(labels), generator=generator)
    for offset in range(1, length):
        here = torch.arange(offset, len(labels), length)
        here = here[again[here]]
        labels[here] = labels[here - 1 - (back[here] * offset).long()]
    return labels


def true_information(cloud: Cloud, *, rows_per_label: int = 512, repetition: int = 0) -> Truth:
    """Compute I(X; J) of a cloud from many rows of every label.

    The bias of the plug-in estimate from n rows per label is a / n + b / n² and terms of higher order; the estimates
    from n, n / 2 and n / 4 rows give a and b (Richardson extrapolation). The standard error has two parts: that of the
    mean of two independent halves of the rows, and the distance of the halves' mean from the whole, where terms of
    higher order would show.

    Args:
        cloud: The cloud.
        rows_per_label: Rows of each label, a multiple of 8; labels more frequent than the average get up to
            `MOST_ROUNDS` times as many.
        repetition: Number of the computation; each has random numbers of its own.

    Returns:
        The information and its standard error.
    """
    means = _piece_means(cloud, rows_per_label, stream(cloud.recipe.seed, TRUTH, repetition))
    eighths, quarters, halves, whole = (_divergences(cloud.share, _joined(means, pieces)) for pieces in (8, 4, 2, 1))
    by_label = _extrapolated(whole, halves.view(-1, 1, 2), quarters.view(-1, 1, 4)).flatten()  # (M,)
    by_half = _extrapolated(halves, quarters.view(-1, 2, 2), eighths.view(-1, 2, 4))  # (M, 2)
    value, value_of_halves = cloud.share @ by_label, cloud.share @ by_half.mean(1)
    sampling = (cloud.share * (by_half[:, 0] - by_half[:, 1])).norm() / 2
    return Truth(float(value) / LOG_K, float(torch.hypot(sampling, value - value_of_halves)) / LOG_K)


def _piece_means(cloud: Cloud, rows_per_label: int, generator: Generator) -> Tensor:
    """Return the mean assignments of fresh rows, in equal pieces for each label, (M, PIECES, K)."""
    number = len(cloud.share)
    rounds = (cloud.share * number).round().clamp(1, MOST_ROUNDS)  # (M,) the frequent labels matter most for the truth
    means = torch.zeros(number, PIECES, NUM_ANCHORS, dtype=torch.float64)
    for done in range(int(rounds.max())):
        for labels in torch.split((rounds > done).nonzero().flatten(), LABELS_AT_ONCE):
            rows = cloud.rows(labels.repeat_interleave(rows_per_label), generator)
            means[labels] += rows.view(len(labels), PIECES, -1, NUM_ANCHORS).mean(2)
    return means / rounds.view(-1, 1, 1)


def _joined(means: Tensor, pieces: int) -> Tensor:
    """Join pieces to larger ones: (M, PIECES, K) to (M, pieces, K)."""
    return means.view(len(means), pieces, -1, means.shape[2]).mean(2)


def _divergences(share: Tensor, means: Tensor) -> Tensor:
    """Return KL( P_x ‖ p ) in nats, (M, pieces), for means (M, pieces, K); each piece has a marginal p of its own."""
    marginal = torch.einsum("m,mpk->pk", share, means)
    divergences: Tensor = (torch.special.xlogy(means, means) - torch.special.xlogy(means, marginal)).sum(2)
    return divergences


def _extrapolated(whole: Tensor, halves: Tensor, quarters: Tensor) -> Tensor:
    """Return the limit of I + a / n + b / n² from its values at n, n / 2 and n / 4, of which pieces are averaged."""
    return (8 * whole - 6 * halves.mean(-1) + quarters.mean(-1)) / 3


def stream(*key: int) -> Generator:
    """Return a stream of random numbers for every key; none is that of the anchors, on which means must not lie."""
    return torch.Generator().manual_seed(int(SeedSequence(key).generate_state(1, "uint64")[0]))


def _scattered(number: int, width: int, generator: Generator) -> Tensor:
    """Return Gaussian vectors of length about 1, (M, D), as all kinds of means are."""
    return torch.randn(number, width, generator=generator) / math.sqrt(width)


def _subspace(number: int, width: int, generator: Generator) -> Tensor:
    """Return means that form 12 clusters in 8 dimensions."""
    basis = torch.linalg.qr(torch.randn(width, 8, generator=generator)).Q.T  # (8, D)
    cluster = _scattered(12, 8, generator)[torch.randint(12, (number,), generator=generator)]
    means: Tensor = math.sqrt(0.8) * cluster @ basis + math.sqrt(0.2) * _scattered(number, 8, generator) @ basis
    return means


def _hierarchy(number: int, width: int, generator: Generator) -> Tensor:
    """Return means with a part that 20 labels share, one that 4 share and one of the label alone.

    So the means of k-grams are related, which share their last tokens.
    """
    means = math.sqrt(0.2) * _scattered(number, width, generator)
    for family, weight in ((20, 0.55), (4, 0.25)):
        parents = _scattered(number // family, width, generator)
        means += math.sqrt(weight) * parents[torch.randint(len(parents), (number,), generator=generator)]
    return means


def _frequent_apart(number: int, width: int, generator: Generator) -> Tensor:
    """Return means that are further apart for frequent labels than for rare ones."""
    return (1.6 - 1.2 * _rank(number).sqrt()) * _scattered(number, width, generator)


def _rare_apart(number: int, width: int, generator: Generator) -> Tensor:
    """Return means that are further apart for rare labels than for frequent ones."""
    return (0.4 + 1.0 * _rank(number).sqrt()) * _scattered(number, width, generator)


def _quarter(number: int, width: int, generator: Generator) -> Tensor:
    """Return means of which three in four are 0, so that a quarter of the labels carries all information."""
    chosen = torch.rand(number, 1, generator=generator) < 0.25
    means: Tensor = 2 * chosen * _scattered(number, width, generator)
    return means


def _rank(number: int) -> Tensor:
    """Return numbers from 0 for the most frequent label to 1 for the rarest, (M, 1)."""
    return torch.linspace(0, 1, number).unsqueeze(1)


def _equal(number: int, generator: Generator) -> Tensor:
    """Return spreads of 1."""
    return torch.ones(number)


def _unequal(number: int, generator: Generator) -> Tensor:
    """Return log-normal spreads: one label in six is wider than e^½, one in six narrower than e^-½."""
    return torch.exp(0.5 * torch.randn(number, generator=generator))


def _heavy(number: int, generator: Generator) -> Tensor:
    """Return spreads that make a t-distribution with 3 degrees of freedom, at least .2 and at most 6."""
    return (3 / torch.randn(number, 3, generator=generator).square().sum(1)).sqrt().clamp(0.2, 6)


MEANS: dict[str, Callable[[int, int, Generator], Tensor]] = {
    "scattered": _scattered,
    "subspace": _subspace,
    "hierarchy": _hierarchy,
    "frequent apart": _frequent_apart,
    "rare apart": _rare_apart,
    "quarter": _quarter,
}
SPREADS: dict[str, Callable[[int, Generator], Tensor]] = {"equal": _equal, "unequal": _unequal, "heavy": _heavy}
