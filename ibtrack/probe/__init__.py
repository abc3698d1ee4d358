"""The probe: frozen inputs that a run is measured on, with their labels."""

from ibtrack.probe.probe import Probe

__all__ = ["Probe"]
