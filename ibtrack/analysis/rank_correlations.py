"""Rank correlations of rows that come in families: Spearman's, partial or not, with intervals from whole families.

Rows of one family (checkpoints of one run, models of one recipe) are not independent, so families and not rows are
drawn: each gets a random weight, from an exponential distribution, which all of its rows share (Rubin 1981, The
Bayesian bootstrap, Annals of Statistics 9). Drawing families with replacement instead leaves, of five, two or three
different ones in many draws, on which any two numbers agree; a weight leaves none out. SciPy ranks no rows with
weights, so that is done here; with equal weights it is ``scipy.stats.spearmanr``. The spread over draws is that of
Fisher's z = artanh ρ, made larger by (F + 1) / (F - 1) in variance, as random weights of F families vary too little; it
is never taken to be smaller than that of independent rows, 1.06 / (rows - 3) (Fieller, Hartley and Pearson 1957, Tests
for rank correlation coefficients, Biometrika 44), and is judged by Student's t with F - 1 degrees of freedom. With few
families such intervals are rather too wide than too narrow.

Of many intervals some miss by chance. Those that hold together are wider by what the largest of all deviations reaches
in 95 % of normal draws with the correlations that the numbers have over families (Hothorn, Bretz and Westfall 2008,
Simultaneous inference in general parametric models, Biometrical Journal 50), which costs less than Bonferroni's rule
where readings go up and down together. Each keeps its own degrees of freedom: the level that the normal draws ask for
is looked up in its own t distribution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

CONFIDENCE = 0.95
MIN_FAMILIES = 5  # the orders of four families agree, or are opposite, in 2 of 24 cases by chance, more than 5 %
NUM_DRAWS = 2000  # the spread over draws is then known to 1.6 %, 1 / √(2 · 2000)
_MAX_KEPT = 1 << 28  # bytes of ranks that are kept, as memory is scarcer than time
_ROUNDING = 1e-9  # correlations of ranks are exact to 1e-12; closer to 1 than this means the same order

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class RankCorrelation:
    """A rank correlation with its intervals.

    Attributes:
        value: Spearman's ρ, in [-1, 1]; ``nan`` where there is none.
        interval: Ends of the 95 % interval of this one; None where there is none.
        together: Ends of the interval that holds with 95 % for all that were asked for at once; None likewise.
        num_rows: Number of rows that have all numbers.
        num_families: Number of families that they come from.
        why: Reason why there is no value or no interval, or an empty text.
    """

    value: float
    interval: tuple[float, float] | None = None
    together: tuple[float, float] | None = None
    num_rows: int = 0
    num_families: int = 0
    why: str = ""

    @property
    def is_told(self) -> bool:
        """Whether 0 lies outside of the interval that holds for all."""
        return self.together is not None and not self.together[0] <= 0 <= self.together[1]


@dataclass(frozen=True, kw_only=True)
class Question:
    """Which two columns of numbers are correlated, and which one is held fixed.

    Attributes:
        first: (N,) numbers, ``nan`` where a row has none.
        second: (N,) numbers likewise.
        given: (N,) numbers whose order is taken out of both, or None.
        names: What the columns are called in a reason.
    """

    first: Vector
    second: Vector
    given: Vector | None = None
    names: tuple[str, str, str] = ("the first", "the second", "what is given")

    @property
    def columns(self) -> list[Vector]:
        """The two or three columns."""
        return [self.first, self.second] + ([] if self.given is None else [self.given])


@dataclass(frozen=True, kw_only=True)
class _Drawn:
    """A correlation with its z in each draw of the weights, centred and scaled to one."""

    value: float
    z: float
    se: float
    free: int
    draws: Vector


def partial_spearman(first: npt.ArrayLike, second: npt.ArrayLike, given: npt.ArrayLike | None = None) -> float:
    """Correlate the orders of two columns, and hold a third one fixed where it is given.

    The partial correlation is that of the ranks: what is left of both after a straight line in the ranks of the third
    is taken out of each (Conover 1999, Practical Nonparametric Statistics, section 5.4). Equal numbers share their
    rank.

    Args:
        first: (N,) finite numbers.
        second: (N,) finite numbers.
        given: (N,) finite numbers, or None.

    Returns:
        A number in [-1, 1]; ``nan`` where a column is constant, or one of the first two is in the order of the third.

    Example:
        >>> loss = [1, 2, 3, 4, 5, 6]
        >>> round(partial_spearman([1, 2, 4, 3, 5, 6], [2, 1, 3, 4, 6, 5]), 2)
        0.83
        >>> round(partial_spearman([1, 2, 4, 3, 5, 6], [2, 1, 3, 4, 6, 5], given=loss), 2)
        -0.04
    """
    columns = [np.asarray(column, dtype=np.float64) for column in (first, second, given) if column is not None]
    if any(np.ptp(column) == 0 for column in columns):
        return math.nan
    weights = np.ones((1, len(columns[0])))
    return float(_weighted(columns, weights)[0])


def rank_correlations(
    questions: Sequence[Question], families: Sequence[str], *, num_draws: int = NUM_DRAWS, seed: int = 0
) -> list[RankCorrelation]:
    """Answer several questions about the same rows, with intervals over families that hold each and all together.

    Args:
        questions: Columns to correlate; rows without one of their numbers are left out of a question.
        families: Name of the family of each of the N rows.
        num_draws: Number of draws of the weights.
        seed: Seed of the draws.

    Returns:
        One answer for each question. With fewer than `MIN_FAMILIES` families there is no interval.

    Example:
        >>> x = np.arange(8.0)
        >>> (answer,) = rank_correlations([Question(first=x, second=x[[1, 0, 2, 3, 5, 4, 7, 6]])], list("abcdefgh"))
        >>> round(answer.value, 2), answer.num_families, answer.is_told
        (0.93, 8, True)
    """
    names = {name: place for place, name in enumerate(dict.fromkeys(families))}
    of_rows = np.array([names[name] for name in families], dtype=np.int64)
    rng = np.random.default_rng(seed)
    draws = _Draws(of_rows, num_draws, rng)
    found = [_answer(each, draws) for each in questions]
    drawn = [own for _, own in found if own is not None]
    level = _common_level(np.stack([own.draws for own in drawn]), rng) if drawn else 0.0
    return [_with_intervals(answer, own, level) for answer, own in found]


class _Draws:
    """Random weights of families, and ranks under them, which are kept as the same columns are asked for many times."""

    def __init__(self, of_rows: npt.NDArray[np.int64], num_draws: int, rng: np.random.Generator) -> None:
        self.of_rows = of_rows
        self.weights: Vector = rng.exponential(size=(num_draws, int(of_rows.max(initial=-1)) + 1))
        self._kept: dict[tuple[int, bytes], Vector] = {}

    def correlations(self, columns: Sequence[Vector], there: npt.NDArray[np.bool_]) -> Vector:
        """Correlate columns, of rows that have all numbers, in each draw.

        Args:
            columns: Two columns of N numbers, or three, of which the last is held fixed.
            there: (N,) whether a row has all of them.

        Returns:
            (R,) correlations.
        """
        return _correlations([self._ranks(column, there) for column in columns])

    def _ranks(self, column: Vector, there: npt.NDArray[np.bool_]) -> Vector:
        key = (id(column), there.tobytes())
        if key not in self._kept:
            ranks = _unit_ranks(column[there], self.weights[:, self.of_rows[there]])
            if (len(self._kept) + 1) * ranks.nbytes > _MAX_KEPT:
                self._kept.clear()
            self._kept[key] = ranks
        return self._kept[key]


def _answer(question: Question, draws: _Draws) -> tuple[RankCorrelation, _Drawn | None]:
    there = np.asarray(np.isfinite(np.stack(question.columns)).all(axis=0))
    columns = [column[there] for column in question.columns]
    num_rows, num_families = int(there.sum()), len(np.unique(draws.of_rows[there]))
    why = _why_no_value(columns, question.names) if num_rows > 2 else f"only {num_rows} rows have all numbers"
    value = math.nan if why else partial_spearman(*columns)
    if not why and math.isnan(value):
        why = f"{question.names[2]} orders the rows as one of the two does, so nothing is left"
    num_given = len(columns) - 2
    if not why and num_families < MIN_FAMILIES + num_given:
        why = f"{num_families} {'family is' if num_families == 1 else 'families are'} too few for an interval"
    answer = RankCorrelation(value=value, num_rows=num_rows, num_families=num_families, why=why)
    if why:
        return answer, None
    limit = 1 - 6 / (num_rows**3 - num_rows)  # half way from 1 to the next smaller ρ of so many rows
    drawn = _fisher(draws.correlations(question.columns, there), limit)
    spread = float(drawn.std()) * math.sqrt((num_families + 1) / (num_families - 1))
    se = max(spread, math.sqrt(1.06 / max(num_rows - 3 - num_given, 1)))
    centred = drawn - drawn.mean()
    size = float(centred.std())
    own = centred / size if size else centred
    z = float(_fisher(np.array(value), limit))
    return answer, _Drawn(value=value, z=z, se=se, free=num_families - 1 - num_given, draws=own)


def _why_no_value(columns: Sequence[Vector], names: Sequence[str]) -> str:
    constant = [name for column, name in zip(columns, names, strict=False) if np.ptp(column) == 0]
    return f"{constant[0]} is the same in all rows" if constant else ""


def _weighted(columns: Sequence[Vector], weights: Vector) -> Vector:
    """Correlate ranks of rows that count by weights; whole weights are rows that occur so often.

    Args:
        columns: Two columns of N numbers, or three, of which the last is held fixed.
        weights: (R, N) positive weights.

    Returns:
        (R,) correlations; ``nan`` where the third has the order of one of the others.
    """
    return _correlations([_unit_ranks(column, weights) for column in columns])


def _correlations(ranks: Sequence[Vector]) -> Vector:
    """Correlate ranks of two columns, or what a line in those of a third leaves of them, as `_unit_ranks` has them."""

    def together(i: int, j: int) -> Vector:
        product: Vector = np.einsum("rn,rn->r", ranks[i], ranks[j])
        return product

    direct = together(0, 1)
    if len(ranks) == 2:
        return np.clip(direct, -1, 1)
    first, second = together(0, 2), together(1, 2)
    rest = (1 - first**2) * (1 - second**2)
    is_left = np.minimum(1 - first**2, 1 - second**2) > _ROUNDING
    return np.where(is_left, np.clip((direct - first * second) / np.sqrt(np.where(is_left, rest, 1)), -1, 1), np.nan)


def _unit_ranks(column: Vector, weights: Vector) -> Vector:
    """Centre weighted ranks and scale them, so that a correlation is the sum of the products of two such rows."""
    ranks = _weighted_ranks(column, weights)
    centred = ranks - (weights * ranks).sum(1, keepdims=True) / weights.sum(1, keepdims=True)
    rooted = np.sqrt(weights) * centred
    unit: Vector = rooted / np.linalg.norm(rooted, axis=1, keepdims=True)
    return unit


def _weighted_ranks(column: Vector, weights: Vector) -> Vector:
    """Rank rows that count by weights: the weight below a row and half of that of its equals, itself included.

    With whole weights it is the mean rank of ``scipy.stats.rankdata``, less one half, of rows that occur so often.
    """
    values, where = np.unique(column, return_inverse=True)
    order = np.argsort(where, kind="stable")
    starts = np.searchsorted(where[order], np.arange(len(values)))
    own = np.add.reduceat(weights[:, order], starts, axis=1)
    ranks: Vector = (np.cumsum(own, axis=1) - own / 2)[:, where]
    return ranks


def _fisher(value: Vector, limit: float) -> Vector:
    """Take Fisher's z, of at most that of the limit, as the same order in a few rows does not mean ρ = 1."""
    z: Vector = np.arctanh(np.clip(np.nan_to_num(value), -limit, limit))
    return z


