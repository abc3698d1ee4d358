"""Compare the information plane with the package soft-entropy on the same activations and labels.

The plug-in readings must be equal, and the times of both are measured.

python experiments/benchmarks/reference.py
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from statistics import median
from typing import Annotated, TypeVar

import torch
import typer
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from experiments.benchmarks.figures import Figure, report
from experiments.benchmarks.options import JsonFile, Repetitions, Threads, use_threads
from experiments.benchmarks.text import made_up_text
from experiments.benchmarks.timing import described, interleaved
from ibtrack import Probe, SoftOptions
from ibtrack.information.assignments import draw_anchors
from ibtrack.metrics import InformationPlane

AGREEMENT = 1e-5  # greatest difference; soft-entropy sums in float32
OPTIONS = SoftOptions(temperature="bounds")  # the temperature of soft-entropy
QUANTITY = {"input": "complexity", "output": "expressivity"}

Values = dict[tuple[str, str], float]  # site and label set to I / log K
Key = TypeVar("Key", bound=Hashable)


def main(
    blocks: Annotated[int, typer.Option(min=1, help="Blocks of the probe, of 128 tokens each.")] = 128,
    layers: Annotated[int, typer.Option(min=1, help="Sites of the plane.")] = 6,
    width: Annotated[int, typer.Option(min=4, help="Width of the activations.")] = 256,
    repetitions: Repetitions = 7,
    threads: Threads = None,
    file: JsonFile = None,
) -> None:
    """Compare with soft-entropy; the exit status is 1 if the plug-in values differ.

    Raises:
        typer.Exit: The plug-in values differ.
    """
    use_threads(threads)
    probe = Probe(made_up_text(blocks))
    activations = made_up_activations(probe, layers, width)
    counts = ", ".join(f"{number} {name}" for name, number in probe.label_counts.items())
    print(f"{probe.num_positions} positions, {layers} layers of width {width}, labels: {counts}")
    tasks = {
        "soft-entropy": package_task(probe, activations),
        "plug-in": plugin_task(probe, activations),
        "all readings": plane_task(InformationPlane(probe, _widths(activations), options=OPTIONS), probe, activations),
    }
    values: dict[str, Values] = {}
    seconds = interleaved({name: _keeping(values, name, task) for name, task in tasks.items()}, repetitions)
    for name, times in seconds.items():
        print(f"{name:14}{described(times)}")
    differences = {
        name: largest_difference(values["soft-entropy"], values[name]) for name in ("plug-in", "all readings")
    }
    for name, difference in differences.items():
        print(f"plug-in values of {name!r} differ by at most {difference:.1e}")
    package = median(seconds["soft-entropy"])
    worst = max(differences.values())
    figures = [
        Figure(
            "plug-in of 8 label sets, times faster than soft-entropy",
            "≥",
            80,
            package / median(seconds["plug-in"]),
        ),
        Figure("all readings, times faster than soft-entropy", "≥", 50, package / median(seconds["all readings"])),
        Figure("plug-in against soft-entropy, largest difference", "≤", AGREEMENT, worst),
    ]
    case = {"blocks": blocks, "layers": layers, "width": width, "positions": probe.num_positions}
    about = {**case, "label_counts": probe.label_counts}
    rows = [{"task": name, "seconds": times} for name, times in seconds.items()]
    report("reference", figures, rows, file, packages=["soft-entropy"], about=about)
    if not worst <= AGREEMENT:
        print(f"the plug-in values must equal those of soft-entropy to {AGREEMENT}, got {worst}", file=sys.stderr)
        raise typer.Exit(1)


def made_up_activations(probe: Probe, layers: int, width: int, *, seed: int = 0) -> dict[str, Tensor]:
    """Make activations of the kept positions of a probe: a random vector of the token, and as much noise.

    Args:
        probe: The probe.
        layers: Number of sites, L.
        width: Width of the activations, D.
        seed: Seed of the random numbers.

    Returns:
        The activations by site, float32, (N, D).
    """
    generator = torch.Generator().manual_seed(seed)
    tokens = probe.inputs.flatten()[probe.positions]
    activations = {}
    for layer in range(layers):
        embedding = torch.randn(int(tokens.max()) + 1, width, generator=generator)
        activations[f"L{layer:02d}"] = embedding[tokens] + torch.randn(len(tokens), width, generator=generator)
    return activations


def package_task(probe: Probe, activations: Mapping[str, Tensor]) -> Callable[[], Values]:
    """Return a task that computes the values of all sites by soft-entropy, whose accumulators are made beforehand.

    Args:
        probe: The probe, for its label sets.
        activations: Activations by site, (N, D).

    Raises:
        ValueError: soft-entropy would compute on another device than that of the activations.
    """
    from soft_entropy import SoftEntropyAccumulator  # not above, as gpu.py also runs without it

    width = next(iter(activations.values())).shape[1]
    device = next(iter(activations.values())).device
    accumulators = {site: SoftEntropyAccumulator(d=width, seed=0, backend="torch") for site in activations}
    for accumulator in accumulators.values():
        if accumulator.w.device.type != device.type:
            raise ValueError(
                f"the activations must be where soft-entropy computes, {accumulator.w.device}, got {device}; "
                "it takes a GPU if there is one: set CUDA_VISIBLE_DEVICES= to compare on the processor"
            )
        accumulator.w = draw_anchors(width, accumulator.n_bins).to(device)  # its own differ from device to device

    def run() -> Values:
        values: Values = {}
        for site, rows in activations.items():
            accumulators[site].reset()
            accumulators[site].update(rows, labels=dict(probe.label_sets))
            information = accumulators[site].mutual_information()
            values |= {(site, name): float(value) for name, value in information.items()}
        return values

    return run


def plane_task(plane: InformationPlane, probe: Probe, activations: Mapping[str, Tensor]) -> Callable[[], Values]:
    """Return a task that computes a plane, which is made beforehand, and gives its plug-in values.

    Args:
        plane: The plane.
        probe: Its probe.
        activations: Activations by site, (N, D).
    """
    positions = torch.arange(probe.num_positions, device=next(iter(activations.values())).device)

    def run() -> Values:
        plane.reset()
        for site, rows in activations.items():
            plane.update(site, rows, positions)
        values = plane.compute()
        keys = {(site, name): _plugin_key(site, name) for site in activations for name in probe.label_sets}
        plugin = torch.stack([values[key] for key in keys.values()]).tolist()
        return dict(zip(keys, plugin, strict=True))

    return run


def plugin_task(probe: Probe, activations: Mapping[str, Tensor]) -> Callable[[], Values]:
    """Return a task that computes the plug-in readings only.

    Args:
        probe: The probe.
        activations: Activations by site, (N, D).
    """
    device = next(iter(activations.values())).device
    plane = InformationPlane(probe, _widths(activations), options=OPTIONS, readings=("plugin",))
    return plane_task(plane.to(device), probe, activations)


def largest_difference(one: Mapping[Key, float], other: Mapping[Key, float]) -> float:
    """Return the largest difference of two sets of values under the same names.

    Args:
        one: Name to value.
        other: Name to value.

    Returns:
        The largest absolute difference, ``inf`` if a value is not finite.

    Raises:
        ValueError: The names differ.
    """
    if one.keys() != other.keys():
        raise ValueError(f"both must have the same values, got {list(one)} and {list(other)}")
    differences = torch.tensor([one[key] - other[key] for key in one], dtype=torch.float64).abs()
    return float(differences.nan_to_num(nan=torch.inf).max())


def _plugin_key(site: str, label_set: str) -> str:
    side, _, order = label_set.partition("/")
    return f"ib_plugin/{site}/{order}/{QUANTITY[side]}"


def _widths(activations: Mapping[str, Tensor]) -> dict[str, int]:
    return {site: rows.shape[1] for site, rows in activations.items()}


def _keeping(values: dict[str, Values], name: str, task: Callable[[], Values]) -> Callable[[], None]:
    """Return a task that puts the values of another one under its name."""

    def run() -> None:
        values[name] = task()

    return run


if __name__ == "__main__":
    typer.run(main)
