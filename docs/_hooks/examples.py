"""Lets mkdocstrings read ``Example:`` as what it calls ``Examples:``, so that doctests are shown as code."""

from __future__ import annotations

import re
from typing import Any

import griffe

_HEAD = re.compile(r"^Example:$", flags=re.MULTILINE)


class Examples(griffe.Extension):
    """Rename the section in every docstring, while the package is read."""

    def on_object(self, *, obj: griffe.Object, **rest: Any) -> None:
        """Rename it in the docstring of a module, class, function or attribute."""
        if obj.docstring is not None:
            obj.docstring.value = _HEAD.sub("Examples:", obj.docstring.value)
