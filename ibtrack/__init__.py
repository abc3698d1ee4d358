"""Watch a language model compress: its path through the information plane, measured while it pre-trains."""

from ibtrack import schedules
from ibtrack.callback import InformationPlaneMonitor
from ibtrack.probe import Probe
from ibtrack.tracker import InformationPlaneTracker, MeasurementError, MeasurementWarning
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
