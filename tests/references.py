"""Slow loops, written from the formulas and by another route than the package."""

from __future__ import annotations

import math
from collections import defaultdict

import mpmath
import numpy as np


def kgrams(tokens: list[list[int]], documents: list[list[int]], orders: tuple[int, ...]) -> dict[tuple[str, int], list]:
    """(side, k) to the k-gram, as a tuple, of every position that has all of them inside one document."""
    longest, found = max(orders), defaultdict(list)
    for block, of in zip(tokens, documents, strict=True):
        for i in range(len(block)):
            window = range(i - longest + 1, i + longest + 1)
            if window[0] < 0 or window[-1] >= len(block) or len({of[j] for j in window}) > 1 or of[i] < 0:
                continue
            for k in orders:
                found["input", k].append(tuple(block[i - k + 1 : i + 1]))
                found["output", k].append(tuple(block[i + 1 : i + k + 1]))
    return dict(found)


def soft_assignments(rows: np.ndarray, anchors: np.ndarray, epsilon: float) -> np.ndarray:
    out = []
    for row in rows.astype(np.float64):
        scores = [float(row @ anchor) / math.sqrt(float(row @ row)) / epsilon for anchor in anchors.astype(np.float64)]
        weights = [math.exp(score - max(scores)) for score in scores]
        out.append([weight / sum(weights) for weight in weights])
    return np.array(out)


def entropy(p: np.ndarray) -> float:
    return -sum(float(x) * math.log(x) for x in p if x > 0)


def plugin_information(assignments: np.ndarray, labels: np.ndarray) -> float:
    """H(mean) - Σ_x p(x) H(mean of the rows of x)."""
    conditional = sum(
        float((labels == x).mean()) * entropy(assignments[labels == x].mean(0)) for x in np.unique(labels)
    )
    return entropy(assignments.mean(0)) - conditional


def permuted_information(assignments: np.ndarray, labels: np.ndarray, repeats: int, seed: int) -> float:
    rng = np.random.default_rng(seed)
    return float(np.mean([plugin_information(assignments, rng.permutation(labels)) for _ in range(repeats)]))


def divergence(kappa: float, width: int) -> mpmath.mpf:
    """KL( von Mises-Fisher ‖ uniform ) from Bessel functions of arbitrary precision."""
    mpmath.mp.dps = 40
    nu, k = mpmath.mpf(width) / 2 - 1, mpmath.mpf(kappa)
    bessel = mpmath.besseli(nu, k)
    log_normaliser = mpmath.log(bessel) + mpmath.loggamma(nu + 1) + nu * mpmath.log(2 / k)
    return k * mpmath.besseli(nu + 1, k) / bessel - log_normaliser
