"""Watch a language model compress: its path through the information plane, measured while it pre-trains."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ibtrack import schedules
    from ibtrack.callback import InformationPlaneMonitor
    from ibtrack.probe import Probe
    from ibtrack.processes import MeasurementError
    from ibtrack.tracker import InformationPlaneTracker, MeasurementWarning
    from ibtrack.trajectory import Point, Trajectory

__version__ = "0.1.0"

__all__ = [
    "InformationPlaneMonitor",
    "InformationPlaneTracker",
    "MeasurementError",
    "MeasurementWarning",
    "Point",
    "Probe",
    "Trajectory",
    "schedules",
]

_HOMES = {
    "InformationPlaneMonitor": "callback",
    "InformationPlaneTracker": "tracker",
    "MeasurementError": "processes",
    "MeasurementWarning": "tracker",
    "Point": "trajectory",
    "Probe": "probe",
    "Trajectory": "trajectory",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: the terminal commands need no torch."""
    if name == "schedules":
        return importlib.import_module("ibtrack.schedules")
    if name in _HOMES:
        return getattr(importlib.import_module(f"ibtrack.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'ibtrack' has no attribute {name!r}")
