"""Finished jobs: the mark that a job of a sweep leaves at its end, so that a second launch goes on with the others."""

from __future__ import annotations

import fcntl
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

MARK = "finished.json"
LOCK = "running.lock"
IN_USE = {LOCK, ".hydra", "train.log"}  # of the job that is about to run


def once(cfg: DictConfig, run: Callable[[DictConfig], float]) -> float:
    """Run, unless this very run has finished in ``cfg.run_dir`` before; then give what it gave.

    What an attempt that did not finish has left there goes to ``attempt_1``, what the next one has to ``attempt_2``,
    and so on.

    Raises:
        ValueError: a run of another configuration has finished there; the differing entries are shown.
        RuntimeError: another process is at this run.
    """
    folder = Path(cfg.run_dir)
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        value = _finished(folder, cfg)
        if value is None:
            _set_aside(folder)
            value = run(cfg)
            _mark(folder, cfg, value)
        else:
            print(f"{cfg.name}: has finished before, {cfg.objective} {value:.4g}")
        return value


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """What differs between two configurations, an entry each.

    Example:
        >>> differences({"seed": 0, "trainer": {"max_steps": 8}}, {"seed": 0, "trainer": {"max_steps": 9}})
        ['trainer.max_steps: 8 before, 9 now']
    """
    found: list[str] = []
    for key in sorted({*old, *new}):
        before, now = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            found += differences(before, now, f"{prefix}{key}.")
        elif before != now:
            found.append(f"{prefix}{key}: {before!r} before, {now!r} now")
    return found


def _finished(folder: Path, cfg: DictConfig) -> float | None:
    if not (folder / MARK).exists():
        return None
    mark = json.loads((folder / MARK).read_text())
    if found := differences(mark["config"], _configuration(cfg)):
        raise ValueError(
            f"{folder} holds a finished run of another configuration ({'; '.join(found)}); "
            "give this sweep a name of its own (name=…), or move that folder away"
        )
    return float(mark["value"])


@rank_zero_only
def _set_aside(folder: Path) -> None:
    left = [path for path in folder.iterdir() if path.name not in IN_USE and not path.name.startswith("attempt_")]
    if left:
        attempt = next(path for number in count(1) if not (path := folder / f"attempt_{number}").exists())
        attempt.mkdir()
        for path in left:
            path.rename(attempt / path.name)


@rank_zero_only
def _mark(folder: Path, cfg: DictConfig, value: float) -> None:
    draft = folder / f"{MARK}.tmp"
    draft.write_text(json.dumps({"value": value, "config": _configuration(cfg)}, indent=1))
    draft.replace(folder / MARK)  # atomic: a mark is whole or not there


def _configuration(cfg: DictConfig) -> dict[str, Any]:
    """The resolved configuration as JSON has it, wherever the run's folder lies."""
    cfg = cfg.copy()
    cfg.run_dir = "."
    return json.loads(json.dumps(OmegaConf.to_container(cfg, resolve=True)))


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep a second launch away; the system frees the lock when this process ends, however it ends."""
    if rank_zero_only.rank != 0:
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
