"""The three readings of sites and label sets, with their errors."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from ibtrack.information import readings
from ibtrack.information.document_design import DocumentDesign
from ibtrack.information.label_design import LabelDesign
from ibtrack.information.readings import ESTIMATOR_VERSION, Readings, site_readings
from ibtrack.information.row_statistics import RowStatistics
from ibtrack.information.standard_errors import Estimate
from ibtrack.information.variance_components import label_share, null_deviation
from tests.information.samples import repeated_text, sample

# what each version of the estimator reads of `repeated_text`, nats
READ_BY_VERSION = {
    2: {"debiased": 0.343204, "standard_error": 0.021161, "plugin": 0.443408, "null": 0.128815},
}


def _site(num_documents: int = 200, seed: int = 0) -> Readings:
    """Readings of rows that depend on the label and on the document."""
    generator = torch.Generator().manual_seed(seed)
    number = 20 * num_documents
    labels = torch.randint(0, 12, (number,), generator=generator)
    index = torch.arange(number) // 20
    shift = torch.randn(num_documents, 8, generator=generator)[index] + 2 * torch.eye(12, 8)[labels]
    shift = shift + torch.linspace(0, 2, 8)
    rows = (shift + torch.randn(number, 8, generator=generator)).softmax(-1)
    documents = DocumentDesign.from_index(index)
    return site_readings([rows], {"input/label": LabelDesign.from_labels(labels, documents)}, documents)


def _three_sites(num_rows: int) -> tuple[list[Tensor], DocumentDesign]:
    rows = [torch.rand(num_rows, 8, generator=torch.Generator().manual_seed(seed)).softmax(-1) for seed in range(3)]
    return rows, DocumentDesign.from_index(torch.arange(num_rows) // 20)


def test_readings_move_only_with_the_version_of_the_estimator() -> None:
    """If this fails, readings have moved: raise ESTIMATOR_VERSION, and add what the new version reads."""
    rows, labels, index = repeated_text()
    documents = DocumentDesign.from_index(index)
    read = site_readings([rows], {"x": LabelDesign.from_labels(labels, documents)}, documents)
    values = {
        "debiased": float(read.debiased["x"].value),
        "standard_error": float(read.debiased["x"].standard_error),
        "plugin": float(read.plugin["x"]),
        "null": float(read.null["x"]),
    }
    assert values == pytest.approx(READ_BY_VERSION[ESTIMATOR_VERSION], abs=2e-6)  # rounding of float32


@pytest.mark.parametrize(
    "pick",
    [
        lambda r: r.entropy,
        lambda r: r.ceiling,
        lambda r: r.debiased["input/label"],
        lambda r: r.debiased["input/label"].ratio(r.entropy),
    ],
    ids=["entropy", "ceiling", "debiased", "ratio"],
)
def test_standard_errors_match_the_spread_over_fresh_documents(
    pick: Callable[[Readings], Estimate], fresh_documents: list[Readings]
) -> None:
    """200 repetitions know their spread to 5 %; the first-order errors are good to about 10 % here."""
    estimates = [pick(each) for each in fresh_documents]
    spread = torch.stack([e.value for e in estimates]).std()
    claimed = torch.stack([e.standard_error for e in estimates]).mean()
    assert float(claimed / spread) == pytest.approx(1, abs=0.2)


@pytest.fixture(scope="module")
def fresh_documents() -> list[Readings]:
    return [_site(seed=seed) for seed in range(200)]


@pytest.mark.parametrize("names", [("debiased", "plugin", "null"), ("plugin",)])
def test_sites_in_one_table_as_on_a_gpu_read_as_each_in_its_own(
    monkeypatch: pytest.MonkeyPatch, names: Sequence[str]
) -> None:
    rows, documents = _three_sites(600)
    designs = {
        name: LabelDesign.from_labels(torch.arange(600) % number, documents) for name, number in (("a", 11), ("b", 97))
    }
    apart = site_readings(rows, designs, documents, readings=names)

    def one_table(rows: Sequence[Tensor], documents: DocumentDesign) -> list[RowStatistics]:
        return [RowStatistics(torch.stack(list(rows), 1), documents)]

    monkeypatch.setattr(readings, "_side_by_side", one_table)
    together = site_readings(rows, designs, documents, readings=names)
    for name in designs:
        for reading in (reading for reading in names if reading != "debiased"):
            one, other = (getattr(each, reading)[name] for each in (together, apart))
            torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
        if "debiased" in names:
            one, other = (vars(each.debiased[name]) for each in (together, apart))
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


def test_mean_over_sites_is_the_mean_of_each_number() -> None:
    first, second = _site(seed=1), _site(seed=2)
    mean = Readings.join([first, second]).map_tensors(lambda part: part.mean(0, keepdim=True))
    assert mean.entropy.value == (first.entropy.value + second.entropy.value) / 2
    for name in ("plugin", "null"):
        one, two, both = (getattr(r, name)["input/label"] for r in (first, second, mean))
        torch.testing.assert_close(both, (one + two) / 2)


def test_mean_of_two_equal_sites_has_their_error() -> None:
    site = _site()
    mean = Readings.join([site, site]).map_tensors(lambda part: part.mean(0, keepdim=True))
    one, both = (each.debiased["input/label"].standard_error for each in (site, mean))
    torch.testing.assert_close(both, one)


def test_sites_read_the_same_together_and_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, documents = _three_sites(400)
    designs = {"input/label": LabelDesign.from_labels(torch.arange(400) % 12, documents)}
    together = site_readings(rows, designs, documents)
    monkeypatch.setattr(readings, "CELLS_AT_ONCE", 1)
    apart = site_readings(rows, designs, documents)
    one, other = (vars(each.debiased["input/label"]) for each in (together, apart))
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-15)


def test_rows_that_are_documents_of_their_own_have_an_error() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 12, (400,), generator=generator)
    rows = (2 * torch.eye(12, 8)[labels] + torch.randn(400, 8, generator=generator)).softmax(-1)
    documents = DocumentDesign.from_index(torch.arange(400))
    read = site_readings([rows], {"x": LabelDesign.from_labels(labels, documents)}, documents)
    assert 0 < float(read.debiased["x"].standard_error) < 0.2


def test_an_anchor_that_is_never_chosen_does_no_harm_to_the_error() -> None:
    rows, labels, index = repeated_text()
    rows = torch.cat([rows, torch.zeros(len(rows), 1)], 1)
    documents = DocumentDesign.from_index(index)
    read = site_readings([rows], {"x": LabelDesign.from_labels(labels, documents)}, documents)
    assert read.debiased["x"].standard_error.isfinite()
    assert read.entropy.standard_error.isfinite()


def test_permutations_give_bias_and_error() -> None:
    before = Estimate(
        value=torch.tensor([9.0]), influence=torch.tensor([[0.03, -0.03]]), systematic=torch.tensor([9.0])
    )
    read = Readings(
        entropy=before,
        ceiling=before,
        debiased={"preference": before},
        plugin={"preference": torch.tensor([0.5])},
        null={},
        z={"preference": torch.tensor([9.0])},
    )
    after = read.with_permutations("preference", torch.tensor([[0.1, 0.2, 0.3]]))
    estimate = after.debiased["preference"]
    assert float(estimate.value) == pytest.approx(0.3)
    assert float(after.null["preference"]) == pytest.approx(0.2)
    assert float(estimate.systematic) == pytest.approx(0.1)
    assert float(after.z["preference"]) == pytest.approx(3.0)
    assert estimate.influence is before.influence


def test_readings_that_were_not_asked_for_are_left_out() -> None:
    kept = _site(num_documents=5).only(["plugin"])
    assert kept.plugin
    assert not kept.debiased
    assert not kept.null
    assert not kept.z


def test_labels_count_alike_where_that_is_asked_for_and_no_other_number_moves() -> None:
    rows, labels, index = repeated_text()
    documents = DocumentDesign.from_index(index)
    designs = {"x": LabelDesign.from_labels(labels, documents)}
    without, both = (
        site_readings([rows, rows.flip(1)], designs, documents, equal_weights=equal) for equal in (False, True)
    )
    assert not without.plugin_equal
    assert both.plugin_equal["x"].shape == (2,)
    assert both.plugin["x"].tolist() == without.plugin["x"].tolist() != both.plugin_equal["x"].tolist()
    assert both.debiased["x"].value.tolist() == without.debiased["x"].value.tolist()
    assert float(both.map_tensors(lambda part: part.mean(0, keepdim=True)).plugin_equal["x"]) == pytest.approx(
        float(both.plugin_equal["x"].mean())
    )
    assert not both.only(["debiased", "null"]).plugin_equal
    assert not site_readings([rows], designs, documents, readings=("debiased",), equal_weights=True).plugin_equal


def test_z_is_the_share_of_labels_over_what_chance_makes_of_it() -> None:
    rows, labels, index = repeated_text()
    moments = sample(rows, labels, index).moments
    documents = DocumentDesign.from_index(index)
    read = site_readings([rows], {"x": LabelDesign.from_labels(labels, documents)}, documents, readings=("debiased",))
    assert float(read.z["x"]) == pytest.approx(float(label_share(moments) / null_deviation(moments)))
    assert float(read.z["x"]) > 20
    assert set(read.z) == set(read.debiased)
    shuffled = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]
    design = LabelDesign.from_labels(shuffled, documents)
    assert abs(float(site_readings([rows], {"x": design}, documents).z["x"])) < 3


def test_one_document_stands_for_all_rows() -> None:
    rows, labels, _ = repeated_text()
    one = DocumentDesign.from_index(torch.zeros(1200).long())
    read = site_readings([rows], {"x": LabelDesign.from_labels(labels, one)}, one)
    for estimate in (read.entropy, read.ceiling, read.debiased["x"]):
        assert estimate.value.isfinite()
        assert estimate.influence.shape == (1, 1)
        assert estimate.standard_error.isnan()
    assert read.z["x"].isfinite()
