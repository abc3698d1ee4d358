"""Lines of text on the terminal, above the progress bars of a training loop."""

from __future__ import annotations

import sys


def print_line(line: str) -> None:
    """Print a line at once; where bars of tqdm are drawn, as by ``transformers.Trainer``, above them.

    Args:
        line: Text without a line break.

    Example:
        >>> print_line("ibtrack: points go to trajectory.jsonl")
        ibtrack: points go to trajectory.jsonl
    """
    bars = getattr(sys.modules.get("tqdm"), "tqdm", None)  # who has not imported tqdm draws none of its bars
    if bars is None or sys.stdout is None:  # there is none under pythonw, which print takes silently
        print(line, flush=True)
    else:
        bars.write(line)
        sys.stdout.flush()
