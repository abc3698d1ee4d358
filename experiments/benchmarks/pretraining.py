"""A pre-training run that is killed and gone on with, beside one that is not: do both end with the same weights?

The corpus is made of text and code of this machine, see `experiments.benchmarks.corpus`. Several processes (DDP on
the CPU, gloo) train with workers that read ahead; all of them are killed at once in the middle (SIGKILL), and the
same command goes on from the last state.

python experiments/benchmarks/pretraining.py --gigabytes 1.5
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from experiments.benchmarks.corpus import write_corpus
from experiments.benchmarks.figures import Figure, report
from experiments.benchmarks.options import JsonFile, Overrides
from experiments.benchmarks.unmoved import CLOCK
from experiments.last_state import newest_state
from ibtrack import Trajectory
from ibtrack.replay.plan_table import size_words

SCRIPT = Path(__file__).resolve().parents[1] / "train.py"
LOOK = 0.05  # seconds between two looks at which state was saved last
STUCK = 3600.0  # seconds without a new state after which a run is taken to be stuck

Gigabytes = Annotated[float, typer.Option(min=0.001, help="Size of the corpus.")]
Steps = Annotated[int, typer.Option(min=4, help="Optimizer steps of the run.")]
Every = Annotated[int, typer.Option(min=1, help="Steps from one saved state to the next.")]
Processes = Annotated[int, typer.Option(min=1)]
Workers = Annotated[int, typer.Option(min=0, help="Worker processes of each process that read ahead.")]
Cuts = Annotated[int, typer.Option(min=1, help="How often the run is killed.")]
Place = Annotated[Path | None, typer.Option(help="Folder for corpus and runs; about 4 times the corpus.")]


def main(
    gigabytes: Gigabytes = 1.5,
    steps: Steps = 300,
    every: Every = 20,
    processes: Processes = 2,
    workers: Workers = 2,
    cuts: Cuts = 2,
    overrides: Overrides = None,
    folder: Place = None,
    file: JsonFile = None,
) -> None:
    """Make a corpus, train on it without a cut and with some, and compare how both end."""
    with tempfile.TemporaryDirectory(dir=folder) as root:
        place = Path(root)
        began = time.perf_counter()
        corpus = write_corpus(place / "text", int(gigabytes * 1e9))
        print(f"{size_words(corpus['text_bytes'])} of text in {corpus['documents']:,} documents", flush=True)
        command = training(place, steps, every, processes, workers, overrides or ())
        seconds = {"corpus": time.perf_counter() - began}
        seconds["uncut, with the preparation of the corpus"] = finish(command, place, "uncut")
        killed = [cut(command, place, "cut", after) for after in places_of_cuts(cuts, steps, every)]
        print(*(f"killed after step {step}" for step in killed), sep="\n", flush=True)
        seconds["cut, the last start"] = finish(command, place, "cut")
        uncut, gone_on = ending(place / "uncut"), ending(place / "cut")
    row = {**corpus, "steps": steps, "killed_after_step": killed, "uncut": uncut.about(), "cut": gone_on.about()}
    about = {"command": command[1:], "seconds": seconds, "load": os.getloadavg()[0]}
    setting = f"{processes} processes of {workers} workers, {size_words(corpus['text_bytes'])} of text"
    report(
        "pretraining", figures(uncut, gone_on, killed, cuts, setting), [row], file, packages=["lightning"], about=about
    )


class Ending:
    """How a run has ended.

    Args:
        tensors: Name of every tensor of model and optimizer to the SHA-256 of its bytes.
        points: Step of every point to the SHA-256 of its loss, values and influences.
    """

    def __init__(self, tensors: Mapping[str, str], points: Mapping[int, str]) -> None:
        self.tensors, self.points = dict(tensors), dict(points)

    def about(self) -> dict[str, Any]:
        """Return one hash for all tensors and one for all points, and how many there are."""
        return {
            "tensors": len(self.tensors),
            "sha256_of_tensors": _hash(json.dumps(self.tensors, sort_keys=True).encode()),
            "points": len(self.points),
            "sha256_of_points": _hash(json.dumps(self.points, sort_keys=True).encode()),
        }


def training(place: Path, steps: int, every: int, processes: int, workers: int, overrides: Sequence[str]) -> list[str]:
    """Return the command of a run, without its folder.

    Args:
        place: Folder of the corpus.
        steps: Optimizer steps.
        every: Steps from one saved state to the next.
        processes: Processes that train together.
        workers: Worker processes of each of them.
        overrides: Further overrides of the configuration.
    """
    data = ["data=local", f"data.documents.files={place}/text/*.jsonl", "data.held_out=0.02", "data.vocab_size=8192"]
    data += ["data.batch_size=8", f"workers={workers}"]
    trainer = ["trainer=ddp", "trainer.accelerator=cpu", f"trainer.devices={processes}", f"trainer.max_steps={steps}"]
    states = ["callbacks.last.minutes=null", f"callbacks.last.steps={every}", "~callbacks.progress", "logger=none"]
    return [sys.executable, str(SCRIPT), *data, *trainer, *states, *overrides]


def places_of_cuts(cuts: int, steps: int, every: int) -> list[int]:
    """Return the steps of saved states after which a run is killed, spread over the run.

    Example:
        >>> places_of_cuts(2, 300, 20)
        [100, 200]
    """
    return [max(every, steps * (number + 1) // (cuts + 1) // every * every) for number in range(cuts)]


def finish(command: Sequence[str], place: Path, name: str) -> float:
    """Train to the end, from the last state if there is one.

    Args:
        command: Command of the run.
        place: Folder that the folder of the run lies in.
        name: Name of the folder of the run.

    Returns:
        Seconds that it took.

    Raises:
        typer.BadParameter: The run has failed.
    """
    began = time.perf_counter()
    with _started(command, place, name) as process:
        if process.wait():
            raise typer.BadParameter(f"the run failed: {_log(place, name)[-2000:]}")
    return time.perf_counter() - began


def cut(command: Sequence[str], place: Path, name: str, after: int) -> int:
    """Train, and kill all processes of the run at once some time after a state was saved.

    Args:
        command: Command of the run.
        place: Folder that the folder of the run lies in.
        name: Name of the folder of the run.
        after: Step of the state; the run is killed on its way to the next one.

    Returns:
        The step of the last state that the killed run has left.

    Raises:
        typer.BadParameter: The run has ended before it could be killed, or is stuck.
    """
    states, share = place / name / "last", random.Random(after).random()
    with _started(command, place, name) as process:
        seen, since, pause = _step(states), time.monotonic(), 0.0
        while (now := _step(states)) < after:
            if process.poll() is not None or time.monotonic() - since > STUCK:
                _kill(process)
                raise typer.BadParameter(f"the run must get to step {after}, got to {now}: {_log(place, name)[-2000:]}")
            if now != seen:
                seen, since, pause = now, time.monotonic(), time.monotonic() - since
            time.sleep(LOOK)
        time.sleep(pause * share)  # it trains on, some way to the next state
        _kill(process)
        if process.returncode != -signal.SIGKILL:
            raise typer.BadParameter(
                f"the run must be killed before it ends, and has ended; take more than {after} steps"
            )
    return _step(states)


def ending(folder: Path) -> Ending:
    """Read how a run has ended.

    Args:
        folder: Folder of the run.

    Raises:
        typer.BadParameter: It has left no state.
    """
    state = newest_state(folder / "last")
    if state is None:
        raise typer.BadParameter(f"{folder} must hold the last state of a run, and holds none")
    saved: dict[str, Any] = torch.load(state, map_location="cpu")
    tensors = _tensors({"model": saved["state_dict"], "optimizer": saved["optimizer_states"]})
    points = {}
    for point in Trajectory.load(folder).points:
        values = {key: value for key, value in point.values.items() if key not in CLOCK}
        influences = point.influences.data if point.influences is not None else b""
        points[point.step] = _hash(repr([point.loss, sorted(values.items()), point.failure]).encode() + influences)
    return Ending(tensors, points)


def figures(uncut: Ending, gone_on: Ending, killed: Sequence[int], cuts: int, setting: str) -> list[Figure]:
    """Compare how both runs have ended.

    Args:
        uncut: The run that was not cut.
        gone_on: The run that was.
        killed: Steps of the states from which it has gone on.
        cuts: How often it was to be killed.
        setting: Words for processes, workers and corpus.
    """
    tensors = sum(gone_on.tensors.get(name) == value for name, value in uncut.tensors.items())
    points = sum(gone_on.points.get(step) == value for step, value in uncut.points.items())
    more = len(gone_on.points.keys() - uncut.points.keys())
    return [
        Figure("times that all processes were killed", "≥", cuts, len(killed), "", setting),
        Figure("tensors of model and optimizer that end equal bit for bit", "≥", len(uncut.tensors), tensors),
        Figure(
            "points with equal numbers and influences", "≥", len(uncut.points), points, "", f"{more} further points"
        ),
    ]


def _started(command: Sequence[str], place: Path, name: str) -> subprocess.Popen[bytes]:
    """Start a run in a session of its own, so that its other processes can be killed with it."""
    environment = {**os.environ, "IBTRACK_CACHE": str(place / "cache"), "OMP_NUM_THREADS": "1"}
    with (place / f"{name}.log").open("ab") as log:
        return subprocess.Popen(
            [*command, f"run_dir={place / name}"],
            cwd=place,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a run with all its processes and workers, and wait for it."""
    with suppress(ProcessLookupError):  # it has ended by itself
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _step(states: Path) -> int:
    """Return the step of the last state; 0 where there is none."""
    state = newest_state(states)
    return 0 if state is None else int(state.parent.name.removeprefix("step-"))


def _log(place: Path, name: str) -> str:
    return (place / f"{name}.log").read_text(errors="replace")


def _tensors(tree: Any, name: str = "") -> dict[str, str]:
    """Hash every tensor of nested dictionaries and lists."""
    if isinstance(tree, torch.Tensor):
        return {name: _hash(tree.contiguous().view(-1).view(torch.uint8).numpy().tobytes())}
    entries = tree.items() if isinstance(tree, Mapping) else enumerate(tree) if isinstance(tree, list | tuple) else ()
    found: dict[str, str] = {}
    for key, value in entries:
        found |= _tensors(value, f"{name}/{key}")
    return found


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


if __name__ == "__main__":
    typer.run(main)
