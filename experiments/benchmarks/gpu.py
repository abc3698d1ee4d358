"""Measure on a GPU what the other benchmarks measure on a CPU, and whether both give the same numbers.

A measurement is timed against a bare forward pass of a decoder with 125 million parameters in bf16, against the wall
time of its training, and against soft-entropy on the same activations; float32 readings are compared with the CPU's.

python experiments/benchmarks/gpu.py
python experiments/benchmarks/gpu.py --device cpu --width 64 --layers 2 --blocks 4    to see that it runs

It needs only torch and what ibtrack itself needs, and soft-entropy for the comparison with it.
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
from ibtrack.tracking.measurement import blocks_at_once

BLOCK_SIZE = 128
PACKAGE_BLOCKS = 128  # of the comparison with soft-entropy, which takes long, and with the CPU
FIGURES = {  # name: relation, bound, unit
    "GPU: measurement over bare forward, 125M, bf16": ("≤", 1.05, ""),
    "GPU: share of wall time, default schedule, 125M run": ("≤", 1.0, " %"),
    "GPU: plug-in of 8 label sets, times faster than soft-entropy": ("≥", 80.0, ""),
    "GPU: all readings, times faster than soft-entropy": ("≥", 50.0, ""),
    "GPU: float32 readings against those of the CPU, largest difference": ("≤", 1e-4, ""),
}


class Block(nn.Module):
    """A layer of a decoder: causal attention and then a feed-forward network, each on normalized input.

    Args:
        width: Width of the activations, D.
        heads: Number of attention heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.feed_forward = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output, (batch_size, T, D), for its input, (batch_size, T, D)."""
        batch, length, width = x.shape
        parts = self.queries_keys_values(self.norms[0](x)).view(batch, length, 3, self.heads, -1)
        queries, keys, values = parts.permute(2, 0, 3, 1, 4).unbind()  # each (batch, heads, T, D / heads)
        attended = scaled_dot_product_attention(queries, keys, values, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).reshape(batch, length, width))
        output: Tensor = x + self.feed_forward(self.norms[1](x))
        return output


class Decoder(nn.Module):
    """A language model like GPT-2, in nothing but torch; its head is its embedding.

    Args:
        width: Width of the activations, D.
        layers: Number of layers, L.
        vocabulary: Number of token ids.
        context: Greatest number of tokens in a block.
    """

    def __init__(self, width: int, layers: int, vocabulary: int, context: int = BLOCK_SIZE) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.places = nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, max(1, width // 64)) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.embedding.weight, std=0.02)  # as in GPT-2
        nn.init.normal_(self.places.weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits, (batch_size, T, vocabulary), for tokens (batch_size, T)."""
        x = self.embedding(tokens) + self.places.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.norm(x) @ self.embedding.weight.T
        return logits


def main(
    device_name: Annotated[str, typer.Option("--device", help="cuda, or cpu to see that the program runs.")] = "cuda",
    width: Annotated[int, typer.Option(min=64, help="Width of the decoder.")] = 768,
    layers: Annotated[int, typer.Option(min=1, help="Layers of the decoder.")] = 12,
    vocabulary: Annotated[int, typer.Option(min=300, help="Token ids of the decoder.")] = 50_304,
    blocks: Annotated[int, typer.Option(min=2, help=f"Blocks of the probe, of {BLOCK_SIZE} tokens each.")] = 512,
    batch_size: Annotated[int, typer.Option(min=1, help="Blocks in a training step.")] = 32,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the training run.")] = 1000,
    repetitions: Repetitions = 7,
    file: JsonFile = None,
) -> None:
    """Measure on a GPU, or say that this machine has none."""
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
    few = Probe(made_up_text(min(blocks, PACKAGE_BLOCKS), BLOCK_SIZE, vocabulary=min(vocabulary, 2048)))
    findings = [
        *_against_forward(model, probe, repetitions, wait),
        *_overhead(model, probe, batch_size, steps, wait),
        *_against_package(few, device, repetitions, wait),
        *_agreement(few, device),
    ]
    reached = {figure: (number, note) for figure, number, note, _ in findings}
    rows = [{"figure": figure, **row} for figure, _, _, row in findings]
    about = {"device": name, "parameters": parameters, "positions": probe.num_positions}
    report("gpu", _figures(reached), rows, file, about=about)


