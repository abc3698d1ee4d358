"""The benchmarks of a GPU: a decoder of 125 million parameters in bf16, and the values of the CPU.

python experiments/benchmarks/gpu.py
python experiments/benchmarks/gpu.py --device cpu --width 64 --layers 2 --blocks 4    to see that it runs

It needs torch and what ibtrack itself needs; soft-entropy where it is compared with.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import torch
import typer
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from experiments.benchmarks.figures import Figure, report
from experiments.benchmarks.options import JsonFile, Repetitions
from experiments.benchmarks.probe import measure
from experiments.benchmarks.reference import (
    OPTIONS,
    largest_difference,
    made_up_activations,
    package_task,
    plane_task,
    plugin_task,
)
from experiments.benchmarks.text import made_up_text
from experiments.benchmarks.timing import described, interleaved
from ibtrack import InformationPlaneTracker, Probe
from ibtrack.metrics import InformationPlane

BLOCK_SIZE = 128
FIGURES = {  # name: relation, what is wanted, unit
    "GPU: measurement over bare forward, 125M, bf16": ("≤", 1.05, ""),
    "GPU: share of wall time, default schedule, 125M run": ("≤", 1.0, " %"),
    "GPU: plug-in of 8 label sets, times faster than soft-entropy": ("≥", 80.0, ""),
    "GPU: all readings, times faster than soft-entropy": ("≥", 50.0, ""),
    "GPU: float32 readings against those of the CPU, largest difference": ("≤", 1e-4, ""),
}


class Block(nn.Module):
    """A layer of a decoder: attention to what came before, then a feed-forward network, each on normed input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.feed_forward = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        parts = self.queries_keys_values(self.norms[0](x)).view(batch, length, 3, self.heads, -1)
        attended = scaled_dot_product_attention(*parts.permute(2, 0, 3, 1, 4), is_causal=True)  # (B, H, T, D / H)
        x = x + self.out(attended.transpose(1, 2).reshape(batch, length, width))
        return x + self.feed_forward(self.norms[1](x))


