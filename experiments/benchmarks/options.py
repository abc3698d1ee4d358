"""Options that the benchmarks have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import torch
import typer

Threads = Annotated[Optional[int], typer.Option(min=1, help="Of torch; by default as many as it takes.")]  # noqa: UP045
Repetitions = Annotated[int, typer.Option(min=1, help="Rounds that are timed; medians are taken.")]
JsonFile = Annotated[Optional[Path], typer.Option("--json", help="Write everything here.")]  # noqa: UP045


def use_threads(threads: int | None) -> None:
    """Let torch use so many threads."""
    if threads is not None:
        torch.set_num_threads(threads)
