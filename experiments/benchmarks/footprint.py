"""Measure the time and the memory that one measurement takes, against a bare forward pass.

It takes one case as JSON and prints JSON; scaling.py starts it for every case, in a process of its own.

python experiments/benchmarks/footprint.py '{"positions": 100000, "layers": 2}'
"""

from __future__ import annotations

import ctypes
import json
import resource
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from experiments.benchmarks.text import made_up_text
from ibtrack import InformationPlaneTracker, Probe, SoftOptions

BLOCK_SIZE = 128
BATCH_SIZE = 16
MARGIN = 7  # so many positions of a block, at its ends, do not have all k-grams up to k = 4
GIB = 1 << 30


@dataclass(frozen=True)
class Case:
    """What to measure.

    Attributes:
        positions: Number of positions, N, rounded up to whole blocks.
        layers: Number of measured layers, L.
        width: Width of the activations, D.
        anchors: Number of anchors, K.
        labels: Number of labels of each of the 8 label sets, M, drawn at random; 0 takes the k-grams of a made-up text.
        repetitions: Number of measurements, as long as they take less than ``seconds``.
        seconds: Seconds after which no further repetition begins.
        limit: Memory in GiB that the process may take.
        threads: Number of threads that torch uses.
    """

    positions: int = 65_536
    layers: int = 1
    width: int = 256
    anchors: int = 100
    labels: int = 0
    repetitions: int = 7
    seconds: float = 60.0
    limit: float = 8.0
    threads: int = 1


class Emitter(nn.Module):
    """A layer that does next to nothing: it turns and shifts its input.

    Args:
        width: Width of the activations, D.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.randn(width) / 2)

    def forward(self, activations: Tensor) -> Tensor:
        """Return activations of the same shape."""
        return activations.roll(7, -1) + self.shift


class Stub(nn.Module):
    """A model without a head whose activations depend on a token, the two tokens before it and its place in the block.

    Args:
        vocabulary: Number of token ids.
        width: Width of the activations, D.
        layers: Number of layers, L.
    """

    def __init__(self, vocabulary: int, width: int, layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.place = nn.Parameter(torch.randn(BLOCK_SIZE, width))
        self.blocks = nn.ModuleList(Emitter(width) for _ in range(layers))

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        """Return the activations of the last layer, (batch_size, T, D), for tokens (batch_size, T)."""
        vectors = self.embedding(tokens)
        activations = vectors + 0.5 * vectors.roll(1, 1) + 0.25 * vectors.roll(2, 1) + 0.5 * self.place
        for block in self.blocks:
            activations = block(activations)
        return {"last_hidden_state": activations}


def run(case: Case) -> dict[str, object]:
    """Measure a case.

    Args:
        case: The case.

    Returns:
        The numbers of positions and labels; the seconds of the preparation, which is done once, of each measurement,
        and of a bare forward pass; the peak of memory in bytes, above what the model, the probe and one batch take, and
        of the whole process.
    """
    torch.set_num_threads(case.threads)
    torch.manual_seed(0)
    probe = make_probe(case)
    model = Stub(int(probe.inputs.max()) + 1, case.width, case.layers)
    with torch.no_grad():
        model(probe.inputs[:BATCH_SIZE])
    return_freed_memory()
    before = memory("VmRSS")
    reset_peak()
    tracker = InformationPlaneTracker(
        probe,
        layers="blocks.*",
        options=SoftOptions(num_anchors=case.anchors),
        batch_size=BATCH_SIZE,
        strict=True,
        verbose=False,
    )
    began = time.perf_counter()
    tracker.start(model)
    prepared = time.perf_counter() - began
    seconds: list[float] = []
    while len(seconds) < case.repetitions and sum(seconds) < case.seconds:
        began = time.perf_counter()
        tracker.measure(model)
        seconds.append(time.perf_counter() - began)
    peak = memory("VmHWM")
    return {
        "num_positions": probe.num_positions,
        "label_counts": probe.label_counts,
        "prepared": prepared,
        "measured": seconds,
        "bare": bare_seconds(model, probe),
        "peak_above": peak - before,
        "peak": peak,
    }


def make_probe(case: Case) -> Probe:
    """Make a probe of made-up text, whose labels are k-grams or are drawn at random."""
    blocks = -(-case.positions // (BLOCK_SIZE - MARGIN))
    tokens = made_up_text(blocks, BLOCK_SIZE)
    if not case.labels:
        return Probe(tokens)
    names = [f"{side}/{order}" for order in "abcd" for side in ("input", "output")]
    return Probe(tokens, labels={name: torch.randint(case.labels, tokens.shape) for name in names})


def bare_seconds(model: nn.Module, probe: Probe) -> float:
    """Return the seconds that the forward passes of a measurement take alone."""
    began = time.perf_counter()
    with torch.no_grad():
        for batch in torch.split(probe.inputs, BATCH_SIZE):
            model(batch)
    return time.perf_counter() - began


def memory(name: str) -> int:
    """Return the resident memory of this process in bytes.

    Args:
        name: ``VmRSS`` for the memory at this time, ``VmHWM`` for its peak.

    Raises:
        OSError: The system has no /proc.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:"))


def reset_peak() -> None:
    """Set the peak of memory to what is resident now (Linux, proc(5))."""
    Path("/proc/self/clear_refs").write_text("5")


def return_freed_memory() -> None:
    """Return freed memory to the system; the measurement would reuse it otherwise, and seem to take less."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def limit_memory(gib: float) -> None:
    """Let allocations beyond this limit fail, before the machine runs out of memory."""
    number = int(gib * GIB)
    resource.setrlimit(resource.RLIMIT_DATA, (number, number))


if __name__ == "__main__":
    case = Case(**json.loads(sys.argv[1]))
    limit_memory(case.limit)
    print(json.dumps({**asdict(case), **run(case)}))
