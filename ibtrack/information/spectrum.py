"""How many directions a cloud of activations fills: RankMe, participation ratio and α-ReQ, from its eigenvalues.

All three are functions of the eigenvalues λ_1 ≥ λ_2 ≥ … of a D × D matrix of the rows z_i. RankMe takes the second
moment Σ z_i z_iᵀ / N around the origin, as it was published for the singular values of the uncentred matrix of rows;
the other two take the covariance, around the mean of the rows. The difference matters where the rows share a mean that
is long beside their spread, which is a high mean cosine: then the mean is one large singular value, and RankMe is low
however many directions the spread fills.

A function f of the matrix C changes by tr(f'(C) dC), so to first order a row adds y_iᵀ f'(C) y_i to it. That makes the
influence of a document, which `ibtrack.information.standard_errors` turns into a standard error. Directions along which
no row lies do not change under another weight of a document and are left out.

Few rows bias all three, ranks downward and α upward, and rows that depend on each other count as fewer. What noise
without structure reads for as many rows does not tell by how much, as the bias of a rank of 20 is not that of a rank of
200, and noise has no documents. Beside each number stands therefore what half of the documents read, the mean of both
halves: where that is the same, rows suffice. The gap between the two is Quenouille's estimate of the bias (1949, J. R.
Statist. Soc. B 11).

Sources: RankMe, Garrido et al. 2023, arXiv 2210.02885. α-ReQ, Agrawal et al. 2022 (NeurIPS), after Stringer et al.
2019 (Nature 571). Participation ratio, Gao et al. 2017 (bioRxiv 214262). Over the training of language models: Li et
al., arXiv 2509.23024.
Letters: N rows, D width, G documents, L sites; λ an eigenvalue, R the most of them that can differ from 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ibtrack._checks import check_integers
from ibtrack.information.devices import to_device
from ibtrack.information.document_design import DocumentDesign
from ibtrack.information.standard_errors import Estimate
from ibtrack.record.quantities import GEOMETRY

MIN_ROWS = 3  # two rows always lie on a line
FIRST_EIGENVALUE = 5  # of the fit; a few directions of language models are far above any law (Li et al.)
MIN_EIGENVALUES = 4  # in the fit, so that its slope is not that of two or three numbers


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """RankMe, participation ratio and α-ReQ of L sites, by their names in `GEOMETRY`.

    Attributes:
        estimates: Name to the number of each site, (L,), with its error over documents.
        halves: Name to what half of the documents read, (L,), the mean of both halves.
    """

    estimates: Mapping[str, Estimate]
    halves: Mapping[str, Tensor]

    @classmethod
    def join(cls, parts: Sequence[Geometry]) -> Geometry:
        """Put the sites of several parts in one row; all are of the same documents."""
        return cls(
            estimates={name: Estimate.join([part.estimates[name] for part in parts]) for name in GEOMETRY},
            halves={name: torch.cat([part.halves[name] for part in parts]) for name in GEOMETRY},
        )


def rankme(eigenvalues: Tensor) -> Tensor:
    """Work out RankMe: the exponential of the Shannon entropy of the singular values, as shares of their sum.

    Args:
        eigenvalues: (..., R) of the second moment around the origin: the squares of the singular values, of any scale.

    Returns:
        (...) from 1 for a single direction to R for equal ones; ``nan`` if all are 0. A singular value of 0 counts
        nothing, where the paper adds 1e-7 to every share.

    Example:
        >>> float(rankme(torch.tensor([9.0, 9.0, 9.0, 0.0])).round(decimals=6))
        3.0
    """
    singular = eigenvalues.double().clamp(min=0).sqrt()
    return torch.special.entr(singular / singular.sum(-1, keepdim=True)).sum(-1).exp()


def participation_ratio(eigenvalues: Tensor) -> Tensor:
    """Work out the participation ratio (Σ λ)² / Σ λ².

    Args:
        eigenvalues: (..., R) of the covariance, of any scale.

    Returns:
        (...) from 1 for a single direction to R for equal ones; ``nan`` if all are 0.

    Example:
        >>> float(participation_ratio(torch.tensor([2.0, 2.0, 0.0])))
        2.0
    """
    values = eigenvalues.double()
    return values.sum(-1).square() / values.square().sum(-1)


def alpha_req(eigenvalues: Tensor) -> Tensor:
    """Work out α-ReQ: the exponent of the power law λ_j ∝ j^-α, as the slope of log λ_j over log j.

    The line is fitted to the eigenvalues from the fifth to the one in the middle, j = 5 … R / 2, by least squares with
    weights 1 / j, under which each octave of j counts the same; so do Stringer et al. The first ones are left out since
    a few directions of language models lie far above any law, the last ones since few rows pull them down and rounding
    in half precision holds them up: of 300 Gaussian rows of width 256 whose exponent is 1, a fit from the eleventh to
    the 200th eigenvalue reads 1.25, and this one 1.03. The bounds depend on R alone, so the numbers of a run are fits
    over one range.

    Args:
        eigenvalues: (..., R) of the covariance, in descending order, of any scale.

    Returns:
        (...) α: 0 for equal directions, higher for fewer; ``nan`` for R below 16, or if an eigenvalue of the fit is 0.

    Example:
        >>> float(alpha_req(torch.arange(1, 65).double() ** -1.5).round(decimals=6))
        1.5
    """
    weights = _slope_weights(eigenvalues.shape[-1]).to(eigenvalues.device)
    if not weights.any():
        return eigenvalues.new_full(eigenvalues.shape[:-1], torch.nan, dtype=torch.float64)
    logs = eigenvalues.double().log()
    finite = torch.where(weights == 0, 0.0, logs).isfinite().all(-1)
    return torch.where(finite, -(weights * torch.where(weights == 0, 0.0, logs)).sum(-1), torch.nan)


def fit_range(number: int) -> tuple[int, int]:
    """Say which eigenvalues the power law is fitted to.

    Args:
        number: R, the most eigenvalues that can differ from 0: min(D, N - 1).

    Returns:
        Place of the first and of the last, counted from 1; the last is before the first where there are too few.

    Example:
        >>> fit_range(256)
        (5, 128)
    """
    last = number // 2
    return (FIRST_EIGENVALUE, last if last - FIRST_EIGENVALUE + 1 >= MIN_EIGENVALUES else 0)


def cloud_geometry(activations: Tensor, documents: Tensor | None = None) -> Geometry:
    """Work out RankMe, participation ratio and α-ReQ of a cloud of activations, with standard errors over documents.

    Activations are taken as they are, neither centred, but where a definition says so, nor put on a sphere. All sums
    are in float64: in float32 the rounding of the largest direction would drown the small ones.

    Args:
        activations: (N, D) of any floating dtype.
        documents: (N,) integers; rows of one document depend on each other. By default each row is its own document,
            and errors are too small where rows depend on each other.

    Returns:
        One site: ``estimates`` and ``halves`` of ``rankme``, ``participation_ratio`` and ``alpha_req``, each (1,). A
        value is ``nan`` if a row is not finite or there are fewer than 3; RankMe's also if all rows are zero, the
        participation ratio's if all are equal, and that of α-ReQ where `alpha_req` has none. A half is ``nan`` where
        the value of either half would be, and for a single document.

    Raises:
        ValueError: ``activations`` are no floating point matrix, or ``documents`` not one integer per row.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> cloud = torch.randn(2000, 64, generator=generator) * torch.arange(1, 65) ** -0.5  # eigenvalues 1 / j
        >>> found = cloud_geometry(cloud, documents=torch.arange(2000) // 20)
        >>> {name: round(float(estimate.value), 1) for name, estimate in found.estimates.items()}
        {'rankme': 54.6, 'participation_ratio': 13.5, 'alpha_req': 1.0}
        >>> {name: round(float(value), 1) for name, value in found.halves.items()}
        {'rankme': 54.4, 'participation_ratio': 13.4, 'alpha_req': 1.0}
    """
    if activations.ndim != 2 or not activations.is_floating_point():
        raise ValueError(
            "activations must be a floating point tensor of shape (N, D), "
            f"got {activations.dtype} of shape {tuple(activations.shape)}"
        )
    number = len(activations)
    index = torch.arange(number) if documents is None else check_integers("documents", documents, ndim=1)
    if len(index) != number:
        raise ValueError(f"documents must have one entry per row of activations, got {len(index)} for {number}")
    dense = torch.unique(index.cpu(), return_inverse=True)[1]
    with torch.autocast(activations.device.type, enabled=False):
        rows = activations.detach().double()
        if number < MIN_ROWS or not rows.isfinite().all():
            return _nothing(rows.new_full((1,), torch.nan), len(dense.unique()))
        design = to_device(DocumentDesign.from_index(dense), rows.device)
        return _of_rows(rows / rows.abs().max().clamp(min=torch.finfo(rows.dtype).tiny), design)  # scale cancels


def _of_rows(rows: Tensor, design: DocumentDesign) -> Geometry:
    """Work out everything from (N, D) finite rows, of size 1 at most."""
    number, width = rows.shape
    if number < width:  # turned into the N directions that they span, which changes no eigenvalue but those that are 0
        rows = torch.linalg.qr(rows.T, mode="r").R.T
    mean = rows.mean(0)
    centred = rows - mean
    rounding = number * torch.finfo(rows.dtype).eps
    if centred.square().sum() <= rounding**2 * rows.square().sum():  # what rounding leaves of equal rows
        centred = torch.zeros_like(centred)
    moments, covariances = _moments(centred, mean, design.index % 2)
    place = min(width, number - 1)  # R: the mean takes one row

    values, vectors = _decomposition(moments[0])
    estimates = {"rankme": _estimate(rankme(values), (rows @ vectors).square(), _rankme_gradient(values), design)}
    values, vectors = _decomposition(covariances[0])
    squares = (centred @ vectors).square()
    total, square = values.sum(), values.square().sum()
    gradient = 2 * total / square - 2 * values * (total / square).square()
    estimates["participation_ratio"] = _estimate(participation_ratio(values), squares, gradient, design)
    weights = _slope_weights(place).to(values.device)
    gradient = torch.where(weights == 0, 0.0, -weights / values[:place])
    estimates["alpha_req"] = _estimate(alpha_req(values[:place]), squares[:, :place], gradient, design)

    if len(moments) == 1:  # there are no two halves
        return Geometry(estimates=estimates, halves={name: torch.full_like(mean[:1], torch.nan) for name in GEOMETRY})
    around_zero, around_mean = (_cleaned(torch.linalg.eigvalsh(stack[1:]).flip(1)) for stack in (moments, covariances))
    halves = (rankme(around_zero), participation_ratio(around_mean), alpha_req(around_mean[:, :place]))
    by_name = zip(GEOMETRY, halves, strict=True)
    return Geometry(estimates=estimates, halves={name: of_both.mean(0, keepdim=True) for name, of_both in by_name})


def _moments(centred: Tensor, mean: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    """Work out second moments around the origin and around the mean, of all rows and of both halves: (3, D, D) each.

    Where a half has fewer than 3 rows, those of all rows alone: (1, D, D). The products of centred rows are added up
    once, half by half. What else is needed is added to them, or is small beside them, so no digits are lost.

    Args:
        centred: (N, D) rows less their mean.
        mean: (D,) that mean.
        half: (N,) 0 or 1.
    """
    parts = [centred[half == side] for side in (0, 1)]
    products = [part.T @ part for part in parts]
    groups = [(products[0] + products[1], len(centred), torch.zeros_like(mean))]
    if min(map(len, parts)) >= MIN_ROWS:
        groups += [(product, len(part), part.mean(0)) for product, part in zip(products, parts, strict=True)]
    covariances = [product / number - shift.outer(shift) for product, number, shift in groups]
    places = [mean + shift for _, _, shift in groups]
    moments = [covariance + place.outer(place) for covariance, place in zip(covariances, places, strict=True)]
    return torch.stack(moments), torch.stack(covariances)


def _decomposition(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Decompose a (D, D) matrix into eigenvalues, descending, and the columns of their directions."""
    values, vectors = torch.linalg.eigh(matrix)
    return _cleaned(values.flip(0)), vectors.flip(1)


def _cleaned(values: Tensor) -> Tensor:
    """Set eigenvalues (..., D), descending, to 0 that rounding alone could make."""
    rounding = values.shape[-1] * torch.finfo(values.dtype).eps
    return torch.where(values > rounding * values[..., :1], values, 0.0)


def _rankme_gradient(values: Tensor) -> Tensor:
    """Derivative (D,) of RankMe by each eigenvalue; 0 where that is 0, since no row lies along its direction."""
    singular = values.sqrt()
    share = singular / singular.sum()
    value = rankme(values)
    gradient = -value * (share.log() + value.log()) / (2 * singular * singular.sum())
    return torch.where(values > 0, gradient, 0.0)


def _slope_weights(number: int) -> Tensor:
    """Weights (R,) whose sum with log λ is the slope of the fitted line; all 0 where there are too few."""
    first, last = fit_range(number)
    place = torch.arange(1, number + 1, dtype=torch.float64)
    weights = torch.where((place >= first) & (place <= last), 1 / place, 0.0)
    if not weights.any():
        return weights
    x = place.log() - (weights * place.log()).sum() / weights.sum()
    return weights * x / (weights * x.square()).sum()


def _estimate(value: Tensor, squares: Tensor, gradient: Tensor, design: DocumentDesign) -> Estimate:
    """Make a (1,) estimate from squares (N, D) of rows along the directions and the derivative (D,) by eigenvalues."""
    by_row = squares @ gradient
    totals = by_row.new_zeros(design.num_documents).index_add_(0, design.index, by_row)
    value, influence = value.unsqueeze(0), design.influence(totals).unsqueeze(0)
    none = torch.where(value.isfinite(), 0.0, torch.nan)  # what does not exist has no error
    return Estimate(value=value, influence=influence + none, systematic=none)


def _nothing(nothing: Tensor, num_documents: int) -> Geometry:
    """Return a site without numbers: (1,) ``nan`` in the place of each."""
    influence = nothing.expand(1, num_documents)
    return Geometry(
        estimates={name: Estimate(value=nothing, influence=influence, systematic=nothing) for name in GEOMETRY},
        halves=dict.fromkeys(GEOMETRY, nothing),
    )
