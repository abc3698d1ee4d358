"""The benchmark of a GPU, as far as a CPU can run it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from experiments.benchmarks import gpu
from tests.experiments.benchmarks.written import written


def test_gpu_says_that_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    gpu.main(file=tmp_path / "g.json")
    assert "were not run: this machine has none that torch can use." in capsys.readouterr().out
    assert set(written(tmp_path / "g.json")[1].values()) == {None}


def test_gpu_runs_on_the_cpu_to_be_seen_running(tmp_path: Path) -> None:
    sizes = {"width": 64, "layers": 2, "vocabulary": 300, "blocks": 4, "batch_size": 2, "steps": 2}
    gpu.main("cpu", **sizes, repetitions=1, file=tmp_path / "g.json")
    reached = written(tmp_path / "g.json")[1]
    assert reached.keys() == gpu.FIGURES.keys()
    assert all(value is not None for value in reached.values())
    assert reached["GPU: float32 readings against those of the CPU, largest difference"] == 0


def test_gpu_decoder_has_125_million_parameters_and_sees_no_future() -> None:
    with torch.device("meta"):
        model = gpu.Decoder(768, 12, 50_304)
    assert 120e6 < sum(parameter.numel() for parameter in model.parameters()) < 126e6
    model = gpu.Decoder(64, 2, 300).eval()
    tokens = torch.arange(8).view(1, 8)
    changed = tokens.clone()
    changed[0, 5] = 200
    torch.testing.assert_close(model(tokens)[:, :5], model(changed)[:, :5])
    assert not torch.allclose(model(tokens)[:, 5], model(changed)[:, 5])
