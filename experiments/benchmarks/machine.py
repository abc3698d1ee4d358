"""What a benchmark ran with and on, for its JSON."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch

import ibtrack


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    return {"python": platform.python_version(), "torch": torch.__version__, "ibtrack": ibtrack.__version__}


def machine() -> dict[str, str | int]:
    """The processor, its cores, and how many threads torch may use."""
    return {"processor": processor(), "cores": os.cpu_count() or 1, "threads": torch.get_num_threads()}


def processor(information: Path = Path("/proc/cpuinfo")) -> str:
    """Name of the processor: Linux has it in a file, elsewhere the platform knows it."""
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
