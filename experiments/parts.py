"""Parts of a Python source to train on: its docstrings and comments, or its code without them."""

from __future__ import annotations

import ast
import io
import tokenize


def prose(source: str) -> str:
    r"""Return the docstrings of a Python source in their order, and then its comments, each on one line.

    Args:
        source: Text of a Python file.

    Returns:
        The prose of the source.

    Raises:
        SyntaxError: The text is not Python.

    Example:
        >>> print(prose('"A cat."\ndef purr():\n    "It purrs."\n    return 3  # times'))
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
    r"""Return a Python source without docstrings and comments, as `ast.unparse` writes it.

    Args:
        source: Text of a Python file.

    Returns:
        The code of the source.

    Raises:
        SyntaxError: The text is not Python.

    Example:
        >>> print(code('"A cat."\ndef purr():\n    "It purrs."\n    return 3  # times'))
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
