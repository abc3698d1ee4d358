"""A Vega-Lite spec becomes a PNG, in a process of its own.

The program that draws is not Python: what it cannot bear ends its process, and no exception is left to catch. So it has
its own, which knows nothing of the caller's ``__main__``, and a training loop that asked for a picture goes on.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from ibtrack.record.texts import printable, reason

LONGEST_DRAWING = 120.0  # seconds; a chart of ten thousand points takes two


def png(spec: Mapping[str, Any], *, scale: float = 2, timeout: float = LONGEST_DRAWING) -> bytes:
    """Draw a spec as a PNG, in half a second or more.

    Args:
        spec: Vega-Lite spec with its data.
        scale: Pixels per unit of the chart.
        timeout: Seconds after which the drawing is given up.

    Raises:
        RuntimeError: The spec could not be drawn, was not drawn in time, or ended the process that draws.
    """
    folders = os.pathsep.join(map(os.path.abspath, sys.path))  # where this process finds its packages
    try:
        done = subprocess.run(
            [sys.executable, "-m", "ibtrack.report.draw"],
            input=json.dumps({"spec": spec, "scale": scale}).encode(),
            capture_output=True,
            timeout=timeout,
            env={**os.environ, "PYTHONPATH": folders, "PYTHONSAFEPATH": "1"},  # not what lies in the current folder
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"the chart was not drawn within {timeout:g} s") from error
    if done.returncode != 0:
        raise RuntimeError(f"the chart could not be drawn: {_last_words(done)}")
    return done.stdout


def _last_words(done: subprocess.CompletedProcess[bytes]) -> str:
    """Say how a process ended, and the last line that it wrote about that."""
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    line = printable(lines[-1], longest=300) if lines else "it left no message"
    if done.returncode > 0:
        return line
    return f"the process that draws was ended by signal {signal.Signals(-done.returncode).name} ({line})"


def _draw() -> None:
    """Read a spec, write its picture: what the other process does."""
    order = json.load(sys.stdin.buffer)
    try:
        import vl_convert

        picture = vl_convert.vegalite_to_png(order["spec"], scale=order["scale"])
    except Exception as error:
        sys.exit(reason(error))  # the last line that the caller reads
    sys.stdout.buffer.write(picture)


if __name__ == "__main__":
    _draw()
