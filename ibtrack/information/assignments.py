"""Soft assignments: which of K random directions, the anchors, each activation points at.

Source: Conklin et al., arXiv 2604.07569, section on the estimator, and Conklin's thesis, arXiv 2505.23960, section 5.4.
Letters: N rows, D width, K anchors.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.special import gammaln
from torch import Tensor

from ibtrack._checks import check_integer, check_option
from ibtrack.information.devices import ROWS_AT_ONCE, rows_on_accelerator
from ibtrack.information.options import TEMPERATURE_RULES


def draw_anchors(width: int, num_anchors: int = 100, *, seed: int = 0) -> Tensor:
    """Draw K directions uniformly on the unit sphere: w = g / |g| with g ~ N(0, I).

    They come from a generator on the CPU, so one seed gives the same anchors on every device.

    Args:
        width: D, at least 2.
        num_anchors: K, at least 2.
        seed: Seed of the generator.

    Returns:
        (K, D) float32 on the CPU, rows of norm 1.

    Example:
        >>> draw_anchors(8, 3).norm(dim=1).allclose(torch.ones(3))
        True
    """
    check_integer("width", width, minimum=2)
    check_integer("num_anchors", num_anchors, minimum=2)
    directions = torch.randn(num_anchors, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float32)
    return torch.nn.functional.normalize(directions, dim=-1)


def temperature(width: int, num_anchors: int = 100, rule: str = "exact") -> float:
    """Choose the softmax temperature ε so that one row tells as much as one of K choices can.

    ``exact`` solves KL( vMF(κ) ‖ uniform on the sphere ) = log K for κ = 1 / ε. ``bounds`` solves it for a lower bound
    of the divergence, as soft-entropy 0.1.5 does (width of at least 3), and ``leading_order`` is ε = 1 / sqrt(2 D log
    K). Published numbers were made with one of the latter two.

    Args:
        width: D, at least 2.
        num_anchors: K, at least 2.
        rule: ``exact``, ``bounds`` or ``leading_order``.

    Returns:
        ε > 0. The exact rule is good to a relative 1e-8 for widths from 2 to 16384.

    Raises:
        ValueError: A number or the rule is out of its range, or ``bounds`` is asked for a width of 2.

    Example:
        >>> round(temperature(64), 6), round(temperature(4096), 6)
        (0.037049, 0.00514)
    """
    check_integer("width", width, minimum=2)
    check_integer("num_anchors", num_anchors, minimum=2)
    check_option("temperature", rule, TEMPERATURE_RULES)
    target = math.log(num_anchors)
    if rule == "leading_order":
        return 1 / math.sqrt(2 * width * target)
    if rule == "bounds" and width < 3:
        raise ValueError(f"temperature='bounds' needs a width of at least 3, got {width}; use 'exact'")
    divergence = _divergence if rule == "exact" else _divergence_lower_bound
    upper = 1.0
    while divergence(upper, width) < target:
        upper *= 2
    log_kappa = brentq(
        lambda x: divergence(math.exp(x), width) - target, math.log(upper) - 60, math.log(upper), xtol=1e-13
    )
    return math.exp(-log_kappa)


def _divergence(kappa: float, width: int) -> float:
    """Work out KL( vMF(κ) ‖ uniform ) in nats, from the power series of the Bessel function.

    With ν = D/2 - 1 the normaliser is Z(κ) = Σ_j w_j, w_j = (κ²/4)^j Γ(ν+1) / (j! Γ(ν+j+1)), and κ Z'/Z = 2 E_w[j], so
    KL = 2 E_w[j] - log Z. All terms are positive and the sum is taken around its peak in logs: nothing underflows,
    unlike ``scipy.special.ive`` at large ν.
    """
    nu = width / 2 - 1
    peak = (math.hypot(nu, kappa) - nu) / 2
    reach = 12 * math.sqrt(peak + 1) + 60  # the terms fall off at least like a Poisson law around the peak
    j = np.arange(max(0, int(peak - reach)), int(peak + reach) + 1, dtype=np.float64)
    log_terms = 2 * j * math.log(kappa / 2) - gammaln(j + 1) - (gammaln(nu + j + 1) - gammaln(nu + 1))
    weights = np.exp(log_terms - log_terms.max())  # normalised below: log Z of order κ would cost them their digits
    return float(2 * (j @ weights) / weights.sum() - (log_terms.max() + np.log(weights.sum())))


def _divergence_lower_bound(kappa: float, width: int) -> float:
    """Bound the divergence from below, by Amos-type bounds on the Bessel ratio, for D > 2."""
    half, nu = width / 2, width / 2 - 1
    mean_cosine = kappa / (half + math.hypot(kappa, half))
    root = math.hypot(kappa, nu)
    log_normaliser = root - nu + nu * math.log(2 * nu / (nu + root))
    return kappa * mean_cosine - log_normaliser


def assign(activations: Tensor, anchors: Tensor, temperature: float) -> Tensor:
    """Assign each row softly to the anchors: softmax( cos(z_i, w_k) / ε ).

    The norm of a row scales its scores, so the (N, D) activations are not copied. A row that is zero or not finite has
    no direction: its assignments are all ``nan``, see `bad_rows`.

    Args:
        activations: (N, D) of any floating dtype; half precision is cast in pieces.
        anchors: (K, D) float32 unit rows on the same device, see `draw_anchors`.
        temperature: ε, see `temperature`.

    Returns:
        (N, K) float32, rows sum to 1.
    """
    return assign_draws(activations, None, AnchorDraws(anchors.unsqueeze(0), temperature))[0].squeeze(1)


class AnchorDraws:
    """Several draws of anchors over their temperature, as activations are multiplied with them.

    Args:
        anchors: (R, K, D) float32 unit rows of R draws.
        temperature: ε.
    """

    def __init__(self, anchors: Tensor, temperature: float) -> None:
        self.draws, self.number, self.width = anchors.shape
        self.scaled = (anchors / temperature).flatten(0, 1)  # (R K, D)

    @cached_property
    def parts(self) -> Tensor:
        """The same as three bfloat16 matrices below each other, see `bfloat16_parts`, and lines of 0 up to a multiple
        of 8, which the matrix units of a GPU want.
        """
        padding = self.scaled.new_zeros(-3 * len(self.scaled) % 8, self.width, dtype=torch.bfloat16)
        return torch.cat([*bfloat16_parts(self.scaled), padding])


def assign_draws(activations: Tensor, rows: Tensor | None, anchors: AnchorDraws) -> tuple[Tensor, Tensor]:
    """Assign rows to several draws of anchors at once, and add up their unit vectors.

    Args:
        activations: (n, D) of any floating dtype.
        rows: (N,) rows of them that are assigned; None for all.
        anchors: Anchors on the same device.

    Returns:
        (N, R, K) float32 assignments, and (D,) float64 Σ_i z_i / |z_i|.
    """
    draws, number, width = anchors.draws, anchors.number, anchors.width
    if activations.device.type != "cpu":
        chosen = activations if rows is None else activations.index_select(0, rows)
        assigned, resultants = assign_sites(chosen.unsqueeze(0), anchors)
        return assigned[0], resultants[0]
    chosen_pieces = activations.split(ROWS_AT_ONCE) if rows is None else _pieces(activations, rows)
    resultant = activations.new_zeros(width, dtype=torch.float64)
    parts = []
    with torch.autocast(activations.device.type, enabled=False), _full_float32():
        for piece in chosen_pieces:
            scores, norm, directions = _multiply_in_float32(piece, anchors)
            resultant += directions
            parts.append(scores.div_(norm.unsqueeze(1)).view(-1, draws, number).softmax(-1))
    return (parts[0] if len(parts) == 1 else torch.cat(parts)), resultant


def _pieces(activations: Tensor, rows: Tensor) -> Iterator[Tensor]:
    return (activations.index_select(0, some) for some in rows.split(ROWS_AT_ONCE))


def assign_sites(activations: Tensor, anchors: AnchorDraws) -> tuple[Tensor, Tensor]:
    """Do the same for the rows of several sites of one width, in few calls, for an accelerator.

    Args:
        activations: (L, n, D) of any floating dtype.
        anchors: Anchors on the same device.

    Returns:
        (L, n, R, K) float32 assignments, and (L, D) float64 Σ_i z_i / |z_i|.
    """
    draws, number, width = anchors.draws, anchors.number, anchors.width
    multiply = _multiply_parts if _has_float32_products(activations) else _multiply_sites_in_float32
    assigned, resultants = [], []
    with torch.autocast(activations.device.type, enabled=False), _full_float32():
        for piece in activations.split(rows_on_accelerator(len(activations) * max(width, draws * number)), 1):
            scores, norm, directions = multiply(piece, anchors)
            assigned.append(scores.div_(norm.unsqueeze(-1)).unflatten(-1, (draws, number)).softmax(-1))
            resultants.append(directions.double())
    if len(assigned) == 1:
        return assigned[0], resultants[0]
    return torch.cat(assigned, 1), torch.stack(resultants).sum(0)


def _multiply_in_float32(rows: Tensor, anchors: AnchorDraws) -> tuple[Tensor, Tensor, Tensor]:
    """Multiply (n, D) rows with the anchors.

    Returns:
        The products, (n, R K), the norms of the rows, (n,), and the sum of the rows over their norms, (D,), float32.
    """
    vectors = rows.float()
    norm = _checked_norm(torch.linalg.vector_norm(vectors, dim=-1))
    return vectors @ anchors.scaled.T, norm, (1 / norm) @ vectors


def _multiply_sites_in_float32(rows: Tensor, anchors: AnchorDraws) -> tuple[Tensor, Tensor, Tensor]:
    """Multiply (L, n, D) rows with the anchors.

    Returns:
        The products, (L, n, R K), the norms of the rows, (L, n), and the sum of the rows over their norms, (L, D),
        float32.
    """
    vectors = rows.float()
    norm = _checked_norm(torch.linalg.vector_norm(vectors, dim=-1))
    return vectors @ anchors.scaled.T, norm, ((1 / norm).unsqueeze(1) @ vectors).squeeze(1)


def _multiply_parts(rows: Tensor, anchors: AnchorDraws) -> tuple[Tensor, Tensor, Tensor]:
    """Do the same for bfloat16 rows on a GPU, on its matrix units: with the anchors as sums of three bfloat16 numbers.

    The product of two bfloat16 numbers is exact in float32, in which the units add up, so nothing is lost but the
    rounding of float32 sums; and the rows need not be cast.
    """
    number = len(anchors.scaled)
    products = torch.mm(rows.flatten(0, 1), anchors.parts.T, out_dtype=torch.float32)
    scores = products[:, : 3 * number].unflatten(1, (3, number)).sum(1).unflatten(0, rows.shape[:2])
    norm = _checked_norm(torch.linalg.vector_norm(rows, dim=-1, dtype=torch.float32))
    inverse = torch.stack(bfloat16_parts(1 / norm), 1)  # (L, 3, n)
    return scores, norm, torch.bmm(inverse, rows, out_dtype=torch.float32).sum(1)


def _checked_norm(norm: Tensor) -> Tensor:
    """Replace norms of rows without a direction by nan: an overflow must not read as uniform."""
    return norm * (norm / norm)  # 0 / 0 and inf / inf are nan, and all else is 1


def bfloat16_parts(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Split float32 numbers into sums of three bfloat16 numbers, of which each holds 8 of the 24 digits.

    Example:
        >>> x = torch.tensor([0.1, -3.14159])
        >>> bool((sum(part.double() for part in bfloat16_parts(x)) == x.double()).all())
        True
    """
    first = values.bfloat16()
    rest = values - first.float()
    second = rest.bfloat16()
    return first, second, (rest - second.float()).bfloat16()


