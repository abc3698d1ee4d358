"""Measure what is claimed of made-up trajectories whose truth is known: phases that are not there, and those that are.

python experiments/benchmarks/claims.py                                  all families, 200 trajectories of each
python experiments/benchmarks/claims.py --family still --documents 16    one of them, on fewer documents
python experiments/benchmarks/claims.py --folder outputs/claims          keeps the trajectories, to be claimed of anew
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any, NamedTuple

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from experiments.benchmarks.figures import Figure, report
from experiments.benchmarks.options import JsonFile, Threads, use_threads
from experiments.benchmarks.trajectories import (
    MOST_SCENES,
    NUM_POINTS,
    STEPS,
    Course,
    Levels,
    Scene,
    falling_course,
    made_up_trajectory,
    narrowing_course,
    still_course,
)
from ibtrack import Trajectory
from ibtrack.analysis import Phases, curve, find_phases
from ibtrack.record.keys import metric_key
from ibtrack.record.quantities import Z95
from ibtrack.record.writer import TrajectoryWriter

SHARED = (0.5, 0.8, 0.95)  # of the variance of the noise, from a point to any other
QUANTITIES = ("complexity", "expressivity", "kept", "told")
MIDDLE = NUM_POINTS // 2
FALSE, FOUND, HELD = 0.05, 0.90, 0.95  # what is wanted of the claims, set before measuring


class Family(NamedTuple):
    """Trajectories of which the same is true.

    Attributes:
        course: What is true of a scene's trajectory, by the rows of each label that the truth is computed from.
        phases: Phases that are true of it.
        fall: By how much I(X;Z) falls at the end, as a fraction of log K.
    """

    course: Callable[..., Course]
    phases: tuple[str, ...] = ()
    fall: float = 0.0


FAMILIES = {
    "still": Family(still_course),
    "narrowing": Family(narrowing_course, ("narrowing",)),
    **{
        f"falling-{fall}": Family(partial(falling_course, fall=fall), ("fitting", "compression"), fall)
        for fall in (0.004, 0.008, 0.016)
    },
}


class Change(NamedTuple):
    """A change between two points.

    Attributes:
        quantity: One of `QUANTITIES`.
        start: Step of the first point.
        end: Step of the second point.
        true: The true change.
        read: The change of the readings.
        se: Its standard error.
    """

    quantity: str
    start: int
    end: int
    true: float
    read: float
    se: float

    @property
    def held(self) -> bool:
        """Whether the 95 % interval holds the true change."""
        return abs(self.read - self.true) <= Z95 * self.se


@dataclass(frozen=True, kw_only=True)
class ClaimRow:
    """What is claimed of one trajectory, and what is true.

    Attributes:
        family: Name of its family.
        scene: Seed of its scene.
        seed: Seed of its documents and noise.
        shared: Share of the noise's variance that all points have in common.
        num_documents: Number of documents.
        fall: True fall of I(X;Z) from its peak to the last point, as a fraction of log K; 0 if it stands still.
        peak: Step of the peak; None if it stands still.
        shown: Phases that the whole trajectory shows.
        false: Phases among them that are not true.
        false_at: Number of points of the shortest beginning of the trajectory that shows a phase that is not true of
            the whole; None if no beginning does.
        found: Whether compression is shown, and ends after the true peak.
        begins: Steps between which the compression is said to begin; None if none is found or none are said.
        changes: Changes between some points.
    """

    family: str
    scene: int
    seed: int
    shared: float
    num_documents: int
    fall: float
    peak: int | None
    shown: tuple[str, ...]
    false: tuple[str, ...]
    false_at: int | None
    found: bool
    begins: tuple[int, int] | None
    changes: tuple[Change, ...]

    @property
    def begins_held(self) -> bool:
        """Whether the true peak lies between the steps between which the compression is said to begin."""
        return self.begins is not None and self.peak is not None and self.begins[0] <= self.peak <= self.begins[1]

    def __str__(self) -> str:
        when = "" if self.begins is None else f", begins between {self.begins[0]} and {self.begins[1]}"
        what = ", ".join(self.shown) or "no phase"
        wrong = f"; not true: {', '.join(self.false)}" if self.false else ""
        return f"{self.family:15} scene {self.scene:2} seed {self.seed:3} shared {self.shared:4}  {what}{when}{wrong}"


def main(
    family: Annotated[
        list[str] | None, typer.Option(help=f"Family, of {', '.join(FAMILIES)}; may be repeated. By default all.")
    ] = None,
    number: Annotated[int, typer.Option(min=1, help="Trajectories of each family.")] = 200,
    shared: Annotated[
        list[float] | None,
        typer.Option(min=0, max=1, help="Share of the noise that all points have in common; may be repeated."),
    ] = None,
    documents: Annotated[int, typer.Option(min=2, help="Documents of a trajectory.")] = 64,
    scenes: Annotated[
        int, typer.Option(min=1, max=MOST_SCENES, help="Scenes that the trajectories are drawn from in turn.")
    ] = MOST_SCENES,
    folder: Annotated[
        Path | None, typer.Option(help="Folder of trajectory files; those that it holds are not made again.")
    ] = None,
    threads: Threads = None,
    quick: Annotated[bool, typer.Option("--quick", help="Few trajectories, to see that the program runs.")] = False,
    file: JsonFile = None,
) -> None:
    """Draw trajectories, find their phases, and count the claims that are true and those that are not.

    Raises:
        typer.BadParameter: There is no such family.
    """
    use_threads(threads)
    chosen = family or list(FAMILIES)
    unknown = [name for name in chosen if name not in FAMILIES]
    if unknown:
        raise typer.BadParameter(f"--family must be one of {', '.join(FAMILIES)}, got {unknown[0]!r}")
    if quick:
        number, documents, scenes = 2, 12, 1
    rows: list[ClaimRow] = []
    for name in chosen:
        courses = cache(partial(_course, name, 16 if quick else 512))
        for trajectory in _trajectories(name, courses, number, shared or SHARED, documents, scenes, folder):
            rows.append(claims(name, trajectory))
            print(rows[-1], flush=True)
    about = {"quick": quick, "number": number, "documents": documents, "shared": list(shared or SHARED)}
    report("claims", figures(rows), [asdict(row) for row in rows], file, about=about)


def claims(family: str, trajectory: Trajectory) -> ClaimRow:
    """Say what is claimed of a trajectory, at its end and of each of its beginnings.

    Args:
        family: Name of its family.
        trajectory: A trajectory whose configuration says what is true, as from `made_up_trajectory`.
    """
    config: Mapping[str, Any] = trajectory.run["config"]
    levels = [Levels(*each) for each in config["levels"]]
    peak = None if config["peak"] is None else STEPS[config["peak"]]
    phases = find_phases(trajectory)
    beginnings = (
        (number, Trajectory({}, {}, trajectory.points[:number])) for number in range(2, len(trajectory.points) + 1)
    )
    found = _ends_after(phases, peak)
    ends = ((0, MIDDLE), (MIDDLE, NUM_POINTS - 1), (0, NUM_POINTS - 1))
    return ClaimRow(
        family=family,
        scene=config["seed"],
        seed=config["seed_of_documents"],
        shared=config["shared"],
        num_documents=config["num_documents"],
        fall=0.0 if peak is None else levels[config["peak"]].complexity - levels[-1].complexity,
        peak=peak,
        shown=shown(phases),
        false=_false(family, phases, peak),
        false_at=next((number for number, part in beginnings if _false(family, find_phases(part), peak)), None),
        found=found,
        begins=phases.compression.begins if found and phases.compression else None,
        changes=tuple(change for quantity in QUANTITIES for change in _changes(trajectory, quantity, levels, ends)),
    )


def shown(phases: Phases) -> tuple[str, ...]:
    """Name the phases that there are.

    Example:
        >>> from ibtrack.analysis.movements import Movement
        >>> shown(Phases(collapse=Movement(start=0, end=8, change=-0.1, se=0.01)))
        ('collapse',)
    """
    return tuple(name for name in ("fitting", "compression", "collapse", "narrowing") if getattr(phases, name))


def _false(family: str, phases: Phases, peak: int | None) -> tuple[str, ...]:
    """Name the phases that are not true; a compression that ends before the peak is none."""
    early = phases.compression is not None and not _ends_after(phases, peak)
    return tuple(
        name for name in shown(phases) if name not in FAMILIES[family].phases or (name == "compression" and early)
    )


def _ends_after(phases: Phases, peak: int | None) -> bool:
    return phases.compression is not None and peak is not None and phases.compression.end > peak


def _changes(
    trajectory: Trajectory, quantity: str, levels: Sequence[Levels], ends: Sequence[tuple[int, int]]
) -> Iterator[Change]:
    """Take the changes of a quantity between pairs of points.

    Yields:
        The true change beside that of the readings.
    """
    found = curve(trajectory, metric_key(quantity, site="mean", order="token"))
    for start, end in ends:
        true = float(getattr(levels[end], quantity) - getattr(levels[start], quantity))
        read, se = float(found.changes[start, end]), float(found.errors[start, end])
        yield Change(quantity, STEPS[start], STEPS[end], true, read, se)


def _course(family: str, rows_per_label: int, scene: int) -> Course:
    course = FAMILIES[family].course(Scene.drawn(scene), rows_per_label=rows_per_label)
    moved = ", ".join(f"{name} {course.largest_movement(name):.5f}" for name in (*QUANTITIES, "ceiling"))
    print(f"{family}, scene {scene}: the truth moves by {moved}", flush=True)
    return course


def _trajectories(
    family: str,
    courses: Callable[[int], Course],
    number: int,
    shared: Sequence[float],
    documents: int,
    scenes: int,
    folder: Path | None,
) -> Iterator[Trajectory]:
    """Draw trajectories, each scene in turn, then each share in turn; or read those that the folder holds.

    Yields:
        The trajectories.
    """
    for seed in range(number):
        scene, share = seed % scenes, shared[seed // scenes % len(shared)]
        path = folder and folder / f"{family}_{documents}_{scene}_{share}_{seed}.jsonl"
        if path is not None and path.exists():
            yield Trajectory.load(path)
            continue
        made = made_up_trajectory(courses(scene), num_documents=documents, shared=share, seed=seed)
        if path is not None:
            writer = TrajectoryWriter.create(path, made.protocol, made.run)
            for point in made.points:
                writer.append(point)
        yield made


def figures(rows: Sequence[ClaimRow]) -> list[Figure]:
    """Count what was claimed rightly and wrongly, by family."""
    return [figure for name in dict.fromkeys(row.family for row in rows) for figure in _figures(name, rows)]


def _figures(family: str, all_rows: Sequence[ClaimRow]) -> Iterator[Figure]:
    rows = [row for row in all_rows if row.family == family]
    number = f"{len(rows)} trajectories, {rows[0].num_documents} documents"
    by_share = _by_share(rows, lambda row: bool(row.false))
    yield Figure(
        f"{family}: shows a phase that is not there",
        "≤",
        FALSE,
        fmean(bool(row.false) for row in rows),
        note=f"{number}; by the share of the noise that stays: {by_share}",
    )
    yield Figure(
        f"{family}: shows one at some point of the run", "≤", FALSE, fmean(row.false_at is not None for row in rows)
    )
    if FAMILIES[family].fall:
        yield from _figures_of_falls(family, rows)
    changes = [change for row in rows for change in row.changes]
    by_quantity = ", ".join(
        f"{quantity}: {fmean(each.held for each in changes if each.quantity == quantity):.3f}"
        for quantity in QUANTITIES
    )
    yield Figure(
        f"{family}: the 95 % interval of a change holds it",
        "≥",
        HELD,
        fmean(change.held for change in changes),
        note=by_quantity,
    )


def _by_share(rows: Sequence[ClaimRow], is_so: Callable[[ClaimRow], bool]) -> str:
    """Say in how many rows something is so, for each share of the noise that all points have in common."""
    shares = sorted({row.shared for row in rows})
    return ", ".join(f"{share}: {fmean(is_so(row) for row in rows if row.shared == share):.3f}" for share in shares)


def _figures_of_falls(family: str, rows: Sequence[ClaimRow]) -> Iterator[Figure]:
    found = [row for row in rows if row.found]
    by_share = _by_share(rows, lambda row: row.found)
    yield Figure(
        f"{family}: its compression is found",
        "≥",
        FOUND,
        fmean(row.found for row in rows),
        note=f"I(X;Z) falls by {fmean(row.fall for row in rows):.4f} of log K on average; by share: {by_share}",
    )
    yield Figure(
        f"{family}: the steps between which it begins hold the true one",
        "≥",
        HELD,
        fmean(row.begins_held for row in found) if found else None,
        note=f"of the {len(found)} that were found",
    )


if __name__ == "__main__":
    typer.run(main)
