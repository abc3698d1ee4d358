"""Checkpoints in a folder of this machine: found by their files, with the step that their names or their files tell."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ibtrack.record.texts import printable
from ibtrack.replay.checkpoint import DISTRIBUTED, HUGGING_FACE, LIGHTNING, Checkpoint, File
from ibtrack.replay.digests import digests
from ibtrack.replay.errors import LoadingError
from ibtrack.replay.needed_files import CONFIG, VOCABULARY, is_weights
from ibtrack.replay.weight_files import files_of_model, json_object

TRAINER_STATE, ADAPTER = "trainer_state.json", "adapter_config.json"
METADATA, BESIDE = ".metadata", "meta.pt"  # of torch.distributed.checkpoint, and what Lightning puts beside it
MONITOR = "InformationPlaneMonitor["  # how the state of a monitor begins in a checkpoint of Lightning
OPTIMIZER_ALONE = re.compile(r"optimizer(_\d+)?")  # a folder of accelerate, which has the model in another
DEEPEST = 6  # folders inside each other that are searched: outputs, date, run, version, checkpoints, checkpoint
# a number after a word for a step, and none that goes on in letters or digits, as 500k and 1.5 do
_STEP = re.compile(r"(?:^|[^a-z0-9])(?:global)?[-_]?(?:step|checkpoint|ckpt|iter|iteration)s?[-_=]?(\d+)(?![a-z0-9.])")


def step_in(name: str) -> int | None:
    """Read the step in the name of a checkpoint.

    It is the number after ``step``, ``checkpoint``, ``ckpt`` or ``iter``, or the whole name if that is a number.

    Args:
        name: Name of a folder or a file, without the folders it lies in.

    Returns:
        The step, or None where the name has no such number, two that differ, or one in thousands, such as ``500k``.

    Example:
        >>> [step_in(name) for name in ("checkpoint-500", "epoch=0-step=500.ckpt", "global_step500", "last.ckpt")]
        [500, 500, 500, None]
    """
    stem = re.sub(r"\.(ckpt|pt|pth|safetensors|bin)$", "", name.lower())
    if stem.isdecimal() and stem.isascii():
        return int(stem)
    steps = {int(digits) for digits in _STEP.findall(stem)}
    return steps.pop() if len(steps) == 1 else None


class _Told(NamedTuple):
    """What the files of a checkpoint say about it.

    Attributes:
        step: Its step; None where they do not say it.
        tokens: Tokens seen; None where they do not say it.
        faults: Why it cannot be loaded.
    """

    step: int | None = None
    tokens: int | None = None
    faults: tuple[str, ...] = ()


class FolderSource:
    """A folder of checkpoints on this machine, or a single one.

    Folders in Hugging Face format, ``checkpoint-*`` of ``transformers.Trainer``, ``.ckpt`` files of Lightning and
    folders of ``torch.distributed.checkpoint`` are found in folders inside each other, up to six. Nothing is copied.
    Weights that lie beside folders of checkpoints are left out: a trainer puts its last or its best weights there, and
    does not say which. Links to a checkpoint that is found anyway, and to
    what is gone, are left out as well.

    Args:
        path: A folder, or a ``.ckpt`` file.
        step_of_name: Reads the step in a name; see `step_in`.

    Raises:
        ValueError: There is no such folder or file.
    """

    def __init__(self, path: str | os.PathLike[str], *, step_of_name: Callable[[str], int | None] = step_in) -> None:
        self.path, self.name, self._step_of_name = Path(path), os.fspath(path), step_of_name
        if not self.path.is_dir() and not (self.path.is_file() and self.path.suffix == ".ckpt"):
            there = "another kind of file" if self.path.exists() else "nothing"
            raise ValueError(
                f"a source must be a folder of checkpoints, or a .ckpt file, and there is {there} at {self.name!r}"
            )

    def checkpoints(self) -> list[Checkpoint]:
        """List the checkpoints in the order of their steps; those whose step is not known come last.

        No weights are loaded. Files of weights are read in part, and as a whole where they are small or seem to be
        equal, so that equal files have equal digests, see `ibtrack.replay.digests`.

        Raises:
            ValueError: There are no checkpoints in the folder.
        """
        found = [
            self._checkpoint(path, layout) for path, layout in _find(self.path, DEEPEST, {os.path.realpath(self.path)})
        ]
        if not found:
            raise ValueError(
                f"a source must hold checkpoints, and {self.name!r} has none: no folder with {CONFIG} or {METADATA}, "
                "and no .ckpt file"
            )
        found.sort(
            key=lambda each: (each.step is None, each.step or 0, self._step_of_name(each.name) is None, each.name)
        )
        return _mark_repeated(self._with_digests(found))

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
        path = self.path / checkpoint.folder
        if checkpoint.layout == LIGHTNING and not self.path.is_file():
            path /= checkpoint.files[0].path
        if not path.exists():
            raise FileNotFoundError(f"the checkpoint {path} is no longer there")
        return path

    def _checkpoint(self, path: Path, layout: str) -> Checkpoint:
        told, names = _READ[layout](path)
        inside = path.relative_to(self.path)
        step, faults = self._step(path, layout, told)
        folder = inside.parent if layout == LIGHTNING else inside
        base = path.parent if layout == LIGHTNING else path
        return Checkpoint(
            name=path.resolve().name if inside == Path(".") else inside.as_posix(),
            source=self.name,
            step=step,
            tokens=told.tokens,
            folder="" if folder == Path(".") else folder.as_posix(),
            files=tuple(File(name, (base / name).stat().st_size) for name in names),
            layout=layout,
            faults=(*told.faults, *faults),
        )

    def _step(self, path: Path, layout: str, told: _Told) -> tuple[int | None, list[str]]:
        """Find the step in the files, or else in the name, or in that of a folder around it; two must agree."""
        own = path.resolve().name
        named = self._step_of_name(own)
        if named is not None and told.step is not None and named != told.step:
            return None, [f"its name says step {named}, and what is in it step {told.step}"]
        around = [part.name for part in path.parents if part.is_relative_to(self.path) and part != self.path]
        steps = [told.step, named, *map(self._step_of_name, around)]
        step = next((step for step in steps if step is not None), None)
        if step is None:
            return None, [f"its step cannot be read in its name, {printable(own)!r}"]
        return step, []

    def _with_digests(self, checkpoints: list[Checkpoint]) -> list[Checkpoint]:
        """Work out the digests of all files of weights at once, as which are read as a whole depends on the others."""
        places: dict[tuple[int, str], Path] = {}
        for index, checkpoint in enumerate(checkpoints):
            base = self.path.parent if self.path.is_file() else self.path / checkpoint.folder
            for file in checkpoint.files:
                if file.path in VOCABULARY or is_weights(file.path) or file.path.endswith((".ckpt", ".distcp")):
                    places[index, file.path] = base / file.path
        found = digests(places)
        return [
            replace(each, files=tuple(file._replace(digest=found.get((index, file.path))) for file in each.files))
            for index, each in enumerate(checkpoints)
        ]


def _find(path: Path, depth: int, seen: set[str]) -> list[tuple[Path, str]]:
    """Find the checkpoints that a folder holds, or the one that a path is, with their layouts."""
    if path.is_file():
        return [(path, LIGHTNING)] if path.suffix == ".ckpt" else []
    if not path.is_dir():  # such as a link to what is gone
        return []
    own = _layout(path)
    if own == DISTRIBUTED:
        return [] if OPTIMIZER_ALONE.fullmatch(path.name) else [(path, own)]
    inside = _find_inside(path, depth, seen) if depth else []
    return inside if inside or own is None else [(path, own)]


def _find_inside(folder: Path, depth: int, seen: set[str]) -> list[tuple[Path, str]]:
    """Find the checkpoints below a folder; links come last, so that what they lead to is known by its own name."""
    found = []
    for path in sorted(folder.iterdir(), key=lambda each: (each.is_symlink(), each.name)):
        real = os.path.realpath(path)
        if real not in seen and not path.name.startswith("."):
            seen.add(real)
            found += _find(path, depth - 1, seen)
    return found


def _layout(folder: Path) -> str | None:
    """Say what kind of checkpoint a folder is, whole or not; None if it is none, such as one with a tokenizer alone."""
    if (folder / METADATA).is_file():
        return DISTRIBUTED
    files = [path.name for path in folder.iterdir() if path.is_file()]
    return HUGGING_FACE if {CONFIG, ADAPTER} & {*files} or any(map(is_weights, files)) else None


def _read_hugging_face(folder: Path) -> tuple[_Told, list[str]]:
    files, problems = files_of_model(folder)
    faults = [*problems]
    if (folder / ADAPTER).is_file() and not any(is_weights(file.path) for file in files):
        faults = ["it holds an adapter alone; merge it into its model and save that"]
    state = json_object(folder / TRAINER_STATE) if (folder / TRAINER_STATE).exists() else {}
    if state is None:
        faults.append(f"{TRAINER_STATE} is damaged; was saving it interrupted?")
        state = {}
    step, tokens = _count(state.get("global_step")), _count(state.get("num_input_tokens_seen"))
    # a trainer that was not told to count tokens writes 0
    return _Told(step, tokens if tokens or step == 0 else None, tuple(faults)), [file.path for file in files]


def _read_lightning(path: Path) -> tuple[_Told, list[str]]:
    from ibtrack.replay.pickles import read_tensors  # here, as it needs torch

    try:
        content = read_tensors(path)
    except LoadingError as error:
        return _Told(faults=(str(error),)), [path.name]
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), dict):
        return _Told(faults=(f"{path.name} has no state_dict, so Lightning has not written it",)), [path.name]
    return _told_by_lightning(content), [path.name]


def _read_distributed(folder: Path) -> tuple[_Told, list[str]]:
    names = sorted(path.name for path in folder.iterdir() if path.name == METADATA or path.suffix == ".distcp")
    if not (folder / BESIDE).is_file():
        return _Told(), names
    from ibtrack.replay.pickles import read_tensors

    try:
        content = read_tensors(folder / BESIDE)
    except LoadingError as error:
        return _Told(faults=(str(error),)), names
    return _told_by_lightning(content) if isinstance(content, dict) else _Told(), [*names, BESIDE]


def _told_by_lightning(content: dict[str, Any]) -> _Told:
    """Read step and tokens in a checkpoint of Lightning; tokens are counted by a monitor of this package."""
    step, states = _count(content.get("global_step")), content.get("callbacks")
    for key, state in states.items() if isinstance(states, dict) else ():
        progress = state.get("progress") if isinstance(state, dict) and str(key).startswith(MONITOR) else None
        if isinstance(progress, tuple) and len(progress) == 3 and progress[0] == step:
            return _Told(step, _count(progress[1]))
    return _Told(step)


_READ = {HUGGING_FACE: _read_hugging_face, LIGHTNING: _read_lightning, DISTRIBUTED: _read_distributed}


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _mark_repeated(checkpoints: list[Checkpoint]) -> list[Checkpoint]:
    """Mark all checkpoints of a step but the first without a fault, such as ``last.ckpt``."""
    first: dict[int, str] = {}
    marked = []
    for each in checkpoints:
        taken = each.name if each.step is None or each.faults else first.setdefault(each.step, each.name)
        if taken != each.name:
            each = replace(each, faults=(f"it is of step {each.step}, for which {printable(taken)} is taken",))
        marked.append(each)
    return marked
