"""Several gap curves read at many places at once, with their derivatives, in few calls: for accelerators.

`ibtrack.information.gap_curves.read_curve` is what is worked out here, in another order of operations.

Letters: J + 1 nodes, U places. Leading dimensions are written (...).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

# the other three of the four nodes around a place, and one over the product of the distances to them
_OTHERS = ((1, 2, 3), (0, 2, 3), (0, 1, 3), (0, 1, 2))
_INVERSE_DISTANCES = (-1 / 6, 1 / 2, -1 / 2, 1 / 6)


def read_curves(curves: Tensor, t: Tensor) -> Tensor:
    """Read curves between their nodes, as `ibtrack.information.gap_curves.read_curve` reads each of them.

    Args:
        curves: (number of curves, ..., J + 1) gaps over t at t = 1, 1/2 … 2^-J, with J of at least 3, float64.
        t: (..., U) places, at most 1, float64.

    Returns:
        (number of curves, ..., U) the gaps. Both arguments have first derivatives.

    Example:
        >>> curves = torch.tensor([[2.0, 2.0, 2.0, 2.0], [0.0, 0.0, 0.0, 0.0]]).double()
        >>> [round(gap, 4) for gap in read_curves(curves, torch.tensor([0.3, -0.3]).double())[0].tolist()]
        [0.6, -0.6]
    """
    read: Tensor = _Read.apply(curves, t)  # type: ignore[no-untyped-call]
    return read


class _Read(torch.autograd.Function):
    """The cubic through the four nodes around each place, times the place."""

    @staticmethod
    def forward(ctx: Any, curves: Tensor, t: Tensor) -> Tensor:
        last = curves.shape[-1] - 1
        four, others, inverse_distances = _constants(t.device)
        size = t.abs()
        place = size.clamp(min=0.5**last, max=1.0).log2_().neg_()
        first = (place.nan_to_num().floor_() - 1).clamp_(0, last - 3)  # nan comes out as nan
        index = (first.unsqueeze(-1) + four).long()  # (..., U, 4)
        distances = ((place - first).unsqueeze(-1) - four).index_select(-1, others).unflatten(-1, (4, 3))
        index = index.flatten(-2).expand(len(curves), *t.shape[:-1], -1)
        nodes = curves.expand(-1, *t.shape[:-1], -1).gather(-1, index).unflatten(-1, (-1, 4))
        weights = distances.prod(-1) * inverse_distances  # (..., U, 4)
        read = (weights * nodes).sum(-1)
        ctx.save_for_backward(index, weights, distances, nodes, read, t, size)
        ctx.last, ctx.shape = last, curves.shape
        return t * read

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        index, weights, distances, nodes, read, t, size = ctx.saved_tensors
        (gradient,) = gradients
        by_node = ((gradient * t).unsqueeze(-1) * weights).flatten(-2)
        of_curves = torch.zeros_like(by_node[..., :1]).expand(*by_node.shape[:-1], ctx.last + 1)
        of_curves = of_curves.scatter_add(-1, index, by_node)
        one, two, three = distances.unbind(-1)
        slopes = (one * (two + three) + two * three) * _constants(t.device)[2]
        slope = (slopes * nodes).sum(-1) / -math.log(2)  # t times the derivative of ``read`` by t
        slope = slope.masked_fill((size < 0.5**ctx.last) | (size > 1), 0.0)  # beyond, what is read is a constant
        return of_curves.sum_to_size(ctx.shape), (gradient * (read + slope)).sum(0)


@lru_cache(maxsize=8)
def _constants(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return 0 to 3, the others of each, and one over the product of the distances to them, on a device."""
    return (
        torch.arange(4, dtype=torch.float64, device=device),
        torch.tensor(_OTHERS, device=device).flatten(),
        torch.tensor(_INVERSE_DISTANCES, dtype=torch.float64, device=device),
    )
