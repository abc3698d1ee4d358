"""What is refused where it enters, and with which sentence."""

from typing import Any

import numpy as np
import pytest
import torch

from ibtrack import _checks


@pytest.mark.parametrize("value", [0, -1, True, 1.0, "2", None, np.int64(0), np.float64(2), torch.tensor(2.0)])
def test_an_integer_has_a_smallest_value(value: Any) -> None:
    with pytest.raises(ValueError, match=r"num_anchors must be an integer of at least 1, got"):
        _checks.check_integer("num_anchors", value, minimum=1)
    assert _checks.check_integer("num_anchors", 1, minimum=1) == 1


@pytest.mark.parametrize("value", [np.int64(100), np.uint8(100), torch.tensor(100)])
def test_integers_of_numpy_and_torch_are_integers(value: Any) -> None:
    number = _checks.check_integer("num_anchors", value, minimum=2)
    assert number == 100
    assert type(number) is int


def test_an_option_is_one_of_those_there_are() -> None:
    with pytest.raises(ValueError, match="rule must be one of 'a', 'b', got 'c'"):
        _checks.check_option("rule", "c", ("a", "b"))
    assert _checks.check_option("rule", "b", ("a", "b")) == "b"


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (torch.zeros(2), "torch.float32"),
        (torch.zeros(2, dtype=torch.complex64), "torch.complex64"),
        (torch.zeros(2, dtype=torch.bool), "torch.bool"),
        ([1, 2], "list"),
    ],
)
def test_integers_are_a_tensor_of_whole_numbers(value: Any, kind: str) -> None:
    with pytest.raises(ValueError, match=f"labels must be a tensor of integers, got {kind}"):
        _checks.check_integers("labels", value)


def test_integers_have_as_many_dimensions_as_asked_for() -> None:
    with pytest.raises(ValueError, match=r"tokens must have 2 dimensions, got shape \(3,\)"):
        _checks.check_integers("tokens", torch.zeros(3, dtype=torch.int32), ndim=2)
    assert _checks.check_integers("tokens", torch.zeros(3, dtype=torch.int32), ndim=1).dtype == torch.int64


def test_there_is_one_label_in_range_for_each_row() -> None:
    labels = torch.tensor([0, 1, 2])
    assert _checks.check_labels(labels, 3, 3).equal(labels)
    with pytest.raises(ValueError, match="labels must have one entry per row of activations, got 3 for 4"):
        _checks.check_labels(labels, 3, 4)
    for wrong, ends in ((labels, "0 to 2"), (labels - 1, "-1 to 1")):
        with pytest.raises(ValueError, match=rf"labels must lie in \[0, 2\), got values from {ends}"):
            _checks.check_labels(wrong, 2, 3)
    assert _checks.check_labels(labels[:0], 2, 0).numel() == 0


@pytest.mark.parametrize("activations", [torch.zeros(3, 5), torch.zeros(4), torch.zeros(3, 4, dtype=torch.int64)])
def test_rows_are_a_floating_point_matrix_of_their_width(activations: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"activations must be a floating point tensor of shape \(N, 4\), got torch"):
        _checks.check_rows(activations, 4)


def test_a_missing_module_is_one_sentence_with_the_install_line() -> None:
    sentence = r"a chart needs no_such_module, which is not installed: pip install 'ibtrack\[report\]'"
    with pytest.raises(ImportError, match=sentence), _checks.needs("a chart", extra="report"):
        __import__("no_such_module")


def test_a_sentence_of_its_own_is_left_as_it_is() -> None:
    with pytest.raises(ImportError, match=r"^install me$"), _checks.needs("a chart", extra="report"):
        raise ModuleNotFoundError("install me")


def test_a_count_is_a_whole_number_of_any_kind() -> None:
    for value in (3, 3.0, np.int32(3), np.float32(3), torch.tensor(3), torch.tensor([3.0]), np.array([3])):
        assert _checks.check_count("step", value) == 3
        assert type(_checks.check_count("step", value)) is int
    for wrong in (-1, 2.5, "3", None, True, [3], torch.tensor([1, 2]), np.array([1, 2]), float("inf")):
        with pytest.raises(ValueError, match="step must be an integer of at least 0, got"):
            _checks.check_count("step", wrong)
