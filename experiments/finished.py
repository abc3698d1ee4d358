"""Jobs of a sweep that have finished: each leaves a mark at its end, and a second launch of the sweep skips it."""

from __future__ import annotations

import fcntl
import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from experiments.last_state import STATES, newest_state
from experiments.whole_file import write_whole
from ibtrack.record.protocol import as_text, differing_keys, flat

MARK = "finished.json"
LOCK = "running.lock"
IN_USE = {LOCK, ".hydra", "train.log"}  # files of the job that is about to run, not of an earlier attempt


def once(cfg: DictConfig, run: Callable[[DictConfig], float]) -> float:
    """Run a job, unless the same job has finished in ``cfg.run_dir`` before.

    An attempt that has saved its state is gone on with, unless ``cfg.resume`` is false. Files of one that has not are
    moved to ``attempt_1``, those of the next to ``attempt_2``, and so on.

    Args:
        cfg: Configuration of the job; ``cfg.run_dir`` is its folder.
        run: Function that runs the job and returns its objective.

    Returns:
        The objective of the job, from this run or from the one that has finished before.

    Raises:
        ValueError: A job of another configuration has finished in this folder; the message shows what differs.
        RuntimeError: Another process is running this job.
    """
    folder = Path(cfg.run_dir)
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        value = _finished(folder, cfg)
        if value is None:
            if not goes_on(cfg):
                set_aside(folder)
            value = run(cfg)
            _mark(folder, cfg, value)
        else:
            print(f"{cfg.name}: has finished before, {cfg.objective} {value:.4g}")
        return value


def _finished(folder: Path, cfg: DictConfig) -> float | None:
    if not (folder / MARK).exists():
        return None
    mark = json.loads((folder / MARK).read_text())
    before, now = flat(mark["config"]), flat(_configuration(cfg))
    if differing := sorted(differing_keys([before, now])):
        entries = [f"{key}: {as_text(before.get(key))} before, {as_text(now.get(key))} now" for key in differing]
        raise ValueError(
            f"{folder} holds a finished run of another configuration ({'; '.join(entries)}); "
            "give this sweep a name of its own (name=NAME), or move that folder away"
        )
    return float(mark["value"])


def goes_on(cfg: DictConfig) -> bool:
    """Whether a job goes on from the state that an attempt has saved, so that its files are not those of another run.

    Args:
        cfg: Configuration of the job.
    """
    return cfg.get("resume", False) is not False and newest_state(Path(cfg.run_dir) / STATES) is not None


@rank_zero_only
def set_aside(folder: Path) -> None:
    """Move the files of an earlier attempt to ``attempt_1``, or the next number that is free.

    Args:
        folder: Folder of the run.
    """
    leftovers = [path for path in folder.iterdir() if path.name not in IN_USE and not path.name.startswith("attempt_")]
    if leftovers:
        attempt = next(path for number in count(1) if not (path := folder / f"attempt_{number}").exists())
        attempt.mkdir()
        for path in leftovers:
            path.rename(attempt / path.name)


@rank_zero_only
def _mark(folder: Path, cfg: DictConfig, value: float) -> None:
    write_whole(folder / MARK, json.dumps({"value": value, "config": _configuration(cfg)}, indent=1))


def _configuration(cfg: DictConfig) -> dict[str, Any]:
    """Return the resolved configuration as JSON has it; not where the run's folder lies, nor whether it was gone on."""
    cfg = cfg.copy()
    cfg.run_dir = "."
    configuration: dict[str, Any] = json.loads(json.dumps(OmegaConf.to_container(cfg, resolve=True)))
    return {key: value for key, value in configuration.items() if key != "resume"}


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep a second launch out of a folder; the system frees the lock when this process ends, however it ends.

    Raises:
        RuntimeError: Another process holds the lock.
    """
    if getattr(rank_zero_only, "rank", 0) != 0:
        yield
        return
    with (folder / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError(
                f"{folder} is being written to by another process; has the sweep been launched twice?"
            ) from None
        except OSError as error:  # some file systems of clusters have no locks
            warnings.warn(f"{folder} cannot be locked ({error}); launch this sweep from one place only", stacklevel=4)
        yield
