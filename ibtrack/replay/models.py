"""Many models on one plane: each is measured as one point, or as a trajectory, in a folder of its own."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

from ibtrack.probe.probe import Probe
from ibtrack.probe.tokenizer import tokenizer_hash
from ibtrack.record.texts import printable, reason
from ibtrack.record.trajectory import Trajectory
from ibtrack.replay.checkpoint import HUGGING_FACE, Checkpoint, Source
from ibtrack.replay.documents import check_there, documents
from ibtrack.replay.folders import FolderSource
from ibtrack.replay.loading import load_model, load_tokenizer
from ibtrack.replay.loop import replay
from ibtrack.replay.models_file import ModelEntry, ModelsFile, read_models
from ibtrack.replay.plan import Plan, find_checkpoints
from ibtrack.replay.settings import protocol_settings
from ibtrack.replay.text_files import read_rows
from ibtrack.replay.tokenizers import named_tokenizer, tokenizer_of

TRAJECTORY = "trajectory.jsonl"
_TEXT_ONLY = ("num_blocks", "min_length", "orders", "skip")
_PAIRS_ONLY = ("num_pairs", "positions")
_LOAD = ("device", "dtype", "attention", "device_map", "trust_remote_code", "factory")  # of `load_model`
_PASSES = ("layers", "batch_size", "precision")  # of `replay`, which a model may have its own of
_OWN = {"plan", "probe", "checkpoints", "path", "load", "name", "config", "report"}  # which each model has its own of


@dataclass
class ModelsReplay:
    """What came of measuring many models.

    Attributes:
        out: Folder of the runs.
        done: Name of each model that was measured, now or by an earlier call, to its trajectory.
        failed: Name of each model that was not, or not at all of its checkpoints, to the reason.
        tokenizers: Hash of each tokenizer to the names of the models that have it.
    """

    out: Path
    done: dict[str, Trajectory] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    tokenizers: dict[str, list[str]] = field(default_factory=dict)

    def sentences(self) -> list[str]:
        """Say how many models were measured, which failed and why, and whether their numbers can be compared."""
        number = len({**self.done, **self.failed})
        lines = [f"{len(self.done)} of {number} models are in {self.out}."]
        lines += [f"{name} failed: {why}." for name, why in self.failed.items()]
        names = [name for owners in self.tokenizers.values() for name in owners]
        if len(self.tokenizers) > 1:
            lines.append(
                f"{len(names)} models have {len(self.tokenizers)} tokenizers. Each read the same texts in its own "
                "tokens, so their probes differ and so do their protocols: report, plane and scores put them together "
                "with --allow-mixed alone, and what a token is differs between them."
            )
        return lines


def replay_models(
    models_file: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    report: Callable[[str], None] | None = print,
    token: str | bool | None = None,
    endpoint: str | None = None,
    **options: Any,
) -> ModelsReplay:
    """Measure the models that a file lists, each in a folder of its own below ``out``.

    A model that fails is named, and the others go on. Called again, it goes on where it ended: what has been measured
    is not measured again, and a model that failed is tried again. Models of one tokenizer share one probe; those of
    another read the same texts in their own tokens.

    Args:
        models_file: YAML file, see `ibtrack.replay.models_file.read_models`: ``texts`` or ``preferences`` with the
            files of the probe, ``probe`` and ``protocol`` on how it is cut, ``defaults``, and ``models``, each with its
            ``source``.
        out: Folder of the runs; it is made.
        report: Called with lines of text that say how far it is; None shows nothing.
        token: Token of the hub, see `find_checkpoints`.
        endpoint: Address of the hub.
        **options: Further arguments of `ibtrack.replay.replay` that hold for all models, such as ``geometry_rows``,
            ``max_memory``, ``cache``, ``keep`` or ``retry_failed``, and of `ibtrack.replay.loading.load_model`, such as
            ``device``, which hold where the file says nothing else.

    Returns:
        What was measured and what failed; its ``failed`` is empty where all is well.

    Raises:
        FileNotFoundError: The file, or one of texts that it names, is not there.
        ValueError: The file is wrong, or the texts are; see `read_models`.
        TypeError: There is no such option.

    Example:
        >>> replay_models("models.yaml", "runs/open").sentences()  # doctest: +SKIP
        ['47 of 47 models are in runs/open.']
    """
    _check_options(options)
    file, say = read_models(models_file), report or _silent
    probes = _Probes(file)
    result = ModelsReplay(Path(out))
    hub = {"token": token, "endpoint": endpoint}
    for number, entry in enumerate(file.entries, start=1):
        head = f"[{number}/{len(file.entries)}] {entry.label}"
        say(f"{head}: {' + '.join(entry.sources)}")
        try:
            trajectory = _replay(entry, probes, result, hub, report=report, **options)
        except Exception as error:  # whatever is wrong with one model, the others go on
            result.failed[entry.label] = _why(error)
            say(f"{head}: failed: {_why(error)}")
        else:
            _sort_in(result, entry.label, trajectory)
            number_of_points = len(trajectory.points)
            say(f"{head}: {number_of_points} point{'s' * (number_of_points != 1)} in {result.out / entry.label}")
        gc.collect()  # a model that failed may hang in the frames of its error
    return result


def _check_options(options: Mapping[str, Any]) -> None:
    """Refuse an option that would fail for each model in turn.

    Raises:
        TypeError: There is no such option, or it is one that each model has its own of.
    """
    known = (set(signature(replay).parameters) - _OWN) | set(_LOAD)
    if unknown := sorted(set(options) - known):
        raise TypeError(f"replay_models has no option {unknown[0]!r}; it has {', '.join(sorted(known))}")


def _silent(line: str) -> None:
    """Show nothing."""


def _why(error: Exception) -> str:
    """Say what is wrong with a model: in the sentence of this package, or else with the kind of the error."""
    own_words = isinstance(error, (ValueError, OSError, ImportError))
    return printable(str(error)).removesuffix(".") if own_words else reason(error)


def _sort_in(result: ModelsReplay, name: str, trajectory: Trajectory) -> None:
    """Count a model as done, and say of one with failed points that it failed in part."""
    failed = [point for point in trajectory.points if point.failure is not None]
    if len(failed) < len(trajectory.points):
        result.done[name] = trajectory
    if failed:
        first = failed[0]
        result.failed[name] = (
            f"{len(failed)} of its {len(trajectory.points)} points, the first at step {first.step}: {first.failure}"
        )


def _replay(
    entry: ModelEntry, probes: _Probes, result: ModelsReplay, hub: Mapping[str, Any], **options: Any
) -> Trajectory:
    plan = _plan(entry, hub)
    chosen = _chosen(entry, plan)
    tokenizer, size = _tokenizer_and_size(entry, plan, chosen[-1], options["report"] or _silent)
    probe, key = probes.of(tokenizer)
    result.tokenizers.setdefault(key, []).append(entry.label)
    config = {
        **({} if entry.family is None else {"family": entry.family}),
        **({} if size is None else {"num_parameters": int(size)}),
    }
    own = {name: value for name in (*_LOAD, *_PASSES) if (value := getattr(entry, name)) not in (None, False)}
    usual = {"options": probes.settings.options, "layers": probes.settings.layers}
    merged = {**usual, **options, **own}
    load = partial(load_model, **{name: merged.pop(name) for name in _LOAD if name in merged})
    return replay(
        plan,
        probe,
        checkpoints=chosen,
        path=result.out / entry.label / TRAJECTORY,
        load=load,
        name=entry.label,
        config=config,
        **merged,
    )


def _plan(entry: ModelEntry, hub: Mapping[str, Any]) -> Plan:
    """Find the checkpoints of a model; of a single one the step need not be known."""
    sources: list[str | Source] = [
        each if entry.revision is None else f"{each}@{entry.revision}" for each in entry.sources
    ]
    if entry.trajectory is False and len(sources) == 1:
        sources = [_single(entry)]
    names, code = entry.names, entry.trust_remote_code
    return find_checkpoints(sources, family=names, stages=entry.stages, remote_code=code, **hub)


def _single(entry: ModelEntry) -> str | Source:
    """Name the one checkpoint of a model; where nothing tells its step it is 0, or what the entry says.

    Raises:
        ValueError: A folder is given a revision, or one of several checkpoints a step.
    """
    (source,) = entry.sources
    path = Path(source)
    if path.exists():
        if entry.revision is not None:
            raise ValueError(f"revision is for repositories of a hub, and {source} is a folder")
        folder = FolderSource(path)
        found = folder.checkpoints()
        if entry.step is not None and len(found) > 1:
            raise ValueError(f"step is for a single checkpoint, and {source} holds {len(found)}")
        tells = len(found) > 1 or found[0].step is not None
        if tells and entry.step is None:
            return folder
        return FolderSource(path, step_of_name=lambda name: entry.step or 0)
    if entry.revision is None and "@" not in source:
        return f"{source}@main={entry.step or 0}"  # what is published as the model itself
    named = source if entry.revision is None else f"{source}@{entry.revision}"
    return named if entry.step is None else f"{named}={entry.step}"


def _chosen(entry: ModelEntry, plan: Plan) -> list[Checkpoint]:
    """Choose the checkpoints to measure: all, some, or the last.

    Raises:
        ValueError: There is none.
    """
    most = entry.trajectory if entry.trajectory is not True and entry.trajectory is not False else None
    chosen = plan.choose(max_points=most)
    if not chosen:
        first = plan.checkpoints[0]
        raise ValueError(f"none of its checkpoints can be measured; of {first.label}: {' '.join(first.faults)}")
    return chosen if entry.trajectory is not False else chosen[-1:]


def _tokenizer_and_size(
    entry: ModelEntry, plan: Plan, checkpoint: Checkpoint, say: Callable[[str], None]
) -> tuple[Any, float | None]:
    """Load the tokenizer of a checkpoint, and count its parameters, without its weights.

    Raises:
        ValueError: Nothing says which tokenizer it has.
    """
    trust = entry.trust_remote_code
    own = None if entry.tokenizer is None else named_tokenizer(entry.tokenizer, trust_remote_code=trust)

    def read(path: Path) -> tuple[Any, float | None]:
        tokenizer = load_tokenizer(path, trust_remote_code=trust) if own is None else own
        return tokenizer, entry.num_parameters or count_parameters(path, trust_remote_code=trust)

    if own is not None and checkpoint.layout != HUGGING_FACE:
        return own, entry.num_parameters
    found: tuple[Any, float | None] = tokenizer_of(plan.fetch, checkpoint, read, say=say)
    return found


def count_parameters(folder: Path, *, trust_remote_code: bool = False) -> int | None:
    """Count the parameters of a model from its configuration; those that two layers share count once.

    Args:
        folder: Folder with the ``config.json`` of a model.
        trust_remote_code: Whether Python code in the folder may be run.

    Returns:
        The number, or None where transformers cannot make the model; why that is shows when it is loaded.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=trust_remote_code)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)  # type: ignore[no-untyped-call]
    except Exception:  # of a configuration that is no model's; the load says what is wrong with it
        return None
    model.tie_weights()
    return sum(each.numel() for each in model.parameters())


