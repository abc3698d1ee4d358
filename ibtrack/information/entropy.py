"""Shannon entropy of distributions, in nats: the one definition that everything else uses.

Letters: N rows, K anchors.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ibtrack.information.devices import in_pieces

TINY = 1e-37  # close to the smallest normal float32: a probability of 0 adds nothing to an entropy
POSITIVE = 1e-12  # a mean below it counts as it where it is divided by or its logarithm is differentiated


def entropy(distribution: Tensor) -> Tensor:
    """Work out -Σ_k p_k log p_k; 0 log 0 is 0.

    Args:
        distribution: (..., K), non-negative, of any floating dtype.

    Returns:
        (...) in nats, between 0 and log K where the distribution sums to 1.

    Example:
        >>> float(entropy(torch.tensor([0.5, 0.5]))) == float(torch.tensor(2.0).log())
        True
    """
    return torch.special.entr(distribution).sum(-1)


def row_entropies(rows: Tensor) -> Tensor:
    """Work out `entropy` of every row in single precision, without a copy of all rows at once.

    Args:
        rows: (N, ..., K) float32 distributions.

    Returns:
        (N, ...) float32, nats.
    """
    pieces = [(piece * piece.clamp(min=TINY).log_()).sum(-1).neg_() for piece in in_pieces(rows)]
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces)


def positive(mean: Tensor) -> Tensor:
    """Bound a mean from below by 1e-12, so that it can be divided by."""
    return mean.clamp(min=POSITIVE)
