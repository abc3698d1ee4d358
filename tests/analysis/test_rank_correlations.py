"""Rank correlations over families: against SciPy and slow references, and intervals against known truth."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import pearsonr, rankdata, spearmanr

from ibtrack.analysis.rank_correlations import MIN_FAMILIES, Question, partial_spearman, rank_correlations

Vector = npt.NDArray[np.float64]
COLUMNS = arrays(np.float64, (3, 9), elements=st.integers(0, 6).map(float))  # many ties


def slow_partial(first: Vector, second: Vector, third: Vector) -> float:
    """Pearson's r of what straight lines in the ranks of the third leave of the ranks of both."""
    ranks = [rankdata(column) for column in (first, second, third)]
    design = np.stack([np.ones(len(first)), ranks[2]], axis=1)
    rests = [rank - design @ np.linalg.lstsq(design, rank, rcond=None)[0] for rank in ranks[:2]]
    return float(pearsonr(*rests).statistic)


def is_constant(columns: Vector) -> bool:
    return bool((np.ptp(columns, axis=1) == 0).any())


@given(COLUMNS)
def test_without_a_third_it_is_spearmans_with_ties(columns: Vector) -> None:
    value = partial_spearman(columns[0], columns[1])
    if is_constant(columns[:2]):
        assert math.isnan(value)
    else:
        assert value == pytest.approx(spearmanr(columns[0], columns[1]).statistic, abs=1e-12)


@given(COLUMNS)
def test_with_a_third_it_is_the_correlation_of_what_lines_in_its_ranks_leave(columns: Vector) -> None:
    value = partial_spearman(*columns)
    same = not is_constant(columns) and max(abs(spearmanr(columns[i], columns[2]).statistic) for i in (0, 1)) > 1 - 1e-9
    if is_constant(columns) or same:
        assert math.isnan(value)
    else:
        assert value == pytest.approx(slow_partial(*columns), abs=1e-9)


def test_whole_weights_are_rows_that_occur_so_often() -> None:
    from ibtrack.analysis.rank_correlations import _weighted

    rng = np.random.default_rng(0)
    columns = [rng.integers(0, 5, 12).astype(float) for _ in range(3)]
    weights = rng.integers(1, 4, (6, 12))
    for row, own in zip(weights, _weighted(columns, weights.astype(float)), strict=True):
        assert own == pytest.approx(slow_partial(*(np.repeat(column, row) for column in columns)), abs=1e-9)


def ask(*columns: Vector, families: list[str] | None = None, **options: Any) -> Any:
    first, second, *given = columns
    question = Question(
        first=first, second=second, given=given[0] if given else None, names=("told", "hellaswag", "loss")
    )
    return rank_correlations([question], families or [f"f{i}" for i in range(len(first))], **options)[0]


def test_rows_without_a_number_are_left_out_of_their_question_alone() -> None:
    rng = np.random.default_rng(1)
    first, second, other = rng.normal(size=(3, 12))
    first[[2, 5]] = math.nan
    there = np.isfinite(first)
    names = [f"f{i}" for i in range(12)]
    answers = rank_correlations([Question(first=first, second=second), Question(first=other, second=second)], names)
    assert [(each.num_rows, each.num_families) for each in answers] == [(10, 10), (12, 12)]
    assert answers[0].value == pytest.approx(spearmanr(first[there], second[there]).statistic)


def test_a_reason_stands_where_there_is_no_value() -> None:
    x = np.arange(8.0)
    assert ask(np.ones(8), x).why == "told is the same in all rows"
    assert ask(x, np.ones(8)).why == "hellaswag is the same in all rows"
    assert ask(x, x[::-1].copy() ** 2 + x, np.ones(8)).why == "loss is the same in all rows"
    assert ask(x, x[[1, 0, 2, 3, 4, 5, 7, 6]], -x).why.startswith("loss orders the rows as one of the two does")
    assert ask(x, np.full(8, math.nan)).why == "only 0 rows have all numbers"
    for answer in (ask(np.ones(8), x), ask(x, x[[1, 0, 2, 3, 4, 5, 7, 6]], -x), ask(x, np.full(8, math.nan))):
        assert math.isnan(answer.value)
        assert answer.interval is answer.together is None
        assert not answer.is_told


def test_too_few_families_have_a_value_and_no_interval() -> None:
    rng = np.random.default_rng(2)
    assert ask(*rng.normal(size=(2, 4)), families=["f"] * 4).why == "1 family is too few for an interval"
    for number in (MIN_FAMILIES - 1, MIN_FAMILIES):
        first, second, third = rng.normal(size=(3, 4 * number))
        families = [f"f{i // 4}" for i in range(4 * number)]
        answer = ask(first, second, families=families)
        assert (answer.interval is None) == (number < MIN_FAMILIES)
        assert answer.num_families == number
        assert (answer.why == "4 families are too few for an interval") == (number < MIN_FAMILIES)
        assert ask(first, second, third, families=families).interval is None  # the third costs one more


def test_the_same_order_does_not_make_an_interval_of_no_width() -> None:
    answer = ask(np.arange(6.0), np.arange(6.0))
    assert answer.value == pytest.approx(1)
    assert answer.interval is not None
    assert answer.interval[0] < 0.9
    assert answer.interval[1] == pytest.approx(1)


