"""Statistics of all label sets at once, against those of one after the other."""

from dataclasses import fields

import pytest
import torch
from torch import Tensor

from ibtrack.information.brackets import BracketDesign
from ibtrack.information.document_design import DocumentDesign
from ibtrack.information.joint_design import JointDesign
from ibtrack.information.joint_statistics import (
    joint_conditional_entropies,
    joint_equally_weighted_entropies,
    joint_statistics,
)
from ibtrack.information.label_design import LabelDesign
from ibtrack.information.label_statistics import (
    LabelStatistics,
    conditional_entropies,
    equally_weighted_entropies,
    label_statistics,
)
from ibtrack.information.readings import Readings, site_readings
from tests.information.samples import repeated_text, side_by_side

ROUNDING = 1e-5  # sums by document are in single precision in one of them, and differences of larger numbers


def _sets(documents: Tensor, labels: Tensor) -> tuple[dict[str, LabelDesign], DocumentDesign]:
    partition = DocumentDesign.from_index(documents)
    own = torch.unique(documents * 4 + labels % 4, return_inverse=True)[1]
    sets = {"many": labels, "few": labels % 3, "own": own, "once": torch.arange(len(labels))}
    return {name: LabelDesign.from_labels(ids, partition) for name, ids in sets.items()}, partition


@pytest.mark.parametrize("rows_at_once", [1, 700, 1 << 20])
def test_statistics_are_those_of_each_label_set(rows_at_once: int) -> None:
    rows, labels, documents = repeated_text()
    designs, _ = _sets(documents, labels)
    (table,), apart = side_by_side(rows, documents)
    joint = JointDesign.from_designs(designs, rows_at_once)
    expected = label_statistics(apart, list(designs.values()))
    for one, other in zip(joint_statistics(table, joint), expected, strict=True):
        for field in fields(LabelStatistics):
            found, wanted = getattr(one, field.name), getattr(other, field.name)
            torch.testing.assert_close(found, wanted, rtol=0, atol=float(ROUNDING * (1 + wanted.abs().max())))
    entropies = torch.stack(conditional_entropies(apart, list(designs.values())))
    torch.testing.assert_close(joint_conditional_entropies(table, joint), entropies, rtol=ROUNDING, atol=0)
    equal = torch.stack(equally_weighted_entropies(apart, list(designs.values()), 5))
    assert equal.isfinite().any(1).tolist() == [True, True, True, False]  # no label of the last set occurs twice
    joint_equal = joint_equally_weighted_entropies(table, joint, 5)
    torch.testing.assert_close(joint_equal, equal, rtol=ROUNDING, atol=0, equal_nan=True)


def _read(joined: bool, lost: Tensor | None = None, readings: tuple[str, ...] = ()) -> Readings:
    rows, labels, documents = repeated_text()
    designs, partition = _sets(documents, labels)
    brackets = BracketDesign.from_chains([{"few": labels % 3}], partition)
    sites = [rows, rows.flip(1), rows.roll(1, 0)]
    used = JointDesign.from_designs(designs, 1 << 20) if joined else designs
    if readings:
        return site_readings(sites, used, partition, lost=lost, readings=readings)
    return site_readings(sites, used, partition, lost=lost, brackets=brackets, equal_weights=True)


def _numbers(readings: Readings) -> dict[str, Tensor]:
    estimates = {"entropy": readings.entropy, "ceiling": readings.ceiling}
    estimates |= {f"debiased/{name}": each for name, each in readings.debiased.items()}
    estimates |= {f"low/{name}": each for name, each in readings.lower_ends.items()}
    numbers = {f"{name}/value": each.value for name, each in estimates.items()}
    numbers |= {f"{name}/error": each.standard_error for name, each in estimates.items()}
    for reading in ("plugin", "plugin_equal", "null", "z"):
        numbers |= {f"{reading}/{name}": value for name, value in getattr(readings, reading).items()}
    return numbers


def test_readings_of_a_joint_design_are_those_of_each_label_set() -> None:
    expected, found = _numbers(_read(joined=False)), _numbers(_read(joined=True))
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6, equal_nan=True, msg=name)


@pytest.mark.parametrize("readings", [("plugin",), ("null",), ("debiased",), ("null", "plugin")])
def test_a_joint_design_gives_the_readings_that_are_asked_for(readings: tuple[str, ...]) -> None:
    expected, found = (_numbers(_read(joined, readings=readings)) for joined in (False, True))
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6, equal_nan=True, msg=name)


@pytest.mark.parametrize("joined", [False, True])
def test_a_site_that_lost_rows_has_no_numbers_and_the_others_keep_theirs(joined: bool) -> None:
    whole = _numbers(_read(joined))
    lost = _numbers(_read(joined, torch.tensor([0.0, torch.nan, 0.0])))
    for name, value in lost.items():
        assert value[1].isnan(), name
        assert torch.equal(value[[0, 2]].nan_to_num(), whole[name][[0, 2]].nan_to_num()), name
