"""Sources of rows whose information has a value that can be computed from many more rows."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ibtrack.information.assignments import assign, draw_anchors, temperature

LOG_K = math.log(100)


def clusters(
    num_labels: int, num_rows: int, width: int, *, spread: float, zipf: bool, seed: int, truth_rows: int = 2000
) -> tuple[Tensor, Tensor, float]:
    """Draw Gaussian clusters, one per label.

    Args:
        num_labels: Number of labels M.
        num_rows: Number of rows N.
        width: Width D of the rows.
        spread: Distance of the cluster means in units of the spread inside a cluster; 0 is independence.
        zipf: Whether label number i is drawn with a probability proportional to 1 / i, or all with the same.
        seed: Seed of labels and rows.
        truth_rows: Number of fresh rows for each of 200 labels, drawn by their share, that the truth is computed from.

    Returns:
        Assignments (N, 100), labels (N,), and I(X; J) as a fraction of log 100, which is good to about 0.003.
    """
    generator = torch.Generator().manual_seed(seed)
    share = 1 / torch.arange(1.0, num_labels + 1) if zipf else torch.ones(num_labels)
    labels = torch.multinomial(share, num_rows, replacement=True, generator=generator)
    means = spread * torch.randn(num_labels, width, generator=generator)
    anchors, epsilon = draw_anchors(width), temperature(width)

    def draw(ids: Tensor) -> Tensor:
        return assign(means[ids] + torch.randn(len(ids), width, generator=generator), anchors, epsilon)

    chosen = labels[torch.randint(num_rows, (200,), generator=generator)]
    true_means = torch.stack([draw(x.expand(truth_rows)).double().mean(0) for x in chosen])
    marginal = draw(labels[torch.randint(num_rows, (100_000,), generator=generator)]).double().mean(0)
    entropy = torch.special.entr
    truth = float(entropy(marginal).sum() - entropy(true_means).sum(1).mean()) / LOG_K
    return draw(labels), labels, truth
