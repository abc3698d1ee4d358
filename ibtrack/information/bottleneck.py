"""The information-bottleneck curve of two label sets: the most a description of X can tell of Y, by what it keeps.

Source: Tishby, Pereira and Bialek, arXiv physics/0004057; computed by the iteration of Blahut and Arimoto.
Letters: X, Y values of the two labels, T values of the description; p(t | x) is the channel, (X, T).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.special import entr
from torch import Tensor

from ibtrack._checks import check_integers

Matrix = NDArray[np.floating]

# curves of text bend most at slopes between .6 and .9
SLOPES = (0.1, 0.25, 0.4, 0.5, 0.6, 0.67, 0.72, 0.77, 0.83, 0.91)
MAX_CELLS = 1 << 20  # X x T: bounds memory to some 30 MB, and time to a second or two
SINGLE = 1e-5  # with at least this tolerance the iteration is in single precision
_MIXED = 0.1  # of a channel is blurred before the next slope: a zero in it would stay one
_EMPTY = 1e-7  # a value of T with less probability is dropped


def bottleneck_curve(
    labels_x: Tensor, labels_y: Tensor, *, slopes: Sequence[float] = SLOPES, tolerance: float = 2e-4
) -> list[tuple[float, float]]:
    """Find the largest I(T;Y) of any description T of X, against I(X;T), for the empirical p(x, y) of two label sets.

    At each slope s the iteration lowers s I(X;T) - I(T;Y), from fine descriptions to coarse ones, until one round
    gains less than ``tolerance``. Every point is reached by a description that was found, so what is left undone puts
    the curve too low, never too high: by about .002 nats for 8k tokens of text. With more than `MAX_CELLS` pairs of x
    and t, rare x get no t of their own; then it may be .02 nats too low, and more towards its upper end. Nothing is
    random.

    It is the curve of the *sample*. Where pairs are rarely seen twice, as with tokens of text, the sample's I(X;Y) is
    far above that of the source, and so is the curve: it bounds descriptions of these positions, not what can be
    known of unseen text. A debiased reading below it has not been shown to be suboptimal by this distance.

    Args:
        labels_x: (N,) integers of at least 0.
        labels_y: (N,) integers of at least 0.
        slopes: Slopes dI(T;Y) / dI(X;T) at which points are computed, in (0, 1).
        tolerance: Gain of a round, in nats, below which the iteration ends.

    Returns:
        (I(X;T), I(T;Y)) in nats, rising from (0, 0) to the smallest T that keeps all of I(X;Y); concave.

    Raises:
        ValueError: Labels are no integers, of different lengths, none at all or negative, or slopes out of range.

    Example:
        >>> import torch
        >>> x = torch.arange(8)
        >>> [(round(x_t, 3), round(t_y, 3)) for x_t, t_y in bottleneck_curve(x, x // 4)]  # one bit matters
        [(0.0, 0.0), (0.693, 0.693)]
    """
    x, y = check_integers("labels_x", labels_x, ndim=1), check_integers("labels_y", labels_y, ndim=1)
    if len(x) != len(y) or not len(x) or min(int(x.min()), int(y.min())) < 0:
        raise ValueError(
            f"labels must be two sets of one length, at least 1, with values of at least 0, got {len(x)} and {len(y)}"
            + (f", from {min(int(x.min()), int(y.min()))}" if len(x) and len(y) else "")
        )
    if not slopes or not all(0 < slope < 1 for slope in slopes):
        raise ValueError(f"slopes must lie between 0 and 1, got {tuple(slopes)}")
    joint = _sufficient_joint(x.cpu().numpy(), y.cpu().numpy())
    entropy_x, entropy_y, joint_entropy = (float(entr(p).sum()) for p in (joint.sum(1), joint.sum(0), joint.data))
    whole = (entropy_x, entropy_x + entropy_y - joint_entropy)
    return _concave([(0.0, 0.0), whole, *_anneal(joint, sorted(slopes), tolerance)])


def _sufficient_joint(x: NDArray[np.int64], y: NDArray[np.int64]) -> csr_array:
    """Count (X, Y) probabilities, with those x merged that say the same of y, and those y that say the same of x.

    Such x need no t of their own, and no t tells such y apart.
    """
    shape = (int(x.max()) + 1, int(y.max()) + 1)
    counts = csr_array((np.ones(len(x), dtype=np.int64), (x, y)), shape=shape)
    before = None
    while counts.shape != before:  # y that are merged may make x alike
        before = counts.shape
        counts = _merge_lines(_merge_lines(counts).T.tocsr()).T.tocsr()
    return counts / len(x)


def _merge_lines(counts: csr_array) -> csr_array:
    """Add up the lines of a table that are multiples of each other, and leave out empty ones."""
    counts.sum_duplicates()
    merged: dict[tuple[bytes, bytes], int] = {}
    line_of = np.full(counts.shape[0], -1)
    for line, (start, end) in enumerate(pairwise(counts.indptr)):
        if start < end:
            ratio = counts.data[start:end] // np.gcd.reduce(counts.data[start:end])
            key = (counts.indices[start:end].tobytes(), ratio.tobytes())
            line_of[line] = merged.setdefault(key, len(merged))
    entries = counts.data, (line_of.repeat(np.diff(counts.indptr)), counts.indices)
    return csr_array(entries, shape=(len(merged), counts.shape[1]))


def _anneal(joint: csr_array, slopes: Sequence[float], tolerance: float) -> Iterator[tuple[float, float]]:
    """Yield the points at rising slopes, each channel starting from the one before."""
    given = joint.sum(1)
    single = tolerance >= SINGLE  # half the time
    channel: Matrix = _finest(given).astype(np.float32 if single else np.float64)
    for slope in slopes:
        channel *= 1 - _MIXED
        channel += _MIXED / (1 - _MIXED) * (given.astype(channel.dtype) @ channel)
        channel = _converge(joint, channel, slope, tolerance)
        yield _place(joint, channel)


def _finest(given: Matrix) -> Matrix:
    """Give a value of T to every x, or to the frequent ones; the others are spread over those."""
    frequent = np.argsort(-given, kind="stable")[: max(2, MAX_CELLS // len(given))]
    channel = np.tile(given[frequent] / given[frequent].sum(), (len(given), 1))
    channel[frequent] = np.eye(len(frequent))
    return channel


def _converge(joint: csr_array, channel: Matrix, slope: float, tolerance: float) -> Matrix:
    """Iterate p(t | x) ∝ p(t) exp( Σ_y p(y | x) log p(y | t) / slope ); each round lowers s I(X;T) - I(T;Y)."""
    dtype = channel.dtype
    given = joint.sum(1)
    weights = given.astype(dtype)
    by_x = (joint.multiply(1 / (slope * given[:, None]))).tocsr().astype(dtype)  # p(y | x) / slope
    by_y = joint.T.tocsr().astype(dtype)
    before = math.inf
    while True:
        marginal = weights @ channel  # (T,)
        used = marginal > _EMPTY
        if not used.all():
            channel, marginal = channel[:, used], marginal[used]
        with_y = by_y @ channel  # (Y, T)
        np.log(np.maximum(with_y, np.finfo(dtype).tiny, out=with_y), out=with_y)
        scores = by_x @ with_y  # (X, T)
        scores += (1 - 1 / slope) * np.log(marginal)  # log p(y | t) = log p(y, t) - log p(t)
        highest = scores.max(1, keepdims=True)
        channel = np.exp(np.subtract(scores, highest, out=scores), out=scores)
        total = channel.sum(1, keepdims=True)
        channel /= total
        free_energy = (highest + np.log(total, dtype=np.float64))[:, 0]
        objective = -slope * float(given @ free_energy)  # s I(X;T) - I(T;Y) + H(Y)
        if before - objective < tolerance:
            return channel
        before = objective


def _place(joint: csr_array, channel: Matrix) -> tuple[float, float]:
    """Work out I(X;T) and I(T;Y) of a channel."""
    channel = channel.astype(np.float64)
    channel /= channel.sum(1, keepdims=True)
    given, marginal, with_y = joint.sum(1), joint.sum(1) @ channel, joint.T @ channel
    complexity = entr(marginal).sum() - float(given @ -np.sum(channel * np.log(np.maximum(channel, 1e-300)), axis=1))
    return float(complexity), float(entr(marginal).sum() + entr(joint.sum(0)).sum() - entr(with_y).sum())


def _concave(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Take the upper hull from the first point to the highest, as one can alternate between two descriptions."""
    hull: list[tuple[float, float]] = []
    for point in sorted(points):
        while len(hull) > 1 and _turn(hull[-2], hull[-1], point) >= -1e-9:
            hull.pop()
        if not hull or point[1] > hull[-1][1] + 1e-9:
            hull.append(point)
    return hull


def _turn(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
    """Return a number above 0 where the way from a over b to c turns left."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
