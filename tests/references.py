"""Slow loops, written from the formulas and by another route than the package."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable

import mpmath
import numpy as np
from scipy.interpolate import BarycentricInterpolator
from scipy.special import digamma


def kgrams(
    tokens: list[list[int]], documents: list[list[int]], orders: tuple[int, ...]
) -> dict[tuple[str, int], list[tuple[int, ...]]]:
    """(side, k) to the k-gram, as a tuple, of every position that has all of them inside one document."""
    longest = max(orders)
    labels: dict[tuple[str, int], list[tuple[int, ...]]] = defaultdict(list)
    for block, document in zip(tokens, documents, strict=True):
        for i in range(len(block)):
            window = range(i - longest + 1, i + longest + 1)
            inside = window[0] >= 0 and window[-1] < len(block)
            if not inside or len({document[j] for j in window}) > 1 or document[i] < 0:
                continue
            for k in orders:
                labels["input", k].append(tuple(block[i - k + 1 : i + 1]))
                labels["output", k].append(tuple(block[i + 1 : i + k + 1]))
    return dict(labels)


def soft_assignments(rows: np.ndarray, anchors: np.ndarray, epsilon: float) -> np.ndarray:
    """exp(cos(row, anchor) / epsilon), normalized over anchors, row by row."""
    assignments = []
    for row in rows.astype(np.float64):
        scores = [float(row @ anchor) / math.sqrt(float(row @ row)) / epsilon for anchor in anchors.astype(np.float64)]
        weights = [math.exp(score - max(scores)) for score in scores]
        assignments.append([weight / sum(weights) for weight in weights])
    return np.array(assignments)


def entropy(p: np.ndarray) -> float:
    """Shannon entropy of a distribution, in nats."""
    return -sum(float(x) * math.log(x) for x in p if x > 0)


def plugin_information(assignments: np.ndarray, labels: np.ndarray) -> float:
    """H(mean of all rows) - Σ_x p(x) H(mean of the rows of label x)."""
    conditional = sum(
        float((labels == x).mean()) * entropy(assignments[labels == x].mean(0)) for x in np.unique(labels)
    )
    return entropy(assignments.mean(0)) - conditional


def equally_weighted_information(assignments: np.ndarray, labels: np.ndarray, fewest: int) -> float:
    """H(mean of all rows) - mean over the labels x that occur ``fewest`` times or more of H(mean of the rows of x)."""
    often = [x for x in np.unique(labels) if (labels == x).sum() >= fewest]
    return entropy(assignments.mean(0)) - sum(entropy(assignments[labels == x].mean(0)) for x in often) / len(often)


def permuted_information(assignments: np.ndarray, labels: np.ndarray, repeats: int, seed: int) -> float:
    """Mean plug-in information of labels in random orders."""
    rng = np.random.default_rng(seed)
    return float(np.mean([plugin_information(assignments, rng.permutation(labels)) for _ in range(repeats)]))


class Debiased:
    """The debiased reading and the null of one site and one label set, from all pairs of rows, in float64.

    Documents may be given weights around 1, which shows what a little more of one does. What the standard error holds
    fixed keeps its value at weights of 1: sample sizes and concentrations, the weights 1 / n_x and p_k^-½ of products,
    Q, the observed part of the null curve, and δ.
    """

    def __init__(self, rows: np.ndarray, labels: np.ndarray, documents: np.ndarray, sample: np.ndarray) -> None:
        """Take (N, K) rows, (N,) labels and documents, and the rows in the order in which they are averaged."""
        if len(set(documents.tolist())) == 1:
            documents = np.arange(len(rows))
        self.rows, self.labels, self.documents = rows, labels, documents
        p = rows.mean(0)
        self.products = (rows * p**-0.5) @ rows.T
        self.same_document = documents[:, None] == documents
        self.same_label = labels[:, None] == labels
        ones = np.ones(len(rows))
        self.num_nodes = max(4, math.floor(math.log2(len(rows))) + 2)  # the last is beyond 1 / N
        self.excess = self._observed_excess(p, self._squares(ones), sample)

        groups = [np.flatnonzero(documents == d) for d in np.unique(documents)]
        shifts = np.array([(rows[group] - p).sum(0) / len(rows) for group in groups])
        variance = (shifts**2).sum(0) * len(groups) / max(len(groups) - 1, 1)
        self.marginal_bias = float((variance / p).sum() / 2)

    def share(self, weights: np.ndarray) -> tuple[float, float]:
        """Find r and ρ from all pairs of two rows, with weights; a pair of rows of one document weighs as that does."""
        others = ~self.same_document
        pair = np.where(others, np.outer(weights, weights), weights)
        across, within = self.same_label & others, self.same_label & self.same_document
        np.fill_diagonal(within, False)
        occurrences = self.same_label.sum(1, keepdims=True) * np.ones_like(pair)
        cell_sizes = (self.same_label & self.same_document).sum(1, keepdims=True) * np.ones_like(pair)

        def mean(mask: np.ndarray, sizes: np.ndarray) -> float:
            return float(np.average(self.products[mask], weights=pair[mask] / sizes[mask]))

        squares = float(np.average(np.diag(self.products), weights=weights))
        other, cross = mean(others, np.ones_like(pair)), mean(across, occurrences)
        chance = across.sum() / others.sum()
        rho = (mean(within, cell_sizes) - cross) / (squares - cross) if within.any() else 0.0
        return min((cross - other) / (squares - other) / (1 - chance), 0.98), min(max(rho, 0.0), 1.0)

    def reading(self, weights: np.ndarray | None = None) -> float:
        """The debiased reading, for weights of the rows."""
        w = np.ones(len(self.rows)) if weights is None else weights
        r, rho = self.share(w)
        p, squares = np.average(self.rows, axis=0, weights=w), self._squares(w)
        at_one = beta_gap(p, squares - p**2), lognormal_gap(p, squares - p**2)
        ceiling = entropy(p) - sum(w_i * entropy(row) for w_i, row in zip(w, self.rows, strict=True)) / w.sum()
        mixture = (ceiling - at_one[0]) / (at_one[1] - at_one[0]) + 0.3

        def of_rows(node: int) -> float:
            return _gap_over_t(beta_gap, p, squares, node) + self.excess[node]

        def of_means(node: int) -> float:
            beta, lognormal = (_gap_over_t(gap, p, squares, node) for gap in (beta_gap, lognormal_gap))
            return beta + mixture * (lognormal - beta)

        curves = [[curve(node) for node in range(self.num_nodes)] for curve in (of_rows, of_means)]

        def gap(group: np.ndarray) -> float:
            """What the mean of some rows of a label lacks; none for the label itself, the mean of all of its rows."""
            n, q = len(group), concentration(self.documents[group])
            smooth = r + (1 - r) * rho * q
            t = r + (1 - r) * ((1 - rho) / n + rho * q)
            mix = (smooth / t) ** 6 if smooth > 0 and t > 0 else 0.0
            return (1 - mix) * interpolated(curves[0], t) + mix * interpolated(curves[1], t)

        truth = interpolated(curves[1] if r > 0 else curves[0], r)
        conditional = bias = predicted = observed = 0.0
        for x in np.unique(self.labels):
            group = np.flatnonzero(self.labels == x)
            lacks, purity = w[group].sum() * gap(group), w[group].sum() * self._entropy(group, w)
            conditional += purity
            bias += lacks - w[group].sum() * truth
            if len(set(self.documents[group].tolist())) == 1:
                continue
            second = np.searchsorted(np.unique(self.documents[group]), self.documents[group]) % 2 == 1
            halves = group[~second], group[second]
            predicted += sum(w[half].sum() * gap(half) for half in halves) - lacks
            observed += purity - sum(w[half].sum() * self._entropy(half, w) for half in halves)
        calibration = min(max(observed / predicted, 0.1), 3.0) if predicted > 0 else 1.0
        return entropy(p) - conditional / w.sum() + self.marginal_bias - calibration * bias / w.sum()

    def null(self) -> float:
        """The null reading."""
        p, squares = self.rows.mean(0), self._squares(np.ones(len(self.rows)))
        curve = [_gap_over_t(beta_gap, p, squares, node) + self.excess[node] for node in range(self.num_nodes)]
        return float(np.mean([interpolated(curve, self._varies(int((self.labels == x).sum()))) for x in self.labels]))

    def _varies(self, n: int) -> float:
        """Variance of a mean of n of the N rows without replacement, over that of a row: the textbook's correction."""
        total = len(self.rows)
        return (total - n) / (total - 1) / n

    def _squares(self, weights: np.ndarray) -> np.ndarray:
        squares: np.ndarray = np.average(self.rows**2, axis=0, weights=weights)
        return squares

    def _entropy(self, group: np.ndarray, weights: np.ndarray) -> float:
        return entropy(np.average(self.rows[group], axis=0, weights=weights[group]))

    def _observed_excess(self, p: np.ndarray, squares: np.ndarray, sample: np.ndarray) -> list[float]:
        """What the gap over t of means of 1, 2 … 32 random rows has beyond that of Beta marginals, node by node."""
        excess: list[float] = []
        of_rows = np.mean([entropy(row) for row in self.rows])
        of_sample = np.mean([entropy(row) for row in sample])
        for node in range(self.num_nodes):
            n, groups = 2**node, len(sample) // 2**node
            if n > 32 or groups < 16:
                last, here = (
                    _gap_over_t(lognormal_gap, p, squares, at) - _gap_over_t(beta_gap, p, squares, at)
                    for at in (node - 1, node)
                )
                excess.append(excess[-1] * here / last)
                continue
            means = [sample[n * g : n * g + n].mean(0) for g in range(groups)]
            gap = entropy(p) - np.mean([entropy(mean) for mean in means]) - of_rows + of_sample
            excess.append(float(gap / self._varies(n) - _gap_over_t(beta_gap, p, squares, node)))
        return excess


