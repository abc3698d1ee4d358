"""Readings as a CUDA graph, with something in its place that runs on a CPU: when it is made, replayed and given up."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from ibtrack import Probe
from ibtrack.information.readings import Readings
from ibtrack.metrics import InformationPlane, graphed_readings
from ibtrack.metrics.graphed_readings import GraphedReadings, why_no_graph
from ibtrack.tracking import measurement
from tests import models
from tests.tracking.test_tracker import tracker


class _Graph:
    """What was recorded, which is run anew and written where its results were."""

    made = 0

    def __init__(self, function: Callable[[], Readings]) -> None:
        self.function, self.read, self.replays = function, function(), 0
        self.plane: Any = function.__self__  # type: ignore[attr-defined]  # a method of a plane
        self.faults = self.plane._row_faults
        _Graph.made += 1

    def replay(self) -> None:
        self.replays += 1
        others = self.plane._row_faults  # a graph runs no Python, and so puts nothing in its place
        for old, new in zip(_tensors(self.read), _tensors(self.function()), strict=True):
            old.copy_(new)
        self.faults.copy_(self.plane._row_faults)
        self.plane._row_faults = others


def _tensors(readings: Readings) -> list[Tensor]:
    found: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    readings.map_tensors(keep)
    return found


def _capture(function: Callable[[], Readings]) -> tuple[_Graph, Readings]:
    graph = _Graph(function)
    return graph, graph.read


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> type[_Graph]:
    monkeypatch.setattr(graphed_readings, "capture", _capture)
    monkeypatch.setattr(_Graph, "made", 0)
    return _Graph


def _plane() -> InformationPlane:
    probe = models.probe()
    plane = InformationPlane(probe, {"L00": 8, "L01": 8})
    _fill(plane, probe, seed=0)
    return plane


def _fill(plane: InformationPlane, probe: Probe, seed: int) -> None:
    for number, site in enumerate(plane.sites):
        rows = torch.randn(probe.num_positions, 8, generator=torch.Generator().manual_seed(seed + number))
        plane.update(site, rows, torch.arange(probe.num_positions))


def _equal(one: Readings, other: Readings) -> bool:
    pairs = list(zip(_tensors(one), _tensors(other), strict=True))
    assert all(torch.equal(a.isnan(), b.isnan()) for a, b in pairs)
    return all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in pairs)


def test_the_second_readings_are_recorded_and_replayed_as_all_later_ones(graphs: type[_Graph]) -> None:
    plane = _plane()
    graphed = GraphedReadings(plane)
    for seed in range(4):
        plane.reset()
        _fill(plane, models.probe(), seed)
        plane.seen[0, seed] = 2
        assert _equal(graphed(), plane.readings())
        plane.seen[0, seed] = 0
        graphed()  # the faults are those of the last readings as well
        assert plane.faults() == {"L00": f"1 of {models.probe().num_positions} positions were not measured"}
        assert graphs.made == 1
    assert graphed._graph.replays == 7


def test_rows_that_lie_elsewhere_are_read_as_ever(graphs: type[_Graph]) -> None:
    plane = _plane()
    graphed = GraphedReadings(plane)
    for _ in range(3):
        graphed()
        plane.release()
        _fill(plane, models.probe(), seed=5)
    assert graphs.made == 0
    assert _equal(graphed(), plane.readings())


def test_where_no_graph_can_be_made_a_warning_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def fail(function: Any) -> None:
        calls.append(function)
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(graphed_readings, "capture", fail)
    plane = _plane()
    graphed = GraphedReadings(plane)
    expected = graphed()
    with pytest.warns(RuntimeWarning, match=r"cuda_graph: the readings could not be made a graph \(.*no room"):
        assert _equal(graphed(), expected)
    assert _equal(graphed(), expected)
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("planes", "joined", "words"),
    [
        ([("cpu", False)], False, "the model is on the device cpu"),
        ([("cuda", False)], True, "rows of several processes"),
        ([("cuda", False), ("cuda", False)], False, "measured in 2 passes"),
        ([("cuda", True)], False, "labels of this probe are permuted"),
        ([("cuda", False)], False, ""),
    ],
)
def test_it_is_said_why_there_is_no_graph(
    monkeypatch: pytest.MonkeyPatch, planes: list[tuple[str, bool]], joined: bool, words: str
) -> None:
    monkeypatch.setattr(graphed_readings, "is_initialized", lambda: joined)
    stand_ins: Any = [SimpleNamespace(device=torch.device(name), permutes=permutes) for name, permutes in planes]
    why = why_no_graph(stand_ins)
    assert words in why
    assert bool(why) == bool(words)


def test_a_tracker_on_a_cpu_says_that_it_has_no_graph() -> None:
    lines: list[str] = []
    watched = tracker(cuda_graph=True, say=lines.append)
    watched.start(models.Model())
    assert "ibtrack: cuda_graph has no effect: the model is on the device cpu, not on a GPU" in lines


def test_measurements_with_a_graph_are_those_without(graphs: type[_Graph], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurement, "why_no_graph", lambda planes: "")
    monkeypatch.setattr(measurement, "KEPT_BYTES", 0)  # without a graph the rows are given back
    model, found = models.Model(), []
    for cuda_graph in (False, True):
        watched = tracker(cuda_graph=cuda_graph)
        found.append([dict(watched.measure(model).values) for _ in range(3)])
    assert found[0] == found[1]
    assert graphs.made == 1
