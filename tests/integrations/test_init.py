"""What the package of adapters promises, and what its import brings."""

import subprocess
import sys

import pytest

import ibtrack
from ibtrack import integrations


def test_every_name_that_is_promised_is_there() -> None:
    for name in integrations.__all__:
        assert getattr(integrations, name).__name__ == name
    assert integrations.InformationPlaneMonitor is ibtrack.InformationPlaneMonitor


def test_another_name_is_an_error() -> None:
    with pytest.raises(AttributeError, match=r"module 'ibtrack.integrations' has no attribute 'beauty'"):
        _ = integrations.beauty


def test_the_import_brings_no_package_that_an_adapter_needs() -> None:
    adapted = ("lightning", "transformers", "wandb", "wandb_workspaces", "altair", "torch")
    code = f"import ibtrack.integrations, sys; print([name for name in {adapted} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
