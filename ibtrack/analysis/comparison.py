"""What differs between runs: the protocol they were measured under, and their settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from ibtrack.record.protocol import CIRCUMSTANCES, MODEL_ENTRIES, as_text, differing_keys, protocol_differences
from ibtrack.record.trajectory import Trajectory


def why_not_comparable(runs: Mapping[str, Trajectory]) -> list[str]:
    """Say what makes the numbers of runs incomparable, one part of a sentence per entry of the protocol.

    Two model sizes or two versions of torch may be compared; another probe, seed or version of the estimator may not.

    Args:
        runs: Name of each run to its trajectory.

    Example:
        >>> runs = {name: Trajectory({"seed": seed}, {}, []) for name, seed in (("a", 0), ("b", 1))}
        >>> why_not_comparable(runs)
        ["seed: 0 in 'a', 1 in 'b' (the seed of the anchors, not that of training)"]
    """
    protocols = {name: run.protocol for name, run in runs.items()}
    return protocol_differences(protocols, ignore=(*CIRCUMSTANCES, *MODEL_ENTRIES))


def refusal(differences: Sequence[str], way_out: str) -> str:
    """Say that runs are not put beside each other, why, and what does so all the same.

    Args:
        differences: Differences of their protocols, as `why_not_comparable` lists them.
        way_out: What does so all the same.

    Example:
        >>> refusal(["estimator: 1 in 'a', 2 in 'b'"], "--allow-mixed lists them")
        "runs were measured under different protocols, so their numbers are not comparable: estimator: 1 in 'a', \
2 in 'b' (--allow-mixed lists them)"
    """
    sentence = "runs were measured under different protocols, so their numbers are not comparable"
    return f"{sentence}: {'; '.join(differences)} ({way_out})"


def telling_settings(configs: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[str]:
    """List settings that differ between runs: of several with the same values only the one with the shortest key.

    A setting that is the run's name, or a path that no two runs share, says nothing of the run and is left out.

    Args:
        configs: Configuration of each run, with dotted keys.
        names: Name of each run.

    Example:
        >>> runs = [{"seed": s, "data.seed": s, "lr": 0.1, "name": f"r{s}", "dir": f"out/{s}"} for s in (0, 1)]
        >>> telling_settings(runs, ["r0", "r1"])
        ['seed']
    """
    shortest: dict[tuple[str, ...], str] = {}
    keys = differing_keys(configs)
    for key in keys:
        values = tuple(as_text(config.get(key)) for config in configs)
        is_own_path = len(set(values)) == len(values) and all("/" in value for value in values)
        if not is_own_path and values != tuple(names) and len(key) < len(shortest.get(values, key + " ")):
            shortest[values] = key
    return [key for key in keys if key in shortest.values()]


def most_telling(
    settings: Sequence[str], configs: Sequence[Mapping[str, Any]], numbers: Sequence[float], *, max_groups: int = 8
) -> str | None:
    """Choose the setting whose values part the numbers best: by the share of their variance between its groups.

    The variance between groups is largest where the sum over groups of size times squared mean is, as the rest of it
    is the same for every setting.

    Args:
        settings: Keys to choose from, as `telling_settings` lists them.
        configs: Configuration of each run, with dotted keys.
        numbers: One number per run.
        max_groups: Number of groups that a setting may make, as many as a reader can compare at a glance; it must also
            make at most one for every two runs.

    Returns:
        The key, or None if no setting makes two groups or more and few enough.

    Example:
        >>> configs = [{"seed": seed, "width": width} for width in (32, 64) for seed in (0, 1)]
        >>> most_telling(["seed", "width"], configs, [0.10, 0.11, 0.31, 0.30])
        'width'
    """
    scores: dict[str, float] = {}
    for key in settings:
        groups: dict[str, list[float]] = {}
        for config, number in zip(configs, numbers, strict=True):
            groups.setdefault(as_text(config.get(key)), []).append(number)
        if 2 <= len(groups) <= min(max_groups, len(configs) // 2):
            scores[key] = sum(len(group) * fmean(group) ** 2 for group in groups.values())
    return max(scores, key=lambda key: scores[key], default=None)
