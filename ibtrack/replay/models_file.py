"""The file that lists many models to measure: its format, and what is wrong with one, in a sentence."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from ibtrack._checks import needs
from ibtrack.record.texts import printable
from ibtrack.replay.validation import in_words

_UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmbt]?)", flags=re.IGNORECASE)
_PATHS = str | list[str]
_Text = Annotated[str, Meta(min_length=1)]
_Count = Annotated[int, Meta(ge=1)]


class ModelSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a model is measured; what stands under ``defaults`` holds for each model that does not say otherwise.

    Attributes:
        family: Family that the model belongs to, for ``ibtrack scores --by family``.
        size: Number of its parameters, as a number or as ``70m`` or ``1.4B``; by default they are counted.
        trajectory: Whether all checkpoints are measured and not one alone; a number is that of those to measure, chosen
            evenly in the logarithm of the step.
        names: Family of names, or a file that describes one, by which steps are read; see `find_checkpoints`.
        stages: Stages of training to take.
        dtype: Type of the weights; by default that in which they are stored.
        device: Device, such as ``cuda``; by default the CPU.
        device_map: Devices of the parts of a model that is too large for one, such as ``auto``.
        attention: Attention kernel.
        precision: Precision of the passes, such as ``bf16-mixed``.
        factory: ``module:name`` of what makes the model, for checkpoints that are not in Hugging Face format.
        tokenizer: Folder or repository of the tokenizer; by default it lies beside the checkpoint.
        trust_remote_code: Whether Python code that comes with a model may be run.
        layers: Sites to measure, as the tracker takes them.
        batch_size: Blocks per forward pass.
    """

    family: _Text | None = None
    size: float | _Text | None = None
    trajectory: bool | Annotated[int, Meta(ge=2)] = False
    names: _Text | None = None
    stages: list[str] | None = None
    dtype: _Text | None = None
    device: _Text | None = None
    device_map: _Text | None = None
    attention: _Text | None = None
    precision: _Text | None = None
    factory: _Text | None = None
    tokenizer: _Text | None = None
    trust_remote_code: bool = False
    layers: _PATHS | None = None
    batch_size: _Count | None = None


class ModelEntry(ModelSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One model of the list.

    Attributes:
        source: Repository, ``owner/name``, or a folder; several are one run, in the order in which they were trained.
        revision: Revision of the repository, or a pattern of revisions with ``*`` and ``?``.
        step: Step of the one checkpoint that is measured, where its name does not tell.
        name: Name of the run, and of its folder; by default the last part of the source.
    """

    source: _PATHS
    revision: _Text | None = None
    step: Annotated[int, Meta(ge=0)] | None = None
    name: _Text | None = None

    @property
    def sources(self) -> list[str]:
        """The source, or the several of them."""
        return [self.source] if isinstance(self.source, str) else self.source

    @property
    def label(self) -> str:
        """Name of the run, which is one printable part of a path."""
        return self.name or printable(self.sources[-1].rstrip("/").rpartition("/")[2].partition("@")[0])

    @property
    def num_parameters(self) -> float | None:
        """The size as a number; None where it is not given."""
        if not isinstance(self.size, str):
            return self.size
        found = _SIZE.fullmatch(self.size.strip())
        return None if found is None else float(found[1]) * _UNITS[found[2].lower()]


class ProbeSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """How the probe is cut, see `ibtrack.Probe.from_texts` and `ibtrack.Probe.from_preferences`.

    Attributes:
        num_blocks: Number of documents of one block each.
        block_size: Tokens of a block.
        min_length: Fewest tokens of a document, of which each then gives its beginning.
        orders: Lengths of the k-grams.
        skip: Positions to leave out at the beginning of every block.
        num_pairs: Number of pairs of a probe of preferences.
        positions: Which tokens of a response are measured, ``all`` or ``last``.
        seed: Seed of the order of the texts and of the windows.
        keep_copies: Whether copies of documents are measured like others.
        name: Name of the probe.
    """

    num_blocks: _Count | None = None
    block_size: Annotated[int, Meta(ge=2)] | None = None
    min_length: _Count | None = None
    orders: list[_Count] | None = None
    skip: Annotated[int, Meta(ge=0)] | None = None
    num_pairs: _Count | None = None
    positions: _Text | None = None
    seed: int | None = None
    keep_copies: bool | None = None
    name: _Text | None = None


class _File(Struct, forbid_unknown_fields=True, kw_only=True):
    models: Annotated[list[dict[str, Any]], Meta(min_length=1)]
    texts: _PATHS | None = None
    preferences: _PATHS | None = None
    column: _Text = "text"
    subset: _Text | None = None
    split: _Text = "validation"
    protocol: _Text = "standard"
    probe: ProbeSettings = ProbeSettings()
    defaults: ModelSettings = ModelSettings()


@dataclass(frozen=True, kw_only=True)
class ModelsFile:
    """What a file of models says.

    Attributes:
        path: The file.
        entries: The models, with the defaults put in.
        texts: Files and folders of the documents of the probe, or one data set of the hub, see
            `ibtrack.replay.documents.documents`; empty where it is one of preferences.
        preferences: Files of the pairs of a probe of preferences; empty where it is one of texts.
        column: Column of rows that holds the text of a document.
        subset: Configuration of the data set.
        split: Split of the data set.
        protocol: Name of the protocol, see `ibtrack.replay.settings.PROTOCOLS`.
        probe: How the probe is cut, where that differs from the protocol.
    """

    path: Path
    entries: tuple[ModelEntry, ...]
    texts: tuple[str, ...]
    preferences: tuple[Path, ...]
    column: str
    subset: str | None
    split: str
    protocol: str
    probe: Mapping[str, Any]


def read_models(path: str | os.PathLike[str]) -> ModelsFile:
    """Read a file that lists models, and check all that can be known without looking at them.

    Paths in the file are taken from the folder that it lies in.

    Args:
        path: YAML file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no such list; the sentence names the entry, and the nearest name of one that is not known.
        ModuleNotFoundError: PyYAML, from the extra ``hub``, is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path} that lists models")
    content = _read_yaml(path)
    _check_keys(f"{path}", content, _File)
    _check_keys(f"{path}, probe", content.get("probe"), ProbeSettings)
    _check_keys(f"{path}, defaults", content.get("defaults"), ModelSettings)
    file = _converted(f"{path}", content, _File)
    entries = tuple(_entry(path, number, each, content) for number, each in enumerate(file.models, start=1))
    _check_names(path, entries)
    if (file.texts is None) == (file.preferences is None):
        raise ValueError(f"{path} must name the files of the probe as texts or as preferences, one of the two")
    return ModelsFile(
        path=path,
        entries=entries,
        texts=tuple(_resolved(path, each) for each in _several(file.texts)),
        preferences=tuple(Path(_resolved(path, each)) for each in _several(file.preferences)),
        column=file.column,
        subset=file.subset,
        split=file.split,
        protocol=file.protocol,
        probe=msgspec.to_builtins(file.probe),
    )


