"""Measure the time of one measurement, against a bare forward pass of the same blocks through the same model.

python experiments/benchmarks/probe.py
python experiments/benchmarks/probe.py --case 256x6 --repetitions 3
python experiments/benchmarks/probe.py --case 256x6 --geometry-rows 2048
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import torch
import typer
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from experiments.benchmarks.figures import Figure, report
from experiments.benchmarks.options import JsonFile, Repetitions, Threads, use_threads
from experiments.benchmarks.text import made_up_text
from experiments.benchmarks.timing import described, interleaved
from ibtrack import InformationPlaneTracker, Probe

CASES = ("128x6", "256x6", "256x12", "768x6", "768x12")
WANTED = {256: 1.15, 768: 1.06}  # greatest ratio, by width
VOCABULARY = 2048
BLOCK_SIZE = 128
BATCH_SIZE = 16
BARE = (
    f"model(batch, use_cache=False) under no_grad in eval mode, all layers and the head, {BATCH_SIZE} blocks of "
    f"{BLOCK_SIZE} tokens a batch, float32; the logits are made and dropped"
)
MEASURED = (
    "InformationPlaneTracker.measure: the same forward passes, the embedding and all layers read, 4 orders on both "
    "sides, plugin, null, debiased and standard errors, and the loss of the head"
)


def main(
    cases: Annotated[
        list[str] | None,
        typer.Option("--case", help=f"Width x layers of a model; may be repeated; by default {', '.join(CASES)}."),
    ] = None,
    blocks: Annotated[int, typer.Option(min=2, help=f"Blocks of the probe, of {BLOCK_SIZE} tokens each.")] = 128,
    repetitions: Repetitions = 7,
    geometry_rows: Annotated[int, typer.Option(min=0, help="Positions of the geometry, measured as well.")] = 0,
    threads: Threads = None,
    file: JsonFile = None,
) -> None:
    """Compare a measurement with a bare forward pass, for Llamas of several sizes."""
    sizes = [parse(case) for case in cases or CASES]
    use_threads(threads)
    print(f"bare: {BARE}", f"measured: {MEASURED}", "", sep="\n")
    probe = Probe(made_up_text(blocks, BLOCK_SIZE, vocabulary=VOCABULARY))
    rows = []
    for width, layers in sizes:
        seconds = measure(llama(width, layers), probe, repetitions, geometry_rows=geometry_rows)
        ratio = median(seconds["measured"]) / median(seconds["bare"])
        print(f"width {width}, {layers} layers: ratio {ratio:.3f}")
        for name, times in seconds.items():
            print(f"    {name:9}{described(times)}", flush=True)
        rows.append({"width": width, "layers": layers, "ratio": ratio, "seconds": seconds})
    about = {"bare": BARE, "measured": MEASURED, "blocks": blocks, "block_size": BLOCK_SIZE}
    about |= {"geometry_rows": geometry_rows}
    report("probe", _figures(rows), rows, file, packages=["transformers"], about=about)


def parse(case: str) -> tuple[int, int]:
    """Return the width and the number of layers of a case.

    Raises:
        typer.BadParameter: The case is not two whole numbers with an x between them, or its width is no multiple of 64.

    Example:
        >>> parse("256x6")
        (256, 6)
    """
    width, _, layers = case.partition("x")
    if not (width.isdecimal() and layers.isdecimal() and int(width) % 64 == 0 and int(width) and int(layers)):
        raise typer.BadParameter(f"--case must be a width, a multiple of 64, x a number of layers, got {case!r}")
    return int(width), int(layers)


def llama(width: int, layers: int) -> nn.Module:
    """Return a Llama with heads of 64 and an inner width of 8 / 3 of its width, in evaluation mode."""
    from transformers import LlamaConfig, LlamaForCausalLM  # not above, as gpu.py runs without transformers

    heads = width // 64
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=round(8 * width / 3 / 64) * 64,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=BLOCK_SIZE,
        use_cache=False,
    )
    torch.manual_seed(0)
    model: nn.Module = LlamaForCausalLM(config)
    return model.eval()


def measure(
    model: nn.Module,
    probe: Probe,
    repetitions: int,
    *,
    batch_size: int = BATCH_SIZE,
    geometry_rows: int = 0,
    run: Callable[[nn.Module, Tensor], object] = lambda model, batch: model(batch, use_cache=False),
    wait: Callable[[], object] = lambda: None,
) -> dict[str, list[float]]:
    """Time bare forward passes and measurements, in turn.

    Args:
        model: The model, in evaluation mode.
        probe: The probe.
        repetitions: Number of rounds that are timed.
        batch_size: Number of blocks in a forward pass.
        geometry_rows: Positions from which the geometry is worked out; with it a third round has it.
        run: Function that runs the model on a batch of blocks.
        wait: Function that waits for the device, called within the time.

    Returns:
        The seconds of each round, for ``bare`` and ``measured``, and for ``geometry`` if it is asked for.
    """
    tracker = InformationPlaneTracker(probe, batch_size=batch_size, strict=True)
    geometric = InformationPlaneTracker(probe, batch_size=batch_size, geometry_rows=geometry_rows, strict=True)
    device = next(model.parameters()).device
    batches = [batch.to(device) for batch in torch.split(probe.inputs, batch_size)]

    def bare() -> None:
        with torch.no_grad():
            for batch in batches:
                run(model, batch)

    rounds: dict[str, Callable[[], object]] = {"bare": bare, "measured": lambda: tracker.measure(model)}
    rounds |= {"geometry": lambda: geometric.measure(model)} if geometry_rows else {}
    return interleaved(rounds, repetitions, wait=wait)


def _figures(rows: list[dict[str, Any]]) -> list[Figure]:
    """Return the greatest ratio of each width for which a ratio is wanted."""
    figures = []
    for width, wanted in WANTED.items():
        ratios = {row["layers"]: row["ratio"] for row in rows if row["width"] == width}
        note = (
            ", ".join(f"{ratio:.3f} with {layers} layers" for layers, ratio in ratios.items()) or "no such case was run"
        )
        worst = max(ratios.values(), default=None)
        figures.append(Figure(f"measurement over bare forward, width {width}", "≤", wanted, worst, note=note))
    return figures


if __name__ == "__main__":
    typer.run(main)
