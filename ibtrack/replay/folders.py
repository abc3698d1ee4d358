"""Checkpoints in a folder of this machine: found by their files, with the step that their names or their files tell."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ibtrack.record.texts import printable, reason
from ibtrack.replay.checkpoint import DISTRIBUTED, HUGGING_FACE, LIGHTNING, Checkpoint, File
from ibtrack.replay.digests import resolved
from ibtrack.replay.weight_files import INDEXES, WEIGHTS, faults_of_folder, weight_files

CONFIG, TRAINER_STATE, ADAPTER = "config.json", "trainer_state.json", "adapter_config.json"
SHARDED, SHARDED_META = ".metadata", "meta.pt"  # of torch.distributed.checkpoint, and what Lightning puts beside it
FSDP_MODEL, FSDP_OPTIMIZER = re.compile(r"pytorch_model_fsdp(_\d+)?"), re.compile(r"optimizer(_\d+)?")  # of accelerate
DEEPEST = 6  # folders inside each other that are searched: outputs, date, run, version, checkpoints, checkpoint
# a number after a word for a step; none that goes on in letters or digits, as 500k and 1.5 do, nor that of a token count
_STEP = re.compile(r"(?:^|[^a-z0-9])(?:global)?[-_]?(?:step|checkpoint|ckpt|iter|iteration)s?[-_=]?(\d+)(?![a-z0-9.])")


def step_in(name: str) -> int | None:
    """Read the step in the name of a checkpoint.

    It is the number after ``step``, ``checkpoint``, ``ckpt`` or ``iter``, or the whole name if that is a number.

    Args:
        name: Name of a folder or a file, without the folders it lies in.

    Returns:
        The step, or None where the name has no such number, two that differ, or one in thousands, such as ``500k``.

    Example:
        >>> [step_in(name) for name in ("checkpoint-500", "epoch=0-step=500.ckpt", "global_step500", "000500", "last.ckpt")]
        [500, 500, 500, 500, None]
    """
    stem = re.sub(r"\.(ckpt|pt|pth|safetensors|bin)$", "", name.lower())
    if stem.isdecimal() and stem.isascii():
        return int(stem)
    steps = {int(digits) for digits in _STEP.findall(stem)}
    return steps.pop() if len(steps) == 1 else None


class FolderSource:
    """A folder of checkpoints on this machine, or a single one.

    Folders in Hugging Face format, ``checkpoint-*`` of ``transformers.Trainer``, ``.ckpt`` files of Lightning and
    folders of ``torch.distributed.checkpoint`` are found at any depth up to six. Nothing is copied. Weights that lie
    beside folders of checkpoints are left out: a trainer puts its last or its best weights there, and does not say
    which.

    Args:
        path: A folder, or a ``.ckpt`` file.
        step_of_name: Reads the step in a name; see `step_in`.

    Raises:
        ValueError: There is no such folder or file.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, step_of_name: Callable[[str], int | None] = step_in
    ) -> None:
        self.path, self._step_of_name = Path(path), step_of_name
        self.name = os.fspath(path)

    def checkpoints(self) -> list[Checkpoint]:
        """List the checkpoints in the order of their steps; those whose step is not known come last.

        No weights are loaded. Files of weights are read in part, and as a whole where they are small or seem to be
        equal, so that equal files have equal digests.

        Raises:
            ValueError: There are no checkpoints in the folder.
        """
        raise NotImplementedError

    def fetch(self, checkpoint: Checkpoint, folder: Path) -> Path:
        """Return where a checkpoint lies.

        Args:
            checkpoint: One of `checkpoints`.
            folder: Not used, as the files are on this machine already.

        Returns:
            The folder, or the file, that the checkpoint can be loaded from.

        Raises:
            FileNotFoundError: It is no longer there.
        """
        raise NotImplementedError
