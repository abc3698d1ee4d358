"""Measure the seconds that importing ibtrack takes once torch and lightning are imported, in fresh interpreters.

python experiments/benchmarks/imports.py
"""

# ruff: noqa: E402 (the packages of this checkout are put on the path first)
from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from statistics import median

import typer

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from experiments.benchmarks.figures import Figure, report
from experiments.benchmarks.options import JsonFile, Repetitions
from experiments.benchmarks.timing import described

WANTED = 0.15
BEFORE = "import torch, lightning"
AFTER = "from ibtrack import *"  # this resolves all public names
CODE = f"""
import time
marks = [time.perf_counter()]
{BEFORE}
marks.append(time.perf_counter())
{AFTER}
marks.append(time.perf_counter())
print(marks[1] - marks[0], marks[2] - marks[1])
"""


def main(repetitions: Repetitions = 7, file: JsonFile = None) -> None:
    """Time the imports, one interpreter after the other."""
    import_seconds()  # not timed: it brings the files into memory
    before, after = zip(*(import_seconds() for _ in range(repetitions)), strict=True)
    print(f"{BEFORE:24}{described(before)}")
    print(f"{AFTER:24}{described(after)}")
    note = f"median of {repetitions} fresh interpreters: all public names, once torch and lightning are there"
    figures = [Figure("import of ibtrack above torch and lightning", "≤", WANTED, median(after), " s", note)]
    rows = [{"statement": BEFORE, "seconds": before}, {"statement": AFTER, "seconds": after}]
    report("imports", figures, rows, file, packages=["lightning"])


def import_seconds() -> tuple[float, float]:
    """Return the seconds that a fresh interpreter takes for torch and lightning, and then for ibtrack."""
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True, cwd=ROOT)
    before, after = map(float, done.stdout.split())
    return before, after


if __name__ == "__main__":
    typer.run(main)
