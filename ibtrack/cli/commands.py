"""The ``ibtrack`` command: look at trajectories from the terminal, and make the page and the pictures."""

from __future__ import annotations

import csv
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from ibtrack._checks import check_option
from ibtrack.analysis.comparison import refusal, why_not_comparable
from ibtrack.analysis.effects import effects
from ibtrack.analysis.mislabelled import mislabelled
from ibtrack.analysis.outline_cache import outlined, prepare
from ibtrack.analysis.phase_words import Phases
from ibtrack.analysis.phases import find_phases, in_one_unit
from ibtrack.analysis.ranking import ranking
from ibtrack.analysis.score_files import SCORES_FOLDER, scores_beside
from ibtrack.analysis.scores import DEFAULT_QUANTITIES, Relations, join_scores, read_scores, relate
from ibtrack.cli.progress import counted
from ibtrack.cli.replay import replay
from ibtrack.cli.terminal import (
    LIST_HEAD,
    UNIT_WORDS,
    WHAT_THEY_ARE,
    contrasts_table,
    geometry_table,
    groups_table,
    list_row,
    one_line,
    points_table,
    relations_table,
    say,
    stages_line,
    terminal_plane,
    text_table,
)
from ibtrack.cli.watch import watch
from ibtrack.record.files import named_so, trajectory_files, why_not_read
from ibtrack.record.quantities import GEOMETRY, Z95
from ibtrack.record.trajectory import Trajectory, prefix_in
from ibtrack.report.opening import opening
from ibtrack.report.run_labels import run_labels, shared_words
from ibtrack.report.tables import curve_rows, doubt_lines, plane_rows

