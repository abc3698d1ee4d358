"""A series of saved checkpoints of a small model, and a place that they have to be fetched from, with its faults."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

from ibtrack.replay.checkpoint import Checkpoint, File
from ibtrack.replay.errors import LoadingError
from tests.models import Model

WEIGHTS = "model.pt"


def model_after(step: int, blocks: int = 2) -> Model:
    """The model at a step: each has weights of its own."""
    torch.manual_seed(step)
    return Model(blocks)


def load(path: Path, checkpoint: Checkpoint) -> nn.Module:
    """Load a checkpoint of such a model, whose file is refused where it is damaged."""
    try:
        state = torch.load(path / WEIGHTS, weights_only=True)
    except Exception as error:
        raise LoadingError(f"{checkpoint.label} is damaged") from error
    model = Model(len({name.split(".")[1] for name in state if name.startswith("blocks.")}))
    model.load_state_dict(state)
    return model


class SavedSeries:
    """Checkpoints in a folder that takes the place of a hub; `fetch` copies them, and `in_cache` says what it has seen.

    Args:
        folder: Folder for the place.
        steps: Steps that were saved.
        faults: Step to what is wrong with its checkpoint as far as is known before it is fetched.

    Attributes:
        errors: Step to the errors that fetching it raises, one after another.
        fetched: Names of the checkpoints that were asked for, in order, tries that failed included.
        in_cache: How many checkpoints the cache held after each try.
        before_fetch: Called with the step before anything is copied.
        seen: Called with each number of `in_cache`.
    """

    def __init__(self, folder: Path, steps: Sequence[int], faults: dict[int, str] | None = None) -> None:
        self.folder = folder
        self.errors: dict[int, list[Exception]] = {}
        self.fetched: list[str] = []
        self.in_cache: list[int] = []
        self.before_fetch: Callable[[int], object] = lambda step: None
        self.seen: Callable[[int], object] = lambda number: None
        self.missing: tuple[int, ...] = (7,)
        for step in steps:
            if not (folder / f"step{step}").exists():
                self.save(step, model_after(step))
        self.checkpoints = tuple(
            Checkpoint(
                f"step{step}",
                "owner/tiny",
                step,
                tokens=step * 1000,
                commit=f"{step:040x}"[::-1],
                files=(File(WEIGHTS, (folder / f"step{step}" / WEIGHTS).stat().st_size),),
                faults=(faults[step],) if faults and step in faults else (),
            )
            for step in steps
        )

    def save(self, step: int, model: nn.Module) -> None:
        """Put a model into the place, or another one where there is one."""
        (self.folder / f"step{step}").mkdir(parents=True, exist_ok=True)
        torch.save(model.state_dict(), self.folder / f"step{step}" / WEIGHTS)

    def choose(self) -> list[Checkpoint]:
        """Those without faults."""
        return [checkpoint for checkpoint in self.checkpoints if not checkpoint.faults]

    def fetch(self, checkpoint: Checkpoint, folder: Path) -> Path:
        """Copy a checkpoint, or raise what it is to raise."""
        assert checkpoint.step is not None
        self.fetched.append(checkpoint.name)
        folder.mkdir(parents=True, exist_ok=True)
        self.in_cache.append(len(list(folder.parent.iterdir())))
        self.seen(self.in_cache[-1])
        self.before_fetch(checkpoint.step)
        if errors := self.errors.get(checkpoint.step):
            raise errors.pop(0)
        for file in (self.folder / checkpoint.name).iterdir():
            if not (folder / file.name).exists():
                shutil.copy(file, folder / f"{file.name}.part")
                (folder / f"{file.name}.part").rename(folder / file.name)
        return folder
