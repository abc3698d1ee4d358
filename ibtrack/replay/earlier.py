"""What an earlier start of a replay has left in its file, and whether this one can go on with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ibtrack.information.options import SoftOptions
from ibtrack.information.readings import ESTIMATOR_VERSION
from ibtrack.probe.probe import Probe
from ibtrack.record.plain import plain
from ibtrack.record.protocol import differing_keys, flat, protocol_differences
from ibtrack.record.trajectory import Point, read_file
from ibtrack.replay.checkpoint import Checkpoint
from ibtrack.schedules import Progress

_MOST_KEYS = 5  # of a configuration that are named


@dataclass(frozen=True)
class Earlier:
    """The file of a replay that goes on.

    Attributes:
        header: Its header.
        points: Points that stay.
    """

    header: Mapping[str, Any]
    points: Sequence[Point]

    @property
    def tokenizer_hash(self) -> str:
        """Hash of the tokenizer of the checkpoints; empty where it was not known."""
        return str(self.header["run"]["replay"].get("tokenizer_hash") or "")

    @property
    def progress(self) -> Progress:
        """How far it has come; step -1 before the first point."""
        if not self.points:
            return Progress(-1)
        last = self.points[-1]
        return Progress(last.step, last.tokens_seen or 0, last.wall_time)


def read_earlier(
    path: Path,
    checkpoints: Sequence[Checkpoint],
    probe: Probe,
    options: SoftOptions,
    config: Mapping[str, Any],
    *,
    retry_failed: bool = False,
) -> Earlier:
    """Read the file of a replay, and refuse one that this replay cannot go on with.

    It can if the points are of the first of its checkpoints, one after another, of an equal probe and equal options. So
    a series that has grown since goes on; one of which others were chosen does not. What depends on the model, as
    sites and precision, is compared when the first one is loaded.

    Args:
        path: Trajectory file that is there.
        checkpoints: The checkpoints to measure, in their order.
        probe: The probe to measure on.
        options: How activations are turned into soft assignments.
        config: Configuration of the run.
        retry_failed: Whether all points from the first that failed are to be measured again.

    Raises:
        ValueError: It cannot, or the file is damaged.
    """
    header, points = read_file(path)
    if "replay" not in header["run"]:
        raise ValueError(f"{path} is the trajectory of a run that was no replay; choose another path")
    protocol = {"probe": probe.protocol(), **options.protocol(), "estimator": ESTIMATOR_VERSION}
    old = {entry: header["protocol"].get(entry) for entry in protocol}
    differences = protocol_differences({"the file": old, "this replay": protocol})
    settings = [flat({"": each}) for each in (header["run"].get("config") or {}, plain(config))]
    if others := [key.removeprefix(".") for key in differing_keys(settings)]:
        more = f" and {len(others) - _MOST_KEYS} more" if len(others) > _MOST_KEYS else ""
        differences.append(f"settings {', '.join(others[:_MOST_KEYS])}{more}")
    if differences:
        raise ValueError(
            f"{path} holds a replay that was measured otherwise ({'; '.join(differences)}), so this one cannot go on "
            "with it; choose another path"
        )
    _check_same_checkpoints(path, points, checkpoints)
    if retry_failed:
        good = next((i for i, point in enumerate(points) if point.failure is not None), len(points))
        points = points[:good]
    return Earlier(header, points)


def _check_same_checkpoints(path: Path, points: Sequence[Point], checkpoints: Sequence[Checkpoint]) -> None:
    """Refuse a file whose points are not those of the first checkpoints.

    Raises:
        ValueError: They are not.
    """
    for index, point in enumerate(points):
        wanted = checkpoints[index] if index < len(checkpoints) else None
        if wanted is None or (wanted.step, wanted.label) != (point.step, point.checkpoint):
            here = "there is none here" if wanted is None else f"here it is {wanted.label} of step {wanted.step}"
            raise ValueError(
                f"{path} holds points of other checkpoints: number {index + 1} is {point.checkpoint} of step "
                f"{point.step}, and {here}; choose another path, or the same checkpoints"
            )
