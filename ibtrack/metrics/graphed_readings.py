"""The readings of a plane as one CUDA graph: a thousand kernels that are launched at once.

A GPU takes less time for the readings of a small probe than Python does to ask for them. A graph is a recording of the
kernels with the addresses that they read and write. So the rows of the plane stay in their place between measurements,
and so do the tables that the readings are worked out in, which no one else can use.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.distributed import is_available, is_initialized

from ibtrack.information.readings import Readings
from ibtrack.information.row_statistics import sample_order
from ibtrack.metrics.plane import InformationPlane
from ibtrack.record.texts import reason

T = TypeVar("T")


class GraphedReadings:
    """The readings of one plane, by a graph from the second time on.

    The first time they are worked out as ever, which also brings what lasts to the GPU; the second time the graph is
    made. Numbers are those of `InformationPlane.readings`: the same kernels run on the same rows. Some of them add up
    in float64 in an order that differs each time, so two readings of the same rows, by a graph or not, differ by
    1e-17; under ``torch.use_deterministic_algorithms`` they are equal.

    Where no graph can be made, as memory runs out or another library does what a graph cannot hold, a warning says so
    once, and readings are worked out as ever.

    Args:
        plane: The plane, on a GPU; its rows must not be released.
    """

    def __init__(self, plane: InformationPlane) -> None:
        self._plane = plane
        self._graph: Any = None
        self._read: Readings | None = None
        self._faults: Tensor | None = None
        self._rows: tuple[Tensor, Tensor] | None = None  # what the graph reads
        self._order: Tensor | None = None  # that the graph reads as well, and that is kept elsewhere only for a while
        self._failed = False

    def __call__(self) -> Readings:
        """Work out the readings of the rows that the plane has now.

        Returns:
            Them. Their tensors are overwritten at the next call.
        """
        plane = self._plane
        if self._failed or not self._in_place():
            self._graph = self._read = None
            self._rows = None if self._failed else (plane.assignments, plane.seen)
            return plane.readings()
        if self._graph is None and not self._capture():
            return plane.readings()
        self._graph.replay()
        plane._row_faults = self._faults
        assert self._read is not None
        return self._read

    def _in_place(self) -> bool:
        """Say whether the plane's rows are where they were at the last call."""
        if self._rows is None:
            return False
        assignments, seen = self._rows
        return self._plane.assignments is assignments and self._plane.seen is seen

    def _capture(self) -> bool:
        """Make the graph, and say whether that was possible."""
        try:
            rows = self._plane.assignments
            self._order = sample_order(rows.shape[2], rows.device)
            self._graph, self._read = capture(self._plane.readings)
            self._faults = self._plane._row_faults
        except RuntimeError as error:  # CUDA's errors, and of memory
            self._failed, self._graph, self._read = True, None, None
            warnings.warn(
                f"ibtrack: cuda_graph: the readings could not be made a graph ({reason(error)}); they are worked out "
                "without one",
                RuntimeWarning,
                stacklevel=2,
            )
        return not self._failed


def capture(function: Callable[[], T]) -> tuple[Any, T]:
    """Record what a function has the GPU do, without doing it.

    Args:
        function: A function without arguments, which has been called before.

    Returns:
        A graph, whose ``replay()`` does it, and what the function returned, whose tensors that fills.
    """
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # loaders of data may do what they do in threads
        return graph, function()


def why_no_graph(planes: Sequence[InformationPlane]) -> str:
    """Say why the readings of a measurement cannot be a graph; empty where they can.

    Args:
        planes: The planes of the measurement.
    """
    first = planes[0]
    if first.device.type != "cuda":
        return f"the model is on the device {first.device.type}, not on a GPU"
    if is_available() and is_initialized():
        return "the rows of several processes are put together anew at each measurement"
    if len(planes) > 1:
        return f"the sites are measured in {len(planes)} passes, whose rows do not fit into max_memory together"
    if first.permutes:
        return "the labels of this probe are permuted anew at each measurement"
    return ""
