"""Time and memory of measuring one model, in a process of its own: the program that scaling.py starts.

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
MARGIN = 7  # positions at the ends of a block that do not have all k-grams up to k = 4
GIB = 1 << 30


@dataclass(frozen=True)
class Case:
    """What to measure.

    Attributes:
        positions: N, about; whole blocks are made.
        layers: sites.
        width: D.
        anchors: K.
        labels: M of each of the 8 label sets, drawn at random; 0 for the k-grams of a made-up text.
        repetitions: of the measurement, as long as they take less than ``seconds``.
        seconds: after which no other repetition begins.
        limit: GiB of memory that the process may take.
        threads: of torch.
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
    """A block that does next to nothing: it shifts its input to another direction."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.randn(width) / 2)

    def forward(self, activations: Tensor) -> Tensor:
        return activations.roll(7, -1) + self.shift


class Stub(nn.Module):
    """A model that makes activations as it goes: of a token, the two before it and its place. It has no head."""

    def __init__(self, vocabulary: int, width: int, layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.place = nn.Parameter(torch.randn(BLOCK_SIZE, width))
        self.blocks = nn.ModuleList(Emitter(width) for _ in range(layers))

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        vectors = self.embedding(tokens)
        activations = vectors + 0.5 * vectors.roll(1, 1) + 0.25 * vectors.roll(2, 1) + 0.5 * self.place
        for block in self.blocks:
            activations = block(activations)
        return {"last_hidden_state": activations}


def run(case: Case) -> dict[str, object]:
    """Measure a case.

    Returns:
        positions and label counts as they came out; seconds of what is done once, of each measurement and of a bare
        forward pass; bytes of memory that all of it took at its peak above the model, the probe and one batch, and of
        the whole process.
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
        probe, layers="blocks.*", options=SoftOptions(num_anchors=case.anchors), batch_size=BATCH_SIZE, strict=True
    )
    began = time.perf_counter()
    tracker.start(model)
    prepared = time.perf_counter() - began
    seconds: list[float] = []
    while len(seconds) < case.repetitions and sum(seconds) < case.seconds:
        began = time.perf_counter()
        point = tracker.measure(model)
        seconds.append(time.perf_counter() - began)
    if point.failure is not None:
        raise RuntimeError(f"the measurement must succeed, got: {point.failure}")
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
    """Blocks of made-up text, with their k-grams as labels or with labels drawn at random."""
    blocks = -(-case.positions // (BLOCK_SIZE - MARGIN))
    tokens = made_up_text(blocks, BLOCK_SIZE)
    if not case.labels:
        return Probe(tokens)
    names = [f"{side}/{order}" for order in "abcd" for side in ("input", "output")]
    return Probe(tokens, labels={name: torch.randint(case.labels, tokens.shape) for name in names})


def bare_seconds(model: nn.Module, probe: Probe) -> float:
    """Of the forward passes alone."""
    began = time.perf_counter()
    with torch.no_grad():
        for batch in probe.inputs.split(BATCH_SIZE):
            model(batch)
    return time.perf_counter() - began


def memory(name: str) -> int:
    """Bytes that the kernel counts under ``VmRSS``, what is resident, or ``VmHWM``, its peak.

    Raises:
        OSError: there is no /proc.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:"))


def reset_peak() -> None:
    """Let the peak begin anew from what is resident now (Linux, proc(5))."""
    Path("/proc/self/clear_refs").write_text("5")


def return_freed_memory() -> None:
    """Give back what making the probe has freed; else measuring would reuse it and seem to take less."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def limit_memory(gib: float) -> None:
    """Let allocations beyond this fail, instead of the whole machine."""
    number = int(gib * GIB)
    resource.setrlimit(resource.RLIMIT_DATA, (number, number))


if __name__ == "__main__":
    case = Case(**json.loads(sys.argv[1]))
    limit_memory(case.limit)
    print(json.dumps({**asdict(case), **run(case)}))
