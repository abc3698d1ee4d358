"""Labels of runs: short names that tell the runs of one picture, page or list apart."""

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
    full = [run.name for run in trajectories]
    first, last = _shared(full)
    names = [" ".join(_own(name.split(), first, last)) or name for name in full]
    count = Counter(names)
    labels: list[str] = []
    for run, name in zip(trajectories, names, strict=True):
        folder = printable(run.path.resolve().parent.name) if run.path and count[name] > 1 else ""
        label = f"{name} ({folder})" if folder not in ("", run.name) else name
        numbered = (f"{label} ({number})" for number in range(2, len(trajectories) + 2))
        labels.append(label if label not in labels else next(other for other in numbered if other not in labels))
    return labels


def shared_words(trajectories: Sequence[Trajectory]) -> str:
    """Name what all names begin or end with, and labels leave out: it stands once over the runs.

    Args:
        trajectories: Runs that are shown together.

    Example:
        >>> shared_words([Trajectory({}, {"name": name}, []) for name in ("sweep lr=1 s=0", "sweep lr=2 s=0")])
        'sweep … s=0'
    """
    names = [run.name for run in trajectories]
    first, last = _shared(names)
    words = names[0].split() if names else []
    return " … ".join(filter(None, (" ".join(words[:first]), " ".join(words[len(words) - last :]))))


def _shared(names: Sequence[str]) -> tuple[int, int]:
    """Count the words that all names begin and end with, none of which is the whole of a name."""
    words = [name.split() for name in names]
    if len(set(names)) < 2:
        return 0, 0
    most = min(map(len, words)) - 1  # a word of its own is left to each
    first = next((i for i in range(most) if len({each[i] for each in words}) > 1), max(most, 0))
    last = next((i for i in range(most - first) if len({each[-1 - i] for each in words}) > 1), max(most - first, 0))
    return first, last


def _own(words: list[str], first: int, last: int) -> list[str]:
    return words[first : len(words) - last]
