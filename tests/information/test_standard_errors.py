"""Standard errors over documents."""

import math

import pytest
import torch
from torch import Tensor

from ibtrack.information.debiased import debiased_from_moments, debiased_gradient
from ibtrack.information.document_design import DocumentDesign
from ibtrack.information.label_design import LabelDesign
from ibtrack.information.label_statistics import label_statistics
from ibtrack.information.moments import moments_of_rows
from ibtrack.information.row_statistics import RowStatistics
from ibtrack.information.standard_errors import Estimate, correction_error, document_influences
from tests.information.samples import repeated_text, sample, side_by_side


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


def test_a_correction_of_labels_that_tell_nothing_is_not_wrong() -> None:
    values = torch.tensor([0.0, 1.0]).double()
    errors = correction_error(values, values + 0.5, num_anchors=100)
    assert float(errors[0]) == 0
    assert 0.015 < float(errors[1]) < 0.02


def _debiased(rows: Tensor, labels: Tensor, documents: Tensor) -> Tensor:
    return debiased_from_moments(sample(rows, labels, documents).moments)


def test_influences_have_the_spread_of_leaving_each_document_out() -> None:
    rows, labels, documents = repeated_text()
    site, design, statistics, _ = sample(rows, labels, documents)
    moments = moments_of_rows([site], [design], [statistics])
    (influences,) = document_influences([site], [design], [statistics], debiased_gradient(moments))[0]
    kept = [documents != d for d in range(40)]
    left_out = torch.stack([_debiased(rows[k], labels[k], documents[k]) for k in kept])
    changes = left_out.mean() - left_out
    assert float(torch.corrcoef(torch.stack([influences, changes]))[0, 1]) > 0.75
    assert float(influences.norm() / changes.norm()) == pytest.approx(1, abs=0.25)
    assert abs(float(influences.sum())) < 1e-9


def test_sites_side_by_side_have_the_influences_of_each() -> None:
    rows, labels, documents = repeated_text()
    together, apart = side_by_side(rows, documents)
    design = LabelDesign.from_labels(labels, together[0].documents)

    def influences(sites: list[RowStatistics]) -> Tensor:
        statistics = label_statistics(sites, [design])
        gradient = debiased_gradient(moments_of_rows(sites, [design], statistics))
        return document_influences(sites, [design], statistics, gradient)

    torch.testing.assert_close(influences(together), influences(apart), rtol=1e-3, atol=1e-8)


def test_label_sets_side_by_side_are_those_of_each() -> None:
    rows, labels, documents = repeated_text()
    partition = DocumentDesign.from_index(documents)
    designs = [LabelDesign.from_labels(ids, partition) for ids in (labels, torch.arange(len(labels)) % 7)]
    sites = [RowStatistics(rows.unsqueeze(1), partition)]
    statistics = label_statistics(sites, designs)
    together = moments_of_rows(sites, designs, statistics)
    influences = document_influences(sites, designs, statistics, debiased_gradient(together))
    for index in range(2):
        mine = sites, designs[index : index + 1], statistics[index : index + 1]
        moments = moments_of_rows(*mine)
        torch.testing.assert_close(debiased_from_moments(together)[index], debiased_from_moments(moments)[0])
        own = document_influences(*mine, debiased_gradient(moments))
        torch.testing.assert_close(influences[index], own[0], rtol=1e-5, atol=1e-9)
