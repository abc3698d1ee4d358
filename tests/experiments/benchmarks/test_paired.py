"""Errors of differences: by hand, and what they are where two points are equal or have nothing in common."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from experiments.benchmarks import paired
from experiments.benchmarks.paired import Information, Numbers
from ibtrack import Probe, Trajectory
from ibtrack.analysis import difference
from ibtrack.metrics import InformationPlane
from ibtrack.record.trajectory import Point


def information(value: float, influence: list[float], systematic: float, correction: float) -> Information:
    def one(number: float) -> Tensor:
        return torch.tensor([number], dtype=torch.float64)

    return Information(
        value=one(value),
        influence=torch.tensor([influence], dtype=torch.float64),
        systematic=one(systematic),
        correction=one(correction),
    )


def complexity(*numbers: float | list[float]) -> Numbers:
    """Return a complexity in units of log K = 1."""
    reading = {"input/token": information(*numbers)}  # type: ignore[arg-type]
    return paired.numbers(reading, "complexity", "token", num_anchors=math.e)  # type: ignore[arg-type]


def test_a_difference_of_equal_points_has_no_error() -> None:
    point = complexity(1.0, [0.1, -0.1, 0.0], 0.2, 0.5)
    errors = paired.difference_errors(point, point)
    nothing = {name for name, error in errors.items() if float(error) == 0}
    assert nothing == {*paired.ASSUMPTIONS} - {"independent"}
    assert float(errors["independent"]) == pytest.approx(0.2 * math.sqrt(2))
    assert float(errors["as now"]) == pytest.approx(math.sqrt(2 * (0.02 * 3 / 2 + 0.04)))


def test_errors_of_a_difference_by_hand() -> None:
    first = complexity(1.0, [0.3, -0.3, 0.0, 0.0], 0.2, 0.5)
    second = complexity(2.0, [0.0, 0.0, 0.4, -0.4], 0.3, 0.1)  # moved by other documents
    paired_error = math.sqrt((2 * 0.09 + 2 * 0.16) * 4 / 3)
    wanted = {"none": 0.0, "equal": 0.1, "0.15 of its change": 0.06, "alike": math.hypot(0.2, 0.3)}
    errors = paired.correction_errors(first, second)
    assert {name: float(errors[name]) for name in wanted} == pytest.approx(wanted)
    assert float(errors["0.6 of alike"]) == pytest.approx(0.6 * math.hypot(0.2, 0.3))
    assert float(paired.difference_errors(first, second)["alike"]) == pytest.approx(math.hypot(paired_error, 0.2, 0.3))


def test_a_ratio_has_the_corrections_of_both_sides() -> None:
    reading = {
        "input/token": information(2.0, [0.1, -0.1], 0.2, 0.5),
        "output/token": information(1.0, [0.1, -0.1], 0.1, 0.5),
        "ceiling": information(4.0, [0.0, 0.0], 0.0, 0.0),
    }
    nothing = {name: information(1.0, [0.0, 0.0], 0.0, 0.0) for name in reading}
    found = {
        quantity: float(
            paired.correction_errors(
                paired.numbers(nothing, quantity, "token"), paired.numbers(reading, quantity, "token")
            )["alike"]
        )
        for quantity in ("kept", "told", "optimality")
    }
    assert found == pytest.approx({"kept": 0.2 / 4, "told": 0.1 / 4, "optimality": math.hypot(0.1 / 2, 0.2 * 1 / 4)})


def plane_and_activations(probe: Probe, noise: float) -> tuple[InformationPlane, dict[str, Tensor]]:
    """Return two sites of activations, more or less determined by the token, and the plane that has them."""
    generator = torch.Generator().manual_seed(0)
    activations = {
        site: torch.randn(9, 8, generator=generator)[probe.inputs]
        + noise * torch.randn(*probe.grid, 8, generator=generator)
        for site in ("L00", "L01")
    }
    plane = InformationPlane(probe, {"L00": 8, "L01": 8})
    for site, rows in activations.items():
        plane.update(site, rows.flatten(0, 1), torch.arange(probe.num_positions), probe.positions)
    return plane, activations


def test_numbers_and_errors_are_those_of_ibtrack() -> None:
    tokens = torch.randint(9, (8, 16), generator=torch.Generator().manual_seed(0))
    probe = Probe(tokens, orders=(1, 2), keep_copies=True)
    points, readings = [], []
    for step, noise in enumerate((1.0, 2.0)):
        plane, activations = plane_and_activations(probe, noise)
        values = {key: float(value) for key, value in plane.compute().items()}
        points.append(Point(step, values, influences=plane.influences(plane.readings(), plane.sites)))
        readings.append(paired.join([paired.read(probe, activations)] * 2))
    run = Trajectory({}, {"name": "run"}, points)
    for key in (f"{order}/{quantity}" for order in ("token", "bigram") for quantity in paired.QUANTITIES):
        order, quantity = key.split("/")
        first, second = (paired.numbers(reading, quantity, order) for reading in readings)
        found = difference(run.at(0), run.at(1), f"ib/mean/{key}")
        assert (second.value - first.value).tolist() == pytest.approx([found.value] * 2)
        errors = paired.difference_errors(first, second)
        assert errors["ibtrack"].tolist() == pytest.approx([found.se] * 2, rel=1e-3)  # influences are rounded
        assert errors["as now"].tolist() == pytest.approx(
            [math.hypot(*(point.values[f"ib/mean/{key}_se"] for point in points))] * 2
        )
