"""What few rows do to effective ranks, on clouds whose truth is known."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from experiments.benchmarks import effective_rank
from tests.experiments.benchmarks.written import written


def test_more_rows_come_nearer_to_the_truth(tmp_path: Path) -> None:
    effective_rank.main(width=32, repetitions=2, file=tmp_path / "a.json")
    rows, _ = written(tmp_path / "a.json")
    assert len(rows) == 3 * 3 * 3
    ranks = [row for row in rows if row["quantity"] == "rankme" and row["exponent"] == 1]
    assert [row["rows"] for row in ranks] == [32, 128, 512]
    assert ranks[0]["read"] < ranks[1]["read"] < ranks[2]["read"] < ranks[2]["truth"]


def test_rows_have_the_covariance_that_is_said() -> None:
    eigenvalues = torch.tensor([4.0, 1.0])
    rows, documents = effective_rank.text(eigenvalues.double(), 64 * 400, 0)
    assert len(documents.unique()) == effective_rank.DOCUMENTS
    own = torch.cat([part - part.mean(0) for part in rows.split(400)]).var(0) / (1 - effective_rank.ALIKE)
    assert own.tolist() == pytest.approx(eigenvalues.tolist(), rel=0.05)
