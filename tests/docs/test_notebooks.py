"""The tutorials run from a clean start, in the order of their cells, and are small."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.docs.pages import DOCS, ROOT, name

NOTEBOOKS = sorted((DOCS / "tutorials").glob("*.ipynb"))
SECONDS_OF_A_CELL = 300
MOST_BYTES = 300_000

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of jupyter's own


def _read(path: Path) -> nbformat.NotebookNode:
    notebook: nbformat.NotebookNode = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    return notebook


def _kinds(notebook: nbformat.NotebookNode) -> list[list[str]]:
    """List the kinds of outputs of each cell; what is printed may come in one piece or in several."""
    kinds = [[output["output_type"] for output in cell.get("outputs", [])] for cell in notebook.cells]
    return [[kind for kind, _ in itertools.groupby(of_cell)] for of_cell in kinds]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_a_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])))
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")  # as when the outputs were stored: of progress bars in notebooks
    notebook = _read(path)
    NotebookClient(notebook, timeout=SECONDS_OF_A_CELL, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert _kinds(notebook) == _kinds(_read(path))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_a_notebook_is_small_and_has_its_outputs(path: Path) -> None:
    assert path.stat().st_size < MOST_BYTES
    code = [cell for cell in _read(path).cells if cell.cell_type == "code"]
    assert any(cell.outputs for cell in code)
    assert not any(output.output_type == "error" for cell in code for output in cell.outputs)
    assert not any(output.get("name") == "stderr" for cell in code for output in cell.outputs)
