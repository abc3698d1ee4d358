"""How many standard errors are beyond chance for many comparisons at once: the multiplier bootstrap over documents.

Every cause of error, each document above all, gets one random number, which multiplies what it moves at all points of
all curves together. The largest of all comparisons in standard errors, over many such draws, is what chance makes of
them together (Wu, Annals of Statistics 14, 1986; Chernozhukov, Chetverikov and Kato, Annals of Statistics 41, 2013).
As points that share their documents err together, this asks for less than one comparison after the other would.

Letters: T points, C coordinates of a deviation, B draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ibtrack.analysis.curves import ROUNDING, Curve

LEVEL = 0.05  # chance that one comparison or more of all is called beyond chance: the customary level of a test
NUM_DRAWS = 2000  # B: the level is met to half a percent
_SEED = 0  # one trajectory has one critical value


def critical_value(curves: Sequence[Curve], *, of_changes: bool = True, at_least: float = 0.0) -> float:
    """Work out how many standard errors a change, or a value, must exceed to be beyond chance at 5 % for all together.

    The random numbers are normal. As errors are themselves estimated from documents, the result is the one of Student's
    distribution with as many degrees of freedom as there are documents less one, at the same chance.

    Args:
        curves: Curves of one run, or of runs on one probe, at least one.
        of_changes: Whether all changes between two points of a curve are compared, or else all values.
        at_least: The least that is asked for, in standard errors of a normal distribution.

    Returns:
        The number of standard errors; ``nan`` where there is nothing to compare.

    Example:
        >>> points = np.diag(np.full(10, 0.01))
        >>> still = Curve(tuple(range(10)), np.zeros(10), points, 0)
        >>> round(critical_value([still]), 1), round(critical_value([still], of_changes=False), 1)
        (3.2, 2.8)
    """
    compared = [each for each in curves if len(each.steps) > of_changes]
    if not compared:
        return float("nan")
    largest = np.zeros(NUM_DRAWS)
    own = np.random.default_rng(_SEED + any(each.paired for each in compared))
    for each in compared:
        width = each.deviations.shape[1]
        multipliers = _multipliers(width) if each.paired else own.standard_normal((width, NUM_DRAWS))
        drawn = (each.deviations @ multipliers).astype(np.float32)  # (T, B)
        if not of_changes:
            np.maximum(largest, (np.abs(drawn) / np.hypot(each.se, ROUNDING)[:, None]).max(0), out=largest)
            continue
        errors = each.errors.astype(np.float32)
        for first in range(len(drawn) - 1):
            changes = np.abs(drawn[first + 1 :] - drawn[first]) / errors[first, first + 1 :, None]
            np.maximum(largest, changes.max(0), out=largest)
    normal = max(float(np.quantile(largest, 1 - LEVEL)), at_least)
    return _with_estimated_errors(normal, min(each.num_documents for each in compared))


def careful_value(num_values: int, num_documents: int = 0) -> float:
    """Work out how many standard errors are enough for so many values at once, however their errors hang together.

    Values that err independently need this many, and no others need more (Sidak, Journal of the American Statistical
    Association 62, 1967). It takes no draws.

    Args:
        num_values: Number of values.
        num_documents: Number of groups of documents that errors are estimated from; 0 where they are taken as known.

    Returns:
        The number of standard errors; ``nan`` for no values.

    Example:
        >>> round(careful_value(1), 2), round(careful_value(10), 2), round(careful_value(10, 64), 2)
        (1.96, 2.8, 2.9)
    """
    from scipy.special import ndtri

    if not num_values:
        return float("nan")
    return _with_estimated_errors(-float(ndtri((1 - (1 - LEVEL) ** (1 / num_values)) / 2)), num_documents)


@lru_cache(maxsize=4)
def _multipliers(num_coordinates: int) -> NDArray[np.float64]:
    """Draw a random number for each cause of error that curves share, (C, B)."""
    return np.random.default_rng(_SEED).standard_normal((num_coordinates, NUM_DRAWS))


def _with_estimated_errors(normal: float, num_documents: int) -> float:
    """Raise a number of standard errors to the one of Student's distribution at the same chance."""
    from scipy.special import ndtr, stdtrit  # loading it takes longer than most commands do without it

    if num_documents == 0:
        return normal
    return -float(stdtrit(num_documents - 1, ndtr(-normal))) if num_documents > 1 else float("inf")
