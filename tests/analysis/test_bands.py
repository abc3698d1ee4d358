"""The multiplier bootstrap against known distributions of the largest of many comparisons."""

import numpy as np
import pytest
from scipy import stats

from ibtrack.analysis.bands import careful_value, critical_value
from ibtrack.analysis.curves import Curve


def curve(deviations: np.ndarray, num_documents: int = 0) -> Curve:
    return Curve(tuple(range(len(deviations))), np.zeros(len(deviations)), deviations, num_documents)


def test_one_change_and_one_value_need_1_96() -> None:
    assert critical_value([curve(np.eye(2))]) == pytest.approx(1.96, abs=0.08)
    assert critical_value([curve(np.eye(1))], of_changes=False) == pytest.approx(1.96, abs=0.08)


@pytest.mark.parametrize("num_points", [5, 14, 40])
def test_independent_points_need_the_studentized_range(num_points: int) -> None:
    """The largest of all differences of normal numbers, by its size in errors of a difference (Tukey)."""
    expected = stats.studentized_range.ppf(0.95, num_points, np.inf) / 2**0.5
    assert critical_value([curve(np.eye(num_points))]) == pytest.approx(expected, abs=0.08)


def test_independent_values_need_the_largest_of_so_many_normal_numbers() -> None:
    expected = stats.norm.isf((1 - 0.95 ** (1 / 20)) / 2)
    assert critical_value([curve(np.eye(20))], of_changes=False) == pytest.approx(expected, abs=0.08)


def test_points_that_err_alike_need_less() -> None:
    alike = np.concatenate([np.ones((20, 1)), 0.1 * np.eye(20)], 1)
    assert critical_value([curve(alike)], of_changes=False) < 2.2
    steps = np.tril(np.ones((20, 20)))  # a random walk: neighbouring changes share what they err by
    assert critical_value([curve(steps)]) < critical_value([curve(np.eye(20))]) - 0.1


def test_few_documents_need_more() -> None:
    ten = np.random.default_rng(0).standard_normal((10, 64))
    many, few = (critical_value([curve(ten, number)]) for number in (64, 8))
    normal = critical_value([curve(ten, 0)])
    assert normal < many < few
    assert many == pytest.approx(-stats.t.ppf(stats.norm.cdf(-critical_value([curve(ten, 100_000)])), 63), abs=0.01)


def test_more_curves_need_more_and_a_copy_needs_no_more() -> None:
    draw = np.random.default_rng(0)
    one, other = (curve(draw.standard_normal((10, 64)), 64) for _ in range(2))
    assert critical_value([one, one]) == critical_value([one])
    assert critical_value([one, other]) > critical_value([one])


def test_the_value_of_a_trajectory_is_always_the_same() -> None:
    assert critical_value([curve(np.eye(7))]) == critical_value([curve(np.eye(7))])


def test_points_that_are_equal_are_no_comparison() -> None:
    same = np.ones((5, 3))
    assert critical_value([curve(same, 3)]) == 0.0


def test_nothing_to_compare_has_no_value() -> None:
    assert np.isnan(critical_value([]))
    assert np.isnan(critical_value([curve(np.eye(1))]))


def test_a_curve_and_one_without_documents_err_on_their_own() -> None:
    """Curves that share no documents need as much as all of their points would if each were independent."""
    one, other = curve(np.eye(10), 100_000), curve(np.eye(10))
    together = critical_value([other, one], of_changes=False)
    assert together == pytest.approx(critical_value([curve(np.eye(20))], of_changes=False), abs=0.08)
    assert critical_value([other, other], of_changes=False) == pytest.approx(together, abs=0.08)


@pytest.mark.parametrize("num_documents", [0, 8, 64])
def test_the_careful_value_is_that_of_independent_points_and_enough_for_others(num_documents: int) -> None:
    careful = careful_value(20, num_documents)
    independent = critical_value([curve(np.eye(20), num_documents)], of_changes=False)
    assert careful == pytest.approx(independent, rel=0.04)
    draw = np.random.default_rng(0)
    for rank in (1, 3, 10):
        points = draw.standard_normal((20, rank)) @ draw.standard_normal((rank, 64))
        # 2000 draws meet the level to half a percent, which is .04 of these numbers
        assert critical_value([curve(points, num_documents)], of_changes=False) < careful + 0.08


def test_a_careful_value_needs_values_and_more_than_one_document() -> None:
    assert careful_value(1) == pytest.approx(1.96, abs=0.001)
    assert np.isnan(careful_value(0))
    assert careful_value(5, 1) == float("inf")


def test_not_less_than_what_is_asked_for_at_least() -> None:
    pair = curve(np.eye(2))
    assert critical_value([pair], at_least=3.0) == 3.0
    assert critical_value([pair], at_least=1.0) == critical_value([pair])
    few = curve(np.random.default_rng(0).standard_normal((2, 8)), 8)
    assert critical_value([few], at_least=3.0) == pytest.approx(-stats.t.ppf(stats.norm.cdf(-3.0), 7))
