"""Sources of activations whose I(X; J) is known: a Gaussian for each label.

Letters: N rows, D width, K anchors, M labels, G documents.
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
DOCUMENT_LENGTH = 120
DOCUMENT_EFFECT = 0.3  # what the rows of a document have in common, in units of the spread inside a label
LABELS_AT_ONCE = 64
MOST_ROUNDS = 32
CLOUD, SAMPLE, TRUTH = range(3)  # streams of random numbers
PIECES = 8  # of the rows of a label: the whole, halves, quarters and eighths say how the truth approaches its limit


@dataclass(frozen=True)
class Recipe:
    """How to make a cloud.

    Attributes:
        name: what is printed.
        strength: distance of the label means in units of the spread inside a label.
        exponent: labels have shares rank^-exponent; 0 is uniform, 1 is Zipf's law.
        offset: length of a vector that all activations have in common, in the same units.
        means: a key of `MEANS`.
        spreads: a key of `SPREADS`.
        heavy_rows: degrees of freedom of the t-distributed rows, or 0 for Gaussian rows.
        independent: the label has nothing to do with the row, whose Gaussian is that of another label.
        repeats: share of positions that take up a label which their document already has.
        clumped: what rows of one label and document have in common, in units of the spread inside a label.
        width: D.
        num_labels: M.
        sizes: the N to draw.
        seed: of everything that is fixed about the cloud, its anchors too.
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
    clumped: float = 0.0
    width: int = 64
    num_labels: int = 2000
    sizes: tuple[int, ...] = (4000, 8000, 16_000, 64_000)
    seed: int = 0


@dataclass(frozen=True)
class Sample:
    """N rows of a cloud.

    Attributes:
        assignments: (N, K).
        labels: (N,) in [0, M).
        documents: runs of `DOCUMENT_LENGTH` rows.
    """

    assignments: Tensor
    labels: Tensor
    documents: DocumentDesign


@dataclass(frozen=True)
class Truth:
    """I(X; J) of a cloud and its standard error, as fractions of log K."""

    value: float
    error: float

    def __str__(self) -> str:
        return f"{self.value:.4f} ±{self.error:.4f}"


class Cloud:
    """The distribution that a recipe describes, with anchors to look at it.

    Args:
        recipe: see `Recipe`.

    Attributes:
        share: (M,) float64 probability of each label, most frequent first.
        means: (M, D) of the Gaussians.
        spread: (M,) square root of the trace of their covariance, which is isotropic.
        anchors: (K, D).
        temperature: ε, by the exact rule.
    """

    def __init__(self, recipe: Recipe) -> None:
        generator = _generator(recipe.seed, CLOUD)
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
        """Draw labels, and rows that also depend on their document."""
        generator = _generator(self.recipe.seed, SAMPLE, num_rows, repetition)
        of = torch.arange(num_rows) // DOCUMENT_LENGTH
        labels = self._draw_labels(num_rows, generator)
        if self.recipe.repeats:
            labels = _repeated(labels, self.recipe.repeats, generator)
        documents = DocumentDesign.from_index(of)
        shared = self._noise(documents.num_documents, generator)
        own = self._noise(num_rows, generator)
        alone = 1 - DOCUMENT_EFFECT**2 - self.recipe.clumped**2
        noise = math.sqrt(alone) * own + DOCUMENT_EFFECT * shared[of]
        if self.recipe.clumped:
            clumps = torch.unique(labels * documents.num_documents + of, return_inverse=True)[1]
            noise += self.recipe.clumped * self._noise(int(clumps.max()) + 1, generator)[clumps]
        return Sample(self._assign(labels, noise, generator), labels, documents)

    def rows(self, labels: Tensor, generator: Generator) -> Tensor:
        """(N, K) assignments of rows with these (N,) labels, each of a document of its own."""
        return self._assign(labels, self._noise(len(labels), generator), generator)

    def _draw_labels(self, number: int, generator: Generator) -> Tensor:
        return torch.multinomial(self.share, number, replacement=True, generator=generator)

    def _noise(self, number: int, generator: Generator) -> Tensor:
        return torch.randn(number, self.recipe.width, generator=generator) / math.sqrt(self.recipe.width)

    def _assign(self, labels: Tensor, noise: Tensor, generator: Generator) -> Tensor:
        of = self._draw_labels(len(labels), generator) if self.recipe.independent else labels
        scale = self.spread[of]
        if self.recipe.heavy_rows:
            freedom = self.recipe.heavy_rows
            squares = torch.randn(len(of), freedom, generator=generator).square().sum(1)
            scale = scale * (freedom / squares).sqrt()
        return assign(self.means[of] + scale.unsqueeze(1) * noise, self.anchors, self.temperature)


def _repeated(labels: Tensor, share: float, generator: Generator) -> Tensor:
    """A text that repeats itself: each label is replaced, with this probability, by one from before in its document."""
    labels = labels.clone()
    again = torch.rand(len(labels), generator=generator) < share
    back = torch.rand(len(labels), generator=generator)
    for offset in range(1, DOCUMENT_LENGTH):
        here = torch.arange(offset, len(labels), DOCUMENT_LENGTH)
        here = here[again[here]]
        labels[here] = labels[here - 1 - (back[here] * offset).long()]
    return labels


