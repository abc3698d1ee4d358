"""Standard errors over documents."""

import math

import pytest
import torch

from ibtrack.information.document_design import DocumentDesign
from ibtrack.information.standard_errors import Estimate, correction_error, correction_factor


def estimate(value: float, influence: list[float], systematic: float = 0.0) -> Estimate:
    return Estimate(
        value=torch.tensor([value]).double(),
        influence=torch.tensor([influence]).double(),
        systematic=torch.tensor([systematic]).double(),
    )


def test_standard_error_of_a_mean_is_the_textbook_one() -> None:
    documents = DocumentDesign.from_index(torch.arange(400) // 10)
    rows = torch.randn(400, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    per_document = rows.view(40, 10)
    mean = Estimate(value=rows.mean(), influence=documents.influence(per_document.sum(1)), systematic=torch.zeros(()))
    torch.testing.assert_close(mean.standard_error, per_document.mean(1).std() / math.sqrt(40))


def test_one_document_has_no_standard_error() -> None:
    assert estimate(1.0, [0.0]).standard_error.isnan()


def test_ratio_follows_the_delta_method() -> None:
    top, bottom = estimate(2.0, [0.1, -0.1]), estimate(4.0, [0.3, -0.3])
    ratio = top.ratio(bottom)
    nudged = [(2.0 + 1e-6 * t) / (4.0 + 1e-6 * b) - 0.5 for t, b in ((0.1, 0.3), (-0.1, -0.3))]
    assert float(ratio.value) == 0.5
    assert ratio.influence[0].tolist() == pytest.approx([change / 1e-6 for change in nudged], rel=1e-5)


def test_errors_of_sampling_and_of_correction_add_in_squares() -> None:
    assert float(estimate(1.0, [0.3, -0.3], 0.8).standard_error) == pytest.approx(math.sqrt(2 * 0.18 + 0.64))


def test_difference_has_the_common_part_of_the_errors_taken_out() -> None:
    difference = estimate(3.0, [0.3, -0.3], 0.5).minus(estimate(1.0, [0.2, -0.2], 0.4))
    assert float(difference.value) == pytest.approx(2.0)
    assert float(difference.influence[0, 0]) == pytest.approx(0.1)
    assert float(difference.systematic) == pytest.approx(0.1)


def test_a_change_is_made_to_each_part() -> None:
    doubled = estimate(3.0, [0.25, -0.25], 0.5).map(lambda part: torch.cat([part, part]))
    assert doubled.value.tolist() == [3.0, 3.0]
    assert doubled.influence.tolist() == [[0.25, -0.25], [0.25, -0.25]]
    assert doubled.systematic.tolist() == [0.5, 0.5]


def test_parts_are_joined_site_after_site() -> None:
    joined = Estimate.join([estimate(3.0, [0.25, -0.25], 0.5), estimate(1.0, [0.5, -0.5], 0.25)])
    assert joined.value.tolist() == [3.0, 1.0]
    assert joined.influence.tolist() == [[0.25, -0.25], [0.5, -0.5]]
    assert joined.systematic.tolist() == [0.5, 0.25]


def test_a_factor_scales_each_part() -> None:
    scaled = estimate(3.0, [0.25, -0.25], 0.5).scaled(-2.0)
    assert float(scaled.value) == -6.0
    assert scaled.influence.tolist() == [[-0.5, 0.5]]
    assert float(scaled.systematic) == 1.0


def test_a_correction_of_labels_that_tell_nothing_or_need_none_is_not_wrong() -> None:
    information, correction = torch.tensor([0.0, 0.4, 0.4, -0.4]).double(), torch.tensor([0.5, 0.0, 0.1, 0.1]).double()
    errors = correction_error(information, information + correction, correction_factor(1.0))
    assert errors.tolist() == pytest.approx([0.0, 0.0, 0.016, 0.016])  # .08 of the geometric mean


@pytest.mark.parametrize(("met", "factor"), [(1.0, 1), (0.1, 1), (0.05, 2), (0.001, 100)])
def test_a_correction_learned_from_few_rows_is_less_certain(met: float, factor: float) -> None:
    """The other rows are of labels that no pair of documents tells anything of."""
    information = torch.tensor([0.4]).double()
    error = correction_error(information, information + 0.1, correction_factor(met))
    assert float(error) == pytest.approx(0.016 * factor)


def test_a_correction_learned_from_no_rows_has_no_error() -> None:
    values = torch.ones(1).double()
    assert correction_error(values, values + 0.5, correction_factor(0.0)).isnan()