def concentration(documents: np.ndarray) -> float:
    """Chance that two draws with replacement from some rows are of one document."""
    return sum(float((documents == d).mean()) ** 2 for d in set(documents.tolist()))


def beta_gap(p: np.ndarray, variance: np.ndarray) -> float:
    """H(p) less the mean entropy of Beta marginals, anchor by anchor."""
    gap = 0.0
    for p_k, v_k in zip(p, variance, strict=True):
        v = max(min(v_k, 0.999 * p_k * (1 - p_k)), 1e-9 * p_k**2)
        nu = p_k * (1 - p_k) / v - 1
        gap += p_k * float(digamma(p_k * nu + 1) - digamma(nu + 1) - math.log(p_k))
    return gap


def lognormal_gap(p: np.ndarray, variance: np.ndarray) -> float:
    """H(p) less the mean entropy of lognormal marginals, whose logarithms vary by log(1 + v / p²)."""
    return sum(float(p_k) * math.log(1 + v_k / p_k**2) / 2 for p_k, v_k in zip(p, variance, strict=True))


def _gap_over_t(gap: Callable[[np.ndarray, np.ndarray], float], p: np.ndarray, squares: np.ndarray, node: int) -> float:
    return gap(p, (squares - p**2) / 2**node) * 2**node


def interpolated(curve: list[float], t: float) -> float:
    """Read t times a curve that is known at t = 1, 1/2, 1/4 …, by the cubic in log t through four nodes around t."""
    last = len(curve) - 1
    place = min(max(-math.log2(abs(t)), 0.0), float(last)) if t else float(last)
    first = min(max(math.floor(place) - 1, 0), last - 3)
    cubic = BarycentricInterpolator(np.arange(first, first + 4), curve[first : first + 4])
    return t * float(cubic(place))


