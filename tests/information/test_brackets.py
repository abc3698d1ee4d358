"""The lower end of an information, and the bracket that it makes with the plug-in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ibtrack.information import information_lower_end, plugin_information
from ibtrack.information.brackets import EVALUATED_ROWS, STRENGTHS, BracketDesign, lower_ends
from ibtrack.information.document_design import DocumentDesign
from ibtrack.information.row_statistics import RowStatistics
from ibtrack.information.standard_errors import Estimate
from tests import references
from tests.information.samples import repeated_text

LOG_K = math.log(20)


def _families(
    num_documents: int = 40, length: int = 30, *, strength: float = 1.5, num_labels: int = 120, seed: int = 0
) -> tuple[Tensor, list[Tensor], Tensor]:
    """Rows whose mean is that of a family of labels and a little of the label's own; the chain; documents."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(num_labels, (num_documents * length,), generator=generator)
    family = torch.arange(num_labels) // 6
    own = (
        torch.randn(num_labels, 20, generator=generator) / 3 + torch.randn(num_labels, 20, generator=generator)[family]
    )
    noise = torch.randn(len(labels), 20, generator=generator)
    rows = (strength * own[labels] + noise).softmax(-1)
    chain = [torch.unique(ids, return_inverse=True)[1] for ids in (family[labels], labels)]
    return rows, chain, torch.arange(num_documents).repeat_interleave(length)


def _ends(
    rows: Tensor, chain: Sequence[Tensor], documents: Tensor, strengths: Sequence[float] = STRENGTHS, **options: int
) -> list[Estimate]:
    partition = DocumentDesign.from_index(documents)
    named = {str(i): ids for i, ids in enumerate(chain)}
    design = BracketDesign.from_chains([named], partition, strengths=strengths, **options)
    ends = lower_ends([RowStatistics(rows.unsqueeze(1), partition)], design)
    return [ends[str(i)] for i in range(len(chain))]


@pytest.mark.parametrize("strength", [0.25, 4.0])
def test_lower_ends_and_influences_are_the_formula(strength: float) -> None:
    rows, chain, documents = _families(12, 15)
    for level, end in enumerate(_ends(rows, chain, documents, [strength])):
        sets = [ids.numpy() for ids in chain[: level + 1]]
        value, totals = references.lower_end(rows.double().numpy(), sets, documents.numpy(), [strength] * (level + 1))
        assert float(end.value) == pytest.approx(value, abs=2e-6)  # rows are float32
        influence = (totals - 15 * value) / len(rows)
        np.testing.assert_allclose(end.influence[0].numpy(), influence, atol=2e-6)
        assert float(end.systematic) == 0


def test_the_strength_is_the_best_of_the_candidates_for_each_level() -> None:
    rows, chain, documents = _families(6, 15)  # all rows choose, as there are fewer than 128
    chosen = _ends(rows, chain, documents)
    first = [_ends(rows, chain[:1], documents, [strength])[0].value for strength in STRENGTHS]
    assert float(chosen[0].value) == pytest.approx(float(max(first)), abs=1e-6)
    strength = STRENGTHS[int(torch.stack(first).argmax())]
    sets, table = [ids.numpy() for ids in chain], rows.double().numpy()
    second = [references.lower_end(table, sets, documents.numpy(), [strength, each])[0] for each in STRENGTHS]
    assert float(chosen[1].value) == pytest.approx(max(second), abs=2e-6)


def test_to_choose_the_strength_adds_nothing_that_shows() -> None:
    """The strength that another sample has chosen does as well: on average within .0005 of log K."""
    samples = [_families(seed=seed, strength=0.4) for seed in range(12)]
    gains = []
    for (rows, chain, documents), (other, other_chain, other_documents) in pairwise(samples):
        by_strength = [float(_ends(other, other_chain[1:], other_documents, [each])[0].value) for each in STRENGTHS]
        theirs = STRENGTHS[by_strength.index(max(by_strength))]
        own, fixed = (_ends(rows, chain[1:], documents, each)[0].value for each in (STRENGTHS, [theirs]))
        gains.append(float(own - fixed) / LOG_K)
    assert abs(np.mean(gains)) < 5e-4


