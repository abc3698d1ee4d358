"""The command as a module, for where the script is not on the path."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["ibtrack", "ibtrack.cli"])
def test_the_module_is_the_command(module: str) -> None:
    command = [sys.executable, "-m", module, "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "reports, pictures and tables from trajectory files" in " ".join(shown.split())
