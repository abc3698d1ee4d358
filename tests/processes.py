"""Several processes (gloo) for a test, which are ended if they wait for each other for ever."""

from __future__ import annotations

import faulthandler
import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import start_processes

from ibtrack.distributed import settle
from tests.models import free_port

STUCK = 1200.0  # seconds after which processes are taken to be stuck: more than a machine of four times the load needs


def spawn_bounded(work: Callable[..., None], world: int, folder: Path, *arguments: str) -> None:
    """Call ``work(rank, world, port, folder, *arguments)`` in several processes, which can meet at a port."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(["lightning.pytorch", "ibtrack"])  # once for all
    start: Any = start_processes  # which is not annotated
    all_arguments = (work, world, free_port(), folder, *arguments)
    running = start(_do, all_arguments, nprocs=world, join=False, start_method="forkserver")
    end = time.monotonic() + STUCK
    while not running.join(timeout=1.0):
        if time.monotonic() > end:
            for process in running.processes:
                process.kill()
            pytest.fail(f"the processes have waited for each other for {STUCK:.0f} s; where they are is printed")


def _do(rank: int, work: Callable[..., None], *arguments: Any) -> None:
    faulthandler.dump_traceback_later(STUCK - 60)  # to stderr
    work(rank, *arguments)


def join(rank: int, world: int, port: int) -> None:
    """Join the process group."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world)


def leave() -> None:
    """Leave the process group; nothing that is wrapped for data parallel training may be alive.

    A wrapper that is the last to hold the group ends it without letting go of the interpreter (torch 2.13), and so
    waits for ever for a thread of the group that has yet to drop a tensor. Locals of the caller live longer than this
    call, so such models belong into a function that has returned.
    """
    settle()
    dist.destroy_process_group()
