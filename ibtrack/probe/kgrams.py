"""Tokens to labels: which k-gram ends, and which begins after, each position.

Letters: S blocks, T block length, N positions, M labels, V vocabulary size, k length of a k-gram.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ibtrack._checks import check_integer, check_integers
from ibtrack.information.entropy import entropy
from ibtrack.information.grouping import pairs_of

SIDES = ("input", "output")


def kept_positions(documents: Tensor, max_order: int) -> Tensor:
    """Find the positions whose input and output k-grams up to ``max_order`` lie inside one document.

    Position i is kept if tokens i-k+1 to i+k exist and belong to the same document, for k = ``max_order``. So the
    positions are the same for all orders.

    Args:
        documents: (S, T) document of each token; negative where there is no token (padding).
        max_order: Length k of the longest k-gram.

    Returns:
        (S, T) bool.

    Example:
        >>> kept_positions(torch.tensor([[0, 0, 0, 1, 1, 1, 1, -1]]), max_order=2).long()
        tensor([[0, 0, 0, 0, 1, 0, 0, 0]])
    """
    documents = check_integers("documents", documents, ndim=2)
    check_integer("max_order", max_order, minimum=1)
    _, length = documents.shape
    mask = torch.zeros_like(documents, dtype=torch.bool)
    if length < 2 * max_order:
        return mask
    windows = documents.unfold(1, 2 * max_order, 1)  # (S, T - 2k + 1, 2k): tokens i-k+1 to i+k of each position i
    inside = (windows == windows[..., :1]).all(-1) & (windows[..., 0] >= 0)
    mask[:, max_order - 1 : length - max_order] = inside
    return mask


def kgram_labels(tokens: Tensor, mask: Tensor, orders: Sequence[int]) -> dict[tuple[str, int], Tensor]:
    """Label every kept position with its input and output k-grams.

    The input k-gram of position i is tokens i-k+1 to i, the output k-gram is tokens i+1 to i+k. Labels are numbered
    from 0 without gaps, and two positions share one exactly if they share the k-gram, whatever the vocabulary.

    Args:
        tokens: (S, T) token ids of at least 0.
        mask: (S, T) bool, from `kept_positions` with the largest of ``orders``.
        orders: Lengths k of the k-grams to label.

    Returns:
        (side, k) to (N,) labels in [0, M), positions in the order of ``mask.nonzero()``.

    Example:
        >>> tokens = torch.tensor([[5, 7, 5, 7, 5, 9]])
        >>> mask = kept_positions(torch.zeros_like(tokens), max_order=2)
        >>> {key: ids.tolist() for key, ids in kgram_labels(tokens, mask, (1, 2)).items()}
        {('input', 1): [1, 0, 1], ('output', 1): [0, 1, 0], ('input', 2): [1, 0, 1], ('output', 2): [0, 2, 1]}
    """
    tokens = check_integers("tokens", tokens, ndim=2)
    row, column = mask.nonzero(as_tuple=True)
    distinct, tokens = torch.unique(tokens, return_inverse=True)  # large ids are numbered anew, in their order
    labels: dict[tuple[str, int], Tensor] = {}
    for side in SIDES:
        ids = torch.zeros_like(row)
        for k in range(1, max(orders) + 1):
            neighbour = column + (k if side == "output" else 1 - k)
            number = int(ids.max()) + 1 if len(ids) else 1
            ids = pairs_of(ids, tokens[row, neighbour], num_first=number, num_second=len(distinct)).number
            if k in orders:
                labels[side, k] = ids
    return {(side, k): labels[side, k] for k in sorted(orders) for side in SIDES}


def label_entropy(labels: Tensor) -> float:
    """Return the plug-in entropy of a label set, in nats.

    Args:
        labels: (N,) labels of at least 0.

    Example:
        >>> round(label_entropy(torch.tensor([0, 0, 1, 1])), 4)
        0.6931
    """
    return float(entropy(torch.bincount(labels).double() / len(labels)))
