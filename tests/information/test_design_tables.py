"""The numbers of several label sets side by side."""

import torch

from ibtrack.information.design_tables import DesignTables
from ibtrack.information.document_design import DocumentDesign
from ibtrack.information.label_design import LabelDesign
from ibtrack.information.standard_errors import correction_factor
from tests.information.samples import repeated_text


def test_tables_hold_the_numbers_of_each_design_and_pad_with_no_rows() -> None:
    _, labels, documents = repeated_text()
    partition = DocumentDesign.from_index(documents)
    designs = [LabelDesign.from_labels(ids, partition) for ids in (labels, labels % 3)]
    tables = DesignTables.from_designs(designs)
    for c, design in enumerate(designs):
        number = len(design.sizes.inverse_sizes)
        for name in ("row_shares", "halved_row_shares", "half_row_shares"):
            padded = getattr(tables, name)[c, 0]
            assert torch.equal(padded[:number], getattr(design.sizes, name))
            assert not padded[number:].any()
        for name in ("inverse_sizes", "concentrations"):
            padded = getattr(tables, name)[c, 0]
            assert torch.equal(padded[:number], getattr(design.sizes, name))
            assert padded[number:].eq(1).all()
        for name in ("cross_weight", "same_weight", "collision_probability"):
            assert float(getattr(tables, name)[c, 0]) == getattr(design, name)
        assert tuple(tables.null_variance_factors[c, 0].tolist()) == design.null_variance_factors
        assert torch.equal(tables.document_cross_weight[c, 0], design.document_cross_weight)
        assert torch.equal(tables.document_same_weight[c, 0], design.document_same_weight)
        assert float(tables.correction_factors[c, 0]) == correction_factor(design.met_share)
    sizes, total = tables.inverse_sizes[0, 0].reciprocal(), len(labels)
    torch.testing.assert_close(tables.drawn_variances[0, 0], (total / sizes - 1) / (total - 1), rtol=1e-12, atol=1e-12)
    assert len(designs[0].sizes.inverse_sizes) != len(designs[1].sizes.inverse_sizes)
