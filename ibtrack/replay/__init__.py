"""Replay: the trajectory of a run from its saved or published checkpoints."""

from ibtrack.replay.checkpoint import Checkpoint, File, Source
from ibtrack.replay.hub import HubError, HubSource, is_transient
from ibtrack.replay.plan import Cost, Plan, find_checkpoints

__all__ = ["Checkpoint", "Cost", "File", "HubError", "HubSource", "Plan", "Source", "find_checkpoints", "is_transient"]
