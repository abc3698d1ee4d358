"""What a GPU has to do as the CPU does; without one there is nothing to run."""

import copy

import pytest
import torch

from experiments.benchmarks.gpu import Decoder
from experiments.benchmarks.text import made_up_text
from ibtrack import InformationPlaneTracker, Probe
from ibtrack.information.assignments import draw_anchors
from ibtrack.metrics import InformationPlane, SoftEntropy, SoftMutualInformation

AGREEMENT = 1e-4  # of readings: sums in float64, but the scores behind them in float32 in another order

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that torch can use"),
]


def _probe():
    return Probe(made_up_text(16, 64, vocabulary=300))


def _rows(number, width=96):
    return torch.randn(number, width, generator=torch.Generator().manual_seed(0))


def _model():
    torch.manual_seed(0)
    return Decoder(64, 3, 300).eval()


def _close(readings, expected):
    assert readings.keys() == expected.keys()
    for key, value in expected.items():
        assert float(readings[key]) == pytest.approx(float(value), abs=AGREEMENT, nan_ok=True), key


def test_the_plane_reads_what_it_reads_on_the_cpu():
    probe = _probe()
    table = _rows(300)
    rows = table[probe.inputs.flatten()[probe.positions]] + 0.5 * _rows(probe.num_positions)
    found = []
    for device in ("cpu", "cuda"):
        plane = InformationPlane(probe, {"L00": 96}).to(device)
        plane.update("L00", rows.to(device), torch.arange(probe.num_positions, device=device))
        found.append(plane.compute())
    assert all(value.is_cuda for value in found[1].values())
    _close(found[1], found[0])


@pytest.mark.parametrize("precision", ["highest", "high"])  # the latter is TF32
@pytest.mark.parametrize("reading", ["debiased", "plugin", "null"])
def test_streamed_information_is_that_of_the_cpu(reading, precision):
    rows, labels = _rows(4000), torch.arange(4000) % 500
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        found = []
        for device in ("cpu", "cuda"):
            metric = SoftMutualInformation(96, 500, reading=reading, normalized=True).to(device)
            metric.update(rows.to(device), labels.to(device))
            found.append(float(metric.compute()))
        assert torch.get_float32_matmul_precision() == precision
    finally:
        torch.set_float32_matmul_precision(before)
    assert found[1] == pytest.approx(found[0], abs=AGREEMENT)


def test_anchors_are_those_of_the_cpu():
    metric = SoftEntropy(96).to("cuda")
    assert torch.equal(metric.anchors.cpu(), draw_anchors(96))


def test_sums_of_half_precision_rows_do_not_stop_growing():
    metric = SoftEntropy(96, normalized=True).to("cuda")
    for _ in range(30):
        metric.update(_rows(10_000).to("cuda", torch.bfloat16))
    assert metric.half_sums.dtype == torch.float64
    assert float(metric.half_sums.sum()) == pytest.approx(300_000, rel=1e-5)


def test_a_model_reads_what_it_reads_on_the_cpu():
    probe, model = _probe(), _model()
    expected = InformationPlaneTracker(probe, strict=True).measure(model).values
    on_device = InformationPlaneTracker(probe, strict=True).measure(copy.deepcopy(model).to("cuda")).values
    for key, value in expected.items():
        # the forward pass, too, is another sum in float32; ratios of small numbers show it most
        assert on_device[key] == pytest.approx(value, abs=1e-3, nan_ok=True), key


def test_a_model_in_bf16_is_measured():
    point = InformationPlaneTracker(_probe(), strict=True).measure(_model().to("cuda", torch.bfloat16))
    assert point.failure is None
    assert 0 < point.values["ib/L02/token/complexity"] < 1


def test_measuring_leaves_the_state_of_the_gpu_alone():
    model = _model().to("cuda").train()
    tracker = InformationPlaneTracker(_probe(), strict=True)
    torch.cuda.manual_seed(7)
    state = torch.cuda.get_rng_state()
    weights = copy.deepcopy(model.state_dict())
    tracker.measure(model)
    assert torch.equal(torch.cuda.get_rng_state(), state)
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
