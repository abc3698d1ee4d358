"""Command-line options that several benchmarks have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer

Threads = Annotated[int | None, typer.Option(min=1, help="Threads of torch; by default as many as it chooses.")]
Repetitions = Annotated[int, typer.Option(min=1, help="Rounds that are timed; medians are taken.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="Override of the configuration; may be repeated.")]
JsonFile = Annotated[Path | None, typer.Option("--json", help="File to write all results to.")]


def use_threads(threads: int | None) -> None:
    """Set the number of threads of torch; None leaves it as it is."""
    if threads is not None:
        torch.set_num_threads(threads)
