"""Measure whether a change moves numbers: one small run by two checkouts of the project, compared to the last digit.

git worktree add /tmp/before HEAD~1
python experiments/benchmarks/unmoved.py /tmp/before

Both runs use this interpreter and its packages; each uses the ``ibtrack`` and ``experiments`` of its own checkout.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

HERE = Path(__file__).resolve().parents[2]
RUN = ("experiment=tiny", "logger=none", "probe.num_blocks=24", "data.block_size=48", "data.max_documents=120")
CLOCK = {"ib/overhead_fraction"}  # these numbers depend on the load of the machine

Numbers = dict[tuple[int, str], float | None]


def numbers(file: Path) -> Numbers:
    """Read every number of a trajectory file, of format 1, 2 or 3.

    Args:
        file: The trajectory file.

    Returns:
        Step and key to number, or to None where the file has null.
    """
    lines: list[Any] = [json.loads(line) for line in file.read_text().splitlines()[1:]]
    result: Numbers = {}
    columns: list[str] = []
    for line in lines:
        if isinstance(line, list):
            columns = line
            continue
        values = line["values"] if "values" in line else line["readings"]
        values = dict(zip(columns, values, strict=True)) if isinstance(values, list) else values
        result |= {(line["step"], key): value for key, value in values.items() if key not in CLOCK}
        result[line["step"], "loss"] = line["loss"]
    return result


def differences(before: Numbers, after: Numbers) -> list[str]:
    """List the numbers that are not the same to the last digit, or that only one side has.

    Args:
        before: Step and key to number.
        after: Step and key to number.

    Returns:
        A line for each number that differs.

    Example:
        >>> differences({(0, "loss"): 0.5, (8, "loss"): 2.0}, {(0, "loss"): 0.25, (8, "loss"): 2.0})
        ['step 0, loss: 0.5 before, 0.25 after']
    """
    return [
        f"step {step}, {key}: {before.get((step, key), 'absent')} before, {after.get((step, key), 'absent')} after"
        for step, key in sorted({*before, *after})
        if before.get((step, key), "absent") != after.get((step, key), "absent")
    ]


def run(checkout: Path, folder: Path, overrides: Sequence[str]) -> Numbers:
    """Train with the code of a checkout, and read the numbers that its monitor has written.

    Args:
        checkout: Folder of the checkout.
        folder: Folder of the run's files.
        overrides: Further overrides of the run's configuration.

    Raises:
        typer.BadParameter: The run has failed.
    """
    command = [sys.executable, "experiments/train.py", *RUN, *overrides, f"hydra.run.dir={folder}"]
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise typer.BadParameter(f"the run in {checkout} failed:\n{done.stderr[-2000:]}")
    return numbers(folder / "trajectory.jsonl")


def main(
    before: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Another checkout of the project.")],
    override: Annotated[
        list[str] | None, typer.Option(help="Override of the run's configuration, such as seed=1; may be repeated.")
    ] = None,
) -> None:
    """Train a tiny model by both checkouts; exit with 1 if a number of the two trajectories differs.

    Raises:
        typer.Exit: The comparison is done; its exit status is 0 only if there are numbers and none differs.
    """
    with tempfile.TemporaryDirectory() as folder:
        old = run(before.resolve(), Path(folder, "before"), override or ())
        new = run(HERE, Path(folder, "after"), override or ())
    lines = differences(old, new)
    print(*lines[:20], sep="\n", end="\n" if lines else "")
    print(f"{len(lines)} of {len(old)} numbers differ")
    raise typer.Exit(1 if lines or not old else 0)


if __name__ == "__main__":
    typer.run(main)
