"""Replay: the trajectory of a run from its saved or published checkpoints."""

from ibtrack.replay.checkpoint import Checkpoint, File, Source

__all__ = ["Checkpoint", "File", "Source"]
