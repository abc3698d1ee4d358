"""Paired permutation: the plug-in information of a binary label when the labels of whole documents are exchanged.

Letters: N rows, K anchors, G documents.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ibtrack.information.entropy import entropy

DRAWS = 256  # the mean of so many draws is good to a sixteenth of the spread of one


def permuted_information(
    assignments: Tensor, labels: Tensor, documents: Tensor, *, num_documents: int, seed: int = 0
) -> Tensor:
    """Work out the plug-in I(X;J) of a binary label, with the labels of each document exchanged by a coin.

    All rows of a response share its label, and they are alike, so far fewer than N of them are independent. Permuting
    rows would not see that. Exchanging the two labels of a document does, and it leaves the two responses to one prompt
    in one document, so that what they have in common costs nothing. It is the paired (sign-flip) permutation of Fisher
    (The Design of Experiments, 1935, section 21). The mean over draws is the bias of the plug-in, up to a share of
    1 / G; their spread is the error of labels that tell nothing.

    Args:
        assignments: (N, K) soft assignments.
        labels: (N,) 0 or 1.
        documents: (N,) in [0, G).
        num_documents: G.
        seed: Seed of the coins, which are tossed on the CPU.

    Returns:
        (256,) float64, nats.
    """
    cells = 2 * documents + labels
    rows = assignments.double()
    sums = rows.new_zeros(2 * num_documents, rows.shape[1]).index_add_(0, cells, rows)
    table = torch.cat([sums, sums.sum(1, keepdim=True)], 1).view(num_documents, 2, -1)  # last: rows, as each sums to 1
    coins = torch.randint(2, (DRAWS, num_documents), generator=torch.Generator().manual_seed(seed))
    ones = table[:, 1].sum(0) + coins.to(rows) @ (table[:, 0] - table[:, 1])  # (draws, K + 1)
    both = table.sum((0, 1))
    weighted = (_mean_entropy(part) * part[:, -1] for part in (ones, both - ones))
    return _mean_entropy(both) - sum(weighted, rows.new_zeros(())) / both[-1]


def _mean_entropy(sums: Tensor) -> Tensor:
    """Work out the entropy of the mean row, from (..., K + 1) sums with the number of rows last; 0 without rows."""
    return entropy(sums[..., :-1].clamp(min=0) / sums[..., -1:].clamp(min=1e-9))
