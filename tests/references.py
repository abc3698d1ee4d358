"""Slow loops, written from the formulas and by another route than the package."""

from __future__ import annotations

import math
from collections import defaultdict

import mpmath
import numpy as np


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


def permuted_information(assignments: np.ndarray, labels: np.ndarray, repeats: int, seed: int) -> float:
    """Mean plug-in information of labels in random orders."""
    rng = np.random.default_rng(seed)
    return float(np.mean([plugin_information(assignments, rng.permutation(labels)) for _ in range(repeats)]))


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