app = typer.Typer(
    help="Watch a language model compress: reports, pictures and tables from trajectory files, which replay makes "
    "from saved checkpoints.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
Command = TypeVar("Command", bound=Callable[..., Any])

Run = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, or its trajectory.jsonl.")]
Runs = Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs, or their trajectory.jsonl.")]
RunsOrFolders = Annotated[
    list[Path],
    typer.Argument(metavar="RUN...", help="Folders of runs, their trajectory.jsonl, or folders of such folders."),
]
Order = Annotated[str, typer.Option(help="Label set: token, bigram, trigram or quadgram.")]
Site = Annotated[str, typer.Option(help="mean, or a layer such as L03.")]
Reading = Annotated[str, typer.Option(help="debiased, plugin or null.")]
Unit = Annotated[str, typer.Option(help="share (of the ceiling) or log_k (fraction of log K).")]


def one_line_errors(command: Command) -> Command:
    """Turn a user's mistake into one line on stderr and exit code 2, and a warning into a line that starts with note.

    Args:
        command: Function behind a subcommand.
    """

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("always", UserWarning)
            warnings.showwarning = lambda message, *rest: say(one_line(f"note: {message}"), err=True)
            try:
                return command(*args, **kwargs)
            except BrokenPipeError:  # such as by head, which has seen enough; typer ends in silence
                raise
            except (OSError, ValueError, KeyError, ImportError) as error:
                say(one_line(f"error: {why_not_read(error)}"), err=True)
                raise typer.Exit(2) from error

    return run  # type: ignore[return-value]  # mypy cannot know that wraps keeps the signature


app.command()(one_line_errors(replay))
app.command()(one_line_errors(watch))


@app.command()
@one_line_errors
def report(
    runs: Runs,
    out: Annotated[Path, typer.Option("--out", "-o", help="The page to write.")] = Path("report.html"),
    allow_mixed: Annotated[bool, typer.Option("--allow-mixed", help="Also runs of different protocols.")] = False,
    scores_table: Annotated[
        Path | None,
        typer.Option(
            "--scores",
            help="A table of scores, as ibtrack scores takes, for a section of them. Without one, the scores that the "
            "runs have beside their trajectories.",
        ),
    ] = None,
    by: Annotated[
        str | None, typer.Option(help="Of the scores: column or setting that is the family of a run.")
    ] = None,
    size: Annotated[str | None, typer.Option(help="Of the scores: column or setting that is the size.")] = None,
    quantity: Annotated[list[str] | None, typer.Option(help="Of the scores: a quantity; may be repeated.")] = None,
    score: Annotated[list[str] | None, typer.Option(help="Of the scores: one of them; may be repeated.")] = None,
    single_file: Annotated[bool, typer.Option("--single-file", help="Nothing beside the page.")] = False,
) -> None:
    """Write one HTML page of the runs; it opens without a network.

    What a page of many runs has no room for lies beside it, in the folder <page>_files, and is loaded when a run is
    chosen.

    Raises:
        ValueError: An option of the scores is given, and there are none.
    """
    from ibtrack.report import write_report

    asked = {"by": by, "size": size, "quantity": quantity, "score": score}
    given = [name for name, value in asked.items() if value]
    paths = [_existing(run) for run in runs]
    found = None
    if scores_table is not None or any(map(_has_scores, paths)):
        options = {"by": by, "size": size, "quantities": quantity or DEFAULT_QUANTITIES, "only": score}
        try:
            found = _relations([*map(_with_mean, paths)], scores_table, allow_mixed=allow_mixed, **options)
        except ValueError as error:
            if scores_table is not None or given:
                raise
            say(f"the scores beside the runs are left out: {error}", err=True)
    elif given:
        raise ValueError(f"--{given[0]} is about scores; name their table by --scores")
    say(f"wrote {write_report(paths, out, allow_mixed=allow_mixed, scores=found, single_file=single_file)}")


@app.command("list")
@one_line_errors
def list_runs(
    folder: Annotated[Path, typer.Argument(help="Every trajectory file below it is listed.")] = Path("."),
    order: Order = "token",
    unit: Unit = "share",
) -> None:
    """List the runs below a folder: steps, last values, phase, and which compresses most.

    The column "behind" says by how many standard errors a run's fall of I(X;Z) is smaller than the largest.
    """
    check_option("unit", unit, tuple(UNIT_WORDS))
    runs: dict[str, Trajectory | str] = {}
    found: dict[str, Phases] = {}
    paths = _files_below(folder)
    with counted("runs are still to be read") as count:
        for left in prepare(paths, order, unit=_asked(unit)):
            count(left)
    read = {_name_below(folder, path): _in_outline(path, order, _asked(unit)) for path in paths}
    names = _names_in_list({place: run for place, (run, _) in read.items()})
    for place, (run, phases_of_run) in read.items():
        runs[names[place]] = run
        found |= {names[place]: phases_of_run} if phases_of_run else {}
    readable = {name: run for name, run in runs.items() if isinstance(run, Trajectory)}
    if with_orders := [run for run in readable.values() if run.protocol.get("orders")]:
        _check_measured(with_orders, "mean", order)
    every = in_one_unit(found, readable, order)
    phases = {name: each for name, each in every.items() if each.why_not is None}
    differences = why_not_comparable({name: readable[name] for name in phases})
    is_ranked = len(phases) > 1 and not differences
    places = {place.run: place for place in ranking(phases)} if is_ranked else {}
    rows = [
        LIST_HEAD,
        *(
            list_row(name, place, run, order, unit, every.get(name), places.get(name))
            for (name, run), place in zip(runs.items(), names, strict=True)
        ),
    ]
    left_out = ["folder"] if all(place == name for place, name in names.items()) else []
    for column in left_out if is_ranked else ["behind", *left_out]:
        rows = _without_column(column, rows)
    say(text_table(rows))
    if shared := shared_words([*readable.values()]):
        say(f"\nThe names of all runs have these words as well: {shared}")
    say(f"\nI(X;Z) and I(Y;Z) are {UNIT_WORDS[unit]}.\n{WHAT_THEY_ARE}")
    if differences:
        say(f"\nNot ranked, as they were measured under different protocols: {'; '.join(differences)}.")
    elif is_ranked:
        say("\n" + opening({name: readable[name] for name in phases}, phases, order, unit=unit).text)


@app.command()
@one_line_errors
def compare(
    runs: RunsOrFolders,
    by: Annotated[str | None, typer.Option(help="Setting that makes the groups; all that differ unless given.")] = None,
    at: Annotated[str, typer.Option(help="What is equal where runs are compared: step, tokens or loss.")] = "step",
    step: Annotated[int | None, typer.Option(help="A step in place of the last that all runs have.")] = None,
    order: Order = "token",
    unit: Unit = "share",
    ignore: Annotated[list[str] | None, typer.Option(help="A setting that is no difference; may be repeated.")] = None,
    paired: Annotated[bool, typer.Option("--paired", help="Compare runs of one seed with each other.")] = False,
    site: Site = "mean",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="A PNG of the effects to write.")] = None,
) -> None:
    """Say what a setting does: differences between groups of runs, with intervals from the spread between seeds."""
    paths = [path for run in runs for path in _runs_in(run)]
    if site == "mean":
        trajectories = [outlined(path, order).run for path in paths]
    else:  # an outline has the mean alone
        trajectories = [Trajectory.load(path, sites=(site,)) for path in paths]
    _check_measured(trajectories, site, order)
    named = dict(zip(run_labels(trajectories), trajectories, strict=True))
    found = effects(named, by, order=order, unit=unit, at=at, step=step, ignore=ignore or (), paired=paired, site=site)
    groups, *sentences = found.sentences()
    where = "" if site == "mean" else f", layer {site}"
    say(f"{groups}\n\n{found.match.words()}, {order} labels{where}; I(X;Z) and I(Y;Z) are {UNIT_WORDS[unit]}\n")
    say(f"{groups_table(found)}\n\n{contrasts_table(found)}\n\n" + "\n".join(sentences))
    if out is not None:
        from ibtrack.report import charts
        from ibtrack.report.effect_chart import effect_chart

        say(f"\nwrote {charts.save_png(effect_chart(found), out)}")


