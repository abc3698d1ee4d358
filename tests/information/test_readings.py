import math

import pytest
import torch

from ibtrack.information import readings
from ibtrack.information.document_design import DocumentDesign
from ibtrack.information.label_design import LabelDesign
from ibtrack.information.readings import Estimate, Readings, site_readings
from ibtrack.information.row_statistics import RowStatistics


def _estimate(value, influence, systematic=0.0):
    return Estimate(*(torch.tensor([part]).double() for part in (value, influence, systematic)))


def test_standard_error_of_a_mean_is_the_textbook_one():
    documents = DocumentDesign.of_rows(torch.arange(400) // 10)
    rows = torch.randn(400, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    per_document = rows.view(40, 10).mean(1)
    estimate = Estimate(rows.mean(), documents.influence(documents.totals(rows)), torch.zeros(()))
    torch.testing.assert_close(estimate.standard_error, per_document.std() / math.sqrt(40))


def test_one_document_has_no_standard_error():
    assert _estimate(1.0, [0.0]).standard_error.isnan()


def test_ratio_follows_the_delta_method():
    top, bottom = _estimate(2.0, [0.1, -0.1]), _estimate(4.0, [0.3, -0.3])
    ratio = top.ratio(bottom)
    nudged = [(2.0 + 1e-6 * t) / (4.0 + 1e-6 * b) - 0.5 for t, b in ((0.1, 0.3), (-0.1, -0.3))]
    assert float(ratio.value) == 0.5
    assert ratio.influence[0].tolist() == pytest.approx([change / 1e-6 for change in nudged], rel=1e-5)


def test_errors_of_sampling_and_of_correction_add_in_squares():
    assert float(_estimate(1.0, [0.3, -0.3], 0.8).standard_error) == pytest.approx(math.sqrt(2 * 0.18 + 0.64))


def test_difference_has_the_common_part_of_the_errors_taken_out():
    difference = _estimate(3.0, [0.3, -0.3], 0.5).minus(_estimate(1.0, [0.2, -0.2], 0.4))
    assert [float(part.flatten()[0]) for part in difference.parts()] == pytest.approx([2.0, 0.1, 0.1])


def _site(num_documents=200, seed=0):
    """Rows that depend on the label and on the document."""
    generator = torch.Generator().manual_seed(seed)
    number = 20 * num_documents
    labels = torch.randint(0, 12, (number,), generator=generator)
    of = torch.arange(number) // 20
    shift = (
        torch.randn(num_documents, 8, generator=generator)[of] + 2 * torch.eye(12, 8)[labels] + torch.linspace(0, 2, 8)
    )
    rows = (shift + torch.randn(number, 8, generator=generator)).softmax(-1)
    documents = DocumentDesign.of_rows(of)
    return site_readings([rows], {"input/label": LabelDesign.of(labels, documents)}, documents)


def test_standard_errors_match_the_spread_over_fresh_documents():
    """200 repetitions know their spread to 5 %; the first-order errors are good to about 10 % here."""
    readings = [_site(seed=seed) for seed in range(200)]
    for pick in (
        lambda r: r.entropy,
        lambda r: r.ceiling,
        lambda r: r.information["input/label"],
        lambda r: r.information["input/label"].ratio(r.entropy),
    ):
        estimates = [pick(reading) for reading in readings]
        spread = torch.stack([e.value for e in estimates]).std()
        claimed = torch.stack([e.standard_error for e in estimates]).mean()
        assert float(claimed / spread) == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("read", [("debiased", "plugin", "null"), ("plugin",)])
def test_sites_in_one_table_as_on_a_gpu_read_as_each_in_its_own(monkeypatch, read):
    documents = DocumentDesign.of_rows(torch.arange(600) // 20)
    groups = {name: LabelDesign.of(torch.arange(600) % number, documents) for name, number in (("a", 11), ("b", 97))}
    rows = [torch.rand(600, 8, generator=torch.Generator().manual_seed(seed)).softmax(-1) for seed in range(3)]
    apart = site_readings(rows, groups, documents, readings=read)
    monkeypatch.setattr(readings, "_side_by_side", lambda rows, of: [RowStatistics(torch.stack(list(rows), 1), of)])
    together = site_readings(rows, groups, documents, readings=read)
    for name in groups:
        for reading in (reading for reading in read if reading != "debiased"):
            torch.testing.assert_close(
                getattr(together, reading)[name], getattr(apart, reading)[name], rtol=0, atol=1e-6
            )
        if "debiased" in read:
            for one, other in zip(together.information[name].parts(), apart.information[name].parts(), strict=True):
                torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


def test_mean_over_sites_is_the_mean_of_each_number():
    first, second = _site(seed=1), _site(seed=2)
    mean = Readings.join([first, second]).each(lambda part: part.mean(0, keepdim=True))
    assert mean.entropy.value == (first.entropy.value + second.entropy.value) / 2
    for name in ("plugin", "null"):
        one, two, both = (getattr(r, name)["input/label"] for r in (first, second, mean))
        torch.testing.assert_close(both, (one + two) / 2)


def test_mean_of_two_equal_sites_has_their_error():
    site = _site()
    mean = Readings.join([site, site]).each(lambda part: part.mean(0, keepdim=True))
    one, both = (reading.information["input/label"].standard_error for reading in (site, mean))
    torch.testing.assert_close(both, one)


def test_sites_are_read_alike_together_and_one_by_one(monkeypatch):
    sites = [torch.rand(400, 8, generator=torch.Generator().manual_seed(seed)).softmax(-1) for seed in range(3)]
    documents = DocumentDesign.of_rows(torch.arange(400) // 20)
    groups = {"input/label": LabelDesign.of(torch.arange(400) % 12, documents)}
    together = site_readings(sites, groups, documents)
    monkeypatch.setattr("ibtrack.information.readings.POSITIONS_AT_ONCE", 1)
    apart = site_readings(sites, groups, documents)
    for one, other in zip(
        together.information["input/label"].parts(), apart.information["input/label"].parts(), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-15)


def test_rows_that_are_documents_of_their_own_have_an_error():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 12, (400,), generator=generator)
    rows = (2 * torch.eye(12, 8)[labels] + torch.randn(400, 8, generator=generator)).softmax(-1)
    documents = DocumentDesign.of_rows(torch.arange(400))
    read = site_readings([rows], {"x": LabelDesign.of(labels, documents)}, documents)
    assert 0 < float(read.information["x"].standard_error) < 0.2
