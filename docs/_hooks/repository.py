"""Takes files from outside docs/ into the site: pictures of the experiments, CONTRIBUTING.md and CHANGELOG.md."""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "experiments" / "pictures"
_MARK = re.compile(r"<!-- file: (\S+) -->")
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#|mailto:)([^)]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pictures of the experiments, so that pages name them as ``pictures/demo.png``."""
    for picture in sorted(PICTURES.glob("*.png")):
        files.append(File.generated(config, f"pictures/{picture.name}", abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put the text of a file of the repository where a page has ``<!-- file: NAME -->``."""
    return _MARK.sub(lambda mark: _text_of(mark[1]), markdown)


def _text_of(name: str) -> str:
    """Read a file without its title; a link to a page of docs/ stays a link, one to another file becomes its name."""
    path = ROOT / name
    if not path.exists():
        return f"The file `{name}` is not in this checkout."
    _, _, text = path.read_text(encoding="utf-8").partition("\n")
    return _LINK.sub(_kept_or_named, text)


def _kept_or_named(link: re.Match[str]) -> str:
    picture, words, target = link.groups()
    if target.startswith("docs/"):
        return f"{picture}[{words}]({target.removeprefix('docs/')})"
    return words if f"`{target}`" == words else f"{words} (`{target}`)"
