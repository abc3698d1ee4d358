"""How many standard errors are beyond chance for many comparisons at once: the multiplier bootstrap over documents.

Every cause of error, each document above all, gets one random number, which multiplies what it moves at all points of
all curves together. The largest of all comparisons in standard errors, over many such draws, is what chance makes of
them together (Wu, Annals of Statistics 14, 1986; Chernozhukov, Chetverikov and Kato, Annals of Statistics 41, 2013).
As points that share their documents err together, this asks for less than one comparison after the other would.

Letters: T points, C coordinates of a deviation, B draws.
"""

from __future__ import annotations

from collections.abc import Sequence

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
    from scipy.special import ndtr, stdtrit  # loading it takes longer than most commands do without it

    compared = [each for each in curves if len(each.steps) > of_changes]
    if not compared:
        return float("nan")
    random = np.random.default_rng(_SEED)
    multipliers: NDArray[np.float64] = np.zeros((0, NUM_DRAWS))
    largest = np.zeros(NUM_DRAWS)
    for each in compared:
        if not each.paired or len(multipliers) != each.deviations.shape[1]:
            multipliers = random.standard_normal((each.deviations.shape[1], NUM_DRAWS))
        drawn = each.deviations @ multipliers  # (T, B)
        if not of_changes:
            np.maximum(largest, (np.abs(drawn) / np.hypot(each.se, ROUNDING)[:, None]).max(0), out=largest)
            continue
        for first in range(len(drawn) - 1):
            changes = np.abs(drawn[first + 1 :] - drawn[first]) / each.errors[first, first + 1 :, None]
            np.maximum(largest, changes.max(0), out=largest)
    normal = max(float(np.quantile(largest, 1 - LEVEL)), at_least)
    fewest = min(each.num_documents for each in compared)
    if fewest == 0:
        return normal
    return -float(stdtrit(fewest - 1, ndtr(-normal))) if fewest > 1 else float("inf")
