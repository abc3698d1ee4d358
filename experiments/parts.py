"""Parts of a document to train on: what a Python source says to people, and what it says to the machine."""

from __future__ import annotations

import ast
import io
import tokenize


def prose(source: str) -> str:
    """The docstrings of a Python source in their order, then its comments, a line each.

    Raises:
        SyntaxError: the text is no Python.

    Example:
        >>> print(prose('"A cat."\\ndef purr():\\n    "It purrs."\\n    return 3  # times'))
        A cat.
        <BLANKLINE>
        It purrs.
        <BLANKLINE>
        times
    """
    docstrings = [ast.get_docstring(node) for node in _documented(ast.parse(source))]
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = [token.string.lstrip("#! ") for token in tokens if token.type == tokenize.COMMENT]
    return "\n\n".join([*filter(None, docstrings), "\n".join(comments)])


def code(source: str) -> str:
    """A Python source without docstrings and comments, as `ast.unparse` writes it.

    Raises:
        SyntaxError: the text is no Python.

    Example:
        >>> print(code('"A cat."\\ndef purr():\\n    "It purrs."\\n    return 3  # times'))
        def purr():
            return 3
    """
    tree = ast.parse(source)
    for node in _documented(tree):
        if ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def _documented(tree: ast.Module) -> list[ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return [node for node in ast.walk(tree) if isinstance(node, kinds)]
