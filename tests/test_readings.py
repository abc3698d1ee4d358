import math

import pytest
import torch

from ibtrack.moments import LabelGroups
from ibtrack.readings import Documents, Estimate, SiteReading, read_site


def _estimate(value, influence, systematic=0.0):
    return Estimate(*(torch.tensor(part).double() for part in (value, influence, systematic)))


def test_standard_error_of_a_mean_is_the_textbook_one():
    of = torch.arange(400) // 10
    rows = torch.randn(400, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    per_document = rows.view(40, 10).mean(1)
    estimate = Estimate(rows.mean(), Documents(of, 40).influence(rows), torch.zeros(()))
    torch.testing.assert_close(estimate.standard_error, per_document.std() / math.sqrt(40))


def test_one_document_has_no_standard_error():
    assert _estimate(1.0, [0.0]).standard_error.isnan()


def test_ratio_follows_the_delta_method():
    top, bottom = _estimate(2.0, [0.1, -0.1]), _estimate(4.0, [0.3, -0.3])
    ratio = top.ratio(bottom)
    nudged = [(2.0 + 1e-6 * t) / (4.0 + 1e-6 * b) - 0.5 for t, b in ((0.1, 0.3), (-0.1, -0.3))]
    assert float(ratio.value) == 0.5
    assert ratio.influence.tolist() == pytest.approx([change / 1e-6 for change in nudged], rel=1e-5)


def test_errors_of_sampling_and_of_correction_add_in_squares():
    assert float(_estimate(1.0, [0.3, -0.3], 0.8).standard_error) == pytest.approx(math.sqrt(2 * 0.18 + 0.64))


def test_mean_of_two_equal_estimates_has_their_error():
    estimate = _estimate(1.0, [0.2, -0.2])
    torch.testing.assert_close(Estimate.mean([estimate, estimate]).standard_error, estimate.standard_error)


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
    return read_site(rows, {"input/label": LabelGroups.of(labels)}, Documents(of, num_documents))


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


def test_mean_reading_is_the_mean_of_each_number():
    first, second = _site(seed=1), _site(seed=2)
    mean = SiteReading.mean([first, second])
    assert mean.entropy.value == (first.entropy.value + second.entropy.value) / 2
    for name in ("plugin", "null"):
        one, two, both = (getattr(r, name)["input/label"] for r in (first, second, mean))
        torch.testing.assert_close(both, (one + two) / 2)
