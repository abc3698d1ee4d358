"""Measure what it costs to keep what each document adds: time beside a measurement, and bytes of a point.

python experiments/benchmarks/influences.py
python experiments/benchmarks/influences.py --documents 1000
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Annotated

import torch
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from experiments.benchmarks.figures import Figure, report
from experiments.benchmarks.options import JsonFile, Repetitions, Threads, use_threads
from experiments.benchmarks.text import made_up_text
from ibtrack import Point, Probe, SoftOptions
from ibtrack.metrics import InformationPlane
from ibtrack.record.lines import point_lines
from ibtrack.record.values import columns

WIDTH = 64
SITES = 12


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one measurement costs, without the model's own forward pass.

    Attributes:
        documents: Documents of the probe, each of 128 tokens.
        draws: Draws of the anchors.
        readings: Seconds to work out all readings.
        influences: Seconds to collect and pack what documents add.
        line: Seconds to write the point as a line, with them.
        line_without: Seconds to write it without.
        kilobytes: Kilobytes of them in the line.
        kilobytes_of_line: Kilobytes of the line.
    """

    documents: int
    draws: int
    readings: float
    influences: float
    line: float
    line_without: float
    kilobytes: float
    kilobytes_of_line: float

    @property
    def share(self) -> float:
        """Percentage of the time of the readings that keeping influences adds."""
        return 100 * (self.influences + self.line - self.line_without) / self.readings


def main(
    documents: Annotated[int, typer.Option(min=2, help="Documents of the probe, of 128 tokens each.")] = 64,
    draws: Annotated[int, typer.Option(min=1, help="Draws of the anchors.")] = 1,
    repetitions: Repetitions = 5,
    threads: Threads = None,
    file: JsonFile = None,
) -> None:
    """Time the parts of one measurement of twelve sites and four label orders; medians over rounds."""
    use_threads(threads)
    cost = measure(documents, draws, repetitions)
    print(
        f"{documents} documents of 128 tokens, {SITES} sites, 4 orders, {draws} draws: readings {cost.readings:.2f} s, "
        f"influences {1000 * cost.influences:.1f} ms, line {1000 * cost.line:.1f} ms "
        f"(without them {1000 * cost.line_without:.1f} ms) of {cost.kilobytes_of_line:.0f} kB"
    )
    figures = [
        Figure("time that keeping influences adds to the readings", "≤", 5, cost.share, " %", "median of the rounds"),
        Figure("what they take in the line of a point", "≤", 20, cost.kilobytes, " kB", f"{SITES} sites, 4 orders"),
    ]
    report("influences", figures, [asdict(cost)], file)


def measure(documents: int, draws: int, repetitions: int) -> Cost:
    """Time one measurement, part by part.

    Args:
        documents: Documents of the probe.
        draws: Draws of the anchors.
        repetitions: Rounds, of which medians are taken.
    """
    probe = Probe(made_up_text(documents), orders=(1, 2, 3, 4), keep_copies=True)
    names = [f"L{index:02d}" for index in range(SITES)]
    plane = InformationPlane(probe, dict.fromkeys(names, WIDTH), options=SoftOptions(anchor_draws=draws))
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(2048, WIDTH, generator=generator)
    tokens = probe.inputs.flatten()
    for name in names:
        rows = table[tokens] + torch.randn(len(tokens), WIDTH, generator=generator)
        plane.update(name, rows, torch.arange(probe.num_positions), probe.positions)
    rounds = [_round(plane, names) for _ in range(repetitions)]
    times = [median(part) for part in zip(*(seconds for seconds, _ in rounds), strict=True)]
    _, point = rounds[-1]
    packed = json.dumps(point.influences.to_record()) if point.influences else ""
    return Cost(
        documents=documents,
        draws=draws,
        readings=times[0],
        influences=times[1],
        line=times[2],
        line_without=times[3],
        kilobytes=len(packed) / 1000,
        kilobytes_of_line=len(point_lines(point, columns(tuple(point.values)))[0]) / 1000,
    )


def _round(plane: InformationPlane, names: list[str]) -> tuple[tuple[float, float, float, float], Point]:
    begin = perf_counter()
    readings = plane.readings()
    values = {key: float(value) for key, value in plane.values_by_key(readings, plane.mean_cosines(), names).items()}
    read = perf_counter()
    influences = plane.influences(readings, names)
    made = perf_counter()
    point, bare = Point(0, values, influences=influences), Point(0, values)
    named = columns(tuple(values))
    packed = perf_counter()
    point_lines(point, named)
    written = perf_counter()
    point_lines(bare, named)
    end = perf_counter()
    return (read - begin, made - read, written - packed, end - written), point


if __name__ == "__main__":
    typer.run(main)
