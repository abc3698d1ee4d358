"""Run the command as ``python -m ibtrack.cli``."""

from ibtrack.cli import app

if __name__ == "__main__":
    app()
