"""Names and folders of the jobs of a sweep, and what a job needs to run wherever a launcher puts it."""

from __future__ import annotations

import hashlib
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, Node, OmegaConf, open_dict, read_write

from ibtrack.tracking.line_printer import print_line

SCRIPT = Path(__file__).parent / "train.py"
LONGEST_NAME = 150  # characters; file systems take 255 bytes

log = logging.getLogger(__name__)


class Sweep(Callback):
    """Tells every job, in whatever process or on whatever machine, which overrides are its own and where to write.

    A launcher hands a job all overrides, but not which of them it shares with the other jobs. Hydra leaves the keys in
    ``exclude_keys`` out of ``hydra.job.override_dirname``, so the shared keys are put there. The folder and the name of
    a job then say only what is special to it, and stay the same when the sweep gets further jobs.
    """

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Hand the jobs an absolute folder and the keys that they share."""
        hydra = config.hydra
        params = [f"{key}={value}" for key, value in (hydra.sweeper.get("params") or {}).items()]
        shared = shared_keys([*params, *hydra.overrides.task])
        own = [f"hydra.sweep.dir={quoted(os.path.abspath(hydra.sweep.dir))}"]  # a worker may run in another folder
        own += [f"hydra.job.config.override_dirname.exclude_keys=[{','.join(map(quoted, shared))}]"]
        with read_write(hydra), open_dict(hydra):
            hydra.overrides.hydra = [*hydra.overrides.hydra, *own]

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Log the error of a job that has failed, so that the log of its folder holds it."""
        if job_return.status == JobStatus.FAILED and config.hydra.mode.name == "MULTIRUN":
            log.error("%s died", config.hydra.job.override_dirname, exc_info=job_return._return_value)


def shared_keys(overrides: Sequence[str]) -> list[str]:
    """Return the keys that have one value in the whole sweep, or no keys if none of them has several values.

    Args:
        overrides: Overrides of the command line, such as ``seed=0,1``.

    Example:
        >>> shared_keys(["seed=0,1", "logger=csv", "+model.optimizer.eps=interval(1e-9, 1e-7)"])
        ['logger']
    """
    parsed = {override.key_or_group: override for override in OverridesParser.create().parse_overrides(list(overrides))}
    shared = [key for key, override in parsed.items() if not override.is_sweep_override()]
    return shared if len(shared) < len(parsed) else []


def folder_name(overrides: str) -> str:
    """Return the folder of a job within its sweep: its overrides, without slashes and short enough for a file system.

    Args:
        overrides: The overrides that are the job's own, joined by commas.

    Example:
        >>> folder_name("data.documents.files=../a.txt,seed=0")
        'data.documents.files=.._a.txt,seed=0'
    """
    name = overrides.replace("/", "_") or "all"
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[:LONGEST_NAME]}_{hashlib.sha256(overrides.encode()).hexdigest()[:8]}"


OmegaConf.register_new_resolver("folder_name", folder_name, replace=True)


@contextmanager
def as_job(cfg: DictConfig) -> Iterator[None]:
    """Give a job its own name and the group of its sweep, and make it look like a single run.

    Lightning starts the other processes of a run with the command line of this process. In a sweep that would start
    the sweep again, and in a worker of a launcher it would start something else.

    Args:
        cfg: Configuration of the job; its name and its group are changed.

    Yields:
        Nothing; the job runs in the body of the ``with`` statement.
    """
    job, script = HydraConfig.get(), sys.modules["__main__"]
    cfg.name = job_name(cfg.name, _own_overrides())
    cfg.group = cfg.group or Path(job.sweep.dir).name
    own = [f"name={quoted(cfg.name)}", f"group={quoted(cfg.group)}", "hydra.mode=RUN"]
    before = sys.argv, script.__spec__
    sys.argv, script.__spec__ = [str(SCRIPT), *job.overrides.task, *own], None
    with read_write(cast("Node", job)):
        job.run.dir = job.runtime.output_dir
    try:
        yield
    finally:
        sys.argv, script.__spec__ = before


def print_of_job(line: str) -> None:
    """Print a line of a run; in a sweep with what is special to its job, for several jobs may share a terminal.

    Args:
        line: The line.

    Example:
        >>> print_of_job("ibtrack step 8: not measured: L00 did not fire")  # of a single run
        ibtrack step 8: not measured: L00 did not fire
    """
    in_sweep = HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
    own = job_name("", _own_overrides()).strip() if in_sweep else ""
    print_line(f"[{own}] {line}" if own else line)


def job_name(name: str, overrides: Sequence[str]) -> str:
    """Name a job after the overrides that are its own.

    Args:
        name: Name of the sweep.
        overrides: The overrides of this job only.

    Example:
        >>> job_name("sweep", ["model=llama_1M", "model.optimizer.lr=0.01", "+seed=0"])
        'sweep model=llama_1M lr=0.01 seed=0'
    """
    values = [override.partition("=")[2] for override in overrides]
    keys = [_key(override).split(".")[-1] for override in overrides]
    return " ".join([name, *(f"{key}={value}" for key, value in zip(keys, values, strict=True))])


def _own_overrides() -> list[str]:
    """List the overrides that this job does not share with the others."""
    job = HydraConfig.get()
    shared = job.job.config.override_dirname.exclude_keys
    return [text for text in job.overrides.task if _key(text) not in shared]


def quoted(text: str) -> str:
    r"""Quote a value as Hydra's command line needs it.

    Args:
        text: The value.

    Example:
        >>> print(quoted("it's"))
        'it\'s'
    """
    return "'" + text.replace("'", "\\'") + "'"


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0].partition("@")[0]
