"""Checks of what a caller passes, made once where it enters, and of extras that must be installed.

Each check returns the value it has checked, so that it can stand where the value is used, and each error says what the
value must be and what it was.
"""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, SupportsIndex

if TYPE_CHECKING:
    from torch import Tensor

_INSTALLED_AS = {
    "PIL": "pillow",
    "vl_convert": "vl-convert-python",
    "wandb_workspaces": "wandb-workspaces",
    "yaml": "pyyaml",
}


@contextlib.contextmanager
def needs(what: str, *, extra: str) -> Iterator[None]:
    """Turn the failed import of a package that an extra brings into one sentence with the line that installs it.

    Args:
        what: What cannot be done without the package; the sentence begins with it.
        extra: Name of the extra, as in ``pyproject.toml``.

    Yields:
        Nothing; the import stands inside the ``with`` block.

    Raises:
        ModuleNotFoundError: A package that is imported inside is not installed.

    Example:
        >>> with needs("a chart", extra="report"):
        ...     import a_package_of_the_extra
        Traceback (most recent call last):
        ModuleNotFoundError: a chart needs a_package_of_the_extra, which is not installed: pip install 'ibtrack[report]'
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None:  # somebody else's sentence
            raise
        module = error.name.partition(".")[0]
        raise ModuleNotFoundError(
            f"{what} needs {_INSTALLED_AS.get(module, module)}, which is not installed: pip install 'ibtrack[{extra}]'",
            name=error.name,
        ) from error


def check_integer(name: str, value: SupportsIndex, *, minimum: int) -> int:
    """Return ``value`` as an int if it is a whole number of at least ``minimum``.

    Args:
        name: Name of the argument, for the error.
        value: Value to check; integers of NumPy and torch count, and a bool is not a number here.
        minimum: Smallest number that is allowed.

    Raises:
        ValueError: The value is no integer, or too small.
    """
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:  # no integer, or several
        number = None
    if number is None or number < minimum:
        raise ValueError(f"{name} must be an integer of at least {minimum}, got {value!r}")
    return number


def check_count(name: str, value: Any) -> int:
    """Return a number of steps or tokens as an int.

    Args:
        name: Name of the argument, for the error.
        value: Value to check; integers of NumPy and torch count, and floats that are whole, such as the step that an
            optimizer of torch keeps.

    Raises:
        ValueError: The value is no whole number of at least 0.

    Example:
        >>> check_count("step", 3.0)
        3
    """
    number = value
    with contextlib.suppress(RuntimeError, ValueError):  # of an array of several numbers, which is refused below
        number = value.item() if hasattr(value, "item") else value
    return check_integer(name, int(number) if isinstance(number, float) and number.is_integer() else number, minimum=0)


def check_option(name: str, value: str, options: tuple[str, ...]) -> str:
    """Return ``value`` if it is one of ``options``.

    Args:
        name: Name of the argument, for the error.
        value: Value to check.
        options: Values that are allowed.

    Raises:
        ValueError: The value is none of the options.
    """
    if value not in options:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, options))}, got {value!r}")
    return value


def check_integers(name: str, value: Tensor, *, ndim: int | None = None) -> Tensor:
    """Return ``value`` as int64 if it is a tensor of whole numbers.

    Args:
        name: Name of the argument, for the error.
        value: Tensor to check.
        ndim: Number of dimensions that it must have; None allows any.

    Raises:
        ValueError: The value is no tensor of integers, or has another number of dimensions.
    """
    import torch  # here, as the terminal commands check their options without it

    if (
        not isinstance(value, torch.Tensor)
        or value.is_floating_point()
        or value.is_complex()
        or value.dtype == torch.bool
    ):
        kind = value.dtype if isinstance(value, torch.Tensor) else type(value).__name__
        raise ValueError(f"{name} must be a tensor of integers, got {kind}")
    if ndim is not None and value.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} dimensions, got shape {tuple(value.shape)}")
    return value.long()


def check_labels(labels: Tensor, num_labels: int, num_rows: int) -> Tensor:
    """Return ``labels`` as int64 if there is one in [0, num_labels) for each row of activations.

    Args:
        labels: (N,) labels to check.
        num_labels: Number of different labels that there may be.
        num_rows: Number N of rows of activations.

    Raises:
        ValueError: The labels are no integers, too many or too few, or out of their range.
    """
    labels = check_integers("labels", labels, ndim=1)
    if len(labels) != num_rows:
        raise ValueError(f"labels must have one entry per row of activations, got {len(labels)} for {num_rows}")
    if num_rows and not (int(labels.min()) >= 0 and int(labels.max()) < num_labels):
        raise ValueError(
            f"labels must lie in [0, {num_labels}), got values from {int(labels.min())} to {int(labels.max())}"
        )
    return labels


def check_rows(activations: Tensor, width: int) -> Tensor:
    """Return ``activations`` if it is a floating point matrix whose rows are ``width`` long.

    Args:
        activations: (N, D) rows to check.
        width: Length D that each row must have.

    Raises:
        ValueError: The activations have another shape, or are no floating point numbers.
    """
    if activations.ndim != 2 or activations.shape[1] != width or not activations.is_floating_point():
        raise ValueError(
            f"activations must be a floating point tensor of shape (N, {width}), "
            f"got {activations.dtype} of shape {tuple(activations.shape)}"
        )
    return activations
