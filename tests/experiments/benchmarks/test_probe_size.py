"""Small probes against a large one: what is compared, and how bias and noise are told apart."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import typer

from experiments.benchmarks import probe_size
from experiments.benchmarks.probe_size import ProbeReadings
from experiments.blocks import Blocks
from tests.experiments.benchmarks.written import written


def test_probe_size_trains_saves_and_reads_again(tmp_path: Path) -> None:
    saved = tmp_path / "model.pt"
    common: dict[str, Any] = {"sizes": [256, 512, 2048], "probes": 2, "reads": 512}
    tiny = ["experiment=tiny", "data.max_documents=16"]
    probe_size.main(save=saved, overrides=tiny, **common, file=tmp_path / "a.json")
    probe_size.main(checkpoint=saved, **common, file=tmp_path / "b.json")
    rows, reached = written(tmp_path / "a.json")
    assert rows == written(tmp_path / "b.json")[0]
    assert {row["tokens"]: row["probes"] for row in rows if "spread" in row} == {256: 2, 512: 1}
    assert set(reached.values()) == {None}  # no probe of 8k tokens


def test_probe_size_refuses_another_file(tmp_path: Path) -> None:
    torch.save({"weights": {}}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"other\.pt must be what --save wrote"):
        probe_size.load(tmp_path / "other.pt")


def test_all_of_the_text_stands_for_sizes_beyond_it() -> None:
    sizes, stated = probe_size.fitting_sizes([8, 20, 40, 50], torch.zeros(4, 8))
    assert sizes == [8, 16, 32]
    assert stated == "the largest probe has 32 tokens, as there are no 48 tokens"
    assert probe_size.fitting_sizes([8, 32], torch.zeros(4, 8))[1] == "the largest probe has 32 tokens"


def test_documents_end_where_their_end_is_written() -> None:
    data: Any = SimpleNamespace(
        held_out_blocks=Blocks(np.array([5, 0, 6, 7, 8, 0, 0, 9]), 4),
        end_id=0,
    )
    blocks, documents = probe_size.held_out(data, seed=1)
    order = [0, 1] if blocks[0, 0] == 5 else [1, 0]
    assert documents[order].tolist() == [[0, 0, 1, 1], [1, 1, 2, 3]]


def test_probe_size_refuses_a_single_size() -> None:
    blocks = torch.zeros(4, 8)
    with pytest.raises(typer.BadParameter, match="--size must name two sizes of at least 8 tokens"):
        probe_size.fitting_sizes([16], blocks)


def readings(tokens: int, probe: int, site: str, debiased: float) -> ProbeReadings:
    return ProbeReadings(
        tokens=tokens,
        probe=probe,
        site=site,
        label_set="input/token",
        debiased=debiased,
        standard_error=0.02,
        plugin=debiased + 0.1,
    )


def test_bias_and_noise_of_small_probes_are_told_apart() -> None:
    """Two probes err by +.03 and +.01 at one site, by -.01 and -.01 at another."""
    large = [readings(8192 * 4, 0, "L00", 0.5), readings(8192 * 4, 0, "L01", 0.4)]
    small = [
        readings(8192, 0, "L00", 0.53),
        readings(8192, 1, "L00", 0.51),
        readings(8192, 0, "L01", 0.39),
        readings(8192, 1, "L01", 0.39),
    ]
    (difference,) = probe_size.compare([*small, *large])
    numbers = difference.mean, difference.worst, difference.spread, difference.single, difference.plugin_worst
    assert numbers == pytest.approx((0.005, 0.02, 0.02 / math.sqrt(2) / 2, 0.03, 0.02))
    reached = [figure.reached for figure in probe_size._figures([difference], [*small, *large], "")]
    assert reached == pytest.approx([0.02, 0.02])  # worst of each probe: .03 and .01


def test_a_reading_that_does_not_exist_is_no_agreement() -> None:
    large = readings(8192 * 4, 0, "L00", 0.5)
    small = [replace(large, tokens=8192, probe=number, debiased=value) for number, value in enumerate((0.5, math.nan))]
    (difference,) = probe_size.compare([*small, large])
    assert math.isnan(difference.single)
    assert math.isnan(difference.worst)
    assert difference.spread is not None
    assert math.isnan(difference.spread)
    assert not any(figure.met for figure in probe_size._figures([difference], [*small, large], ""))
