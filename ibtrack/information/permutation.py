"""Exchanged labels: what the plug-in information of two labels reads if each document's own are exchanged by a coin.

Letters: N rows, K anchors, G documents, F draws.
"""

from __future__ import annotations

import torch
from torch import Tensor

DRAWS = 256


def permuted_information(
    assignments: Tensor, labels: Tensor, documents: Tensor, *, num_documents: int, seed: int = 0
) -> Tensor:
    """Plug-in I(X; J) of a label of two values, with the labels of whole documents exchanged at random.

    All rows of a response share its label, and they are alike: far fewer than N of them are independent. Permuting rows
    would not see that; this does, and it leaves the two responses to one prompt in one document, so what they have in
    common costs nothing. Its mean is the bias of the plug-in, up to a share of 1 / G, and its spread the error of
    labels that tell nothing.

    Args:
        assignments: (N, K).
        labels: (N,) 0 or 1.
        documents: (N,) in [0, G).
        num_documents: G.
        seed: of the coins, which are tossed on the CPU.

    Returns:
        (F,) float64, nats.
    """
    slots = 2 * documents + labels
    rows = assignments.double()
    sums = rows.new_zeros(2 * num_documents, rows.shape[1]).index_add_(0, slots, rows)
    table = torch.cat([sums, sums.sum(1, keepdim=True)], 1).view(num_documents, 2, -1)  # last: rows, as each sums to 1
    coins = torch.randint(2, (DRAWS, num_documents), generator=torch.Generator().manual_seed(seed))
    ones = table[:, 1].sum(0) + coins.to(rows) @ (table[:, 0] - table[:, 1])  # (F, K + 1)
    both = table.sum((0, 1))
    weighted = (_entropy(part) * part[:, -1] for part in (ones, both - ones))
    return _entropy(both) - sum(weighted, rows.new_zeros(())) / both[-1]


def _entropy(sums: Tensor) -> Tensor:
    """Of the mean row, from (..., K + 1) sums with the number of rows; 0 if there are none."""
    return torch.special.entr(sums[..., :-1].clamp(min=0) / sums[..., -1:].clamp(min=1e-9)).sum(-1)
