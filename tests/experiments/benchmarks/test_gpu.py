"""The benchmark of a GPU, as far as a CPU can run it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import typer

from experiments.benchmarks import gpu
from experiments.benchmarks.figures import load
from tests.experiments.benchmarks.written import written


def test_gpu_says_that_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    gpu.main(file=tmp_path / "g.json")
    assert "were not run: this machine has none that torch can use." in capsys.readouterr().out
    assert set(written(tmp_path / "g.json")[1].values()) == {None}


SIZES: dict[str, Any] = {"width": 64, "layers": 2, "vocabulary": 300, "blocks": 4, "batch_size": 2, "steps": 2}


def test_gpu_runs_on_the_cpu_to_be_seen_running(tmp_path: Path) -> None:
    gpu.main("cpu", **SIZES, repetitions=1, file=tmp_path / "g.json")
    rows, reached = written(tmp_path / "g.json")
    assert reached.keys() == gpu.FIGURES.keys()
    on_a_gpu = {name for name in reached if "kernels" in name or "graph" in name}
    assert {name for name, value in reached.items() if value is None} == on_a_gpu
    assert reached["GPU: float32 readings against those of the CPU, largest difference"] == 0
    (whole,) = (row for row in rows if row["figure"] == "GPU: measurement over bare forward, 125M, bf16")
    assert {"bare", "passes", "fill", "readings", "transfer", "values", "influences", "whole"} < whole.keys()
    (apart,) = (row for row in rows if row["figure"] == "parts by themselves")
    assert apart["losses"]["errors"]["as now"] < 1e-6
    assert apart["scores"]["errors"]["float32"] < 1e-6


def test_gpu_names_the_part_that_failed_and_runs_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(setting: gpu.Setting) -> list[gpu.Finding]:
        raise RuntimeError("no such kernel")

    figure = "GPU: readings as a graph, largest difference from plain ones"
    parts = {"first": fail, "second": lambda setting: [(figure, 0.0, "as it was", {"blocks": setting.blocks})]}
    monkeypatch.setattr(gpu, "PARTS", parts)
    with pytest.raises(typer.Exit) as exit_:
        gpu.main("cpu", **SIZES, file=tmp_path / "g.json")
    assert exit_.value.exit_code == 1
    assert "RuntimeError: no such kernel" in capsys.readouterr().out
    content, figures = load(tmp_path / "g.json")
    assert list(content["failed"]) == ["first"]
    assert "no such kernel" in content["failed"]["first"]
    assert {each.name: each.reached for each in figures}[figure] == 0


def test_gpu_begins_no_part_when_the_time_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "PARTS", {"late": lambda setting: pytest.fail("was begun")})
    with pytest.raises(typer.Exit):
        gpu.main("cpu", **SIZES, seconds=0, file=tmp_path / "g.json")
    assert load(tmp_path / "g.json")[0]["failed"] == {"late": "not run: no time was left"}


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
