"""What a GPU has to do as the CPU does; without one there is nothing to run."""

from __future__ import annotations

import contextlib
import copy
import gc
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._C._distributed_c10d import HashStore
from torch.nn.functional import cross_entropy

from experiments.benchmarks.gpu import Decoder
from experiments.benchmarks.gpu_parts import largest_difference, measurement
from experiments.benchmarks.text import made_up_text
from ibtrack import InformationPlaneTracker, Probe
from ibtrack.capture import fused_loss
from ibtrack.capture.forward import next_token_loss
from ibtrack.information import debiased_information, plugin_information
from ibtrack.information.assignments import draw_anchors
from ibtrack.metrics import InformationPlane, SoftEntropy, SoftMutualInformation
from ibtrack.metrics.graphed_readings import GraphedReadings

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what deterministic algorithms ask for, before CUDA starts
SUMMED_OTHERWISE = 1e-13  # numbers of up to some nats, whose float64 sums are in the order in which threads arrive
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


def test_readings_wait_for_nothing_and_are_the_same_each_time() -> None:
    model = _model().to("cuda")
    measured = measurement(model, _probe())
    plane = measured._planes[0]
    measured._fill(model, plane)
    once = plane.readings()  # what is moved to the device once is moved
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        again = plane.readings()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert largest_difference(once, again) < 1e-9


@pytest.mark.parametrize("fused", [True, False])
def test_losses_of_bf16_logits_are_those_of_the_cpu(fused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not fused:
        monkeypatch.setattr(fused_loss, "triton", None)
    logits = (8 * torch.randn(2, 300, 5000, generator=torch.Generator().manual_seed(0)) - 40).bfloat16()
    logits[0, :, 7] = -torch.inf  # a token that is to have no probability
    targets, rows = torch.arange(600) % 5000 + 8, torch.arange(600)
    on_cpu, on_device = (
        next_token_loss(logits.to(device), targets.to(device), rows.to(device)) for device in ("cpu", "cuda")
    )
    assert on_cpu is not None
    assert on_device is not None
    assert float(on_device) == pytest.approx(float(on_cpu), rel=1e-6)


@contextlib.contextmanager
def _deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_deterministic_algorithms_give_the_same_numbers_twice(dtype: torch.dtype) -> None:
    model = _model().to("cuda", dtype)
    with _deterministic():
        points = [InformationPlaneTracker(_probe(), strict=True, geometry_rows=400).measure(model) for _ in range(2)]
    assert points[0].values == pytest.approx(points[1].values, abs=0, rel=0, nan_ok=True)


def _train(model: nn.Module, dtype: torch.dtype, after: Callable[[int], object], steps: int = 4) -> list[Tensor]:
    """Train in mixed precision, and return the weights."""
    blocks = made_up_text(steps * 8, 64, vocabulary=300, seed=1).to("cuda").view(steps, 8, 64)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    scaler = torch.amp.GradScaler("cuda", enabled=dtype == torch.float16)
    for step in range(steps):
        with torch.autocast("cuda", dtype):
            loss = cross_entropy(model(blocks[step])[:, :-1].flatten(0, 1), blocks[step][:, 1:].flatten())
            after(step)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
    return [parameter.detach().clone() for parameter in model.parameters()]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_training_in_mixed_precision_goes_on_as_if_nothing_were_measured(dtype: torch.dtype) -> None:
    tracker = InformationPlaneTracker(_probe(), strict=True)
    model, other = _model().to("cuda").train(), _model().to("cuda").train()
    with _deterministic():
        watched = _train(model, dtype, lambda step: tracker.step(model, step))
        unwatched = _train(other, dtype, lambda step: None)
    assert tracker.trajectory.protocol["precision"] == {torch.float16: "16", torch.bfloat16: "bf16"}[dtype] + "-mixed"
    assert len(tracker.trajectory.points) >= 3
    assert all(torch.equal(one, two) for one, two in zip(watched, unwatched, strict=True))


class _Keeping(nn.Module):
    """A decoder that counts, caches and draws on the device, and changes a buffer, in each forward pass."""

    seen: Tensor
    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.blocks = _model().blocks
        self.embedding = nn.Embedding(300, 64)
        self.norm = nn.LayerNorm(64)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.calls = torch.zeros(3)
        self.cache: list[Tensor] = []
        self.generator = torch.Generator("cuda").manual_seed(3)

    def forward(self, tokens: Tensor) -> Tensor:
        self.seen += tokens.numel()
        self.calls = self.calls.to(tokens.device) + 1
        self.cache.append(tokens)
        torch.rand(3, device=tokens.device, generator=self.generator)
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.norm(x) @ self.embedding.weight.T
        return logits


def test_what_a_model_keeps_on_the_gpu_is_put_back() -> None:
    model = _Keeping().to("cuda")
    model.calls = model.calls.to("cuda")
    calls, state = model.calls, model.generator.get_state()
    point = InformationPlaneTracker(_probe(), strict=True).measure(model)
    assert point.failure is None
    assert int(model.seen) == 0
    assert model.calls is calls
    assert model.calls.tolist() == [0, 0, 0]
    assert model.cache == []
    assert torch.equal(model.generator.get_state(), state)


def test_a_model_that_answers_in_two_ways_is_refused() -> None:
    counts = torch.zeros(1, device="cuda")

    class Drifting(Decoder):
        def forward(self, tokens: Tensor) -> Tensor:
            counts.add_(1)  # a global of the module, which is not found in the model
            logits: Tensor = super().forward(tokens)
            return logits

    def drift(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        return output * (1 + float(torch.rand(1, device="cuda", generator=hidden)))

    hidden = torch.Generator("cuda").manual_seed(0)
    model = Drifting(64, 3, 300).to("cuda").eval()
    model.blocks[0].register_forward_hook(_Hidden(drift))
    with pytest.raises(ValueError, match="gives other activations of L00 a second time"):
        InformationPlaneTracker(_probe(), strict=True).start(model)


class _Hidden:
    """A hook that is a foreign object without attributes, whose generator cannot be found."""

    __slots__ = ("call",)
    __module__ = "foreign"

    def __init__(self, call: Callable[..., Any]) -> None:
        self.call = call

    def __call__(self, *arguments: Any) -> Any:
        return self.call(*arguments)


def test_batches_are_halved_where_memory_runs_out_and_numbers_stay() -> None:
    torch.manual_seed(0)
    model, probe = Decoder(64, 1, 50_304).to("cuda").eval(), Probe(made_up_text(64, 128, vocabulary=300))
    measured = measurement(model, probe)
    values, _, _ = measured(model)
    whole = measured.batch_size
    gc.collect()
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    room = 64 * 128 * 50_304 * 4 * 3 // 4  # three quarters of the logits of all blocks
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + room) / total)
    try:
        less, _, _ = measured(model)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert measured.batch_size < whole
    assert less == pytest.approx(values, abs=1e-3, nan_ok=True)  # batches of another size are another sum in float32


