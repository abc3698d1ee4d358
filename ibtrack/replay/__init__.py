"""Replay: the trajectory of a run from its saved or published checkpoints."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ibtrack.replay.checkpoint import Checkpoint, File, Source

if TYPE_CHECKING:
    from ibtrack.replay.loop import replay

__all__ = ["Checkpoint", "File", "Source", "replay"]

_HOMES = {"replay": "loop"}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, as a plan needs no torch.

    Raises:
        AttributeError: There is no such name.
    """
    if name in _HOMES:
        return getattr(importlib.import_module(f"ibtrack.replay.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'ibtrack.replay' has no attribute {name!r}")