class Decoder(nn.Module):
    """A language model like GPT-2, in nothing but torch; its head is its embedding."""

    def __init__(self, width: int, layers: int, vocabulary: int, context: int = BLOCK_SIZE) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.places = nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, max(1, width // 64)) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.embedding.weight, std=0.02)  # as in GPT-2
        nn.init.normal_(self.places.weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens) + self.places.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.norm(x) @ self.embedding.weight.T


def main(
    device_name: Annotated[str, typer.Option("--device", help="cuda, or cpu to see that it runs.")] = "cuda",
    width: Annotated[int, typer.Option(min=64)] = 768,
    layers: Annotated[int, typer.Option(min=1)] = 12,
    vocabulary: Annotated[int, typer.Option(min=300)] = 50_304,
    blocks: Annotated[int, typer.Option(min=2, help=f"Of {BLOCK_SIZE} tokens each.")] = 128,
    batch_size: Annotated[int, typer.Option(min=1, help="Blocks a forward pass and a training step.")] = 32,
    steps: Annotated[int, typer.Option(min=1, help="Of the training run.")] = 1000,
    repetitions: Repetitions = 7,
    file: JsonFile = None,
) -> None:
    """Measure on a GPU; where there is none, say so."""
    device = torch.device(device_name)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("The benchmarks of a GPU were not run: this machine has none that torch can use.")
        missing = {name: (None, "no GPU that torch can use") for name in FIGURES}
        report("gpu", _figures(missing), [], file, about={"device": None})
        return
    torch.manual_seed(0)
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    model = Decoder(width, layers, vocabulary).to(device, torch.bfloat16).eval()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "the CPU"
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(f"{name}; {parameters / 1e6:.1f} million parameters in bf16, {blocks} blocks of {BLOCK_SIZE} tokens")
    probe = Probe(made_up_text(blocks, BLOCK_SIZE, vocabulary=min(vocabulary, 2048)))
    findings = [
        *_against_forward(model, probe, batch_size, repetitions, wait),
        *_overhead(model, probe, batch_size, steps, wait),
        *_against_package(probe, device, repetitions, wait),
        *_agreement(probe, device),
    ]
    reached = {figure: (number, note) for figure, number, note, _ in findings}
    rows = [{"figure": figure, **row} for figure, _, _, row in findings]
    about = {"device": name, "parameters": parameters, "positions": probe.num_positions}
    report("gpu", _figures(reached), rows, file, about=about)


Finding = tuple[str, "float | None", str, dict[str, Any]]  # figure, what was reached, note, what it was worked out from


def _against_forward(
    model: nn.Module, probe: Probe, batch_size: int, repetitions: int, wait: Callable[[], object]
) -> list[Finding]:
    seconds = measure(model, probe, repetitions, batch_size=batch_size, run=lambda m, batch: m(batch), wait=wait)
    reading = _reading_seconds(model, probe, repetitions, wait)
    for name, times in {**seconds, "read once": reading}.items():
        print(f"{name:10}{described(times)}", flush=True)
    bare, measured = median(seconds["bare"]), median(seconds["measured"])
    above = (measured - bare) / median(reading)
    once = 1e3 * median(reading)
    note = (
        f"what is above the forward pass takes {above:.1f} times as long as reading the activations once, {once:.2f} ms"
    )
    name = "GPU: measurement over bare forward, 125M, bf16"
    return [(name, measured / bare, note, {**seconds, "read once": reading})]


def _reading_seconds(model: Decoder, probe: Probe, repetitions: int, wait: Callable[[], object]) -> list[float]:
    """Of one sum over bf16 activations of all sites and tokens of the probe."""
    rows, width = probe.inputs.numel(), model.embedding.embedding_dim
    shape = {"dtype": torch.bfloat16, "device": model.norm.weight.device}
    sites = [torch.ones(rows, width, **shape) for _ in range(1 + len(model.blocks))]  # together more than a cache holds
    return interleaved({"read": lambda: [site.sum() for site in sites]}, repetitions, wait=wait)["read"]


def _overhead(model: nn.Module, probe: Probe, batch_size: int, steps: int, wait: Callable[[], object]) -> list[Finding]:
    """Train for some steps with the default schedule and without a tracker."""
    tracker = InformationPlaneTracker(probe, batch_size=batch_size, strict=True)
    alone = _train(model, batch_size, steps, wait, lambda step: None)
    watched = _train(model, batch_size, steps, wait, lambda step: tracker.step(model, step))
    told = tracker.trajectory.points[-1].values["ib/overhead_fraction"]
    note = (
        f"ib/overhead_fraction after {len(tracker.trajectory.points)} points in {steps} steps of {batch_size} blocks; "
        f"with against without, one run each: {100 * (1 - alone / watched):.2f} %"
    )
    print(f"{steps} steps: {alone:.1f} s, and {watched:.1f} s watched", flush=True)
    row = {"steps": steps, "without": alone, "with": watched}
    return [("GPU: share of wall time, default schedule, 125M run", 100 * told, note, row)]


def _train(
    model: Decoder, batch_size: int, steps: int, wait: Callable[[], object], after: Callable[[int], object]
) -> float:
    """Seconds of a plain training loop in bf16."""
    device, vocabulary = model.norm.weight.device, model.embedding.num_embeddings
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    batches = made_up_text(16 * batch_size, BLOCK_SIZE, vocabulary=min(vocabulary, 2048), seed=1).to(device)
    batches = batches.view(16, batch_size, BLOCK_SIZE)
    wait()
    began = time.perf_counter()
    after(0)
    for step in range(1, steps + 1):
        batch = batches[step % 16]
        loss = cross_entropy(model(batch)[:, :-1].flatten(0, 1).float(), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        after(step)
    wait()
    return time.perf_counter() - began


def _against_package(probe: Probe, device: torch.device, repetitions: int, wait: Callable[[], object]) -> list[Finding]:
    """As in reference.py, on the device."""
    names = [name for name in FIGURES if "soft-entropy" in name]
    if importlib.util.find_spec("soft_entropy") is None:
        return [(name, None, "soft-entropy is not installed", {}) for name in names]
    activations = {site: rows.to(device) for site, rows in made_up_activations(probe, 6, 256).items()}
    plugin = plugin_task(probe, activations)
    plane = InformationPlane(probe, dict.fromkeys(activations, 256), options=OPTIONS).to(device)
    tasks = {
        "soft-entropy": package_task(probe, activations),
        "plug-in": plugin,
        "all readings": plane_task(plane, probe, activations),
    }
    difference = largest_difference(tasks["soft-entropy"](), tasks["all readings"]())
    seconds = interleaved(tasks, repetitions, wait=wait)
    for name, times in seconds.items():
        print(f"{name:14}{described(times)}", flush=True)
    note = f"plug-in values differ by at most {difference:.1e}"
    taken = [median(seconds[name]) for name in ("plug-in", "all readings")]
    numbers = [median(seconds["soft-entropy"]) / each for each in taken]
    return [(name, number, note, seconds) for name, number in zip(names, numbers, strict=True)]


def _agreement(probe: Probe, device: torch.device) -> list[Finding]:
    """All numbers of a plane, standard errors and ratios included, on the device and on the CPU."""
    activations = made_up_activations(probe, 3, 256)
    found = [_values(probe, activations, place) for place in (torch.device("cpu"), device)]
    difference = largest_difference(*found)
    name = "GPU: float32 readings against those of the CPU, largest difference"
    return [
        (name, difference, f"of {len(found[0])} numbers, fractions of log K and ratios", {"difference": difference})
    ]


def _values(probe: Probe, activations: Mapping[str, Tensor], device: torch.device) -> dict[str, float]:
    plane = InformationPlane(probe, {site: rows.shape[1] for site, rows in activations.items()}).to(device)
    positions = torch.arange(probe.num_positions, device=device)
    for site, rows in activations.items():
        plane.update(site, rows.to(device), positions)
    values = plane.compute()
    return dict(zip(values, torch.stack(list(values.values())).tolist(), strict=True))


def _figures(reached: Mapping[str, tuple[float | None, str]]) -> list[Figure]:
    return [
        Figure(name, relation, bound, reached[name][0], unit, reached[name][1])
        for name, (relation, bound, unit) in FIGURES.items()
    ]


if __name__ == "__main__":
    typer.run(main)
