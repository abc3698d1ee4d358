"""Watch a language model compress: its path through the information plane, measured while it pre-trains."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ibtrack import schedules
    from ibtrack.distributed import MeasurementError
    from ibtrack.information.options import SoftOptions
    from ibtrack.integrations.lightning import InformationPlaneMonitor
    from ibtrack.probe.probe import Probe
    from ibtrack.record.trajectory import Point, Trajectory
    from ibtrack.tracking.recorder import MeasurementWarning
    from ibtrack.tracking.sites import find_sites
    from ibtrack.tracking.tracker import InformationPlaneTracker

__version__ = "0.1.0"

__all__ = [
    "InformationPlaneMonitor",
    "InformationPlaneTracker",
    "MeasurementError",
    "MeasurementWarning",
    "Point",
    "Probe",
    "SoftOptions",
    "Trajectory",
    "find_sites",
    "schedules",
]

_HOMES = {
    "InformationPlaneMonitor": "integrations.lightning",
    "InformationPlaneTracker": "tracking.tracker",
    "MeasurementError": "distributed",
    "MeasurementWarning": "tracking.recorder",
    "Point": "record.trajectory",
    "Probe": "probe.probe",
    "SoftOptions": "information.options",
    "Trajectory": "record.trajectory",
    "find_sites": "tracking.sites",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, as the terminal commands need no torch.

    Raises:
        AttributeError: There is no such name.
    """
    if name == "schedules":
        return importlib.import_module("ibtrack.schedules")
    if name in _HOMES:
        return getattr(importlib.import_module(f"ibtrack.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'ibtrack' has no attribute {name!r}")
