"""The ``ibtrack`` command."""

from ibtrack.cli import sites
from ibtrack.cli.commands import app

__all__ = ["app", "sites"]
