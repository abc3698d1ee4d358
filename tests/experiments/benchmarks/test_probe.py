"""The comparison of a measurement with a bare forward pass."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from experiments.benchmarks import probe
from tests.experiments.benchmarks.written import written


def test_probe_compares_measuring_with_the_forward_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    probe.main(cases=["64x2"], blocks=4, repetitions=1, file=tmp_path / "p.json")
    rows, reached = written(tmp_path / "p.json")
    assert rows[0]["ratio"] == rows[0]["seconds"]["measured"][0] / rows[0]["seconds"]["bare"][0] > 1
    assert set(reached.values()) == {None}  # nothing is wanted of this width
    assert "no_grad in eval mode, all layers and the head" in capsys.readouterr().out


@pytest.mark.parametrize("case", ["256", "100x6", "256x0", "ax6"])
def test_probe_refuses_what_is_no_case(case: str) -> None:
    with pytest.raises(typer.BadParameter, match="--case must be a width"):
        probe.main(cases=[case])