@app.command()
@one_line_errors
def scores(
    runs: RunsOrFolders,
    table: Annotated[
        Path | None,
        typer.Option(
            help="CSV or Parquet, or a folder of results of lm-evaluation-harness. Without one, the scores that the "
            "runs have beside their trajectories."
        ),
    ] = None,
    by: Annotated[str | None, typer.Option(help="Column of the table or setting that is the family of a run.")] = None,
    size: Annotated[str | None, typer.Option(help="Column or setting that is the size of a model.")] = None,
    quantity: Annotated[list[str] | None, typer.Option(help="A quantity; may be repeated.")] = None,
    site: Annotated[list[str] | None, typer.Option(help="mean, or a layer such as L03; may be repeated.")] = None,
    order: Annotated[list[str] | None, typer.Option(help="A label set; may be repeated. All unless given.")] = None,
    reading: Reading = "debiased",
    score: Annotated[list[str] | None, typer.Option(help="A score; may be repeated. All unless given.")] = None,
    out: Annotated[
        list[Path] | None,
        typer.Option(
            "--out", "-o", help="A .csv of all numbers, or a scatter as .png, .svg or .html; may be repeated."
        ),
    ] = None,
    allow_mixed: Annotated[bool, typer.Option("--allow-mixed", help="Also runs of different protocols.")] = False,
) -> None:
    """Say whether readings go with scores: rank correlations, given the loss and the size, over families of runs."""
    _check_outs(out or [])
    sites = tuple(site or ("mean",))
    trajectories = [Trajectory.load(path, sites=sites) for run in runs for path in _runs_in(run)]
    found = _relations(
        trajectories,
        table,
        quantities=quantity or DEFAULT_QUANTITIES,
        sites=sites,
        orders=order,
        reading=reading,
        by=by,
        size=size,
        only=score,
        allow_mixed=allow_mixed,
    )
    say(f"{relations_table(found)}\n\n" + "\n".join(found.sentences()))
    for path in out or []:
        say(f"\nwrote {_written(found, path)}")


@app.command()
@one_line_errors
def show(
    run: Run, order: Order = "token", site: Site = "mean", reading: Reading = "debiased", unit: Unit = "share"
) -> None:
    """Show the points of a run, its path through the plane, and its phases."""
    trajectory = Trajectory.load(_existing(run))
    _check_measured([trajectory], site, order)
    rows = plane_rows([trajectory], site=site, order=order, reading=reading, unit=unit)
    has_errors = any(row["complexity_se"] is not None or row["expressivity_se"] is not None for row in rows)
    errors = f", ± {Z95} standard errors" if has_errors else ""
    say(f"{trajectory.name}: {site}, {order} labels, {reading} reading; {UNIT_WORDS[unit]}{errors}")
    say(f"{WHAT_THEY_ARE}\n")
    say(points_table(rows))
    if trajectory.stages:
        say(f"\n{stages_line(trajectory)}")
    say("".join(f"\n{line}.\n" for line in (*doubt_lines(rows), *mislabelled(trajectory).values())), nl=False)
    say(f"\n{terminal_plane(rows)}\n")
    parts = ["" if site == "mean" else f"layer {site}", "" if reading == "debiased" else "debiased reading"]
    whose = ", ".join(filter(None, parts))
    sentence = find_phases(trajectory, order, unit=_asked(unit), site=site).sentence()
    say(f"{whose[0].upper()}{whose[1:]}: {sentence}" if whose else sentence)
    if "geometry_rows" in trajectory.protocol:
        curves = {name: curve_rows([trajectory], quantity=name, site=site) for name in GEOMETRY}
        number = trajectory.protocol["geometry_rows"]
        say(f"\n{site}: geometry of {number} positions, ± {Z95} standard errors (from half of the documents)\n")
        say(geometry_table(curves))


