"""The command as a module, for where the script is not on the path."""

import subprocess
import sys


def test_the_module_is_the_command() -> None:
    command = [sys.executable, "-m", "ibtrack.cli", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "reports, pictures and tables from trajectory files" in " ".join(shown.split())
