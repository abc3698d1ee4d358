"""Measure what a replay of checkpoints on this machine takes beside loading them and running the probe, and no more.

python experiments/benchmarks/replay.py
python experiments/benchmarks/replay.py --width 384 --layers 8 --checkpoints 8
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, Any
from unittest import mock

import torch
import typer
from torch import nn
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from experiments.benchmarks.figures import Figure, report
from experiments.benchmarks.options import JsonFile, Repetitions, Threads, use_threads
from experiments.benchmarks.text import made_up_text
from experiments.benchmarks.timing import described, interleaved
from ibtrack import Probe
from ibtrack.replay import loop
from ibtrack.replay.checkpoint import Checkpoint
from ibtrack.replay.loading import load_model
from ibtrack.replay.loop import replay
from ibtrack.replay.memory import share_out
from ibtrack.replay.plan import Plan, find_checkpoints
from ibtrack.tracking.measurement import BLOCKS_AT_ONCE

WANTED = 1.25
DOCUMENTS = 64  # of 128 tokens
ALONE, BESIDE, IN_TURN = "load and forward", "replay", "replay, loading in turn"


@dataclass(frozen=True, kw_only=True)
class Times:
    """Seconds of one round over all checkpoints.

    Attributes:
        task: What was timed.
        seconds: Seconds of each round.
        processor_seconds: Seconds of processors that each round took, which other programs of the machine do not add
            to.
    """

    task: str
    seconds: list[float]
    processor_seconds: list[float]


def main(
    width: Annotated[int, typer.Option(min=8, help="Width of the model.")] = 256,
    layers: Annotated[int, typer.Option(min=1, help="Blocks of the model.")] = 8,
    vocabulary: Annotated[int, typer.Option(min=2048, help="Tokens that the model knows.")] = 8_192,
    checkpoints: Annotated[int, typer.Option(min=2, help="Checkpoints of a round.")] = 12,
    repetitions: Repetitions = 5,
    threads: Threads = None,
    file: JsonFile = None,
) -> None:
    """Time loading and forward passes alone, a replay, and one that loads when it has measured, in turn."""
    use_threads(threads)
    probe = Probe(made_up_text(DOCUMENTS), keep_copies=True)
    with tempfile.TemporaryDirectory() as folder:
        parameters = save(Path(folder), width, layers, vocabulary, checkpoints)
        plan = find_checkpoints(folder)
        tasks: dict[str, Callable[[], object]] = {
            ALONE: partial(load_and_run, plan, probe),
            BESIDE: partial(replay, plan, probe),
            IN_TURN: partial(replay_in_turn, plan, probe),
        }
        work: dict[str, list[float]] = {name: [] for name in tasks}
        seconds = interleaved({name: partial(counted, task, work[name]) for name, task in tasks.items()}, repetitions)
    work = {name: each[1:] for name, each in work.items()}  # without the round that warms up
    for name, each in seconds.items():
        print(f"{name}: {described(each)}; of processors {described(work[name])}")
    note = (
        f"{parameters / 1e6:.1f} M parameters, {checkpoints} checkpoints, {DOCUMENTS} documents of 128 tokens, "
        f"{torch.get_num_threads()} threads; median of the rounds' ratios, {ratio(work, BESIDE):.3f} of processor time"
    )
    figures = [
        Figure("time of a replay over loading and forward passes alone", "≤", WANTED, ratio(seconds, BESIDE), "", note),
        Figure("the same, loading in turn", "≤", WANTED, ratio(seconds, IN_TURN)),
    ]
    rows = [asdict(Times(task=name, seconds=each, processor_seconds=work[name])) for name, each in seconds.items()]
    report("replay", figures, rows, file, packages=("transformers", "safetensors"))


def counted(task: Callable[[], object], into: list[float]) -> None:
    """Do a task, and note the seconds of processors that it took, those of its threads included.

    Args:
        task: The task.
        into: List that takes the seconds.
    """
    began = time.process_time()
    task()
    into.append(time.process_time() - began)


def ratio(seconds: dict[str, list[float]], task: str) -> float:
    """Divide each round of a task by that of loading and forward passes alone, and take the median.

    Args:
        seconds: Name of a task to its seconds in every round.
        task: The task.
    """
    return median(one / alone for one, alone in zip(seconds[task], seconds[ALONE], strict=True))


def save(folder: Path, width: int, layers: int, vocabulary: int, checkpoints: int) -> int:
    """Save models of random weights under rising steps.

    Returns:
        Number of parameters of each.
    """
    sizes: dict[str, Any] = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": width // 64 or 1}
    for step in range(checkpoints):
        torch.manual_seed(step)
        model = GPTNeoXForCausalLM(
            GPTNeoXConfig(vocab_size=vocabulary, intermediate_size=4 * width, max_position_embeddings=128, **sizes)
        )
        model.save_pretrained(folder / f"step{step}")
    return sum(parameter.numel() for parameter in model.parameters())


def load_and_run(plan: Plan, probe: Probe) -> None:
    """Load every checkpoint and run the probe through it, in batches as large as those of a measurement."""
    for checkpoint in plan.choose():
        model = load(plan, checkpoint)
        with torch.no_grad():
            for inputs in probe.inputs.split(BLOCKS_AT_ONCE):
                model(inputs)


def load(plan: Plan, checkpoint: Checkpoint) -> nn.Module:
    """Load a checkpoint where it lies."""
    return load_model(plan.fetch(checkpoint, Path()), checkpoint)


def replay_in_turn(plan: Plan, probe: Probe) -> None:
    """Replay as where memory has no room for a model beside the one that is measured."""

    def alone(model: nn.Module) -> Any:
        return share_out(model)._replace(beside=False)

    with mock.patch.object(loop, "share_out", alone):
        replay(plan, probe)


if __name__ == "__main__":
    typer.run(main)
