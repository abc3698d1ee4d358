"""What copies in a probe read as, and which documents are taken for copies."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from experiments.benchmarks import copies
from tests.experiments.benchmarks.written import written


def test_copies_are_read_searched_and_timed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = "".join(f"def f{i}(a{i}):\n    return a{i} * {i * i} + {i}\n\n\n" for i in range(60))
    (tmp_path / "one.py").write_text(source)
    (tmp_path / "two.py").write_text("# copied from elsewhere\n" + source)
    (tmp_path / "three.py").write_text("\n".join(f"{i * 7919 % 1009} = {i * 31 % 97}" for i in range(200)))
    copies.main(
        blocks=40, repetitions=1, sizes=["20x64"], folder=str(tmp_path), show=True, file=tmp_path / "r" / "c.json"
    )
    rows, reached = written(tmp_path / "r" / "c.json")
    assert reached["copies up to 30 %, left out: largest reading of nothing"] <= 0.01
    assert reached["copies that are found"] >= 0.9
    readings = [row for row in rows if "kept" in row]
    assert len(readings) == len(copies.SHARES) * len(copies.EXCHANGED)
    assert all(min(row["kept"]) > 0.05 for row in readings)
    (sources,) = [row for row in rows if "windows" in row]
    assert (sources["documents"], sources["copies"]) == (3, 1)
    (timed,) = [row for row in rows if "seconds" in row]
    assert (timed["blocks"], timed["found"]) == (20, 6)
    assert "% of " in capsys.readouterr().out


def test_every_second_copy_is_exact() -> None:
    tokens = copies.made_up_probe(0.5, 0.3, 40, torch.Generator().manual_seed(0))
    equal = (tokens[:20].unsqueeze(1) == tokens[20:]).double().mean(2).amax(1)
    assert equal[::2].eq(1).all()
    assert equal[1::2].lt(0.9).all()
    assert equal[1::2].gt(0.5).all()
