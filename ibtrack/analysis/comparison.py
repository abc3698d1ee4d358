"""What differs between runs: the protocol they were measured under, and their settings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from ibtrack.record.trajectory import Trajectory

# results or circumstances of the run, not rules of the measurement: two model sizes or torch versions may share a page
_MAY_DIFFER = ("versions", "sites", "widths", "bottleneck_curve")


def protocol_differences(runs: Mapping[str, Trajectory]) -> list[str]:
    """What makes the numbers of runs incomparable, one sentence part per entry of the protocol.

    Example:
        >>> runs = {name: Trajectory({"seed": seed}, {}, []) for name, seed in (("a", 0), ("b", 1))}
        >>> protocol_differences(runs)
        ["seed: 0 in 'a', 1 in 'b'"]
    """
    protocols = {
        name: flat({k: v for k, v in run.protocol.items() if k not in _MAY_DIFFER}) for name, run in runs.items()
    }
    differing = _differing(list(protocols.values()))
    if "probe.hash" in differing:  # another probe, so its other entries say nothing more
        differing = [key for key in differing if key == "probe.hash" or not key.startswith("probe.")]
    differences = []
    for key in differing:
        first: dict[str, str] = {}  # value → the first run that has it
        for name, protocol in protocols.items():
            first.setdefault(as_text(protocol.get(key)), name)
        differences.append(f"{key}: " + ", ".join(f"{value} in {name!r}" for value, name in first.items()))
    return differences


def telling_settings(configs: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[str]:
    """Settings that differ between runs: of several with the same values only the one with the shortest key.

    A setting that is the run's name, or a path that no two runs share, says nothing of the run and is left out.

    Example:
        >>> runs = [{"seed": s, "data.seed": s, "lr": 0.1, "name": f"r{s}", "dir": f"out/{s}"} for s in (0, 1)]
        >>> telling_settings(runs, ["r0", "r1"])
        ['seed']
    """
    found: dict[tuple[str, ...], str] = {}
    for key in _differing(configs):
        values = tuple(as_text(config.get(key)) for config in configs)
        own_path = len(set(values)) == len(values) and all("/" in value for value in values)
        if not own_path and values != tuple(names) and len(key) < len(found.get(values, key + " ")):
            found[values] = key
    return [key for key in _differing(configs) if key in found.values()]


def most_telling(
    settings: Sequence[str], configs: Sequence[Mapping[str, Any]], numbers: Sequence[float], *, most: int = 8
) -> str | None:
    """The setting whose values part the numbers best: by the share of their variance that lies between its groups.

    Args:
        settings: to choose from, as `telling_settings` finds them.
        configs: of the runs.
        numbers: one per run.
        most: groups that a setting may make; it must also make at most one for every two runs.

    Example:
        >>> configs = [{"seed": seed, "width": width} for width in (32, 64) for seed in (0, 1)]
        >>> most_telling(["seed", "width"], configs, [0.10, 0.11, 0.31, 0.30])
        'width'
    """
    found: dict[str, float] = {}
    for key in settings:
        groups: dict[str, list[float]] = {}
        for config, number in zip(configs, numbers, strict=True):
            groups.setdefault(as_text(config.get(key)), []).append(number)
        if 2 <= len(groups) <= min(most, len(configs) // 2):
            found[key] = sum(len(group) * fmean(group) ** 2 for group in groups.values())
    return max(found, key=lambda key: found[key], default=None)


def flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested mapping as one level with dotted keys.

    Example:
        >>> flat({"model": {"width": 64}, "seed": 0})
        {'model.width': 64, 'seed': 0}
    """
    result: dict[str, Any] = {}
    for key, value in nested.items():
        result |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return result


def _differing(mappings: Sequence[Mapping[str, Any]]) -> list[str]:
    keys = dict.fromkeys(key for mapping in mappings for key in mapping)
    return [key for key in keys if len({as_text(mapping.get(key)) for mapping in mappings}) > 1]


def as_text(value: Any) -> str:
    if value is None:
        return "—"
    return value if isinstance(value, str) else json.dumps(value, default=str)
