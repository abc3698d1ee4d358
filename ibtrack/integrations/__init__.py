"""Adapters to training loops and loggers.

Each needs a package that is not always there, and is imported when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ibtrack.integrations.huggingface import InformationPlaneTrainerCallback
    from ibtrack.integrations.lightning import InformationPlaneMonitor
    from ibtrack.integrations.wandb import WandbLog
    from ibtrack.integrations.wandb_workspace import Dashboard, make_dashboard, plane_preset

__all__ = [
    "Dashboard",
    "InformationPlaneMonitor",
    "InformationPlaneTrainerCallback",
    "WandbLog",
    "make_dashboard",
    "plane_preset",
]

_HOMES = {
    "Dashboard": "wandb_workspace",
    "InformationPlaneMonitor": "lightning",
    "InformationPlaneTrainerCallback": "huggingface",
    "WandbLog": "wandb",
    "make_dashboard": "wandb_workspace",
    "plane_preset": "wandb_workspace",
}


def __getattr__(name: str) -> Any:
    """Import what is named in ``__all__`` when it is first used.

    Args:
        name: Attribute of this package that was asked for.

    Raises:
        AttributeError: There is no such attribute.
        ModuleNotFoundError: The extra that the adapter needs is not installed.
    """
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
