"""Measure how far few rows move effective ranks and exponents, on Gaussian rows of known covariance.

python experiments/benchmarks/effective_rank.py
python experiments/benchmarks/effective_rank.py --repetitions 4 --width 64
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Annotated

import torch
import typer
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from experiments.benchmarks.figures import report
from experiments.benchmarks.options import JsonFile
from ibtrack.information import alpha_req, cloud_geometry, participation_ratio, rankme

DOCUMENTS = 64
LAWS = {"1/2": 0.5, "1": 1.0, "2": 2.0}  # exponents of the eigenvalues
ALIKE = 0.36  # share of the variance that rows of a document have in common
HEAD = f"{'exponent':>9}{'rows':>6}  {'quantity':21}{'truth':>8}{'read':>8}{'half':>8}{'spread':>8}{'se':>8}"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One quantity of clouds of one kind.

    Attributes:
        exponent: Exponent of the eigenvalues.
        rows: Number of rows N, of 64 documents.
        quantity: Name of the quantity.
        truth: What infinitely many rows read.
        read: Mean over the clouds.
        half: Mean of what half of the documents read.
        spread: Standard deviation over the clouds.
        se: Mean standard error.
    """

    exponent: float
    rows: int
    quantity: str
    truth: float
    read: float
    half: float
    spread: float
    se: float


def main(
    width: Annotated[int, typer.Option(min=16, help="Width D of the rows.")] = 256,
    repetitions: Annotated[int, typer.Option(min=2, help="Clouds of each kind.")] = 16,
    file: JsonFile = None,
) -> None:
    """Compare what clouds read with the truth, for several exponents and numbers of rows."""
    print(f"width {width}, {DOCUMENTS} documents, {repetitions} clouds of each kind", HEAD, sep="\n")
    found = []
    for exponent in LAWS.values():
        for rows in (width, 4 * width, 16 * width):
            for row in measure(exponent, rows, width, repetitions):
                numbers = "".join(f"{value:8.3f}" for value in (row.truth, row.read, row.half, row.spread, row.se))
                print(f"{exponent:9}{rows:6}  {row.quantity:21}{numbers}", flush=True)
                found.append(row)
    report("effective_rank", [], [asdict(row) for row in found], file)


def measure(exponent: float, number: int, width: int, repetitions: int) -> Iterator[Row]:
    """Work out the rows of the table for clouds of one kind.

    Args:
        exponent: Exponent of the eigenvalues.
        number: Number of rows N.
        width: Width D.
        repetitions: Number of clouds.

    Yields:
        A row for each quantity.
    """
    eigenvalues = torch.arange(1, width + 1).double() ** -exponent
    truth = {"rankme": rankme(eigenvalues), "participation_ratio": participation_ratio(eigenvalues)}
    truth["alpha_req"] = alpha_req(eigenvalues)
    clouds = [cloud_geometry(*text(eigenvalues, number, seed)) for seed in range(repetitions)]
    for quantity, value in truth.items():
        estimates = [cloud.estimates[quantity] for cloud in clouds]
        yield Row(
            exponent=exponent,
            rows=number,
            quantity=quantity,
            truth=float(value),
            read=fmean(float(estimate.value) for estimate in estimates),
            half=fmean(float(cloud.halves[quantity]) for cloud in clouds),
            spread=stdev(float(estimate.value) for estimate in estimates),
            se=fmean(float(estimate.standard_error) for estimate in estimates),
        )


def text(eigenvalues: Tensor, number: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draw rows around the means of their documents, with these eigenvalues in all.

    Args:
        eigenvalues: (D,) of the covariance.
        number: Number of rows N.
        seed: Seed of the cloud.

    Returns:
        (N, D) rows and (N,) documents.
    """
    generator = torch.Generator().manual_seed(seed)
    documents = torch.arange(number) * DOCUMENTS // number
    own, common = (torch.randn(n, len(eigenvalues), generator=generator) for n in (number, DOCUMENTS))
    rows = (1 - ALIKE) ** 0.5 * own + ALIKE**0.5 * common[documents]
    return rows * eigenvalues.sqrt().float(), documents


if __name__ == "__main__":
    typer.run(main)
