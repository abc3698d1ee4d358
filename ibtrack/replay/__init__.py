"""Replay: the trajectory of a run from its saved or published checkpoints."""

from ibtrack.replay.checkpoint import Checkpoint, File, Source
from ibtrack.replay.families import Family, family_names, load_family
from ibtrack.replay.hub import HubError, HubSource, is_transient
from ibtrack.replay.plan import Cost, Plan, find_checkpoints

__all__ = [
    "Checkpoint",
    "Cost",
    "Family",
    "File",
    "HubError",
    "HubSource",
    "Plan",
    "Source",
    "family_names",
    "find_checkpoints",
    "is_transient",
    "load_family",
]
