"""The site is built strictly, holds the tables that are made from the code, and fetches nothing from another host."""

from __future__ import annotations

import html
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ibtrack.record.quantities import QUANTITIES, quantity_key
from tests.docs.pages import DOCS, PAGES, ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site, once for all tests of this file."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return folder


def test_every_page_and_notebook_is_there(site: Path) -> None:
    sources = [*PAGES, *(DOCS / "tutorials").glob("*.ipynb")]
    pages = [source.relative_to(DOCS).with_suffix(".html") for source in sources]
    assert [page for page in pages if not (site / page).exists()] == []


def test_no_source_of_the_site_is_published(site: Path) -> None:
    assert [path for path in site.rglob("*") if path.suffix in (".py", ".ipynb")] == []


def test_nothing_is_fetched_from_another_host(site: Path) -> None:
    fetched = re.compile(
        r"<(?:script|img|iframe|source)[^>]*src=\"?(?:https?:)?//|<link[^>]*rel=\"?(?:stylesheet|preconnect|preload)[^>]*//"
    )
    assert [page for page in site.rglob("*.html") if fetched.search(page.read_text("utf-8"))] == []
    styles = [path for path in site.rglob("*.css") if re.search(r"url\(['\"]?(?:https?:)?//", path.read_text("utf-8"))]
    assert styles == []


def test_the_tables_of_keys_and_commands_are_made_from_the_code(site: Path) -> None:
    keys = html.unescape((site / "keys.html").read_text("utf-8"))
    for quantity, row in QUANTITIES.items():
        assert quantity_key(quantity, "<site>", "<order>", "debiased") in keys
        unit = row.unit or "a ratio"
        assert f"<td><strong>{row.title}</strong>, {unit}. {row.meaning}</td>" in keys
    commands = (site / "command_line.html").read_text("utf-8")
    for command in ("report", "list", "show", "export", "plane", "dashboard"):
        assert f"ibtrack {command}" in commands


@pytest.mark.parametrize(
    "package", ["", ".analysis", ".information", ".integrations", ".metrics", ".record", ".report"]
)
def test_every_name_that_a_package_promises_has_a_place_in_the_reference(site: Path, package: str) -> None:
    pages = "\n".join(path.read_text("utf-8") for path in (site / "api").glob("*.html"))
    places = set(re.findall(r'id="?ibtrack\.(?:\w+\.)*(\w+)', pages))
    assert set(importlib.import_module(f"ibtrack{package}").__all__) - places == set()


def test_a_broken_link_fails(tmp_path: Path) -> None:
    config = (ROOT / "mkdocs.yml").read_text("utf-8").partition("hooks:")[
        0
    ] + "validation: {links: {not_found: warn}}\n"
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("[gone](gone.md)\n")
    (tmp_path / "mkdocs.yml").write_text(config)
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode != 0
    assert "gone.md" in result.stderr