@app.command()
@one_line_errors
def export(run: Run, parquet: Annotated[Path, typer.Option(help="The Parquet file to write.")]) -> None:
    """Write every number of a run as a Parquet file, one row per number."""
    Trajectory.load(_existing(run)).to_parquet(parquet)
    say(f"wrote {parquet}")


@app.command()
@one_line_errors
def plane(
    runs: Runs,
    out: Annotated[Path, typer.Option("--out", "-o", help="The PNG to write.")] = Path("plane.png"),
    order: Order = "token",
    site: Site = "mean",
    reading: Reading = "debiased",
    unit: Unit = "share",
    band: Annotated[str, typer.Option(help="Bars: pointwise, or simultaneous (95 % for all points).")] = "pointwise",
    allow_mixed: Annotated[bool, typer.Option("--allow-mixed", help="Also runs of different protocols.")] = False,
) -> None:
    """Draw the path of the runs through the plane as a PNG."""
    from ibtrack.report import charts

    trajectories = [Trajectory.load(_existing(run)) for run in runs]
    _check_measured(trajectories, site, order)
    if not allow_mixed:
        _check_comparable(trajectories)
    chart = charts.plane(trajectories, site=site, order=order, reading=reading, unit=unit, band=band)
    say(f"wrote {charts.save_png(chart, out)}")


@app.command()
@one_line_errors
def dashboard(
    runs: RunsOrFolders,
    entity: Annotated[str, typer.Option(help="wandb user or team.")],
    project: Annotated[str, typer.Option(help="wandb project that the runs are in.")],
    name: Annotated[str, typer.Option(help="Name of the workspace.")] = "Information plane",
    prefix: Annotated[str, typer.Option(help="Prefix of the logged keys, as in the monitor.")] = "ib",
    unit: Unit = "share",
    by: Annotated[str | None, typer.Option(help="Setting that makes groups; all that differ unless given.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be sent; no network.")] = False,
    chart_installed: Annotated[bool, typer.Option("--chart-installed", help="Leave the chart as it is.")] = False,
) -> None:
    """Make a wandb workspace for a project whose runs are like RUN, and install the plane as a custom chart.

    Of several RUNs, the settings in which they differ group the runs of the project. Each call saves a new view of the
    project; no other view is touched.
    """
    from ibtrack.integrations.wandb_workspace import make_dashboard

    trajectories = [_with_mean(path) for run in runs for path in _runs_in(run)]
    workspace = make_dashboard(trajectories, entity=entity, project=project, name=name, prefix=prefix, unit=unit, by=by)
    if dry_run:
        say(json.dumps(workspace.requests(), indent=2, ensure_ascii=False))
    else:
        say(f"wrote {workspace.send(install_chart=not chart_installed)}; {workspace.grouping}")


def _with_mean(path: Path) -> Trajectory:
    """Read a run without its layers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the file lacks is said on the page, whose sheets read it too
        return Trajectory.load(path, sites=("mean",))


def _has_scores(path: Path) -> bool:
    """Whether a run has scores beside its trajectory."""
    return ((path if path.is_dir() else path.parent) / SCORES_FOLDER).is_dir()


def _relations(runs: Sequence[Trajectory], table: Path | None, **options: Any) -> Relations:
    """Put scores beside runs, and correlate them; without a table, those that the runs have beside them.

    Raises:
        ValueError: There is no table, and no run has scores beside it.
    """
    named = dict(zip(run_labels(runs), runs, strict=True))
    if table is not None:
        return relate(join_scores(named, read_scores(table), **options))
    rows = [row for name, run in named.items() if run.path is not None for row in scores_beside(run.path, name)]
    if not rows:
        raise ValueError(
            f"no run has a folder {SCORES_FOLDER} beside its trajectory; name a table of scores by --table"
        )
    return relate(join_scores(named, rows, **options))


def _check_outs(paths: Sequence[Path]) -> None:
    """Check, before anything is worked out, that a file can be written as its name asks for.

    Raises:
        ValueError: It cannot.
    """
    for path in paths:
        check_option("the end of --out", path.suffix.lower(), (".csv", ".png", ".svg", ".html"))


def _written(found: Relations, path: Path) -> Path:
    """Write relations as a table, or draw them, by the end of the file's name."""
    if path.suffix.lower() != ".csv":
        from ibtrack.report import charts

        return charts.save(charts.scores(found), path)
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = list(found.rows())
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def _asked(unit: str) -> str | None:
    """Let the usual unit give way where a run has no shares with standard errors; a refused name is refused later."""
    return None if unit == "share" else unit