def _read_yaml(path: Path) -> dict[str, Any]:
    with needs("a file that lists models", extra="hub"):
        import yaml
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not YAML: {printable(str(error), longest=300)}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must have the entries models, and texts or preferences, got {type(content).__name__}")
    return content


def _entry(path: Path, number: int, given: Mapping[str, Any], content: Mapping[str, Any]) -> ModelEntry:
    """Read a model, with what the defaults say of it.

    Raises:
        ValueError: Something of it is wrong.
    """
    where = f"{path}, model {number}"
    _check_keys(where, given, ModelEntry)
    entry: ModelEntry = _converted(where, {**(content.get("defaults") or {}), **given}, ModelEntry)
    entry = msgspec.structs.replace(entry, source=[_resolved(path, each) for each in entry.sources])
    if isinstance(entry.size, str) and _SIZE.fullmatch(entry.size.strip()) is None:
        raise ValueError(f"{where}: size must be a number of parameters, such as 70m or 1.4B, got {entry.size!r}")
    if not entry.sources:
        raise ValueError(f"{where}: source must name a repository or a folder, got none")
    if entry.step is not None and entry.trajectory is not False:
        raise ValueError(f"{where}: step is for a single checkpoint, and trajectory asks for several; leave out one")
    if entry.revision is not None and len(entry.sources) > 1:
        raise ValueError(f"{where}: revision is for a single source; write owner/name@revision for one of several")
    if "/" in entry.label or entry.label in ("", ".", "..") or not entry.label.isprintable():
        raise ValueError(f"{where}: name must be the name of a folder, got {entry.label!r}")
    return entry


def _resolved(path: Path, source: str) -> str:
    """Take a folder or file from where the list lies; what is not there is a name of the hub."""
    folder = path.parent / Path(source).expanduser()
    return str(folder) if folder.exists() else source


def _check_names(path: Path, entries: tuple[ModelEntry, ...]) -> None:
    """Refuse two models whose runs would have one folder.

    Raises:
        ValueError: There are two.
    """
    first: dict[str, int] = {}
    for number, entry in enumerate(entries, start=1):
        if first.setdefault(entry.label, number) != number:
            raise ValueError(
                f"{path}: models {first[entry.label]} and {number} are both called {entry.label!r}; give one another "
                "name:"
            )


def _check_keys(where: str, given: Any, kind: type[Struct]) -> None:
    """Name an entry that is not known, and the nearest one that is.

    Raises:
        ValueError: There is such an entry, or there are no entries at all.
    """
    if given is None:
        return
    if not isinstance(given, Mapping):
        raise ValueError(f"{where} must have entries, such as {kind.__struct_fields__[0]}, got {given!r}")
    for key in given:
        if key not in kind.__struct_fields__:
            near = get_close_matches(str(key), kind.__struct_fields__, n=1)
            hint = f"is it {near[0]}?" if near else f"there are {', '.join(kind.__struct_fields__)}"
            raise ValueError(f"{where}: there is no entry {key!r}; {hint}")


def _converted(where: str, content: Mapping[str, Any], kind: type[Any]) -> Any:
    try:
        return msgspec.convert({key: value for key, value in content.items() if value is not None}, kind)
    except msgspec.ValidationError as error:
        raise ValueError(f"{where}: {in_words(error)}") from error


def _several(given: _PATHS | None) -> list[str]:
    return [] if given is None else [given] if isinstance(given, str) else given
