"""Measure how long the plan of a replay takes, against a hub on this machine that takes its time for every answer.

python experiments/benchmarks/replay_plan.py
python experiments/benchmarks/replay_plan.py --revisions 200 --delay 0.2
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from experiments.benchmarks.figures import Figure, report
from experiments.benchmarks.options import JsonFile
from ibtrack.replay import find_checkpoints
from tests.hub_server import Content, Hub, Pointer, made_up

WANTED = 30.0  # seconds
SHARDS = 6
SHARD_BYTES = 4_870_000_000  # of a model of 7 billion parameters in float32
REPOSITORY = "owner/name"


def main(
    revisions: Annotated[int, typer.Option(min=2, help="Revisions of the repository, each a checkpoint.")] = 1500,
    delay: Annotated[float, typer.Option(min=0, help="Seconds that each answer of the hub takes.")] = 0.05,
    file: JsonFile = None,
) -> None:
    """Plan a replay of a repository whose hub is another process, and show what was asked of it."""
    row = measure(revisions, delay)
    print(
        f"{revisions} revisions of {SHARDS} shards of {SHARD_BYTES / 1e9:.2f} GB each, none of which is downloaded; "
        f"{row['requests']} requests, at most {row['at_once']} at one time, {row['faulty']} checkpoints with faults\n"
    )
    about = {"revisions": revisions, "delay": delay}
    report("replay_plan", [_figure(row, revisions, delay)], [row], file, packages=["huggingface_hub"], about=about)


def measure(revisions: int, delay: float) -> dict[str, Any]:
    """Measure a plan.

    Args:
        revisions: Revisions of the repository.
        delay: Seconds that each answer takes.

    Returns:
        Seconds of the plan, number of requests, how many of them were made at one time, and of checkpoints with faults.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    server = context.Process(target=_serve, args=(there, revisions, delay))
    server.start()
    try:
        url = here.recv()
        begun = time.perf_counter()
        plan = find_checkpoints(REPOSITORY, endpoint=url, token=False)
        seconds = time.perf_counter() - begun
        here.send("enough")
        requests, at_once = here.recv()
    finally:
        server.join()
    assert len(plan.checkpoints) == revisions
    return {"seconds": seconds, "requests": requests, "at_once": at_once, "faulty": len(plan.faulty)}


def checkpoint(number: int) -> dict[str, Content]:
    """Files of a checkpoint of real size, of which there are hashes alone.

    Args:
        number: What tells its weights from those of others.
    """
    files = made_up(0, shards=SHARDS)
    shards = [path for path in files if path.endswith(".safetensors")]
    digests = {path: Pointer(f"{number * SHARDS + place:064x}", SHARD_BYTES) for place, path in enumerate(shards)}
    return {**files, **digests}


def _serve(pipe: Connection, revisions: int, delay: float) -> None:
    with Hub(delay=delay) as hub:
        hub.add(REPOSITORY, {f"step{number * 1000}": checkpoint(number) for number in range(revisions)})
        pipe.send(hub.url)
        pipe.recv()
        pipe.send((len(hub.asked), hub.at_once))


def _figure(row: dict[str, Any], revisions: int, delay: float) -> Figure:
    name = f"plan for {revisions:,} revisions, a hub that answers in {delay * 1000:g} ms"
    return Figure(name, "≤", WANTED, row["seconds"], " s", f"{row['requests'] / revisions:.2f} requests a revision")


if __name__ == "__main__":
    typer.run(main)