def _common_level(draws: Vector, rng: np.random.Generator, *, num_normals: int = 4000) -> float:
    """Find the level at which each of J intervals must hold so that all do with 95 %.

    Args:
        draws: (J, R) deviations of each number in each draw, of mean 0 and variance 1.
        rng: Source of the normal draws.
        num_normals: Number of them.

    Returns:
        Chance with which one interval may miss.
    """
    from scipy.stats import norm

    largest = np.zeros(num_normals)
    mixing = rng.standard_normal((num_normals, draws.shape[1])) / math.sqrt(draws.shape[1])
    for start in range(0, len(draws), 256):
        largest = np.maximum(largest, np.abs(mixing @ draws[start : start + 256].T).max(1))
    reach = max(float(np.quantile(largest, CONFIDENCE)), float(norm.ppf((1 + CONFIDENCE) / 2)))
    return float(2 * norm.sf(reach))


def _with_intervals(answer: RankCorrelation, drawn: _Drawn | None, level: float) -> RankCorrelation:
    if drawn is None:
        return answer
    from scipy.stats import t  # here, as it takes a second to import, which no other command needs

    def interval(miss: float) -> tuple[float, float]:
        half = float(t.isf(miss / 2, drawn.free)) * drawn.se
        low, high = math.tanh(drawn.z - half), math.tanh(drawn.z + half)
        return min(low, drawn.value), max(high, drawn.value)

    return RankCorrelation(
        value=answer.value,
        interval=interval(1 - CONFIDENCE),
        together=interval(level),
        num_rows=answer.num_rows,
        num_families=answer.num_families,
    )
