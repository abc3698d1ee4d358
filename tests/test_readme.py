"""The README is one screen, and what it names exists. Its code and its targets: tests/docs/test_code_blocks.py."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def test_it_is_one_screen() -> None:
    assert len(TEXT.splitlines()) <= 65


def test_the_callback_takes_fifteen_lines() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    assert len([line for line in block.splitlines() if line.strip()]) <= 15


def test_the_two_commands_do_all_the_set_up() -> None:
    assert re.findall(r"^    make (\w+)", TEXT, flags=re.MULTILINE) == ["demo", "test"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(f"\n{target}: $(READY)\n" in makefile for target in ("demo", "test"))


def test_pictures_and_links_exist() -> None:
    targets = re.findall(r"\]\((?!https://)(.*?)\)", TEXT)
    assert "experiments/pictures/demo.png" in targets
    assert [target for target in targets if not (ROOT / target).exists()] == []