def true_information(cloud: Cloud, *, rows_per_label: int = 512, repetition: int = 0) -> Truth:
    """I(X; J) of a cloud from many rows of every label.

    The plug-in of n rows per label is off by a / n + b / n² + ...; those of n, n/2 and n/4 rows give a and b. The error
    is that of the mean of two independent halves of the rows, and by how much the halves on their own differ from the
    whole, since what the expansion leaves out would show there.

    Args:
        cloud: the source.
        rows_per_label: a multiple of 8; labels more frequent than the average have up to 32 times as many.
        repetition: other rows for each.
    """
    means = _piece_means(cloud, rows_per_label, _generator(cloud.recipe.seed, TRUTH, repetition))
    eighths, quarters, halves, whole = (_divergences(cloud.share, _joined(means, groups)) for groups in (8, 4, 2, 1))
    by_label = _extrapolated(whole, halves.view(-1, 1, 2), quarters.view(-1, 1, 4)).flatten()  # (M,)
    by_half = _extrapolated(halves, quarters.view(-1, 2, 2), eighths.view(-1, 2, 4))  # (M, 2)
    value, value_of_halves = cloud.share @ by_label, cloud.share @ by_half.mean(1)
    sampling = (cloud.share * (by_half[:, 0] - by_half[:, 1])).norm() / 2
    return Truth(float(value) / LOG_K, float(torch.hypot(sampling, value - value_of_halves)) / LOG_K)


def _piece_means(cloud: Cloud, rows_per_label: int, generator: Generator) -> Tensor:
    """(M, PIECES, K) mean assignments of fresh rows, in equal pieces for each label."""
    number = len(cloud.share)
    rounds = (cloud.share * number).round().clamp(1, MOST_ROUNDS)  # (M,) the truth hangs on the frequent ones
    means = torch.zeros(number, PIECES, NUM_ANCHORS, dtype=torch.float64)
    for done in range(int(rounds.max())):
        for labels in (rounds > done).nonzero().flatten().split(LABELS_AT_ONCE):
            rows = cloud.rows(labels.repeat_interleave(rows_per_label), generator)
            means[labels] += rows.view(len(labels), PIECES, -1, NUM_ANCHORS).mean(2)
    return means / rounds.view(-1, 1, 1)


def _joined(means: Tensor, groups: int) -> Tensor:
    """(M, PIECES, K) to (M, groups, K)."""
    return means.view(len(means), groups, -1, means.shape[2]).mean(2)


def _divergences(share: Tensor, means: Tensor) -> Tensor:
    """(M, G) KL( P_x ‖ p ) in nats for (M, G, K) means, each of the G groups with a p of its own."""
    marginal = torch.einsum("m,mgk->gk", share, means)
    return (torch.special.xlogy(means, means) - torch.special.xlogy(means, marginal)).sum(2)


def _extrapolated(whole: Tensor, halves: Tensor, quarters: Tensor) -> Tensor:
    """The limit of I + a / n + b / n² from its values at n, n/2 and n/4, the latter two averaged over the last axis."""
    return (8 * whole - 6 * halves.mean(-1) + quarters.mean(-1)) / 3


def _generator(*key: int) -> Generator:
    """A stream of numbers for every key, and none that the anchors were drawn from: means must not lie on anchors."""
    return torch.Generator().manual_seed(int(SeedSequence(key).generate_state(1, "uint64")[0]))


def _scattered(number: int, width: int, generator: Generator) -> Tensor:
    """(M, D) Gaussian vectors of length about 1, as all kinds of means are."""
    return torch.randn(number, width, generator=generator) / math.sqrt(width)


def _subspace(number: int, width: int, generator: Generator) -> Tensor:
    """A few clusters of labels in 8 dimensions."""
    basis = torch.linalg.qr(torch.randn(width, 8, generator=generator)).Q.T  # (8, D)
    cluster = _scattered(12, 8, generator)[torch.randint(12, (number,), generator=generator)]
    return math.sqrt(0.8) * cluster @ basis + math.sqrt(0.2) * _scattered(number, 8, generator) @ basis


def _hierarchy(number: int, width: int, generator: Generator) -> Tensor:
    """Like k-grams, which share their last tokens: a parent of 20 labels, one of 4, and the label itself."""
    means = math.sqrt(0.2) * _scattered(number, width, generator)
    for family, weight in ((20, 0.55), (4, 0.25)):
        parents = _scattered(number // family, width, generator)
        means += math.sqrt(weight) * parents[torch.randint(len(parents), (number,), generator=generator)]
    return means


def _frequent_apart(number: int, width: int, generator: Generator) -> Tensor:
    """Frequent labels are further apart than rare ones."""
    return (1.6 - 1.2 * _rank(number).sqrt()) * _scattered(number, width, generator)


def _rare_apart(number: int, width: int, generator: Generator) -> Tensor:
    """Rare labels are further apart than frequent ones."""
    return (0.4 + 1.0 * _rank(number).sqrt()) * _scattered(number, width, generator)


def _quarter(number: int, width: int, generator: Generator) -> Tensor:
    """One label in four carries all of it."""
    chosen = torch.rand(number, 1, generator=generator) < 0.25
    return 2 * chosen * _scattered(number, width, generator)


def _rank(number: int) -> Tensor:
    """(M, 1) from 0 for the most frequent label to 1."""
    return torch.linspace(0, 1, number).unsqueeze(1)


def _equal(number: int, generator: Generator) -> Tensor:
    return torch.ones(number)


def _unequal(number: int, generator: Generator) -> Tensor:
    """One label in six is wider than e^½, one in six narrower than e^-½."""
    return torch.exp(0.5 * torch.randn(number, generator=generator))


def _heavy(number: int, generator: Generator) -> Tensor:
    """Spreads of a t-distribution with 3 degrees of freedom, cut at 6."""
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
