"""What makes a run the same run: all that decides its weights, and must be as it was where a run goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.data import IterableDataset
from transformers import SchedulerType

from experiments.data import BlockData
from experiments.finished import set_aside
from experiments.last_state import STATES, newest_state
from experiments.whole_file import write_whole
from ibtrack.probe.tokenizer import tokenizer_hash
from ibtrack.record.protocol import as_text, differing_keys, flat

RUN = "run.json"  # beside the states: identity and configuration of the run
RESUME = ("auto", True, False)
_TRAINER = ("accumulate_grad_batches", "gradient_clip_val", "gradient_clip_algorithm", "precision")
_CONSTANT = (SchedulerType.CONSTANT, SchedulerType.CONSTANT_WITH_WARMUP)


def identity(config: Mapping[str, Any], data: LightningDataModule, trainer: Trainer) -> dict[str, Any]:
    """List what decides the weights of a run, with dotted keys.

    Args:
        config: Configuration of the run.
        data: The data, which `setup` has made.
        trainer: The trainer.

    Returns:
        Key to value, such as ``batch``, the number of blocks in a batch of all processes together.
    """
    processes = trainer.num_devices * trainer.num_nodes
    settings = {key: config["trainer"].get(key) for key in _TRAINER}
    model = flat({"model": config["model"]})
    if model.get("model.schedule") not in _CONSTANT:  # any other rate depends on how long the run is
        settings |= {"max_steps": trainer.max_steps, "max_epochs": trainer.max_epochs}
    own = {"seed": config["seed"], "compile": config.get("compile", False)}
    return {**own, **_of_data(config, data, processes), **settings, **model}


def _of_data(config: Mapping[str, Any], data: LightningDataModule, processes: int) -> dict[str, Any]:
    if not isinstance(data, BlockData):
        return flat({"data": config["data"], "processes": processes})
    known = {"tokenizer": tokenizer_hash(data.tokenizer), "block_size": data.block_size, "corpus": data.fingerprint}
    known["batch"] = data.batch_size * processes
    if isinstance(data.train_blocks, IterableDataset):  # which is divided among processes and workers
        known |= {"processes": processes, "workers": data.num_workers}
    return known


@dataclass(frozen=True)
class Beginning:
    """Where a run begins.

    Args:
        state: State to go on from, as ``Trainer.fit`` takes it; None is the beginning.
        config: Configuration that the run has begun with, which stands in its trajectory.
    """

    state: Path | None
    config: dict[str, Any]


def beginning(run_dir: Path, known: Mapping[str, Any], config: Mapping[str, Any], *, resume: str | bool) -> Beginning:
    """Find the last state of a run in its folder, and refuse that of another run.

    Args:
        run_dir: Folder of the run.
        known: `identity` of the run.
        config: Configuration of the run.
        resume: ``auto`` goes on from the last state if there is one, true must find one, and false begins anew, where
            files of an earlier start are kept in ``attempt_1``.

    Returns:
        Where the run begins.

    Raises:
        ValueError: There is no state and there has to be one, or it is of another run; the sentence names what differs.
            Or ``resume`` is none of these.
    """
    if resume not in RESUME:
        raise ValueError(f"resume must be auto, true or false, got {resume!r}")
    states = run_dir / STATES
    if resume is False and states.exists():
        set_aside(run_dir)
    state = newest_state(states) if resume else None
    if state is None and resume is True:
        raise ValueError(
            f"resume=true must find a state in {states}, and none was saved there; "
            "a run whose folder has the time in its name is gone on with by run_dir=ITS_FOLDER"
        )
    if state is None:
        _write(states, {"identity": dict(known), "config": dict(config)})
        return Beginning(None, dict(config))
    before = json.loads((states / RUN).read_text())
    if changes := differences(before["identity"], known):
        raise ValueError(
            f"the run must be the one whose state of {state.parent.name} lies in {states}, but differs in {changes}; "
            "resume=false begins it anew and keeps the old files"
        )
    return Beginning(state, before["config"])


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Name what differs between two identities; empty where nothing does.

    Hashes are cut short. Another tokenizer or block size makes another corpus of any text, so these say enough.

    Args:
        before: Identity of the run that has saved a state.
        now: Identity of the run that would go on from it.

    Example:
        >>> differences({"seed": 0, "batch": 16}, {"seed": 0, "batch": 8})
        'batch: 16 before, 8 now'
    """
    differing = sorted(differing_keys([before, now]))
    if {"tokenizer", "block_size"} & set(differing):
        differing = [key for key in differing if key != "corpus"]
    return "; ".join(f"{key}: {_short(key, before)} before, {_short(key, now)} now" for key in differing)


def _short(key: str, known: Mapping[str, Any]) -> str:
    text = as_text(known.get(key))
    return text.rpartition(":")[2][:8] if key in ("corpus", "tokenizer") else text


@rank_zero_only
def _write(states: Path, entries: Mapping[str, Any]) -> None:
    write_whole(states / RUN, json.dumps(entries, indent=1, default=str))
