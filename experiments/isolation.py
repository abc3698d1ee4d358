"""Isolation of runs that share one process, as the jobs of a sweep do: a run leaves nothing behind for the next."""

from __future__ import annotations

import contextlib
import os
import random
import warnings
from collections.abc import Iterator

import numpy as np
import torch
import torch.distributed as dist
import wandb


@contextlib.contextmanager
def isolated() -> Iterator[None]:
    """Restore environment, random states and warning filters, and end the wandb run and the process group.

    This happens after an error as well. Lightning leaves ``WANDB_MODE``, ``PL_GLOBAL_SEED`` and the variables of its
    process group behind: the next job would log nowhere, take over the open wandb run, or wait for processes that have
    ended.

    Yields:
        Nothing; the run is the body of the ``with`` statement.

    Example:
        >>> with isolated():
        ...     os.environ["WANDB_MODE"] = "dryrun"
        >>> "WANDB_MODE" in os.environ
        False
    """
    environment = dict(os.environ)
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        with warnings.catch_warnings():
            yield
    except BaseException:
        _end_wandb(exit_code=1)
        raise
    finally:
        _end_wandb(exit_code=0)
        if dist.is_available() and dist.is_initialized():
            dist.destroy_process_group()
        _restore(environment)
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


def _end_wandb(exit_code: int) -> None:
    if wandb.run is not None:
        wandb.finish(exit_code=exit_code)
    wandb.teardown()  # otherwise wandb keeps the settings of the first run for all runs of the process


def _restore(environment: dict[str, str]) -> None:
    environment = {
        name: value for name, value in environment.items() if name != wandb.env.SERVICE
    }  # that service has ended
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    os.environ.update(environment)