def divergence(kappa: float, width: int) -> mpmath.mpf:
    """KL( von Mises-Fisher ‖ uniform ) from Bessel functions of arbitrary precision."""
    mpmath.mp.dps = 40
    nu, k = mpmath.mpf(width) / 2 - 1, mpmath.mpf(kappa)
    bessel = mpmath.besseli(nu, k)
    log_normaliser = mpmath.log(bessel) + mpmath.loggamma(nu + 1) + nu * mpmath.log(2 / k)
    return k * mpmath.besseli(nu + 1, k) / bessel - log_normaliser


def lower_end(
    assignments: np.ndarray, chain: list[np.ndarray], documents: np.ndarray, strengths: list[float]
) -> tuple[float, np.ndarray]:
    """Mean over rows of Σ_k A_k log( q_k / p_k ) with q from other documents, row by row, and the sum of each document.

    Args:
        assignments: (N, K).
        chain: Labels of each row, the coarsest set first.
        documents: Document of each row.
        strengths: α of each set.
    """
    number, num_anchors = assignments.shape
    mean = sum(assignments) / number
    totals = np.zeros(documents.max() + 1)
    for i in range(number):
        others = [j for j in range(number) if documents[j] != documents[i]]
        q = (sum((assignments[j] for j in others), np.zeros(num_anchors)) + 1 / num_anchors) / (len(others) + 1)
        for labels, strength in zip(chain, strengths, strict=True):
            alike = [assignments[j] for j in others if labels[j] == labels[i]]
            if alike:
                q = (sum(alike) + strength * q) / (len(alike) + strength)
        totals[documents[i]] += sum(float(a) * math.log(x / y) for a, x, y in zip(assignments[i], q, mean, strict=True))
    return float(totals.sum()) / number, totals


def geometry(rows: np.ndarray, places: int | None = None) -> dict[str, float]:
    """RankMe, participation ratio and α-ReQ of (N, D) rows from singular values, each from its formula.

    ``places`` is the number of eigenvalues whose first half the power law is fitted to; by default of those there are.
    """
    rows = rows.astype(np.float64)
    lengths = np.linalg.svd(rows, compute_uv=False)
    variances = np.linalg.svd(rows - rows.mean(0), compute_uv=False) ** 2
    places = min(rows.shape[1], len(rows) - 1) if places is None else places
    fitted = range(5, places // 2 + 1)
    slope = math.nan
    if len(fitted) >= 4:
        x, y = np.log(list(fitted)), np.log([variances[j - 1] for j in fitted])
        slope = np.polyfit(x, y, 1, w=[1 / math.sqrt(j) for j in fitted])[0]  # which squares its weights
    return {
        "rankme": math.exp(entropy(lengths / lengths.sum())),
        "participation_ratio": float(variances.sum() ** 2 / (variances**2).sum()),
        "alpha_req": -float(slope),
    }


def standing_in(
    tokens: list[list[int]], documents: list[list[int]], training: list[list[int]], length: int
) -> list[tuple[int, int]]:
    """Of each document, the number of passages that stand in a sequence of the training text, and of all passages."""
    trained = {tuple(each[i : i + length]) for each in training for i in range(len(each) - length + 1)}
    counts = [[0, 0] for _ in range(max(map(max, documents)) + 1)]
    for block, owners in zip(tokens, documents, strict=True):
        for i in range(len(block) - length + 1):
            passage, (owner, *others) = tuple(block[i : i + length]), owners[i : i + length]
            if owner >= 0 and set(others) == {owner} and len(set(passage)) > 1:
                counts[owner][0] += passage in trained
                counts[owner][1] += 1
    return [(found, passages) for found, passages in counts]
