"""A saved checkpoint of a run as it is known before it is loaded: where it lies, its step, its files, its faults."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

HUGGING_FACE, LIGHTNING, DISTRIBUTED = "huggingface", "lightning", "distributed"


class File(NamedTuple):
    """A file of a checkpoint.

    Attributes:
        path: Where it lies inside the checkpoint, with slashes.
        size: Its size in bytes.
        digest: What tells its content: a sha256 where a hub or this machine has worked one out; None if not known.
    """

    path: str
    size: int
    digest: str | None = None


@dataclass(frozen=True)
class Checkpoint:
    """One saved state of a model.

    Attributes:
        name: What it is called: a branch, a folder or a file.
        source: Repository, or folder on this machine, that it is in.
        step: Optimizer steps since the run began, all stages counted; None where the name does not tell.
        tokens: Training tokens seen until then; None where it is not known.
        stage: Stage of the run, such as ``stage1``; None where there is but one.
        commit: Commit of the repository; None on this machine.
        folder: Folder inside the repository or the source that holds its files; empty for the top.
        files: Files that are needed to load it.
        layout: ``huggingface`` for a folder in Hugging Face format, ``lightning`` for a ``.ckpt`` file, ``distributed``
            for a folder of ``torch.distributed.checkpoint``.
        faults: Why it is not to be measured, one sentence each; empty where all is well.

    Example:
        >>> Checkpoint("step512", "EleutherAI/pythia-70m", 512, files=(File("model.safetensors", 100),)).num_bytes
        100
    """

    name: str
    source: str
    step: int | None
    tokens: int | None = None
    stage: str | None = None
    commit: str | None = None
    folder: str = ""
    files: tuple[File, ...] = ()
    layout: str = HUGGING_FACE
    faults: tuple[str, ...] = ()

    @property
    def num_bytes(self) -> int:
        """Bytes that loading it reads."""
        return sum(file.size for file in self.files)

    @property
    def label(self) -> str:
        """What a point of it is called: its name, and the beginning of its commit where it has one.

        Example:
            >>> Checkpoint("step512", "EleutherAI/pythia-70m", 512, commit="8b57f1d0c2").label
            'step512@8b57f1d0'
        """
        return self.name if self.commit is None else f"{self.name}@{self.commit[:8]}"


class Source(Protocol):
    """Where checkpoints are: a repository of a hub, or a folder on this machine."""

    name: str

    def checkpoints(self) -> list[Checkpoint]:
        """List the checkpoints in the order of their steps, without reading any weights."""

    def fetch(self, checkpoint: Checkpoint, folder: Path) -> Path:
        """Bring the files of a checkpoint onto this machine, into ``folder`` unless they are on it already.

        Args:
            checkpoint: One of `checkpoints`.
            folder: Folder that nothing else writes to; it may hold what an earlier try has left.

        Returns:
            The folder, or the file, that the checkpoint can be loaded from.

        Raises:
            OSError: It cannot be brought here; `ibtrack.replay.is_transient` says which of these are tried again.
        """


def said_of(label: str, why: str) -> str:
    """Say what is wrong with a checkpoint, with its label once.

    Args:
        label: Label of the checkpoint.
        why: What is wrong, a sentence that may begin with the label.

    Example:
        >>> said_of("step8", "step8 is damaged"), said_of("step8", "it is gone")
        ('step8 is damaged', 'step8: it is gone')
    """
    return why if why.startswith(label) else f"{label}: {why}"
