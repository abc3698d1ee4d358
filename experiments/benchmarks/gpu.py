"""Measure on a GPU what the other benchmarks measure on a CPU, and whether both give the same numbers.

A measurement is timed against a bare forward pass of a decoder with 125 million parameters in bf16, part by part and
for two sizes of the probe, against the wall time of its training, and against soft-entropy on the same activations;
float32 readings are compared with the CPU's, and readings as a CUDA graph with plain ones.

Each part stands for itself: if one fails, the others run, the file says why, and the exit status is 1. The file is
written after each part.

python experiments/benchmarks/gpu.py
python experiments/benchmarks/gpu.py --device cpu --width 64 --layers 2 --blocks 4    to see that it runs

It needs only torch and what ibtrack itself needs, and soft-entropy for the comparison with it.
"""

from __future__ import annotations

import gc
import importlib.util
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import torch
import typer
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from experiments.benchmarks.figures import Figure, report, save
from experiments.benchmarks.gpu_parts import (
    ceilings,
    launches_of_a_measurement,
    losses,
    parts_of_a_measurement,
    readings_as_a_graph,
    readings_beside_training,
    scores,
)
from experiments.benchmarks.options import JsonFile, Repetitions
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
PACKAGE_BLOCKS = 128  # of the comparison with soft-entropy, which takes long, and with the CPU
PACKAGE_SITES = 6
SMALL_BLOCKS = 64  # of the default probe
LOSS_ROWS = 1 << 14  # of the comparison of losses: one batch of the probe
FIGURES = {  # name: relation, bound, unit
    "GPU: measurement over bare forward, 125M, bf16": ("≤", 1.05, ""),
    "GPU: measurement over bare forward, 125M, bf16, default probe": ("≤", 1.5, ""),
    "GPU: kernels launched by the readings of a point": ("≤", 600, ""),
    # sums in float64 whose order differs each time: two plain readings of the same rows are no closer. Under
    # deterministic algorithms there is no difference, which tests/test_cuda.py looks at
    "GPU: readings as a graph, largest difference from plain ones": ("≤", 1e-15, ""),
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
    seconds: Annotated[float, typer.Option(min=0, help="After so many seconds no further part is begun.")] = 600,
    file: JsonFile = None,
) -> None:
    """Measure on a GPU, or say that this machine has none.

    Raises:
        typer.Exit: A part has failed; the exit status is 1.
    """
    device = torch.device(device_name)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("The benchmarks of a GPU were not run: this machine has none that torch can use.")
        missing = {name: (None, "no GPU that torch can use") for name in FIGURES}
        report("gpu", _figures(missing), [], file, about={"device": None})
        return
    torch.manual_seed(0)
    model = Decoder(width, layers, vocabulary).to(device, torch.bfloat16).eval()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "the CPU"
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(f"{name}; {parameters / 1e6:.1f} million parameters in bf16, {blocks} blocks of {BLOCK_SIZE} tokens")
    setting = Setting(
        model=model,
        wait=torch.cuda.synchronize if device.type == "cuda" else lambda: None,
        repetitions=repetitions,
        blocks=blocks,
        batch_size=batch_size,
        steps=steps,
    )
    parts = {name: part for name, part in PARTS.items() if device.type == "cuda" or name not in ONLY_ON_A_GPU}
    about = {"device": name, "parameters": parameters, "positions": setting.probe(blocks).num_positions}
    findings, failed = _run_parts(parts, setting, time.monotonic() + seconds, file, about)
    reached = {figure: (number, note) for figure, number, note, _ in findings}
    report("gpu", _figures(reached), _rows(findings), file, about=about | {"failed": failed})
    if failed:
        raise typer.Exit(1)


Finding = tuple[str, "float | None", str, dict[str, Any]]  # name of the figure, what is reached, note, measurements


@dataclass(frozen=True)
class Setting:
    """What the parts of the benchmark are given.

    Attributes:
        model: The decoder, in bf16.
        wait: Waits for the device.
        repetitions: Rounds that are timed.
        blocks: Blocks of the probe.
        batch_size: Blocks in a training step.
        steps: Steps of the training run.
    """

    model: Decoder
    wait: Callable[[], object]
    repetitions: int
    blocks: int
    batch_size: int
    steps: int

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        device: torch.device = self.model.norm.weight.device
        return device

    def probe(self, blocks: int) -> Probe:
        """Make a probe of so many blocks."""
        return Probe(made_up_text(blocks, BLOCK_SIZE, vocabulary=min(self.model.embedding.num_embeddings, 2048)))


