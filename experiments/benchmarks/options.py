"""Options that the benchmarks have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer

Threads = Annotated[int | None, typer.Option(min=1, help="Of torch; by default as many as it takes.")]
Repetitions = Annotated[int, typer.Option(min=1, help="Rounds that are timed; medians are taken.")]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Write everything here.")]


def use_threads(threads: int | None) -> None:
    """Let torch use so many threads."""
    if threads is not None:
        torch.set_num_threads(threads)
