"""Run the command as ``python -m ibtrack``."""

from ibtrack.cli.commands import app

if __name__ == "__main__":
    app()
