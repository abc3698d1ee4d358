"""Replay: the trajectory of a run from its saved or published checkpoints."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ibtrack.replay.checkpoint import Checkpoint, File, Source
from ibtrack.replay.errors import LoadingError
from ibtrack.replay.families import Family, family_names, load_family
from ibtrack.replay.folders import FolderSource
from ibtrack.replay.hub import HubError, HubSource, is_transient
from ibtrack.replay.plan import Cost, Plan, find_checkpoints

if TYPE_CHECKING:
    from ibtrack.replay.loading import load_model
    from ibtrack.replay.loop import replay
    from ibtrack.replay.models import replay_models

__all__ = [
    "Checkpoint",
    "Cost",
    "Family",
    "File",
    "FolderSource",
    "HubError",
    "HubSource",
    "LoadingError",
    "Plan",
    "Source",
    "family_names",
    "find_checkpoints",
    "is_transient",
    "load_family",
    "load_model",
    "replay",
    "replay_models",
]

_HOMES = {"load_model": "loading", "replay": "loop", "replay_models": "models"}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, as a plan needs no torch.

    Raises:
        AttributeError: There is no such name.
    """
    if name in _HOMES:
        return getattr(importlib.import_module(f"ibtrack.replay.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'ibtrack.replay' has no attribute {name!r}")
