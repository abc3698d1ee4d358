"""The versions and the machine that a benchmark ran with, for its JSON."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch

import ibtrack


def versions() -> dict[str, str]:
    """Return the versions of what all numbers depend on."""
    return {"python": platform.python_version(), "torch": torch.__version__, "ibtrack": ibtrack.__version__}


def machine() -> dict[str, str | int]:
    """Return the name of the processor, its number of cores, and the number of threads that torch uses."""
    return {"processor": processor(), "cores": os.cpu_count() or 1, "threads": torch.get_num_threads()}


def processor(information: Path = Path("/proc/cpuinfo")) -> str:
    """Return the name of the processor, from a file on Linux and from Python's platform module elsewhere."""
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