def _files_below(folder: Path) -> list[Path]:
    """List the trajectory files below a folder.

    Raises:
        ValueError: There is no such folder, or no file.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder")
    paths = trajectory_files(folder)
    if not paths:
        raise ValueError(f"there is no trajectory.jsonl below {folder}")
    return paths


def _without_column(name: str, rows: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    at = rows[0].index(name)
    return [(*row[:at], *row[at + 1 :]) for row in rows]


def _check_measured(runs: Sequence[Trajectory], site: str, order: str) -> None:
    """Check that one of the runs, at least, may have numbers of a site and an order.

    Raises:
        ValueError: No protocol has the site, or the order, or any order at all.
    """
    for option, value, first, entry in (("site", site, ["mean"], "sites"), ("order", order, [], "orders")):
        if any(run.protocol.get(entry) is None for run in runs):  # such a file does not say what it holds
            continue
        options = tuple(dict.fromkeys([*first, *(name for run in runs for name in run.protocol[entry])]))
        if not options:
            raise ValueError(
                f"{', '.join(run.name for run in runs)} has no plane: its probe has no label orders, as one of "
                "preference pairs; the report shows its curves"
            )
        check_option(option, value, options)


def _check_comparable(runs: Sequence[Trajectory]) -> None:
    """Check that runs were measured under one protocol.

    Raises:
        ValueError: They were not.
    """
    differences = why_not_comparable(dict(zip(run_labels(runs), runs, strict=True)))
    if differences:
        raise ValueError(refusal(differences, "--allow-mixed draws them in one picture, with a line that says so"))


def _name_below(folder: Path, path: Path) -> str:
    """Name a run by its folder, and a further monitor of it by its prefix as well."""
    return " · ".join(filter(None, (str(path.parent.relative_to(folder)), prefix_in(path))))


def _names_in_list(runs: Mapping[str, Trajectory | str]) -> dict[str, str]:
    """Name each place below a folder as reports name its run; one that cannot be read has no name but its place."""
    readable = {place: run for place, run in runs.items() if isinstance(run, Trajectory)}
    labels = dict(zip(readable, run_labels([*readable.values()]), strict=True))
    taken = set(labels.values())
    return {place: labels.get(place, f"{place} (?)" if place in taken else place) for place in runs}


def _in_outline(path: Path, order: str, unit: str | None) -> tuple[Trajectory | str, Phases | None]:
    """Read the outline of a run and its phases, as all runs of a folder would not fit; or say why it cannot be read."""
    if path.exists() and not path.is_file():
        return f"{path} is no file", None  # a pipe, for one, which would be waited for without end
    try:
        return outlined(path, order, unit=unit)
    except (OSError, ValueError, KeyError) as error:
        return why_not_read(error), None


def _runs_in(path: Path) -> list[Path]:
    """Return a run, or the runs whose folders lie in a folder; what lies deeper, as earlier attempts, is left out."""
    inside = sorted(file.parent for file in path.glob("*/trajectory.jsonl"))
    return inside if inside and not (path / "trajectory.jsonl").exists() else [_existing(path)]


def _existing(path: Path) -> Path:
    """Return the path of a run, if there is one.

    Raises:
        ValueError: There is no such file or folder, or the folder is not one of a run.
    """
    if not path.exists():
        raise ValueError(f"{path} does not exist")
    if path.is_dir() and not (path / "trajectory.jsonl").exists():
        others = ", ".join(file.name for file in named_so(path.glob("*.jsonl")))
        hint = f"name one of its files: {others}" if others else "is it the folder of a run?"
        raise ValueError(f"{path} holds no trajectory.jsonl; {hint}")
    return path