class _Probes:
    """The probe of each tokenizer, made when it is first asked for.

    Args:
        file: What says how it is cut, and from which texts.

    Raises:
        FileNotFoundError: A file of texts is not there.
        ValueError: A setting is for the other kind of probe, or the texts cannot be read.
    """

    def __init__(self, file: ModelsFile) -> None:
        self.settings = protocol_settings(file.protocol)
        self._is_text = bool(file.texts)
        self._given = dict(file.probe)
        self._options = {**(self.settings.text_options if self._is_text else self.settings.preference_options)}
        misplaced = [name for name in (_PAIRS_ONLY if self._is_text else _TEXT_ONLY) if name in self._given]
        if misplaced:
            kind, other = ("texts", "preferences") if self._is_text else ("preferences", "texts")
            raise ValueError(f"{file.path}, probe: {misplaced[0]} is for a probe of {other}, and this one is of {kind}")
        self._options |= self._given
        self._file = file
        for each in file.texts:
            check_there(each)
        self._rows = [] if self._is_text else read_rows(file.preferences)
        self._probes: dict[str, Probe] = {}

    def of(self, tokenizer: Any) -> tuple[Probe, str]:
        """Return the probe in the tokens of a tokenizer, and the hash of this.

        Raises:
            ValueError: The texts are too few or too short for it.
        """
        key = tokenizer_hash(tokenizer)
        if key not in self._probes:
            if self._is_text:
                probe = Probe.from_texts(self._documents(), tokenizer, **self._options)
            else:
                probe = Probe.from_preferences(self._rows, tokenizer, **self._options)
            probe.tokenizer = type(tokenizer).__name__  # where it was loaded from is another place at each start
            self._probes[key] = probe
        return self._probes[key], key

    def _documents(self) -> Iterable[str]:
        """Read the texts, once for each tokenizer, as a stream can be read but once."""
        file, seed = self._file, self._given.get("seed", 0)
        parts = [
            documents(each, column=file.column, subset=file.subset, split=file.split, seed=seed) for each in file.texts
        ]
        return parts[0] if len(parts) == 1 else [text for part in parts for text in part]
