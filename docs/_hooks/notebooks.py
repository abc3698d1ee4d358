"""Makes a page of every notebook below docs/: its text, its code, and the outputs that are stored in it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add ``name.md`` for each ``name.ipynb``."""
    folder = Path(config.docs_dir)
    for notebook in sorted(folder.rglob("*.ipynb")):
        page = notebook.relative_to(folder).with_suffix(".md").as_posix()
        files.append(File.generated(config, page, content=page_of_notebook(notebook)))
    return files


def page_of_notebook(notebook: Path) -> str:
    """Write the cells of a notebook as Markdown."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    download = f"*This page is the notebook `docs/tutorials/{notebook.name}`; the tests run it.*"
    title, *rest = [part for cell in cells for part in _parts_of_cell(cell)]
    return "\n\n".join([title, download, *rest]) + "\n"


def _parts_of_cell(cell: dict[str, Any]) -> Iterator[str]:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        yield source
        return
    yield f"```python\n{source}\n```"
    for is_stream, outputs in itertools.groupby(cell["outputs"], lambda output: output["output_type"] == "stream"):
        if is_stream:  # what is printed may lie in several pieces
            yield _text("".join("".join(output["text"]) for output in outputs))
        else:
            yield from (_shown(output["data"]) for output in outputs)


def _shown(data: dict[str, Any]) -> str:
    if "image/png" in data:
        return f"![Output of the cell above](data:image/png;base64,{''.join(data['image/png']).strip()})"
    return _text("".join(data["text/plain"]))


def _text(text: str) -> str:
    return f"```text\n{text.rstrip()}\n```"