def _has_float32_products(rows: Tensor) -> bool:
    """Whether the device multiplies bfloat16 matrices and hands over the float32 sums."""
    calls = (torch.ops.aten.mm, torch.ops.aten.bmm)
    return rows.is_cuda and rows.dtype == torch.bfloat16 and all("dtype" in call.overloads() for call in calls)


@contextlib.contextmanager
def _full_float32() -> Iterator[None]:
    """Keep TF32 and bfloat16 out of float32 products: a cosine off by 4e-3 over ε = .012 is .3 nats."""
    try:
        chosen = torch.get_float32_matmul_precision()
    except RuntimeError:  # the run set its precision per backend, which this call refuses to summarise
        backends_module: Any = torch.backends
        backends = (backends_module.cuda.matmul, backends_module.mkldnn.matmul)
        before = [backend.fp32_precision for backend in backends]
        for backend in backends:
            backend.fp32_precision = "ieee"
        try:
            yield
        finally:
            for backend, precision in zip(backends, before, strict=True):
                backend.fp32_precision = precision
        return
    if chosen == "highest":
        yield
        return
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(chosen)


def bad_rows(assignments: Tensor) -> Tensor:
    """Mark the rows that had no direction: (N, K) assignments to (N,) bool."""
    return assignments[:, 0].isnan()
