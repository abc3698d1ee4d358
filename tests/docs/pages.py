"""The pages of the documentation: their files, and the blocks of code in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md"))
_BLOCK = re.compile(r"(?:<!-- not run: (?P<reason>[^>]+) -->\n)?```(?P<language>\w+)\n(?P<code>.*?)```", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        language: What stands behind its first fence.
        code: Its text.
        reason: Why it is not run, or None.
    """

    language: str
    code: str
    reason: str | None


def blocks(page: Path, language: str) -> list[Block]:
    """Find the blocks of one language, in order."""
    found = [
        Block(match["language"], match["code"], match["reason"]) for match in _BLOCK.finditer(page.read_text("utf-8"))
    ]
    return [block for block in found if block.language == language]


def name(page: Path) -> str:
    """Name a page by its path below docs/, or below the repository for the README."""
    return page.relative_to(DOCS if DOCS in page.parents else ROOT).as_posix()
