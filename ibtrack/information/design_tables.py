"""What the moments take from label designs and not from activations, of several label sets side by side.

Letters: C label sets, G documents, U pairs of sample size and concentration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ibtrack.information.gap_curves import drawn_variance
from ibtrack.information.label_design import LabelDesign
from ibtrack.information.standard_errors import correction_factor


@dataclass(frozen=True)
class DesignTables:
    """Numbers of C label sets, float64. Label sets with fewer than U pairs are padded with pairs of no rows.

    Attributes:
        collision_probability: (C, 1), see `ibtrack.information.label_design.LabelDesign`, as all of the following.
        cross_weight: (C, 1).
        same_weight: (C, 1).
        null_variance_factors: (C, 1, 3).
        document_cross_weight: (C, 1, G).
        document_same_weight: (C, 1, G).
        row_shares: (C, 1, U), see `ibtrack.information.sample_sizes.SampleSizes`, as the next four.
        halved_row_shares: (C, 1, U).
        half_row_shares: (C, 1, U).
        inverse_sizes: (C, 1, U).
        concentrations: (C, 1, U).
        drawn_variances: (C, 1, U) how much means of as many rows vary, see
            `ibtrack.information.gap_curves.drawn_variance`.
        correction_factors: (C, 1), see `ibtrack.information.standard_errors.correction_factor`.
    """

    collision_probability: Tensor
    cross_weight: Tensor
    same_weight: Tensor
    null_variance_factors: Tensor
    document_cross_weight: Tensor
    document_same_weight: Tensor
    row_shares: Tensor
    halved_row_shares: Tensor
    half_row_shares: Tensor
    inverse_sizes: Tensor
    concentrations: Tensor
    drawn_variances: Tensor
    correction_factors: Tensor

    @classmethod
    def from_designs(cls, designs: Sequence[LabelDesign]) -> DesignTables:
        """Put the numbers of label sets side by side.

        Args:
            designs: The designs of the label sets, on the CPU.
        """

        def numbers(name: str) -> Tensor:
            return torch.tensor([getattr(design, name) for design in designs], dtype=torch.float64).unsqueeze(1)

        def by_document(name: str) -> Tensor:
            return torch.stack([getattr(design, name) for design in designs]).unsqueeze(1)

        def of_sizes(name: str, beyond: float = 0.0) -> Tensor:
            return pad_sequence([getattr(design.sizes, name) for design in designs], True, beyond).unsqueeze(1)

        inverse_sizes = of_sizes("inverse_sizes", 1.0)
        factors = [correction_factor(design.met_share) for design in designs]
        return cls(
            collision_probability=numbers("collision_probability"),
            cross_weight=numbers("cross_weight"),
            same_weight=numbers("same_weight"),
            null_variance_factors=numbers("null_variance_factors"),
            document_cross_weight=by_document("document_cross_weight"),
            document_same_weight=by_document("document_same_weight"),
            row_shares=of_sizes("row_shares"),
            halved_row_shares=of_sizes("halved_row_shares"),
            half_row_shares=of_sizes("half_row_shares"),
            inverse_sizes=inverse_sizes,
            concentrations=of_sizes("concentrations", 1.0),
            drawn_variances=drawn_variance(inverse_sizes, designs[0].num_rows),
            correction_factors=torch.tensor(factors, dtype=torch.float64).unsqueeze(1),
        )
