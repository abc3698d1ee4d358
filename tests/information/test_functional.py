"""Plug-in and debiased information in one call."""

import pytest
import torch
from torch import Tensor

from ibtrack.information import assign, debiased_information, draw_anchors, plugin_information, temperature
from ibtrack.information.functional import read_rows
from tests import references
from tests.information.samples import random_rows, repeated_text


def test_the_plugin_is_the_formula_whatever_the_labels_are_called() -> None:
    rows, labels = random_rows()
    expected = references.plugin_information(rows.double().numpy(), labels.numpy())
    assert float(plugin_information(rows, labels)) == pytest.approx(expected, abs=1e-6)
    assert float(plugin_information(rows, 7 * labels - 1000)) == pytest.approx(expected, abs=1e-6)


def test_labels_that_count_alike_are_those_that_occur_five_times() -> None:
    rows, labels = random_rows(num_labels=60)  # of 300 rows: some labels more often, some less
    occurrences = torch.bincount(labels)
    assert {4, 5} <= set(occurrences.tolist())
    expected = references.equally_weighted_information(rows.double().numpy(), labels.numpy(), 5)
    assert float(plugin_information(rows, labels, label_weights="equal")) == pytest.approx(expected, abs=1e-6)
    assert float(plugin_information(rows, labels)) != pytest.approx(expected, abs=1e-3)


def test_labels_of_one_frequency_weigh_the_same_either_way() -> None:
    rows, labels = random_rows()[0], torch.arange(300) % 30
    frequency, equal = (plugin_information(rows, labels, label_weights=weights) for weights in ("frequency", "equal"))
    assert float(equal) == pytest.approx(float(frequency), abs=1e-6)  # other sums of float32


def test_without_a_frequent_label_there_is_no_number_in_which_all_count_alike() -> None:
    rows, labels = random_rows()[0], torch.arange(300) % 75  # each four times
    assert plugin_information(rows, labels, label_weights="equal").isnan()
    assert plugin_information(rows, labels).isfinite()


def test_there_are_no_other_weights_of_labels() -> None:
    with pytest.raises(ValueError, match="label_weights must be one of 'frequency', 'equal', got 'both'"):
        plugin_information(*random_rows(), label_weights="both")


def test_documents_tell_what_a_text_repeats_from_what_a_label_says() -> None:
    rows, labels, documents = repeated_text()
    blind, aware = debiased_information(rows, labels), debiased_information(rows, labels, documents)
    assert blind.value > aware.value  # what rows of one document share is taken for information
    assert aware.influence.shape == (1, 40)
    assert 0 < float(aware.standard_error) < 0.1


def test_rows_of_one_document_and_rows_without_documents_read_the_same() -> None:
    rows, labels, _ = repeated_text()
    alone, one = debiased_information(rows, labels), debiased_information(rows, labels, torch.zeros(1200).long())
    assert float(one.value) == float(alone.value)
    assert alone.influence.shape == (1, 1200)
    assert one.influence.tolist() == [[0.0]]
    assert one.standard_error.isnan()  # one document does not say how much documents differ


def test_documents_may_have_any_numbers() -> None:
    rows, labels, documents = repeated_text()
    one, other = debiased_information(rows, labels, documents), debiased_information(rows, labels, 5 * documents - 90)
    assert float(one.value) == float(other.value)


@pytest.mark.parametrize("reading", ["debiased", "plugin", "null"])
def test_one_reading_at_a_time(reading: str) -> None:
    rows, labels, documents = repeated_text()
    read = float(read_rows(rows, labels, documents, reading))
    if reading == "debiased":
        assert read == float(debiased_information(rows, labels, documents).value)
    elif reading == "plugin":
        assert read == pytest.approx(float(plugin_information(rows, labels)), abs=1e-7)  # other sums of float32
    else:
        assert 0 < read < float(plugin_information(rows, labels))


def test_activations_that_follow_their_label_from_end_to_end() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(20, (4000,), generator=generator)
    activations = 3 * torch.randn(20, 16, generator=generator)[labels] + torch.randn(4000, 16, generator=generator)
    assignments = assign(activations, draw_anchors(16), temperature(16))
    plugin, debiased = plugin_information(assignments, labels), debiased_information(assignments, labels)
    assert float(debiased.value) == pytest.approx(float(plugin), abs=0.1)  # 200 rows of each label


def test_distinct_labels_have_no_debiased_information() -> None:
    rows, _ = random_rows()
    assert debiased_information(rows, torch.arange(300)).value.isnan()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((torch.ones(3, 2, 2), torch.arange(3)), r"assignments must be a floating point tensor of shape \(N, K\)"),
        ((torch.ones(3, 2).long(), torch.arange(3)), "assignments must be a floating point tensor"),
        ((torch.ones(0, 2), torch.arange(0)), "with at least one row"),
        ((torch.full((3, 2), torch.nan), torch.arange(3)), "assignments must be finite, got 3 rows of 3 that are not"),
        ((torch.ones(3, 2), torch.arange(4)), "labels must have one entry per row of assignments, got 4 for 3"),
        ((torch.ones(3, 2), torch.ones(3)), "labels must be a tensor of integers"),
        ((torch.ones(3, 2), torch.arange(3), torch.arange(2)), "documents must have one entry per row"),
    ],
)
def test_bad_input(arguments: tuple[Tensor, ...], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        debiased_information(*arguments)