Finding = tuple[str, "float | None", str, dict[str, Any]]  # name of the figure, what is reached, note, measurements


def _against_forward(model: Decoder, probe: Probe, repetitions: int, wait: Callable[[], object]) -> list[Finding]:
    """Time measurements and bare forward passes, both in the batches that a measurement takes by itself."""
    batch_size = blocks_at_once(probe, model.norm.weight.device)
    seconds = measure(model, probe, repetitions, batch_size=batch_size, run=lambda m, batch: m(batch), wait=wait)
    pass_over_memory = _memory_seconds(model, probe, repetitions, wait)
    for name, times in {**seconds, "read once": pass_over_memory}.items():
        print(f"{name:10}{described(times)}", flush=True)
    bare, measured = median(seconds["bare"]), median(seconds["measured"])
    above = (measured - bare) / median(pass_over_memory)
    once = 1e3 * median(pass_over_memory)
    note = (
        f"what is above the forward pass takes {above:.1f} times as long as reading the activations once, {once:.2f} ms"
    )
    name = "GPU: measurement over bare forward, 125M, bf16"
    return [(name, measured / bare, note, {**seconds, "read once": pass_over_memory})]


def _memory_seconds(model: Decoder, probe: Probe, repetitions: int, wait: Callable[[], object]) -> list[float]:
    """Return the seconds of one sum over bf16 activations of all sites and tokens of the probe."""
    rows, width, device = probe.inputs.numel(), model.embedding.embedding_dim, model.norm.weight.device
    num_sites = 1 + len(model.blocks)  # together they are more than a cache holds
    sites = [torch.ones(rows, width, dtype=torch.bfloat16, device=device) for _ in range(num_sites)]
    return interleaved({"read": lambda: [site.sum() for site in sites]}, repetitions, wait=wait)["read"]


def _overhead(model: Decoder, probe: Probe, batch_size: int, steps: int, wait: Callable[[], object]) -> list[Finding]:
    """Time training without a tracker, and with one that measures by the default schedule."""
    tracker = InformationPlaneTracker(probe, strict=True)
    unwatched = _train(model, batch_size, steps, wait, lambda step: None)
    watched = _train(model, batch_size, steps, wait, lambda step: tracker.step(model, step))
    share = tracker.trajectory.points[-1].values["ib/overhead_fraction"]
    note = (
        f"ib/overhead_fraction after {len(tracker.trajectory.points)} points in {steps} steps of {batch_size} blocks; "
        f"with against without, one run each: {100 * (1 - unwatched / watched):.2f} %"
    )
    print(f"{steps} steps: {unwatched:.1f} s, and {watched:.1f} s watched", flush=True)
    row = {"steps": steps, "without": unwatched, "with": watched}
    return [("GPU: share of wall time, default schedule, 125M run", 100 * share, note, row)]


def _train(
    model: Decoder, batch_size: int, steps: int, wait: Callable[[], object], after: Callable[[int], object]
) -> float:
    """Return the seconds of a plain training loop in bf16."""
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
        torch.autograd.backward(loss)
        optimizer.step()
        after(step)
    wait()
    return time.perf_counter() - began


def _against_package(probe: Probe, device: torch.device, repetitions: int, wait: Callable[[], object]) -> list[Finding]:
    """Time the readings and soft-entropy as reference.py does, on the device."""
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
    """Compare all numbers of a plane, standard errors and ratios included, on the device and on the CPU."""
    activations = made_up_activations(probe, 3, 256)
    on_cpu, on_device = (_values(probe, activations, place) for place in (torch.device("cpu"), device))
    difference = largest_difference(_by_size(on_cpu, on_cpu), _by_size(on_device, on_cpu))
    name = "GPU: float32 readings against those of the CPU, largest difference"
    return [(name, difference, f"of {len(on_cpu)} numbers, those above 1 by their size", {"difference": difference})]


def _by_size(values: Mapping[str, float], reference: Mapping[str, float]) -> dict[str, float]:
    """Divide numbers above 1, such as z, by their size; nan stays."""
    return {key: value / max(1.0, abs(reference[key])) for key, value in values.items()}


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
