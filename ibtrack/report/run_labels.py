"""Labels of runs: short names that tell the runs of one picture or page apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ibtrack.record.texts import printable
from ibtrack.record.trajectory import Trajectory


def run_labels(trajectories: Sequence[Trajectory]) -> list[str]:
    """Give each run a short name of its own: without the words with which all names begin or end.

    Runs that share a name get their folder, or else a number, added.

    Args:
        trajectories: Runs that are shown together.

    Example:
        >>> names = ("sweep lr=1 s=0", "sweep lr=2 s=0", "sweep lr=2 s=0")
        >>> run_labels([Trajectory({}, {"name": name}, []) for name in names])
        ['lr=1', 'lr=2', 'lr=2 (2)']
    """
    names = _without_shared_words([run.name for run in trajectories])
    count = Counter(names)
    labels: list[str] = []
    for run, name in zip(trajectories, names, strict=True):
        folder = printable(run.path.resolve().parent.name) if run.path and count[name] > 1 else ""
        label = f"{name} ({folder})" if folder not in ("", run.name) else name
        numbered = (f"{label} ({number})" for number in range(2, len(trajectories) + 2))
        labels.append(label if label not in labels else next(other for other in numbered if other not in labels))
    return labels


def _without_shared_words(names: Sequence[str]) -> list[str]:
    words = [name.split() for name in names]
    if len(set(names)) < 2:
        return list(names)
    for end in (0, -1):
        while all(len(parts) > 1 for parts in words) and len({parts[end] for parts in words}) == 1:
            for parts in words:
                del parts[end]
    return [" ".join(parts) or name for parts, name in zip(words, names, strict=True)]
