"""What a GPU has to do as the CPU does; without one there is nothing to run."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from experiments.benchmarks.gpu import Decoder
from experiments.benchmarks.text import made_up_text
from ibtrack import InformationPlaneTracker, Probe
from ibtrack.information import debiased_information, plugin_information
from ibtrack.information.assignments import draw_anchors
from ibtrack.metrics import InformationPlane, SoftEntropy, SoftMutualInformation

AGREEMENT = 1e-4  # sums are in float64, but the scores behind them in float32 and in another order

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that torch can use"),
]


def _probe() -> Probe:
    return Probe(made_up_text(16, 64, vocabulary=300))


def _rows(number: int, width: int = 96) -> Tensor:
    return torch.randn(number, width, generator=torch.Generator().manual_seed(0))


def _model() -> Decoder:
    torch.manual_seed(0)
    return Decoder(64, 3, 300).eval()


def _close(readings: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    assert readings.keys() == expected.keys()
    for key, value in expected.items():
        assert float(readings[key]) == pytest.approx(float(value), abs=AGREEMENT, nan_ok=True), key


def test_the_plane_reads_what_it_reads_on_the_cpu() -> None:
    probe = _probe()
    table = _rows(300)
    rows = table[probe.inputs.flatten()[probe.positions]] + 0.5 * _rows(probe.num_positions)
    readings = []
    for device in ("cpu", "cuda"):
        plane = InformationPlane(probe, {"L00": 96}).to(device)
        plane.update("L00", rows.to(device), torch.arange(probe.num_positions, device=device))
        readings.append(plane.compute())
    assert all(value.is_cuda for value in readings[1].values())
    _close(readings[1], readings[0])


@pytest.mark.parametrize("precision", ["highest", "high"])  # the latter is TF32
@pytest.mark.parametrize("reading", ["debiased", "plugin", "null"])
def test_streamed_information_is_that_of_the_cpu(reading: str, precision: str) -> None:
    rows, labels = _rows(4000), torch.arange(4000) % 500
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        values = []
        for device in ("cpu", "cuda"):
            metric = SoftMutualInformation(96, 500, reading=reading, normalized=True).to(device)
            metric.update(rows.to(device), labels.to(device))
            values.append(float(metric.compute()))
        assert torch.get_float32_matmul_precision() == precision
    finally:
        torch.set_float32_matmul_precision(before)
    assert values[1] == pytest.approx(values[0], abs=AGREEMENT)


@pytest.mark.parametrize("number", [1, 49, 4000])  # 49 and 500 have no common factor: labels meet in documents
def test_information_of_rows_in_documents_is_that_of_the_cpu(number: int) -> None:
    rows, labels, documents = _rows(4000, 20).softmax(-1), torch.arange(4000) % 500, torch.arange(4000) % number
    on_cpu, on_device = (debiased_information(rows.to(device), labels, documents) for device in ("cpu", "cuda"))
    assert on_device.value.is_cuda
    assert float(on_device.value) == pytest.approx(float(on_cpu.value), abs=AGREEMENT)
    torch.testing.assert_close(on_device.influence.cpu(), on_cpu.influence, rtol=1e-2, atol=AGREEMENT)
    plugins = [float(plugin_information(rows.to(device), labels)) for device in ("cpu", "cuda")]
    assert plugins[1] == pytest.approx(plugins[0], abs=AGREEMENT)


def test_anchors_are_those_of_the_cpu() -> None:
    metric = SoftEntropy(96).to("cuda")
    assert torch.equal(metric.anchors.cpu(), draw_anchors(96))


def test_sums_of_half_precision_rows_do_not_stop_growing() -> None:
    metric = SoftEntropy(96, normalized=True).to("cuda")
    for _ in range(30):
        metric.update(_rows(10_000).to("cuda", torch.bfloat16))
    assert metric.sums.dtype == torch.float64
    assert float(metric.sums.sum()) == pytest.approx(300_000, rel=1e-5)


def test_a_model_reads_what_it_reads_on_the_cpu() -> None:
    probe, model = _probe(), _model()
    expected = InformationPlaneTracker(probe, strict=True, geometry_rows=400).measure(model).values
    on_device = (
        InformationPlaneTracker(probe, strict=True, geometry_rows=400).measure(copy.deepcopy(model).to("cuda")).values
    )
    for key, value in expected.items():
        # the forward pass, too, is another sum in float32; ratios of small numbers show it most
        assert on_device[key] == pytest.approx(value, abs=1e-3, nan_ok=True), key


def test_a_model_in_bf16_is_measured() -> None:
    point = InformationPlaneTracker(_probe(), strict=True).measure(_model().to("cuda", torch.bfloat16))
    assert point.failure is None
    assert 0 < point.values["ib/L02/token/complexity"] < 1


def test_measuring_leaves_the_state_of_the_gpu_alone() -> None:
    model = _model().to("cuda").train()
    tracker = InformationPlaneTracker(_probe(), strict=True)
    torch.cuda.manual_seed(7)
    state = torch.cuda.get_rng_state()
    weights = copy.deepcopy(model.state_dict())
    tracker.measure(model)
    assert torch.equal(torch.cuda.get_rng_state(), state)
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
