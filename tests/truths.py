"""Sources whose entropies are known."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ibtrack.information.assignments import assign, draw_anchors, temperature

LOG_K = math.log(100)


def clusters(
    num_labels: int, num_rows: int, width: int, *, spread: float, zipf: bool, seed: int, truth_rows: int = 2000
) -> tuple[Tensor, Tensor, float]:
    """Gaussian clusters, one per label: assignments (N, 100), labels (N,), and I(X; J) as a fraction of log K.

    ``spread`` is the distance of the cluster means in units of the spread inside a cluster; 0 is independence. The
    truth takes ``truth_rows`` fresh rows for each of 200 labels, drawn by their share, and is good to about .003.
    """
    generator = torch.Generator().manual_seed(seed)
    share = 1 / torch.arange(1.0, num_labels + 1) if zipf else torch.ones(num_labels)
    labels = torch.multinomial(share, num_rows, replacement=True, generator=generator)
    means = spread * torch.randn(num_labels, width, generator=generator)
    anchors, epsilon = draw_anchors(width), temperature(width)

    def rows_of(of: Tensor) -> Tensor:
        return assign(means[of] + torch.randn(len(of), width, generator=generator), anchors, epsilon)

    chosen = labels[torch.randint(num_rows, (200,), generator=generator)]
    true_means = torch.stack([rows_of(x.expand(truth_rows)).double().mean(0) for x in chosen])
    marginal = rows_of(labels[torch.randint(num_rows, (100_000,), generator=generator)]).double().mean(0)
    entropy = torch.special.entr
    truth = float(entropy(marginal).sum() - entropy(true_means).sum(1).mean()) / LOG_K
    return rows_of(labels), labels, truth
