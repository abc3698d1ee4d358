"""Files of ``torch.save`` read without running code that is in them."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from ibtrack.record.texts import printable
from ibtrack.replay.errors import LoadingError


class Unread:
    """Stands where a file has an object of a class that is not loaded, since that would run code.

    Attributes:
        kind: Name of the class or function.
    """

    kind = ""

    def __new__(cls, *args: object, **options: object) -> Unread:
        """Make one of whatever the object was made of."""
        return object.__new__(cls)

    def __init__(self, *args: object, **options: object) -> None:
        """Take whatever the object was made of."""

    def __setstate__(self, state: object) -> None:
        """Take whatever the object held."""


def read_tensors(path: Path) -> Any:
    """Read what ``torch.save`` wrote, with tensors that stay in the file until they are used.

    Nothing but tensors and plain values is made: where the file has an object of another class, such as an optimizer
    among hyper-parameters, an `Unread` is put. Classes that ``torch.serialization.add_safe_globals`` has been told of
    are made.

    Args:
        path: The file.

    Raises:
        LoadingError: It is damaged, or was not written by ``torch.save``, or could be read only by running code.
    """
    try:
        whole = zipfile.is_zipfile(path)  # the format of before PyTorch 1.6 cannot be mapped into memory
        others = torch.serialization.get_unsafe_globals_in_checkpoint(path) if whole else []
        stand_ins: list[Any] = [(type("Unread", (Unread,), {"kind": name}), name) for name in others]
        with torch.serialization.safe_globals(stand_ins):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=whole)
    except Exception as error:  # PyTorch raises a dozen kinds of errors for files that it did not write
        if isinstance(error, pickle.UnpicklingError) and "GLOBAL" in str(error):
            kind = "could be read only by running code that is in it, and is not loaded"
        else:
            kind = "is damaged, or was not written by torch.save"
        raise LoadingError(f"{path.name} {kind} ({_cause(error)})") from error


def unread_in(value: Any) -> str | None:
    """Name the first class in a value of which an object was not read; None where all is read.

    Args:
        value: Anything that `read_tensors` returned, or a part of it.
    """
    if isinstance(value, Unread):
        return value.kind
    if isinstance(value, type) and issubclass(value, Unread):
        return value.kind
    parts = [*value.keys(), *value.values()] if isinstance(value, dict) else value
    if not isinstance(parts, (list, tuple, set)):
        return None
    return next(filter(None, map(unread_in, parts)), None)


def _cause(error: Exception) -> str:
    """Keep what went wrong, and not PyTorch's advice to run the code after all."""
    lines = str(error).splitlines()
    told = [line.partition("WeightsUnpickler error: ")[2] for line in lines]
    told += [line for line in lines if "weights_only" not in line and "Weights only" not in line]
    return printable(next(filter(str.strip, told), type(error).__name__), longest=300)
