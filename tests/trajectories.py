"""Made-up trajectories that look like real ones: collapse, expansion, compression, with noise of the stated size."""

from __future__ import annotations

import math
import random
from itertools import pairwise
from typing import Any

from ibtrack.record.keys import metric_key
from ibtrack.record.trajectory import Point, Trajectory
from ibtrack.record.writer import TrajectoryWriter

ORDERS = ("token", "bigram", "trigram", "quadgram")
SHAPES = {  # (log2 of the step + 1, share of full training) → complexity of the mean, by linear interpolation
    "demo": [(0, 0.27), (5, 0.08), (8, 0.41), (12, 0.36)],
    "rise": [(0, 0.10), (12, 0.40)],
    "flat": [(0, 0.30), (12, 0.30)],
}


def steps(num_points: int, last: int = 4000) -> list[int]:
    """Step 0, then log-spaced steps up to the last, each once."""
    if num_points == 1:
        return [0]
    spaced = {round(math.exp(math.log(last) * i / (4 * num_points))) for i in range(4 * num_points + 1)}
    inner = sorted(spaced - {last})
    kept = [inner[round(i * (len(inner) - 1) / max(num_points - 3, 1))] for i in range(num_points - 2)]
    return [0, *kept, last]


def make(
    name: str = "run",
    *,
    shape: str = "demo",
    num_points: int = 14,
    num_layers: int = 4,
    se: float | None = 0.004,
    seed: int = 0,
    drop: float = 0.0,
    config: dict[str, Any] | None = None,
    **protocol: Any,
) -> Trajectory:
    """A trajectory with every key of the contract.

    ``se`` is both the noise that is added and the standard error that is stated; None states none. ``drop`` deepens the
    compression of the last points.
    """
    draw = random.Random(f"{name} {seed}")
    sites = {"embed": "model.embed_tokens"} | {f"L{i:02d}": f"model.layers.{i}" for i in range(num_layers)}
    points = []
    for step in steps(num_points):
        readings: dict[str, float] = {}
        for depth, site in enumerate(["mean", *sites]):
            readings |= _site(draw, site, step, shape, 0.0 if depth == 0 else (depth - num_layers / 2) * 0.01, se, drop)
        loss = 2.2 + 4.75 * math.exp(-step / 300)
        readings |= {
            metric_key("tokens_seen"): 2048.0 * step,
            metric_key("probe_loss"): loss + 0.1,
            metric_key("variational_floor"): max(0.0, 6.9 - loss),
            metric_key("overhead_fraction"): 0.02,
        }
        points.append(Point(step, readings, loss=loss if step else None, tokens_seen=2048 * step, wall_time=step / 20))
    return Trajectory(_protocol(sites) | protocol, {"name": name, "config": config or {}}, points)


def write(trajectory: Trajectory, folder: Any) -> Any:
    """Put a trajectory on disk as a run would; returns its folder."""
    writer = TrajectoryWriter.create(folder / "trajectory.jsonl", trajectory.protocol, trajectory.run)
    for point in trajectory.points:
        writer.append(point)
    return folder


def of(
    complexity: list[float],
    expressivity: list[float] | None = None,
    *,
    se: float | list[float] | None = 0.002,
    order: str = "token",
) -> Trajectory:
    """The mean trajectory alone, point i at step 2^i (the first at 0)."""
    expressivity = expressivity or [0.5 * value for value in complexity]
    points = []
    for i, pair in enumerate(zip(complexity, expressivity, strict=True)):
        readings = {}
        for quantity, value in zip(("complexity", "expressivity"), pair, strict=True):
            readings[metric_key(quantity, site="mean", order=order)] = value
            if se is not None:
                readings[metric_key(f"{quantity}_se", site="mean", order=order)] = (
                    se if isinstance(se, float) else se[i]
                )
        points.append(Point(2**i if i else 0, readings))
    return Trajectory({}, {"name": "made up"}, points)


def _site(
    draw: random.Random, site: str, step: int, shape: str, shift: float, se: float | None, drop: float
) -> dict[str, float]:
    clean = _interpolate(SHAPES[shape], math.log2(step + 1)) + shift
    clean -= drop * max(0.0, (math.log2(step + 1) - 8) / 4)
    known = _interpolate([(0, 0.02), (5, 0.03), (12, 0.2)], math.log2(step + 1))
    readings = {
        metric_key("entropy", site=site): clean + 0.45,
        metric_key("ceiling", site=site): clean + 0.12,
        metric_key("mean_cosine", site=site): 0.6 - clean,
        metric_key("preference_information", site=site): known / 4,
    }
    for k, order in enumerate(ORDERS, start=1):
        values = {"complexity": clean + 0.02 * (k - 1), "expressivity": known + 0.03 * (k - 1)}
        noisy = {quantity: value + draw.gauss(0, se or 0.0) for quantity, value in values.items()}
        null = {"complexity": 0.05 * k, "expressivity": 0.05 * k}
        for reading, pair in {
            "debiased": noisy,
            "plugin": {q: v + 0.8 * null[q] for q, v in noisy.items()},
            "null": null,
        }.items():
            ratios = {
                "optimality": pair["expressivity"] / pair["complexity"],
                "regularity": pair["complexity"] / (clean + 0.45),
            }
            if reading == "debiased":
                ratios |= {"variation": clean + 0.45 - pair["complexity"], "share": 0.1 / k}
            for quantity, value in (pair | (ratios if reading != "null" else {})).items():
                readings[metric_key(quantity, site=site, order=order, reading=reading)] = value
                if reading == "debiased" and se is not None:
                    readings[metric_key(f"{quantity}_se", site=site, order=order)] = se
    return readings


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
