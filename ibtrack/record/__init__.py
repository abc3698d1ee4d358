"""The record of a run: the names of its numbers, its points, and the trajectory file. Nothing here needs torch."""

from ibtrack.record.keys import READINGS, Key, metric_key, order_name, parse_key
from ibtrack.record.protocol import protocol_differences
from ibtrack.record.quantities import QUANTITIES, Quantity, quantity_key
from ibtrack.record.trajectory import Point, Trajectory
from ibtrack.record.writer import TrajectoryWriter

__all__ = [
    "QUANTITIES",
    "READINGS",
    "Key",
    "Point",
    "Quantity",
    "Trajectory",
    "TrajectoryWriter",
    "metric_key",
    "order_name",
    "parse_key",
    "protocol_differences",
    "quantity_key",
]