def _run_parts(
    parts: Mapping[str, Callable[[Setting], list[Finding]]],
    setting: Setting,
    end: float,
    file: Path | None,
    about: Mapping[str, Any],
) -> tuple[list[Finding], dict[str, str]]:
    """Run one part after the other; one that fails, or for which there is no time left, is named with the reason."""
    findings: list[Finding] = []
    failed: dict[str, str] = {}
    for name, part in parts.items():
        if time.monotonic() > end:
            failed[name] = "not run: no time was left"
            continue
        print(f"\n{name}", flush=True)
        began = time.monotonic()
        try:
            findings += part(setting)
        except Exception:
            failed[name] = traceback.format_exc()
            print(failed[name], flush=True)
        gc.collect()  # what a failed part held on to, and metrics, which are in reference cycles
        print(f"  {name} took {time.monotonic() - began:.0f} s", flush=True)
        if file is not None:
            reached = {figure: (number, note) for figure, number, note, _ in findings}
            save("gpu", _figures(reached), _rows(findings), file, about={**about, "failed": failed})
    return findings, failed


def _rows(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    return [{"figure": figure, **row} for figure, _, _, row in findings]


def _against_forward(setting: Setting) -> list[Finding]:
    """Time measurements and bare forward passes, part by part, for the probe."""
    pass_over_memory = _memory_seconds(setting)
    seconds = parts_of_a_measurement(setting.model, setting.probe(setting.blocks), setting.repetitions, setting.wait)
    bare, measured = median(seconds["bare"]), median(seconds["whole"])
    above = (measured - bare) / median(pass_over_memory)
    once = 1e3 * median(pass_over_memory)
    note = (
        f"what is above the forward pass takes {above:.1f} times as long as reading the activations once, {once:.2f} ms"
    )
    name = "GPU: measurement over bare forward, 125M, bf16"
    return [(name, measured / bare, note, {**seconds, "read once": pass_over_memory})]


def _against_forward_by_default(setting: Setting) -> list[Finding]:
    """Do the same for the default probe."""
    probe = setting.probe(min(SMALL_BLOCKS, setting.blocks))
    seconds = parts_of_a_measurement(setting.model, probe, setting.repetitions, setting.wait)
    bare, measured = median(seconds["bare"]), median(seconds["whole"])
    name = "GPU: measurement over bare forward, 125M, bf16, default probe"
    return [(name, measured / bare, f"{1e3 * (measured - bare):.1f} ms above a pass of {1e3 * bare:.1f} ms", seconds)]


def _launches(setting: Setting) -> list[Finding]:
    """Count kernels, for the probe and the default one."""
    findings: list[Finding] = []
    for blocks in (min(SMALL_BLOCKS, setting.blocks), setting.blocks):
        rows = launches_of_a_measurement(setting.model, setting.probe(blocks))
        number, taken = rows["readings"]["kernels"], rows["readings"]["milliseconds"]
        note = f"of {len(setting.model.blocks) + 1} sites, {blocks} blocks; the kernels take {taken:.1f} ms"
        findings.append(("GPU: kernels launched by the readings of a point", float(number), note, rows))
    return findings


def _graph(setting: Setting) -> list[Finding]:
    """Capture readings as one graph, for the default probe and the larger one."""
    findings: list[Finding] = []
    for blocks in (min(SMALL_BLOCKS, setting.blocks), setting.blocks):
        row = readings_as_a_graph(setting.model, setting.probe(blocks), setting.repetitions, setting.wait)
        plain, graph = (1e3 * median(row[name]) for name in ("plain", "graph"))
        note = (
            f"two plain ones differ by {row['difference of two plain ones']:.1e}; {plain:.1f} ms plain and "
            f"{graph:.1f} as a graph, which holds {row['bytes held'] / 1e9:.2f} GB"
        )
        difference = max(row["difference"], row["difference on other rows"])
        findings.append(("GPU: readings as a graph, largest difference from plain ones", difference, note, row))
    return findings


def _kernels_apart(setting: Setting) -> list[Finding]:
    """Measure what the GPU can do at best, and the loss and the scores by themselves."""
    vocabulary, width = setting.model.embedding.num_embeddings, setting.model.embedding.embedding_dim
    rows = min(LOSS_ROWS, setting.blocks * BLOCK_SIZE)
    row: dict[str, Any] = {
        "losses": losses(vocabulary, rows, setting.device, setting.repetitions, setting.wait),
        "scores": scores(width, rows, setting.device, setting.repetitions, setting.wait),
    }
    if setting.device.type == "cuda":
        row["ceilings"] = ceilings(setting.device)
    return [("parts by themselves", None, "", row)]


def _memory_seconds(setting: Setting) -> list[float]:
    """Return the seconds of one sum over bf16 activations of all sites and tokens of the probe."""
    rows, width = setting.blocks * BLOCK_SIZE, setting.model.embedding.embedding_dim
    num_sites = 1 + len(setting.model.blocks)  # together they are more than a cache holds
    sites = [torch.ones(rows, width, dtype=torch.bfloat16, device=setting.device) for _ in range(num_sites)]
    return interleaved({"read": lambda: [site.sum() for site in sites]}, setting.repetitions, wait=setting.wait)["read"]


def _overhead(setting: Setting) -> list[Finding]:
    """Time training without a tracker, and with one that measures by the default schedule."""
    model, batch_size, steps, wait = setting.model, setting.batch_size, setting.steps, setting.wait
    tracker = InformationPlaneTracker(setting.probe(setting.blocks), strict=True, verbose=False)
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


def _beside_training(setting: Setting) -> list[Finding]:
    """Time readings on a stream of their own, for the default probe and the larger one."""
    findings: list[Finding] = []
    for blocks in (min(SMALL_BLOCKS, setting.blocks), setting.blocks):
        step = _training_steps(setting.model, setting.batch_size)
        row = readings_beside_training(
            setting.model, setting.probe(blocks), partial(next, step), setting.repetitions, setting.wait
        )
        findings.append(("readings beside training", None, "", {"blocks": blocks, **row}))
    return findings


def _train(
    model: Decoder, batch_size: int, steps: int, wait: Callable[[], object], after: Callable[[int], object]
) -> float:
    """Return the seconds of a plain training loop in bf16."""
    step_by_step = _training_steps(model, batch_size)
    wait()
    began = time.perf_counter()
    after(0)
    for step in range(1, steps + 1):
        next(step_by_step)
        after(step)
    wait()
    return time.perf_counter() - began


def _training_steps(model: Decoder, batch_size: int) -> Iterator[None]:
    """Take a step of training whenever the next one is asked for."""
    device, vocabulary = model.norm.weight.device, model.embedding.num_embeddings
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    batches = made_up_text(16 * batch_size, BLOCK_SIZE, vocabulary=min(vocabulary, 2048), seed=1).to(device)
    for batch in cycle(batches.split(batch_size)):
        loss = cross_entropy(model(batch)[:, :-1].flatten(0, 1).float(), batch[:, 1:].flatten())
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        yield


def _against_package(setting: Setting) -> list[Finding]:
    """Time the readings and soft-entropy as reference.py does, on the device."""
    probe, device = setting.probe(min(setting.blocks, PACKAGE_BLOCKS)), setting.device
    names = [name for name in FIGURES if "soft-entropy" in name]
    if importlib.util.find_spec("soft_entropy") is None:
        return [(name, None, "soft-entropy is not installed", {}) for name in names]
    activations = {site: rows.to(device) for site, rows in made_up_activations(probe, PACKAGE_SITES, 256).items()}
    one_site = dict(list(activations.items())[:1])
    plane = InformationPlane(probe, dict.fromkeys(activations, 256), options=OPTIONS).to(device)
    tasks = {
        "plug-in": plugin_task(probe, activations),
        "all readings": plane_task(plane, probe, activations),
    }
    seconds = interleaved(tasks, setting.repetitions, wait=setting.wait)
    package = package_task(probe, one_site)  # calls for each label, and so takes long: a site, once
    began = time.perf_counter()
    expected = package()
    setting.wait()
    seconds["soft-entropy, a site"] = [time.perf_counter() - began]
    ours = tasks["all readings"]()
    difference = largest_difference(expected, {key: ours[key] for key in expected})
    for name, times in seconds.items():
        print(f"  {name:21}{described(times)}")
    note = f"{PACKAGE_SITES} sites, of which it worked out one; plug-in values differ by at most {difference:.1e}"
    theirs = PACKAGE_SITES * seconds["soft-entropy, a site"][0]
    numbers = [theirs / median(seconds[name]) for name in tasks]
    return [(name, number, note, seconds) for name, number in zip(names, numbers, strict=True)]


def _agreement(setting: Setting) -> list[Finding]:
    """Compare all numbers of a plane, standard errors and ratios included, on the device and on the CPU."""
    probe, device = setting.probe(min(setting.blocks, PACKAGE_BLOCKS)), setting.device
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
    figures = []
    for name, (relation, bound, unit) in FIGURES.items():
        number, note = reached.get(name, (None, "not run"))
        figures.append(Figure(name, relation, bound, number, unit, note))
    return figures


PARTS: dict[str, Callable[[Setting], list[Finding]]] = {  # the most telling first, as time may run out
    "against a forward pass, default probe": _against_forward_by_default,
    "against a forward pass": _against_forward,
    "kernels": _launches,
    "float32 readings against those of the CPU": _agreement,
    "loss, scores and ceilings": _kernels_apart,
    "readings as a graph": _graph,
    "readings beside training": _beside_training,
    "against soft-entropy": _against_package,
    "share of wall time": _overhead,
}
ONLY_ON_A_GPU = ("kernels", "readings as a graph", "readings beside training")


if __name__ == "__main__":
    typer.run(main)