@pytest.mark.parametrize("seed", range(6))
def test_labels_that_tell_nothing_have_a_lower_end_that_shows_nothing(seed: int) -> None:
    rows, _, documents = _families(seed=seed)
    labels = torch.randint(100, (len(rows),), generator=torch.Generator().manual_seed(1000 + seed))
    end = information_lower_end(rows, labels, documents)
    assert float(end.value) < 2 * float(end.standard_error)
    assert float(plugin_information(rows, labels)) > 0.05


@settings(max_examples=25, deadline=None)
@given(
    num_documents=st.integers(2, 12),
    length=st.integers(1, 12),
    num_labels=st.integers(1, 40),
    seed=st.integers(0, 1000),
)
def test_the_lower_end_is_below_the_plugin(num_documents: int, length: int, num_labels: int, seed: int) -> None:
    """What is made without a row never fits the rows better than their own means do."""
    rows, chain, documents = _families(num_documents, length, num_labels=num_labels, seed=seed)
    assert (
        float(information_lower_end(rows, chain, documents).value) <= float(plugin_information(rows, chain[1])) + 1e-6
    )


def test_names_and_order_of_labels_documents_and_rows_change_nothing() -> None:
    rows, chain, documents = _families()
    end = information_lower_end(rows, chain, documents)
    renamed = information_lower_end(rows, [1000 - 3 * ids for ids in chain], 7 * documents - 5)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
    shuffled = information_lower_end(rows[order], [ids[order] for ids in chain], documents[order])
    for other in (renamed, shuffled):
        torch.testing.assert_close(other.value, end.value, rtol=0, atol=1e-3)  # others of the rows choose the strength
        torch.testing.assert_close(other.standard_error, end.standard_error, rtol=0, atol=1e-3)


def test_back_off_raises_the_lower_end_of_rare_labels() -> None:
    rows, chain, documents = _families(num_labels=600)
    assert len(rows) / 600 == 2
    flat, backed = information_lower_end(rows, chain[1], documents), information_lower_end(rows, chain, documents)
    assert float(backed.value) > float(flat.value) + 5 * float(flat.standard_error)


def test_labels_of_one_document_have_the_lower_end_of_the_coarser_ones() -> None:
    rows, (family, _), documents = _families()
    coarse, fine = _ends(rows, [family, torch.arange(len(rows))], documents)
    assert torch.equal(coarse.value, fine.value)
    assert torch.equal(coarse.influence, fine.influence)
    (alone,) = _ends(rows, [torch.arange(len(rows))], documents)  # nothing is known of them but the mean
    assert -0.02 < float(alone.value) < 0


@pytest.mark.parametrize("documents", [torch.zeros(300).long(), torch.full((300,), 9)])
def test_one_document_has_no_lower_end(documents: Tensor) -> None:
    rows, labels, _ = repeated_text(10, 30)
    end = information_lower_end(rows, labels, documents)
    assert end.value.isnan()
    assert end.standard_error.isnan()


def test_copied_documents_raise_the_lower_end_above_the_information() -> None:
    """The one thing that breaks the bound, which the tracker therefore notes; see tests/tracking/test_notes.py."""
    rows, _, documents = _families(strength=0.0)
    labels = torch.arange(len(rows)) % 400
    honest = information_lower_end(rows, labels, documents)
    twice = information_lower_end(rows.repeat(2, 1), labels.repeat(2), torch.cat([documents, documents + 40]))
    assert float(honest.value) < 0.001
    assert float(twice.value) > 0.02