def test_many_questions_make_the_intervals_that_hold_for_all_wider_and_copies_do_not() -> None:
    rng = np.random.default_rng(3)
    second = rng.normal(size=10)
    columns = rng.normal(size=(12, 10))
    names = [f"f{i}" for i in range(10)]

    def width(questions: list[Question]) -> float:
        together = rank_correlations(questions, names)[0].together
        assert together is not None
        return together[1] - together[0]

    one = width([Question(first=columns[0], second=second)])
    copies = width([Question(first=columns[0] * (i + 1), second=second) for i in range(12)])
    many = width([Question(first=column, second=second) for column in columns])
    assert copies == pytest.approx(one, rel=0.05)
    assert many > 1.15 * one


def test_rows_of_one_family_do_not_make_an_interval_narrow() -> None:
    rng = np.random.default_rng(4)
    columns = np.repeat(rng.normal(size=(2, 8)), 6, axis=1) + 0.01 * rng.normal(size=(2, 48))
    together = ask(*columns, families=[f"f{i // 6}" for i in range(48)]).interval
    apart = ask(*columns).interval
    assert together[1] - together[0] > 1.8 * (apart[1] - apart[0])


def families_of(rng: np.random.Generator, num_families: int, each: int, covariance: Vector, shared: float) -> Vector:
    """Draw normal columns whose variance is, in part, common to a family; returns one row per column."""
    root = np.linalg.cholesky(covariance)
    own = rng.normal(size=(num_families, each, len(root)))
    common = rng.normal(size=(num_families, 1, len(root)))
    rows: Vector = (math.sqrt(shared) * common + math.sqrt(1 - shared) * own) @ root.T
    return rows.reshape(-1, len(root)).T


THROUGH_LOSS = np.array([[1, 0.64, 0.8], [0.64, 1, 0.8], [0.8, 0.8, 1]])  # the first two are linked by the third alone
BEYOND_LOSS = np.array([[1, 0.8, 0.5], [0.8, 1, 0.5], [0.5, 0.5, 1]])


def missed(num_families: int, covariance: Vector, shared: float, num_tables: int, *, each: int = 3) -> Vector:
    """Count how often intervals of ρ and of ρ given the third miss those of many families; shares of the tables."""
    rng = np.random.default_rng(6)
    many = families_of(rng, 60_000, 1, covariance, 0.0)
    truth = spearmanr(many[0], many[1]).statistic, slow_partial(*many)
    names = [f"f{i // each}" for i in range(each * num_families)]
    misses = np.zeros(2)
    for _ in range(num_tables):
        first, second, third = families_of(rng, num_families, each, covariance, shared)
        questions = [Question(first=first, second=second, given=given) for given in (None, third)]
        for i, answer in enumerate(rank_correlations(questions, names, num_draws=300)):
            assert answer.interval is not None
            misses[i] += not answer.interval[0] <= truth[i] <= answer.interval[1]
    shares: Vector = misses / num_tables
    return shares


@pytest.mark.parametrize("covariance", [THROUGH_LOSS, BEYOND_LOSS], ids=["through loss", "beyond loss"])
def test_intervals_hold_the_truth(covariance: Vector) -> None:
    assert (missed(9, covariance, 0.9, 100, each=6) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 100)).all()


@pytest.mark.slow
@pytest.mark.parametrize("covariance", [THROUGH_LOSS, BEYOND_LOSS], ids=["through loss", "beyond loss"])
@pytest.mark.parametrize("shared", [0.0, 0.6, 0.9])
@pytest.mark.parametrize("num_families", [6, 9, 20])
def test_intervals_hold_the_truth_for_many_tables(num_families: int, shared: float, covariance: Vector) -> None:
    shares = missed(num_families, covariance, shared, 1000)
    assert (shares <= 0.08).all(), shares  # 20 families whose models differ little: the nearest to its limit


def test_of_many_readings_that_go_with_nothing_few_tables_have_any_told() -> None:
    rng = np.random.default_rng(7)
    names, num_tables, told = [f"f{i // 2}" for i in range(24)], 60, 0
    for _ in range(num_tables):
        columns = families_of(rng, 12, 2, np.eye(9), 0.6)
        questions = [Question(first=columns[i], second=columns[j]) for i in range(6) for j in range(6, 9)]
        told += any(each.is_told for each in rank_correlations(questions, names, num_draws=300))
    assert told <= 0.05 * num_tables + 3 * math.sqrt(0.05 * 0.95 * num_tables)


def test_what_goes_with_a_score_only_through_loss_is_told_alone_and_not_given_loss() -> None:
    rng = np.random.default_rng(8)
    names = [f"f{i // 3}" for i in range(60)]
    through, beyond = (families_of(rng, 20, 3, covariance, 0.6) for covariance in (THROUGH_LOSS, BEYOND_LOSS))
    told = {
        name: [
            each.is_told
            for each in rank_correlations(
                [Question(first=rows[0], second=rows[1], given=given) for given in (None, rows[2])], names
            )
        ]
        for name, rows in (("through", through), ("beyond", beyond))
    }
    assert told == {"through": [True, False], "beyond": [True, True]}
