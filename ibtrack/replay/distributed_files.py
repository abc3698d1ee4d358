"""Checkpoints of ``torch.distributed.checkpoint``, as FSDP saves them in parts, read by one process."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta, TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load

from ibtrack.record.texts import printable, reason
from ibtrack.replay.errors import LoadingError
from ibtrack.replay.factories import Weight

METADATA, BESIDE = ".metadata", "meta.pt"  # the table of contents, and what Lightning puts beside it
# what a table of contents is made of; PyTorch itself would make objects of any class, and so run any code
_MODULES = ("torch.distributed.checkpoint.metadata", "torch.distributed.checkpoint.filesystem", "torch._utils")
_OTHERS = {
    ("torch", "Size"),
    ("torch", "device"),
    ("torch.serialization", "_get_layout"),
    ("collections", "OrderedDict"),
    ("pathlib", "PosixPath"),
    ("pathlib", "WindowsPath"),
    ("builtins", "set"),
}


def stored_weights(folder: Path, *, label: str) -> list[Weight]:
    """List the tensors of a checkpoint, without reading them.

    Args:
        folder: Folder of the checkpoint.
        label: What the checkpoint is called, for errors.

    Raises:
        LoadingError: Its table of contents is damaged.
    """
    try:
        contents = _Reader(folder).read_metadata().state_dict_metadata
    except Exception as error:  # a damaged pickle raises anything
        raise LoadingError(f"the {METADATA} of {label} is damaged ({printable(reason(error), longest=300)})") from error
    return [
        Weight(name, entry.size, entry.properties.dtype)
        for name, entry in contents.items()
        if isinstance(entry, TensorStorageMetadata)
    ]


def read_into(tensors: Mapping[str, Tensor], folder: Path, *, label: str) -> None:
    """Read tensors of a checkpoint into those given, which may have another type and lie on another device.

    Args:
        tensors: Name in the checkpoint to the tensor that is filled.
        folder: Folder of the checkpoint.
        label: What the checkpoint is called, for errors.

    Raises:
        LoadingError: A file is missing or damaged.
    """
    # that there is no process group is meant; the filter stays, as filters cannot be changed for one thread alone
    warnings.filterwarnings("ignore", message="torch.distributed is disabled, unavailable or uninitialized")
    try:
        with torch.no_grad():
            load(dict(tensors), storage_reader=_Reader(folder), no_dist=True)
    except CheckpointException as error:  # no Exception; it has what went wrong on each process
        cause = next((cause for cause, _ in error.failures.values()), error)
        raise LoadingError(f"{label} cannot be read ({printable(reason(cause), longest=300)})") from error


class _Reader(FileSystemReader):
    """Reads a checkpoint without making objects of other classes than a table of contents consists of."""

    def read_metadata(self, *args: Any, **options: Any) -> Metadata:
        """Read the table of contents.

        Raises:
            UnpicklingError: It is none.
        """
        with (Path(self.path) / METADATA).open("rb") as file:
            metadata = _Unpickler(file).load()
        if not isinstance(metadata, Metadata):
            raise pickle.UnpicklingError(f"it holds {type(metadata).__name__}")
        metadata.storage_meta = metadata.storage_meta or StorageMeta()
        metadata.storage_meta.load_id = self.load_id
        return metadata


class _Unpickler(pickle.Unpickler):
    """Makes objects of the classes of a table of contents only."""

    def find_class(self, module: str, name: str) -> Any:
        """Return a class that may be made.

        Raises:
            UnpicklingError: It may not.
        """
        dtype = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        if "." in name or not (module in _MODULES or (module, name) in _OTHERS or dtype):
            raise pickle.UnpicklingError(f"it needs {module}.{name}, which could run code")
        return super().find_class(module, name)
