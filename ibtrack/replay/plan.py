"""The plan of a replay: which checkpoints there are, what is wrong with them, and what it would cost to measure them.

Nothing but names, sizes and hashes has been read when there is a plan.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ibtrack.replay.checkpoint import Checkpoint, Source
from ibtrack.replay.choice import due, evenly
from ibtrack.replay.gathering import gather
from ibtrack.schedules import Schedule


class Cost(NamedTuple):
    """What measuring some checkpoints of a plan needs.

    Attributes:
        checkpoints: Number of them.
        download: Bytes to bring here; checkpoints that lie on this machine need none.
        disk: Greatest number of bytes on the disk at one time.
        memory: Bytes of the largest checkpoint, in the dtype in which it is stored.
        seconds: Time of the download alone; None where no bandwidth is given.
    """

    checkpoints: int
    download: int
    disk: int
    memory: int
    seconds: float | None


@dataclass(frozen=True)
class Plan:
    """The checkpoints of a run, as they are known before any weights are read.

    Attributes:
        name: What the run is called: its repositories or folders.
        family: Name of the family whose rules the names were read by.
        checkpoints: All checkpoints in the order of their steps, the faulty ones with their faults; those whose step is
            not known stand at the end.
        missing: Steps of the published list that are not there.
        notes: What else is to be known, one sentence each.
        sources: Name of a source to the source.

    Example:
        >>> plan = Plan("owner/name", "generic", tuple(Checkpoint(f"step{n}", "owner/name", n) for n in range(1, 101)))
        >>> [each.step for each in plan.choose(max_points=5)]
        [1, 3, 10, 32, 100]
    """

    name: str
    family: str
    checkpoints: tuple[Checkpoint, ...]
    missing: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    sources: Mapping[str, Source] = field(default_factory=dict, compare=False, repr=False)

    @property
    def faulty(self) -> tuple[Checkpoint, ...]:
        """The checkpoints that are left out unless they are asked for."""
        return tuple(each for each in self.checkpoints if each.faults)

    def measurable(self, *, include_faulty: bool = False) -> list[Checkpoint]:
        """List the checkpoints that can be measured, one for each step, in the order of their steps.

        Args:
            include_faulty: Whether to list those that have faults too. Where several have one step, the first without
                faults is taken; those whose step is not known have no place.
        """
        by_step: dict[int, Checkpoint] = {}
        for each in sorted(self.checkpoints, key=lambda one: bool(one.faults)):  # stable: the sound ones first
            if each.step is not None and (include_faulty or not each.faults):
                by_step.setdefault(each.step, each)
        return [by_step[step] for step in sorted(by_step)]

    def choose(
        self, *, schedule: Schedule | None = None, max_points: int | None = None, include_faulty: bool = False
    ) -> list[Checkpoint]:
        """Choose what to measure: by the schedule of a monitor, evenly in the logarithm of the step, or all.

        Args:
            schedule: When to measure, from `ibtrack.schedules`; it is asked at each checkpoint as a monitor asks it at
                each step of a run, and the first and the last are always taken.
            max_points: Greatest number of checkpoints, at least 2; of more, those are taken that lie most evenly in the
                logarithm of the step, the first and the last always.
            include_faulty: Whether to choose among those that have faults too.

        Raises:
            ValueError: ``max_points`` is below 2, or the schedule counts seconds, or tokens that are not known.
        """
        chosen = self.measurable(include_faulty=include_faulty)
        if schedule is not None:
            chosen = due(chosen, schedule)
        return chosen if max_points is None else evenly(chosen, max_points)

    def fetch(self, checkpoint: Checkpoint, folder: Path) -> Path:
        """Bring the files of a checkpoint onto this machine.

        Args:
            checkpoint: One of `checkpoints`.
            folder: Folder that nothing else writes to; it may hold what an earlier try has left.

        Returns:
            The folder, or the file, that the checkpoint can be loaded from.

        Raises:
            ValueError: The checkpoint is none of this plan.
            OSError: It cannot be brought here; `ibtrack.replay.hub.is_transient` tells whether to try again.
        """
        if checkpoint.source not in self.sources:
            raise ValueError(f"checkpoint must be one of the plan of {self.name}, got one of {checkpoint.source}")
        return self.sources[checkpoint.source].fetch(checkpoint, folder)

    def cost(
        self, chosen: Sequence[Checkpoint], *, bandwidth: float | None = None, keep: bool = False, at_once: int = 2
    ) -> Cost:
        """Add up what measuring some checkpoints needs.

        Args:
            chosen: Checkpoints of this plan, in the order in which they are measured.
            bandwidth: Megabytes (10⁶ bytes) a second that the network brings, for the time of the download.
            keep: Whether all stay on the disk.
            at_once: Number of checkpoints that are on the disk at one time unless all stay.

        Raises:
            ValueError: The bandwidth is not above 0.
        """
        if bandwidth is not None and not bandwidth > 0:
            raise ValueError(f"bandwidth must be greater than 0 MB/s, got {bandwidth!r}")
        remote = [each.num_bytes if each.commit is not None else 0 for each in chosen]
        together = len(remote) if keep else at_once
        disk = max((sum(remote[start : start + together]) for start in range(len(remote))), default=0)
        memory = max((each.num_bytes for each in chosen), default=0)
        seconds = None if bandwidth is None else sum(remote) / (bandwidth * 1e6)
        return Cost(len(chosen), sum(remote), disk, memory, seconds)

    def to_json(self) -> dict[str, Any]:
        """Write the plan as plain values that can be written as JSON."""
        return {
            "name": self.name,
            "family": self.family,
            "checkpoints": [_plain(each) for each in self.checkpoints],
            "missing": [*self.missing],
            "notes": [*self.notes],
            "bytes": sum(each.num_bytes for each in self.checkpoints),
            "faulty": len(self.faulty),
        }

    def sentences(self) -> list[str]:
        """Say how many checkpoints there are, which steps are missing, and what else is to be known."""
        from ibtrack.replay.plan_table import plan_sentences

        return plan_sentences(self)


def find_checkpoints(
    sources: str | Path | Source | Sequence[str | Path | Source],
    *,
    family: str | Path | None = None,
    stages: Sequence[str] | None = None,
    token: str | bool | None = None,
    endpoint: str | None = None,
    pickles: bool = False,
    remote_code: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Plan:
    """Find the checkpoints of a run in one or several places, and what is wrong with them, before any is downloaded.

    Names are read by the rules of a family, and steps of later stages, or of later sources, are counted on from the
    last step of the earlier one. Hashes of shards tell which checkpoints cannot be what their names say.

    Args:
        sources: A folder or file on this machine, or a repository of the hub, or several of them as one run, in the
            order in which they were trained. ``owner/name@step1*`` takes the revisions that a pattern with ``*`` and
            ``?`` fits, and ``owner/name@main=2000`` says that the revision ``main`` is step 2000.
        family: Name of a family, or path of a YAML file that describes one; by default the name of a repository tells.
        stages: Stages or lines of stages to take, such as ``("stage1", "stage2-ingredient2")``; by default all stages,
            and of several lines the first.
        token: Token of the hub; None takes the one that ``huggingface_hub`` knows, False takes none.
        endpoint: Address of the hub, by default that of ``huggingface_hub``.
        pickles: Whether checkpoints that have nothing but pickled weights count as sound; ``torch.load`` then reads
            them with ``weights_only``.
        remote_code: Whether Python files of the repositories are needed to load their models.
        progress: Called with the number of revisions listed so far and their number, from several threads in turn.

    Returns:
        The plan. Nothing has been downloaded but lists of files, and indexes of shards.

    Raises:
        ValueError: A source, a family or a stage is none that exists, or no step can be read from any name.
        FileNotFoundError: There is no such file or folder.
        HubError: The hub has no such repository or revision, asks for a token, or cannot be reached.

    Example:
        >>> plan = find_checkpoints("EleutherAI/pythia-70m")  # doctest: +SKIP
        >>> plan.missing  # doctest: +SKIP
        ()
    """
    gathered = gather(
        sources,
        family=family,
        stages=stages,
        options={"token": token, "endpoint": endpoint, "pickles": pickles, "remote_code": remote_code},
        progress=progress,
    )
    return Plan(
        name=" + ".join(gathered.sources),
        family=gathered.family,
        checkpoints=tuple(gathered.checkpoints),
        missing=tuple(gathered.missing),
        notes=tuple(gathered.notes),
        sources=gathered.sources,
    )


def _plain(checkpoint: Checkpoint) -> dict[str, Any]:
    row = asdict(checkpoint)
    row["files"] = [each._asdict() for each in checkpoint.files]
    row["faults"] = [*checkpoint.faults]
    return {**row, "bytes": checkpoint.num_bytes, "label": checkpoint.label}
