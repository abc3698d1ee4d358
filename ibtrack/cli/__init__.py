"""The ``ibtrack`` command."""

from ibtrack.cli.commands import app

__all__ = ["app"]
