"""Trajectories as tables, charts and one HTML page.

What draws needs the extra ``report``. It is imported when `charts` or `write_report` is first asked for, so that
`ibtrack.report.tables` can be used without it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ibtrack.report import charts
    from ibtrack.report.html import write_report

__all__ = ["charts", "write_report"]


def __getattr__(name: str) -> Any:
    """Import what is named in ``__all__`` when it is first used.

    Args:
        name: Attribute of this package that was asked for.

    Raises:
        AttributeError: There is no such attribute.
        ModuleNotFoundError: The extra ``report`` is not installed.
    """
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module("ibtrack.report.charts" if name == "charts" else "ibtrack.report.html")
    return module if name == "charts" else module.write_report