def test_anchors_that_other_documents_never_point_at_cost_a_finite_amount() -> None:
    rows = torch.eye(4).repeat_interleave(5, 0)
    end = information_lower_end(rows, torch.arange(20) // 5, torch.arange(20) // 5)
    assert -10 < float(end.value) < 0


def test_rows_that_are_not_evaluated_change_the_end_within_its_error() -> None:
    rows, chain, documents = _families(200, 30)
    assert len(rows) > 3 * EVALUATED_ROWS
    part, whole = _ends(rows, chain, documents), _ends(rows, chain, documents, num_evaluated=len(rows))
    for some, everything in zip(part, whole, strict=True):
        assert abs(float(some.value - everything.value)) < 3 * float(some.standard_error)
        assert float(everything.standard_error) < float(some.standard_error) < 4 * float(everything.standard_error)


def test_the_standard_error_is_the_spread_over_fresh_documents() -> None:
    """60 repetitions know their spread to 10 %; means and strata are held fixed in the error."""
    for num_evaluated in (320, 1200):
        ends = [_ends(*_sample(seed), num_evaluated=num_evaluated)[0] for seed in range(60)]
        spread = torch.stack([end.value for end in ends]).std()
        claimed = torch.stack([end.standard_error for end in ends]).mean()
        assert float(claimed / spread) == pytest.approx(1, abs=0.3)


def _sample(seed: int) -> tuple[Tensor, list[Tensor], Tensor]:
    """Fresh rows of a source that stays the same, whose rows share an effect of their document."""
    source, generator = torch.Generator().manual_seed(0), torch.Generator().manual_seed(seed)
    own = torch.randn(30, 20, generator=source)
    labels, documents = torch.randint(30, (1200,), generator=generator), torch.arange(1200) // 30
    shared = torch.randn(40, 20, generator=generator)[documents]
    rows = (own[labels] + 0.5 * shared + torch.randn(1200, 20, generator=generator)).softmax(-1)
    return rows, [labels], documents


def test_sites_side_by_side_are_those_apart() -> None:
    rows, chain, documents = _families()
    partition = DocumentDesign.from_index(documents)
    table = torch.stack([rows, rows.flip(1), rows[torch.arange(len(rows)).flip(0)]], 1)
    design = BracketDesign.from_chains([{"fine": chain[1]}, {"coarse": chain[0]}], partition)
    together = lower_ends([RowStatistics(table, partition)], design)
    apart = lower_ends([RowStatistics(table[:, i : i + 1].contiguous(), partition) for i in range(3)], design)
    assert together.keys() == apart.keys() == {"fine", "coarse"}
    for name, end in together.items():
        torch.testing.assert_close(end.value, apart[name].value, rtol=0, atol=1e-6)
        torch.testing.assert_close(end.influence, apart[name].influence, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            (torch.ones(3, 2, 2), torch.arange(3), torch.arange(3)),
            r"assignments must be a floating point tensor of sha",
        ),
        ((torch.ones(3, 2).long(), torch.arange(3), torch.arange(3)), "assignments must be a floating point tensor"),
        ((torch.ones(0, 2), torch.arange(0), torch.arange(0)), "with at least one row"),
        (
            (torch.full((3, 2), torch.nan), torch.arange(3), torch.arange(3)),
            "assignments must be finite, got some that",
        ),
        ((torch.ones(3, 2), torch.arange(4), torch.arange(3)), "labels must have one entry per row .* got 4 for 3"),
        ((torch.ones(3, 2), torch.ones(3), torch.arange(3)), "labels must be a tensor of integers"),
        ((torch.ones(3, 2), torch.arange(3), torch.arange(2)), "documents must have one entry per row"),
        ((torch.ones(3, 2), [], torch.arange(3)), "labels must be a tensor or several, got none"),
        (
            (torch.ones(3, 2), [torch.arange(3), torch.tensor([0, 0, 1])], torch.arange(3)),
            "labels must refine those before them, got 1 that does not tell 0",
        ),
    ],
)
def test_bad_input(arguments: tuple[Tensor, Tensor, Tensor], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        information_lower_end(*arguments)
