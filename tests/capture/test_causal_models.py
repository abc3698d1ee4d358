"""What is found in causal language models of transformers, as `tests/capture/causal_models.csv` has it.

The file is written by ``python experiments/benchmarks/causal_models.py tests/capture/causal_models.csv``.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from experiments.benchmarks.causal_models import configurations, found_in, read_rows

pytestmark = pytest.mark.filterwarnings("ignore:.*")  # transformers speaks of missing fast kernels
FILE = Path(__file__).parent / "causal_models.csv"
ROWS = read_rows(FILE)
KINDS = {kind.__name__: kind for kind in configurations()}
QUICK = ["GPT2", "GPTNeoX", "Llama", "Olmo2", "Mixtral", "Mamba", "Jamba", "Zamba2", "OlmoHybrid", "Mllama", "OPT"]
REFUSED = ["CpmAnt", "DeepseekV4", "HrmText", "XLM"]


def test_every_class_of_configurations_has_its_row() -> None:
    assert list(ROWS) == sorted(KINDS)


@pytest.mark.parametrize("name", [*QUICK, *REFUSED])
def test_a_dozen_architectures(name: str) -> None:
    row = ROWS[f"{name}Config"]
    assert bool(row.blocks) == (name not in REFUSED)
    assert found_in(KINDS[row.configuration]) == row


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_every_architecture(name: str) -> None:
    found, row = found_in(KINDS[name]), ROWS[name]
    if row.remark.startswith("no small model"):  # what its class raises is not ours
        found, row = replace(found, remark=""), replace(row, remark="")
    assert found == row


def test_blocks_are_never_embeddings_heads_adapters_or_other_towers() -> None:
    wrong = ("embed", "head", "adapter", "vision", "visual", "image", "audio", "expert")
    assert [row.blocks for row in ROWS.values() if any(word in row.blocks.lower() for word in wrong)] == []
    assert all(row.number >= 3 for row in ROWS.values() if row.blocks)
