"""What the parts of a measurement take on a GPU: their times, the kernels that they launch, and readings as one graph.

Each function returns rows for a benchmark's file and prints what it has found; `gpu.py` runs them all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from experiments.benchmarks.timing import described, interleaved
from ibtrack import Probe, SoftOptions
from ibtrack.capture.forward import _loss_by_tables, default_forward, next_token_loss
from ibtrack.capture.fused_loss import row_logsumexps
from ibtrack.capture.sharded import SharedPasses
from ibtrack.capture.sites import find_sites
from ibtrack.information import assignments
from ibtrack.information.devices import to_cpu_at_once
from ibtrack.metrics import InformationPlane
from ibtrack.metrics.graphed_readings import GraphedReadings
from ibtrack.tracking.measurement import Measurement, find_layouts

Wait = Callable[[], object]
LARGEST_NAMES = 25  # kernels that are listed by name, those that take longest


def parts_of_a_measurement(model: nn.Module, probe: Probe, repetitions: int, wait: Wait) -> dict[str, list[float]]:
    """Time a bare forward pass, every part of a measurement and the whole of it, in turn.

    Args:
        model: The model, in evaluation mode.
        probe: The probe.
        repetitions: Rounds that are timed.
        wait: Waits for the device.

    Returns:
        Seconds of each round by part. ``passes`` has hooks and takes no notice of what they catch; ``fill without
        loss`` has the assignments too; ``fill`` is all that is done while the model runs.
    """
    measured, no_loss = measurement(model, probe), measurement(model, probe, no_loss=True)
    plane = measured._planes[0]
    others = no_loss._planes[0]
    kept: dict[str, Any] = {}

    def bare() -> None:
        with torch.no_grad():
            for batch in measured._batches:
                model(batch.inputs)

    def fill(which: Measurement, of: InformationPlane) -> None:
        of.reset()
        which._fill(model, of)

    def read() -> None:
        kept["read"] = plane.readings(), plane.mean_cosines()

    def move() -> None:
        kept["moved"] = to_cpu_at_once(kept["read"])

    def values() -> None:
        readings, cosines = kept["moved"]
        plane.numbers_by_key(readings, cosines, plane.sites)

    tasks: dict[str, Callable[[], object]] = {
        "bare": bare,
        "passes": lambda: no_loss._run(model, plane.sites, lambda *caught: None),
        "fill without loss": lambda: fill(no_loss, others),
        "fill": lambda: fill(measured, plane),
        "readings": read,
        "transfer": move,
        "values": values,
        "influences": lambda: plane.influences(kept["moved"][0], plane.sites),
        "whole": lambda: measured(model),
    }
    seconds = interleaved(tasks, repetitions, wait=wait)
    bare_time = median(seconds["bare"])
    for name, times in seconds.items():
        print(f"  {name:18}{described(times)}, {median(times) / bare_time:.3f} of a bare pass", flush=True)
    return seconds


def measurement(model: nn.Module, probe: Probe, *, no_loss: bool = False, cuda_graph: bool = False) -> Measurement:
    """Make what measures a model, as a tracker does."""
    sites, passes = find_sites(model, "auto"), SharedPasses()
    layouts = find_layouts(model, probe, sites, default_forward, passes)
    device = next(model.parameters()).device
    return Measurement(
        probe,
        sites,
        layouts,
        options=SoftOptions(),
        forward=default_forward,
        passes=passes,
        device=device,
        no_loss=no_loss,
        cuda_graph=cuda_graph,
    )


def launches_of_a_measurement(model: nn.Module, probe: Probe) -> dict[str, dict[str, Any]]:
    """Count the kernels of a bare forward pass, of filling a plane, of its readings, and of the rest of a point."""
    measured = measurement(model, probe)
    plane = measured._planes[0]

    def bare() -> None:
        with torch.no_grad():
            for batch in measured._batches:
                model(batch.inputs)

    def fill() -> None:
        plane.reset()
        measured._fill(model, plane)

    rows = {}
    for name, task in {"bare": bare, "fill": fill, "readings": plane.readings}.items():
        task()  # what is made once is made
        rows[name] = launches(task)
        print(f"  {name:9}{rows[name]['kernels']} kernels in {rows[name]['milliseconds']:.1f} ms", flush=True)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    measured(model)
    rows["memory"] = {"bytes above the model": torch.cuda.max_memory_allocated() - before}
    return rows


def launches(task: Callable[[], object]) -> dict[str, Any]:
    """Count the kernels and copies that a task launches on a GPU, and how long they take.

    Returns:
        ``kernels`` and ``copies``, ``milliseconds`` of all of them, and the ``largest`` kernels: name, number and
        milliseconds.
    """
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        task()
        torch.cuda.synchronize()
    number: Counter[str] = Counter()
    microseconds: Counter[str] = Counter()
    for event in profile.events() or ():
        if event.device_type.name == "CUDA":
            number[event.name] += 1
            microseconds[event.name] += int(event.time_range.elapsed_us())
    copies = sum(count for name, count in number.items() if name.startswith(("Memcpy", "Memset")))
    return {
        "kernels": sum(number.values()) - copies,
        "copies": copies,
        "milliseconds": sum(microseconds.values()) / 1e3,
        "largest": [[name[:100], number[name], time / 1e3] for name, time in microseconds.most_common(LARGEST_NAMES)],
    }


def readings_as_a_graph(model: nn.Module, probe: Probe, repetitions: int, wait: Wait) -> dict[str, Any]:
    """Make the readings of a plane a CUDA graph, and compare numbers and times with those of plain calls."""
    measured, with_graph = measurement(model, probe), measurement(model, probe, cuda_graph=True)
    plane = measured._planes[0]
    measured._fill(model, plane)
    graphed = GraphedReadings(plane)
    graphed()  # plain, after which what is made once is made
    torch.cuda.empty_cache()
    before = torch.cuda.memory_reserved()
    graphed()
    torch.cuda.empty_cache()
    held = torch.cuda.memory_reserved() - before
    difference = largest_difference(graphed(), plane.readings())
    plane.assignments.copy_(plane.assignments.flip(0))  # other rows, for which the graph was not made
    moved = largest_difference(graphed(), plane.readings())
    of_plain_ones = largest_difference(plane.readings(), plane.readings())
    seconds = interleaved({"plain": plane.readings, "graph": graphed}, repetitions, wait=wait)
    del graphed
    wholes = {"whole": lambda: measured(model), "whole with a graph": lambda: with_graph(model)}
    wholes["whole with a graph"]()
    seconds |= interleaved(wholes, repetitions, wait=wait)
    for name, times in seconds.items():
        print(f"  {name:19}{described(times)}", flush=True)
    differences = {
        "difference": difference,
        "difference on other rows": moved,
        "difference of two plain ones": of_plain_ones,
    }
    for name, number in differences.items():
        print(f"  {name}: {number:.1e}", flush=True)
    return {**differences, "bytes held": held, **seconds}


def readings_beside_training(
    model: nn.Module, probe: Probe, step: Callable[[], object], repetitions: int, wait: Wait
) -> dict[str, list[float]]:
    """Time steps of training alone, with readings as a graph before each, and with that graph on a stream of its own.

    What a stream of its own saves is what the kernels of the readings find free beside those of the training.

    Args:
        model: The model, in evaluation mode.
        probe: The probe.
        step: A step of training.
        repetitions: Rounds that are timed.
        wait: Waits for the device.

    Returns:
        Seconds of each round: ``step``, ``readings and step``, ``readings beside the step``.
    """
    measured = measurement(model, probe)
    plane = measured._planes[0]
    measured._fill(model, plane)
    graphed, side = GraphedReadings(plane), torch.cuda.Stream()
    for _ in range(2):  # plain, and then as a graph
        graphed()

    def in_turn() -> None:
        graphed()
        step()

    def beside() -> None:
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            graphed()
        step()
        torch.cuda.current_stream().wait_stream(side)

    tasks: Mapping[str, Callable[[], object]] = {
        "step": step,
        "readings and step": in_turn,
        "readings beside the step": beside,
    }
    seconds = interleaved(tasks, repetitions, wait=wait)
    for name, times in seconds.items():
        print(f"  {name:26}{described(times)}", flush=True)
    return seconds


def largest_difference(one: Any, other: Any) -> float:
    """Return the largest difference of two `Readings`, infinite where one has a number and the other none."""
    first, second = _numbers(one), _numbers(other)
    if not torch.equal(first.isnan(), second.isnan()):
        return float("inf")
    return float((first - second).nan_to_num().abs().max())


def _numbers(structure: Any) -> Tensor:
    """Bring all numbers of readings into one tensor."""
    parts: list[Tensor] = []
    structure.map_tensors(lambda part: _kept(parts, part))
    return torch.cat([part.flatten().double() for part in parts]).cpu()


def _kept(parts: list[Tensor], part: Tensor) -> Tensor:
    parts.append(part)
    return part


def losses(vocabulary: int, rows: int, device: torch.device, repetitions: int, wait: Wait) -> dict[str, Any]:
    """Time ways to work out the loss of bf16 logits, and how far each is from float64."""
    generator = torch.Generator().manual_seed(0)
    logits = (4 * torch.randn(rows, vocabulary, generator=generator) - 20).to(device, torch.bfloat16).unsqueeze(0)
    targets = torch.randint(vocabulary, (rows,), generator=generator).to(device)
    places = torch.arange(rows, device=device)

    def as_before() -> Tensor:
        pieces = zip(logits[0].split(1 << 11), targets.split(1 << 11), strict=True)
        parts = [-piece.log_softmax(-1, dtype=torch.float32).gather(1, wanted.unsqueeze(1)) for piece, wanted in pieces]
        return torch.cat(parts).double().sum()

    def in_bfloat16() -> Tensor:
        return nn.functional.cross_entropy(logits[0], targets, reduction="none").double().sum()

    tasks: Mapping[str, Callable[[], Tensor | None]] = {
        "as before": as_before,
        "by tables": lambda: _loss_by_tables(logits[0], targets, places),
        "as now": lambda: next_token_loss(logits, targets, places),  # by a kernel of Triton's, where there is one
        "bfloat16": in_bfloat16,
    }
    exact = sum(
        float(nn.functional.cross_entropy(piece.double(), wanted, reduction="sum"))
        for piece, wanted in zip(logits[0].split(1 << 9), targets.split(1 << 9), strict=True)
    )
    errors = {name: abs(float(task() or 0) - exact) / rows for name, task in tasks.items()}
    seconds = interleaved(tasks, repetitions, wait=wait)
    for name, times in seconds.items():
        print(f"  {name:10}{described(times)}, off by {errors[name]:.1e} nats a token", flush=True)
    by_triton = device.type == "cuda" and row_logsumexps(logits[0]) is not None
    print(f"  as now: by {'a kernel of Triton' if by_triton else 'tables'}", flush=True)
    return {"rows": rows, "vocabulary": vocabulary, "by Triton": by_triton, "errors": errors, **seconds}


def scores(width: int, rows: int, device: torch.device, repetitions: int, wait: Wait) -> dict[str, Any]:
    """Time scores of bf16 activations by anchors in three bf16 parts and in float32, and how far both are off."""
    generator = torch.Generator().manual_seed(0)
    activations = torch.randn(1, rows, width, generator=generator).to(device, torch.bfloat16)
    drawn = assignments.draw_anchors(width).to(device).unsqueeze(0)
    anchors = assignments.AnchorDraws(drawn, assignments.temperature(width))
    exact = activations[0, :4096].double() @ anchors.scaled.double().T

    def multiply(by: Callable[..., tuple[Tensor, Tensor, Tensor]]) -> Tensor:
        with assignments._full_float32():
            return by(activations, anchors)[0][0]

    tasks: dict[str, Callable[[], Tensor]] = {"float32": lambda: multiply(assignments._multiply_sites_in_float32)}
    if assignments._has_float32_products(activations):
        tasks["three parts"] = lambda: multiply(assignments._multiply_parts)
    errors = {name: float((task()[:4096] - exact).abs().max() / exact.abs().max()) for name, task in tasks.items()}
    seconds = interleaved(tasks, repetitions, wait=wait)
    for name, times in seconds.items():
        print(f"  {name:12}{described(times)}, off by {errors[name]:.1e} of the largest score", flush=True)
    return {"rows": rows, "width": width, "errors": errors, **seconds}


def ceilings(device: torch.device) -> dict[str, float]:
    """Measure what the GPU can do at best: TB/s of a copy, and TFLOP/s of a bf16 matrix product."""
    source = torch.randn(1 << 30, device=device)
    target = torch.empty_like(source)
    one, other = (torch.randn(8192, 8192, device=device).bfloat16() for _ in range(2))
    wait = torch.cuda.synchronize
    seconds = interleaved({"copy": lambda: target.copy_(source), "product": lambda: one @ other}, 10, wait=wait)
    found = {
        "copy, TB/s": 2 * source.nbytes / median(seconds["copy"]) / 1e12,
        "product, TFLOP/s": 2 * 8192**3 / median(seconds["product"]) / 1e12,
    }
    print(*(f"  {name}: {number:.2f}" for name, number in found.items()), sep="\n", flush=True)
    return found
