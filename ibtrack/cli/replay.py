"""The command ``ibtrack replay``: the trajectory of a run from its saved or published checkpoints."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ibtrack.analysis.mislabelled import mislabelled
from ibtrack.cli.progress import progress
from ibtrack.cli.terminal import say, text_table
from ibtrack.record.texts import reason
from ibtrack.record.trajectory import Trajectory
from ibtrack.replay.checkpoint import Checkpoint, said_of
from ibtrack.replay.settings import PROTOCOLS, ProtocolSettings, protocol_settings
from ibtrack.schedules import parse

if TYPE_CHECKING:
    from ibtrack.probe.probe import Probe
    from ibtrack.replay.plan import Plan

STOPPED = 130  # exit code of a program that was stopped by Ctrl-C
_THE_RUN = "the run, or --dry-run shows the plan"
_WITH_MODELS = (
    "models",
    "out",
    "device",
    "cache",
    "keep",
    "retries",
    "retry_failed",
)  # options that hold for a file of models as well
_PROTOCOL_NAMES = ", ".join(PROTOCOLS)


def replay(
    context: typer.Context,
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCE...",
            help="A repository of the hub, owner/name or owner/name@step1*, or a folder of checkpoints; several are "
            "one run, in the order of training.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the run to write, or to go on with.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan; nothing is downloaded.")] = False,
    json_to: Annotated[str | None, typer.Option("--json", help="File for the plan as JSON; - prints it.")] = None,
    family: Annotated[str | None, typer.Option(help="How names are read: pythia, olmo2 …, or a YAML file.")] = None,
    stage: Annotated[list[str] | None, typer.Option(help="A stage of the run; may be repeated.")] = None,
    most: Annotated[int | None, typer.Option("--max", help="Number of checkpoints, evenly in log steps.")] = None,
    schedule: Annotated[
        str | None,
        typer.Option(help="Steps to measure: powers(2), every(1000), at(8, 512), pythia, or several with |."),
    ] = None,
    include_marked: Annotated[
        bool, typer.Option("--include-marked", help="Also checkpoints that the plan marks as faulty.")
    ] = False,
    probe: Annotated[Path | None, typer.Option(help="A probe that Probe.save has written.")] = None,
    texts: Annotated[
        str | None, typer.Option(help="Texts to cut a probe from: a file, a folder, or a data set of the hub.")
    ] = None,
    preferences: Annotated[
        str | None, typer.Option(help="Pairs of responses to cut a probe from, in place of texts; files or a data set.")
    ] = None,
    positions: Annotated[
        str | None, typer.Option(help="Tokens of responses: all or last; by default the protocol's.")
    ] = None,
    column: Annotated[str, typer.Option(help="Column of rows that holds the text.")] = "text",
    subset: Annotated[str | None, typer.Option(help="Configuration of the data set, such as en.")] = None,
    split: Annotated[
        str | None, typer.Option(help="Split of the data set; by default validation, and train of preferences.")
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="Folder or repository of the tokenizer; by default that of the checkpoints.")
    ] = None,
    protocol: Annotated[str, typer.Option(help=f"How it is measured: {_PROTOCOL_NAMES}.")] = "standard",
    num_blocks: Annotated[
        int | None, typer.Option(help="Documents or pairs of the probe; by default the protocol's.")
    ] = None,
    block_size: Annotated[int | None, typer.Option(help="Tokens of a block; by default the protocol's.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the choice of texts and windows.")] = 0,
    factory: Annotated[
        str | None, typer.Option(help="module:name of what makes the model of a Lightning or DCP checkpoint.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Device of the model; by default a GPU where there is one.")
    ] = None,
    dtype: Annotated[str | None, typer.Option(help="Type of the weights; by default as they were saved.")] = None,
    attention: Annotated[str | None, typer.Option(help="Attention kernel, such as sdpa or eager.")] = None,
    device_map: Annotated[str | None, typer.Option(help="auto spreads a model over several devices.")] = None,
    precision: Annotated[str | None, typer.Option(help="Precision that the run had, such as bf16-mixed.")] = None,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run Python code that comes with the checkpoints.")
    ] = False,
    pickles: Annotated[bool, typer.Option("--pickles", help="Also checkpoints without safetensors.")] = False,
    layers: Annotated[list[str] | None, typer.Option(help="A site, name or glob of modules; may be repeated.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Blocks per forward pass.")] = None,
    max_memory: Annotated[float | None, typer.Option(help="GB for rows of sites; by default what is free.")] = None,
    geometry_rows: Annotated[int, typer.Option(help="Positions for effective ranks; 0 leaves them out.")] = 0,
    cache: Annotated[
        Path | None, typer.Option(help="Folder for downloads; by default checkpoints in the run's.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep what has been downloaded.")] = False,
    retries: Annotated[int, typer.Option(help="Tries again after an error of the network.")] = 5,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Measure again from the first point that failed.")
    ] = False,
    bandwidth: Annotated[float | None, typer.Option(help="MB/s of the network, for the time in the plan.")] = None,
    models: Annotated[Path | None, typer.Option(help="YAML file of many models, in place of SOURCE.")] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the run; by default that of the repository, or of its folder.")
    ] = None,
) -> None:
    """Measure saved or published checkpoints one after another, as the run itself would have been measured.

    Called again after it was stopped, it goes on. A token for the hub is taken from HF_TOKEN or the login of hf.
    """
    if models is not None:
        _check_with_models(context, sources)
        passed = {"device": device, "cache": cache, "keep": keep, "retries": retries, "retry_failed": retry_failed}
        _replay_models(models, out, **passed)
        return
    _check_named(sources, out, (probe, texts, preferences), dry_run=dry_run)
    row_bytes = _row_bytes(max_memory)
    plan, chosen = _plan(
        sources or (),
        {"family": family, "stages": stage, "pickles": pickles, "remote_code": trust_remote_code},
        {"schedule": None if schedule is None else parse(schedule), "max_points": most},
        include_faulty=include_marked,
    )
    settings = protocol_settings(protocol)
    costs = {"bandwidth": bandwidth, "keep": keep, "folder": cache or out}
    if json_to is not None:
        _write_json(plan, chosen, json_to)
    if dry_run:
        if json_to != "-":
            _show(plan, chosen, table=True, **costs)
        return
    out = _folder(out, _THE_RUN)
    device = device or _usual_device(device_map)
    _show(plan, chosen, table=False, **costs, memory=_memory(device))
    _check_chosen(plan, chosen)
    from ibtrack.replay.loading import load_model

    measured_on = _probe(
        plan,
        chosen,
        settings,
        probe=probe,
        texts=texts,
        preferences=preferences,
        tokenizer=tokenizer,
        trust_remote_code=trust_remote_code,
        given={"num_blocks": num_blocks, "block_size": block_size, "positions": positions},
        reading={"column": column, "subset": subset, "split": split, "seed": seed},
    )
    loading: dict[str, Any] = {
        "device": None if device_map else device,
        "dtype": dtype,
        "attention": attention,
        "device_map": device_map,
        "trust_remote_code": trust_remote_code,
        "factory": factory,
    }
    _measure(
        plan,
        measured_on,
        chosen,
        out / "trajectory.jsonl",
        load=partial(load_model, **loading),
        options=settings.options,
        layers=layers or settings.layers,
        precision=precision,
        batch_size=batch_size,
        max_memory=row_bytes,
        geometry_rows=geometry_rows,
        cache=cache,
        keep=keep,
        retries=retries,
        retry_failed=retry_failed,
        name=name,
        config=_loaded_as(dtype=dtype, attention=attention, precision=precision, factory=factory),
    )


def _folder(out: Path | None, what: str) -> Path:
    """Return the folder to write to.

    Raises:
        ValueError: None is named, or a file.
    """
    if out is None:
        raise ValueError(f"--out must name a folder for {what}")
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out must name a folder, and {out} is a file")
    return out


def _check_named(
    sources: Sequence[str] | None, out: Path | None, cut_from: Sequence[Path | str | None], *, dry_run: bool
) -> None:
    """Refuse a command that lacks something before a hub is asked for a plan, which may take a while.

    Raises:
        ValueError: There is no source, or no folder to write to, or there is not one probe.
    """
    if not sources:
        raise ValueError("SOURCE must name a repository or a folder, or --models a file of models")
    if dry_run:
        return
    _folder(out, _THE_RUN)
    if cut_from.count(None) != len(cut_from) - 1:
        raise ValueError(
            "--probe must name a saved probe, --texts documents to cut one from, or --preferences pairs of responses; "
            "give one of them"
        )


def _check_with_models(context: typer.Context, sources: Sequence[str] | None) -> None:
    """Refuse what a file of models says itself, or what is not done for one.

    Raises:
        ValueError: A source is given, or an option that would not be heeded.
    """
    if sources:
        raise ValueError(f"SOURCE must be left out with --models, whose file names the sources, got {sources[0]}")
    for option in context.command.params:
        source = context.get_parameter_source(option.name or "")
        if option.name not in _WITH_MODELS and source is not None and source.name == "COMMANDLINE":
            allowed = ", ".join(f"--{name.replace('_', '-')}" for name in _WITH_MODELS[1:])
            raise ValueError(f"{option.opts[0]} must be left out with --models, which takes {allowed} alone")


def _check_chosen(plan: Plan, chosen: Sequence[Checkpoint]) -> None:
    """Refuse a plan of which nothing is to be measured.

    Raises:
        ValueError: Every checkpoint has a fault.
    """
    if not chosen:
        first, number = plan.checkpoints[0], len(plan.checkpoints)
        raise ValueError(
            f"none of the {number} checkpoints of {plan.name} can be measured; of {first.label}: "
            f"{'; '.join(first.faults)}"
        )


def _row_bytes(gigabytes: float | None) -> int | None:
    """Return a number of GB in bytes.

    Raises:
        ValueError: It is not above 0, or not finite.
    """
    if gigabytes is None:
        return None
    if not 0 < gigabytes < math.inf:
        raise ValueError(f"--max-memory must be a number of GB greater than 0, got {gigabytes:g}")
    return max(1, round(gigabytes * 1e9))


def _plan(
    sources: Sequence[str], finding: dict[str, Any], choosing: dict[str, Any], *, include_faulty: bool
) -> tuple[Plan, list[Checkpoint]]:
    """Find the checkpoints, and choose those to measure."""
    from ibtrack.replay.plan import find_checkpoints

    plan = find_checkpoints(list(sources), **finding)
    chosen = plan.choose(**choosing, include_faulty=include_faulty)
    return plan, chosen


def _show(plan: Plan, chosen: Sequence[Checkpoint], *, table: bool, **costs: Any) -> None:
    """Print a plan: its table where that is asked for, and its sentences."""
    from ibtrack.replay.plan_table import MARKS, plan_rows, plan_sentences

    sentences = plan_sentences(plan, chosen, **costs)  # first, as it refuses costs that are none
    if table:
        say(f"{text_table(plan_rows(plan, chosen))}\n\n{MARKS}\n")
    say("\n".join(sentences), err=not table)


def _write_json(plan: Plan, chosen: Sequence[Checkpoint], path: str) -> None:
    """Write a plan as JSON, with the labels of the checkpoints that are to be measured."""
    text = json.dumps({**plan.to_json(), "chosen": [each.label for each in chosen]}, indent=2)
    if path == "-":
        say(text)
    else:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(f"{text}\n", encoding="utf-8")
        say(f"wrote {path}")


def _usual_device(device_map: str | None) -> str:
    """Take a GPU where there is one; parts of a model that is spread lie where the map says."""
    import torch

    return "cuda" if device_map is None and torch.cuda.is_available() else "cpu"


def _memory(device: str) -> int:
    """Bytes that a model may take on a device.

    Raises:
        ValueError: There is no such device on this machine.
    """
    import torch

    from ibtrack.replay.memory import free_memory

    try:
        return free_memory(torch.device(device))
    except (RuntimeError, AssertionError) as error:  # PyTorch asserts that it was built with a device
        raise ValueError(
            f"--device must be one of this machine, such as cpu or cuda, got {device!r} ({reason(error)})"
        ) from error


def _probe(
    plan: Plan,
    chosen: Sequence[Checkpoint],
    settings: ProtocolSettings,
    *,
    probe: Path | None,
    texts: str | None,
    preferences: str | None,
    tokenizer: str | None,
    trust_remote_code: bool,
    given: dict[str, Any],
    reading: dict[str, Any],
) -> Probe:
    """Read the probe, or cut it from texts or preferences by the tokenizer of the checkpoints.

    Raises:
        ValueError: What is named does not make a probe.
    """
    from ibtrack.probe.probe import Probe

    sizes = {name: value for name, value in given.items() if value is not None}
    if probe is not None:
        if sizes:
            raise ValueError(f"--{next(iter(sizes)).replace('_', '-')} is for --texts; a saved probe is cut already")
        return Probe.load(probe)
    if texts is not None and "positions" in sizes:
        raise ValueError("--positions is for --preferences; of texts all positions are measured")
    from ibtrack.replay.documents import documents, preference_rows
    from ibtrack.replay.loading import load_tokenizer
    from ibtrack.replay.tokenizers import named_tokenizer, tokenizer_of

    load = partial(load_tokenizer, trust_remote_code=trust_remote_code)
    if tokenizer is not None:
        own = named_tokenizer(tokenizer, trust_remote_code=trust_remote_code)
    else:
        own = tokenizer_of(plan.fetch, chosen[0], load, say=_complain)
    source = {"subset": reading["subset"], "split": reading["split"] or ("train" if texts is None else "validation")}
    if texts is not None:
        found = documents(texts, column=reading["column"], seed=reading["seed"], **source)
        cut = Probe.from_texts(found, own, **{**settings.text_options, **sizes}, seed=reading["seed"])
    else:
        pairs = {"num_pairs": sizes.pop("num_blocks")} if "num_blocks" in sizes else {}
        rows = preference_rows(str(preferences), **source)
        options = {**settings.preference_options, **pairs, **sizes}
        cut = Probe.from_preferences(rows, own, **options, seed=reading["seed"])
    cut.tokenizer = type(own).__name__  # where it lay is another place at each start
    return cut


def _loaded_as(**options: str | None) -> dict[str, Any]:
    """Return what was asked for of the models as settings of the run: a later start that differs is refused."""
    given = {name: value for name, value in options.items() if value is not None}
    return {"loading": given} if given else {}


def _complain(line: str) -> None:
    say(line, err=True)


def _measure(plan: Plan, probe: Probe, chosen: Sequence[Checkpoint], path: Path, **options: Any) -> None:
    """Measure the checkpoints, with a bar or lines, and say what came of it.

    Raises:
        Exit: It was stopped.
    """
    from ibtrack.replay.loop import replay as measure

    try:
        with progress(len(chosen), _done(path, options["retry_failed"])) as shown:
            trajectory = measure(
                plan, probe, checkpoints=chosen, path=path, report=shown.report, loggers=[shown], **options
            )
    except KeyboardInterrupt:
        say(f"stopped; the same command goes on with {path.parent}", err=True)
        raise typer.Exit(STOPPED) from None
    say("\n".join([f"wrote {path}", *outcome_sentences(trajectory)]))


def _done(path: Path, retry_failed: bool) -> int:
    """Count the points of an earlier start that stay."""
    if not path.exists():
        return 0
    failures = [point.failure is not None for point in Trajectory.load(path, sites=()).points]
    return failures.index(True) if retry_failed and any(failures) else len(failures)


def outcome_sentences(trajectory: Trajectory) -> list[str]:
    """Say what came of a replay: how many points, which failed and why, and which checkpoints are suspected.

    Args:
        trajectory: The replay.
    """
    failed = [point for point in trajectory.points if point.failure is not None]
    number = len(trajectory.points)
    lines = [f"{number - len(failed)} of {number} checkpoints were measured."]
    lines += [f"{said_of(str(point.checkpoint), str(point.failure))}." for point in failed]
    return lines + [f"{why}." for why in mislabelled(trajectory).values()]


def _replay_models(models: Path, out: Path | None, **options: Any) -> None:
    """Measure the models of a file.

    Raises:
        Exit: A model failed, or it was stopped.
    """
    from ibtrack.replay.models import replay_models

    out = _folder(out, "the runs of the models")
    try:
        found = replay_models(models, out, report=_complain, **options)
    except KeyboardInterrupt:
        say(f"stopped; the same command goes on with {out}", err=True)
        raise typer.Exit(STOPPED) from None
    say("\n".join(found.sentences()))
    if found.failed:
        raise typer.Exit(1)
