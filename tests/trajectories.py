"""Made-up trajectories that look like real ones: narrowing, expansion, compression, with noise of the stated size."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ibtrack.record.influences import Influences
from ibtrack.record.keys import metric_key
from ibtrack.record.quantities import SHARE_OF
from ibtrack.record.trajectory import Point, Trajectory
from ibtrack.record.writer import TrajectoryWriter

ORDERS = ("token", "bigram", "trigram", "quadgram")
EVIL = "<script>window.stolen = 1</script><img src=x onerror='window.stolen = 2'>"  # a name that is a script
CURVE = {"complexity": [0.0, 0.1, 0.31, 0.49, 1.3], "expressivity": [0.0, 0.09, 0.25, 0.38, 0.9]}  # of a bottleneck
ALL_DISTINCT = "all labels are distinct, so nothing tells their spread"
ZERO_BY_ZERO = "expressivity and complexity are both 0"
SHAPES = {  # (log2 of the step + 1, share of full training) → complexity of the mean, by linear interpolation
    "demo": [(0, 0.27), (5, 0.08), (8, 0.41), (12, 0.36)],
    "rise": [(0, 0.10), (12, 0.40)],
    "flat": [(0, 0.30), (12, 0.30)],
}
SHARES = {  # the same of its share of the ceiling, from which the ceiling follows
    "demo": [(0, 0.50), (5, 0.72), (8, 0.85), (12, 0.75)],
    "rise": [(0, 0.50), (12, 0.80)],
    "flat": [(0, 0.70), (12, 0.70)],
}


def steps(num_points: int, last: int = 4000) -> list[int]:
    """Step 0, then log-spaced steps up to the last, each once."""
    if num_points == 1:
        return [0]
    spaced = {round(math.exp(math.log(last) * i / (4 * num_points))) for i in range(4 * num_points + 1)}
    inner = sorted(spaced - {last})
    chosen = [inner[round(i * (len(inner) - 1) / max(num_points - 3, 1))] for i in range(num_points - 2)]
    return [0, *chosen, last]


def make(
    name: str = "run",
    *,
    shape: str = "demo",
    num_points: int = 14,
    num_layers: int = 4,
    se: float | None = 0.004,
    seed: int = 0,
    drop: float = 0.0,
    geometry: bool = False,
    config: dict[str, Any] | None = None,
    **protocol: Any,
) -> Trajectory:
    """Make a trajectory with every key that a run logs, those of the geometry where asked for, as a run does.

    Args:
        name: Name of the run; it also seeds the noise.
        shape: One of `SHAPES`.
        num_points: Number of measured steps.
        num_layers: Number of layers besides the embedding.
        se: Size of the noise, which is also the standard error that is stated; None adds and states none.
        seed: Seed of the noise.
        drop: Amount by which the compression of the last points is deepened.
        geometry: Whether effective ranks and exponents were measured.
        config: Configuration of the run.
        **protocol: Entries of the protocol that differ from the usual ones.
    """
    draw = random.Random(f"{name} {seed}")
    sites = {"embed": "model.embed_tokens"} | {f"L{i:02d}": f"model.layers.{i}" for i in range(num_layers)}
    points = []
    directions = _directions(random.Random(f"influences of {name} {seed}"))
    for index, step in enumerate(steps(num_points)):
        values: dict[str, float] = {}
        for depth, site in enumerate(["mean", *sites]):
            values |= _site(draw, site, step, shape, 0.0 if depth == 0 else (depth - num_layers / 2) * 0.01, se, drop)
            values |= _geometry(site, values[metric_key("entropy", site=site)]) if geometry else {}
        loss = 2.2 + 4.75 * math.exp(-step / 300)
        values |= {
            metric_key("tokens_seen"): 2048.0 * step,
            metric_key("probe_loss"): loss + 0.1,
            metric_key("variational_floor"): max(0.0, 6.9 - loss),
            metric_key("overhead_fraction"): 0.02,
        }
        direction = directions[index % len(directions)]
        points.append(
            Point(
                step,
                values,
                loss=loss if step else None,
                tokens_seen=2048 * step,
                wall_time=step / 20,
                influences=None if se is None else _one_direction(direction, ["mean", *sites], se),
            )
        )
    rows = {"geometry_rows": 4096} if geometry else {}
    return Trajectory(_protocol(sites) | rows | protocol, {"name": name, "config": config or {}}, points)


def sweep(num_seeds: int = 2, **options: Any) -> list[Trajectory]:
    """Make runs of two widths, of which the wider compresses more, with several seeds each."""
    return [
        make(
            f"w{width}-s{seed}",
            seed=seed,
            drop=width / 1000,
            config={"model": {"width": width, "name": "llama"}, "seed": seed},
            **options,
        )
        for width in (32, 64)
        for seed in range(num_seeds)
    ]


def damaged(name: str = "worn", *, first: int = 1, failure: str = f"hook of L01 did not fire {EVIL}") -> Trajectory:
    """Make a run one of whose points failed, while the next has no complexity at the mean, for a reason."""
    run = make(name, num_points=6)
    key = "ib/mean/token/complexity"
    points = [*run.points]
    points[first] = Point(points[first].step, failure=failure)
    keys = (key, "ib/mean/token/kept")
    no_value = {**points[first + 1].values, **dict.fromkeys(keys, math.nan)}
    points[first + 1] = Point(points[first + 1].step, no_value, notes=dict.fromkeys(keys, "zero-norm rows"))
    return Trajectory(run.protocol, run.run, points)


def doubted(name: str = "doubted", *, at: int = 2) -> Trajectory:
    """Make a run whose complexity of tokens at the mean lies below its bracket at one point."""
    run = make(name, num_points=5)
    key, points = "ib/mean/token/complexity", [*run.points]
    values = {**points[at].values, f"{key}_low": points[at].values[key] + 0.1}
    points[at] = replace(points[at], values=values, notes={key: "below its bracket"})
    return replace(run, points=points)


def without_quadgrams(name: str = "short") -> Trajectory:
    """Make a run whose probe is too short for quadgrams, and whose optimality of tokens is 0 / 0 at the start."""
    run = make(name, num_points=5)
    quantities = ("complexity", "expressivity", "kept", "told", "optimality", "regularity", "variation", "share")
    distinct = {f"quadgram/{quantity}": ALL_DISTINCT for quantity in quantities}
    start = "ib/mean/token/optimality"
    points = []
    for i, point in enumerate(run.points):
        undefined = [key for key in point.values if key.startswith("ib/") and "/quadgram/" in key] + (
            [] if i else [start]
        )
        notes = distinct | ({} if i else {start: ZERO_BY_ZERO})
        points.append(replace(point, values={**point.values, **dict.fromkeys(undefined, math.nan)}, notes=notes))
    return Trajectory(run.protocol, run.run, points)


def scored(num_families: int = 16, *, seed: int = 0) -> tuple[list[Trajectory], list[dict[str, Any]]]:
    """Make families of two models, a small and a large one, and a table of their scores.

    What bigrams tell follows the loss, and so does the score ``hellaswag``; ``arc_easy`` follows what is kept of
    tokens, which has nothing to do with the loss; ``coin`` follows nothing.
    """
    rng = np.random.default_rng(seed)
    runs, table = [], []
    for family in range(num_families):
        good, kept = rng.normal(size=2)
        for size in ("small", "large"):
            quality, own_kept = good + (size == "large") + 0.2 * rng.normal(), kept + 0.3 * rng.normal()
            name = f"f{family}-{size}"
            points = [_scored_point(step, own_kept, quality * step / 1000, rng) for step in (0, 500, 1000)]
            config = {"family": f"f{family}", "model": {"num_parameters": 2e6 if size == "small" else 8e6}}
            runs.append(Trajectory({"orders": ["token", "bigram"]}, {"name": name, "config": config}, points))
            scores = {
                "hellaswag": 0.35 + 0.05 * (quality + 0.15 * rng.normal()),
                "arc_easy": 0.4 + 0.03 * (own_kept + 0.2 * rng.normal()),
                "coin": 0.5 + 0.01 * rng.normal(),
            }
            table.append({"run": name, **{score: round(value, 4) for score, value in scores.items()}})
    return runs, table


def write_scored(folder: Path, **options: Any) -> None:
    """Put runs of `scored` into ``models/``, and their table beside it."""
    runs, table = scored(**options)
    for run in runs:
        write(run, folder / "models" / run.name)
    lines = [",".join(table[0]), *(",".join(map(str, row.values())) for row in table)]
    (folder / "scores.csv").write_text("\n".join(lines) + "\n")


def _scored_point(step: int, kept: float, quality: float, rng: np.random.Generator) -> Point:
    values = {metric_key("probe_loss"): 3.0 - 0.3 * quality}
    for order, told in (("token", 0.2), ("bigram", 0.3)):
        own = {"kept": 0.6 + 0.05 * kept, "told": told + 0.04 * (quality + 0.1 * rng.normal())}
        own |= {"optimality": own["told"] / own["kept"], "regularity": 0.5 + 0.02 * rng.normal()}
        values |= {metric_key(name, site="mean", order=order): value for name, value in own.items()}
    return Point(step, values, loss=3.1 - 0.3 * quality)


def write(trajectory: Trajectory, folder: Path) -> Path:
    """Put a trajectory on disk as a run would; returns its folder."""
    writer = TrajectoryWriter.create(folder / "trajectory.jsonl", trajectory.protocol, trajectory.run)
    for point in trajectory.points:
        writer.append(point)
    writer.close()
    return folder


def write_older(trajectory: Trajectory, folder: Path, *, form: int = 2) -> Path:
    """Put a trajectory on disk as format 1 or 2 did, where each point names its values; returns its folder."""
    header = {"format": f"ibtrack/{form}", "protocol": trajectory.protocol, "run": trajectory.run}
    lines = [point.to_json() for point in trajectory.points]
    if form == 1:
        lines = [line.replace('"values"', '"readings"') for line in lines]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "trajectory.jsonl").write_text("\n".join([json.dumps(header), *lines]) + "\n")
    return folder


def mean_curves(
    complexity: list[float],
    expressivity: list[float] | None = None,
    *,
    se: float | list[float] | None = 0.002,
    order: str = "token",
    ceiling: float | list[float] | None = 1.0,
    old: bool = False,
) -> Trajectory:
    """Make a trajectory of the mean over the layers alone, point i at step 2^i (the first at 0).

    Under a ceiling of 1 shares are equal to fractions of log K; without one there are none. Each number is moved by a
    document of its own, so the errors of two add up; an old file does not say what moves them.
    """
    expressivity = expressivity or [0.5 * value for value in complexity]
    points = []
    for i, pair in enumerate(zip(complexity, expressivity, strict=True)):
        values = {} if ceiling is None else {"ib/mean/ceiling": ceiling[i] if isinstance(ceiling, list) else ceiling}
        for quantity, value in zip(("complexity", "expressivity"), pair, strict=True):
            in_units = {quantity: 1.0}
            if "ib/mean/ceiling" in values:
                in_units[SHARE_OF[quantity]] = 1 / values["ib/mean/ceiling"]
            for name, factor in in_units.items():
                values[metric_key(name, site="mean", order=order)] = value * factor
                if se is not None:
                    error = se if isinstance(se, float) else se[i]
                    values[metric_key(f"{name}_se", site="mean", order=order)] = error * factor
        stated = se[i] if isinstance(se, list) else se
        known = None if old or stated is None else _one_document_each(i, len(complexity), order, stated)
        points.append(Point(2**i if i else 0, values, influences=known))
    return Trajectory({}, {"name": "made up"}, points)


def _one_document_each(index: int, num_points: int, order: str, se: float) -> Influences:
    num_documents = 2 * max(num_points, 32)
    by_document = np.zeros((1, 4, num_documents))
    for side in (0, 1):
        by_document[0, 2 + side, 2 * index + side] = se * math.sqrt(1 - 1 / num_documents)
    names = ["entropy", "ceiling", f"{order}/complexity", f"{order}/expressivity"]
    return Influences.pack(["mean"], names, by_document, np.zeros((1, 4)), np.zeros((1, 4, 0)))


def _directions(draw: random.Random) -> np.ndarray[Any, Any]:
    """Directions at right angles, one for each point, so that points err on their own."""
    return np.linalg.qr(np.random.default_rng(draw.getrandbits(32)).standard_normal((64, 64)))[0]


def _one_direction(direction: np.ndarray[Any, Any], sites: list[str], se: float) -> Influences:
    names = ["entropy", "ceiling", *(f"{order}/{side}" for order in ORDERS for side in CURVE)]
    by_document = np.zeros((len(sites), len(names), 64))
    by_document[:, 2:] = se * math.sqrt(63 / 64) * direction
    none = np.zeros((len(sites), len(names)))
    return Influences.pack(sites, names, by_document, none, none[..., None][..., :0])


def _site(
    draw: random.Random, site: str, step: int, shape: str, shift: float, se: float | None, drop: float
) -> dict[str, float]:
    complexity = _interpolate(SHAPES[shape], math.log2(step + 1)) + shift
    ceiling = complexity / _interpolate(SHARES[shape], math.log2(step + 1))
    complexity -= drop * max(0.0, (math.log2(step + 1) - 8) / 4)
    expressivity = _interpolate([(0, 0.02), (5, 0.03), (12, 0.2)], math.log2(step + 1))
    entropy = complexity + 0.45
    values = {
        metric_key("entropy", site=site): entropy,
        metric_key("ceiling", site=site): ceiling,
        metric_key("mean_cosine", site=site): 0.6 - complexity,
        metric_key("preference_information", site=site): expressivity / 4,
    }
    for k, order in enumerate(ORDERS, start=1):
        clean = {"complexity": complexity + 0.02 * (k - 1), "expressivity": expressivity + 0.03 * (k - 1)}
        noisy = {quantity: value + draw.gauss(0, se or 0.0) for quantity, value in clean.items()}
        null = {"complexity": 0.05 * k, "expressivity": 0.05 * k}
        plugin = {quantity: value + 0.8 * null[quantity] for quantity, value in noisy.items()}
        debiased = _with_ratios(noisy, entropy) | {"variation": entropy - noisy["complexity"], "share": 0.1 / k}
        for quantity, value in noisy.items():
            ends = {"low": value - 0.05, "low_se": se or 0.0, "high": plugin[quantity]}
            values |= {metric_key(f"{quantity}_{end}", site=site, order=order): each for end, each in ends.items()}
        readings = {"debiased": debiased, "plugin": _with_ratios(plugin, entropy), "null": null}
        for reading, numbers in readings.items():
            shares = {SHARE_OF[quantity]: numbers[quantity] / ceiling for quantity in SHARE_OF}
            for quantity, value in (numbers | shares).items():
                values[metric_key(quantity, site=site, order=order, reading=reading)] = value
                if reading == "debiased" and se is not None:
                    error = se / ceiling if quantity in shares else se
                    values[metric_key(f"{quantity}_se", site=site, order=order)] = error
    return values


def _geometry(site: str, entropy: float) -> dict[str, float]:
    numbers = {"rankme": 200 * entropy, "participation_ratio": 40 * entropy, "alpha_req": 2 - entropy}
    suffixes = {"": 1.0, "_se": 0.01, "_half": 0.9}
    return {
        metric_key(quantity + suffix, site=site): factor * value
        for quantity, value in numbers.items()
        for suffix, factor in suffixes.items()
    }


def _with_ratios(pair: dict[str, float], entropy: float) -> dict[str, float]:
    optimality = pair["expressivity"] / pair["complexity"]
    return pair | {"optimality": optimality, "regularity": pair["complexity"] / entropy}


def _interpolate(knots: list[tuple[int, float]], x: float) -> float:
    for (x0, y0), (x1, y1) in pairwise(knots):
        if x <= x1:
            return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    return knots[-1][1]


def _protocol(sites: dict[str, str]) -> dict[str, Any]:
    return {
        "probe": {
            "hash": "5f3a9c0e1b7d4426a8e0c1d2f3b4a5968778695a4b3c2d1e0f9e8d7c6b5a4938",
            "name": "stdlib held out",
            "blocks": 64,
            "block_size": 128,
            "positions": 7936,
            "documents": 64,
            "tokenizer": "bpe-4096",
            "label_counts": {
                f"{side}/{order}": 700 * k for side in ("input", "output") for k, order in enumerate(ORDERS, 1)
            },
        },
        "orders": list(ORDERS),
        "sites": sites,
        "num_anchors": 100,
        "seed": 0,
        "temperature": "exact",
        "unit": "fraction of log K",
        "precision": "32-true",
        "versions": {"ibtrack": "0.1.0", "torch": "2.13.0"},
    }