def test_models_that_are_loaded_one_after_another_leave_no_memory() -> None:
    probe, kept = _probe(), []
    weights = Decoder(256, 4, 5000).state_dict()
    for _ in range(4):
        model = Decoder(256, 4, 5000)
        model.load_state_dict(weights)
        point = InformationPlaneTracker(probe, strict=True).measure(model.to("cuda").eval())
        assert point.failure is None
        del model
        gc.collect()
        kept.append(torch.cuda.memory_allocated())
    assert kept[1] == kept[2] == kept[3]


def test_a_model_sharded_over_a_single_process_reads_what_a_whole_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch import distributed
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    expected = InformationPlaneTracker(_probe(), strict=True).measure(_model().to("cuda")).values
    for library in ("GLOO", "NCCL"):
        monkeypatch.setenv(f"{library}_SOCKET_IFNAME", "lo")  # a machine without a network has no other
    distributed.init_process_group("cpu:gloo,cuda:nccl", store=HashStore(), rank=0, world_size=1)
    try:
        model, mesh = _model().to("cuda"), init_device_mesh("cuda", (1,))
        for block in model.blocks:
            fully_shard(block, mesh=mesh)
        fully_shard(model, mesh=mesh)
        values = InformationPlaneTracker(_probe(), strict=True).measure(model).values
        cross_entropy(model(_probe().inputs[:2].to("cuda")).flatten(0, 1), _probe().inputs[:2].flatten().to("cuda"))
    finally:
        distributed.destroy_process_group()
    assert values == pytest.approx(expected, abs=1e-3, nan_ok=True)


def test_readings_as_a_graph_are_those_of_plain_calls() -> None:
    model = _model().to("cuda")
    measured = measurement(model, _probe())
    plane = measured._planes[0]
    measured._fill(model, plane)
    graphed = GraphedReadings(plane)
    graphed()
    assert graphed._graph is None
    assert largest_difference(graphed(), plane.readings()) < SUMMED_OTHERWISE
    plane.assignments.copy_(plane.assignments.flip(0))  # other rows, for which the graph was not made
    assert largest_difference(graphed(), plane.readings()) < SUMMED_OTHERWISE
    assert graphed._graph is not None


def test_readings_as_a_graph_of_deterministic_algorithms_are_equal_to_the_last_digit() -> None:
    model = _model().to("cuda")
    measured = measurement(model, _probe())
    plane = measured._planes[0]
    with _deterministic():
        measured._fill(model, plane)
        graphed = GraphedReadings(plane)
        graphed()
        assert largest_difference(graphed(), plane.readings()) == 0
        plane.assignments.copy_(plane.assignments.flip(0))
        assert largest_difference(graphed(), plane.readings()) == 0
        assert graphed._graph is not None


def test_measurements_with_a_graph_are_those_without() -> None:
    values = []
    for cuda_graph in (False, True):
        model = _model().to("cuda")
        tracker = InformationPlaneTracker(_probe(), strict=True, cuda_graph=cuda_graph)
        points = []
        for _ in range(4):
            points.append(tracker.measure(model).values)
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.mul_(1.1)
        values.append(points)
        measured = tracker._measurement
        assert measured is not None
        assert measured.no_graph == ""
        assert cuda_graph == (measured._graphed is not None and measured._graphed._graph is not None)
    for plain, graphed in zip(*values, strict=True):
        assert graphed == pytest.approx(plain, abs=1e-9, nan_ok=True)
