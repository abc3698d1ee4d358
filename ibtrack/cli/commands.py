"""The ``ibtrack`` command: look at trajectories from the terminal, and make the page and the pictures."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from string import ascii_letters
from typing import Annotated, Any, TypeVar

import typer

from ibtrack.analysis.comparison import why_not_comparable
from ibtrack.analysis.phases import find_phases
from ibtrack.analysis.ranking import Place, ranking, verdict
from ibtrack.record.trajectory import Trajectory
from ibtrack.report.tables import Z95, plane_domain, plane_rows

app = typer.Typer(
    help="Watch a language model compress: reports, pictures and tables from trajectory files.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
Command = TypeVar("Command", bound=Callable[..., Any])

Run = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, or its trajectory.jsonl.")]
Runs = Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs, or their trajectory.jsonl.")]
Order = Annotated[str, typer.Option(help="Label set: token, bigram, trigram or quadgram.")]
Site = Annotated[str, typer.Option(help="mean, or a layer such as L03.")]
Reading = Annotated[str, typer.Option(help="debiased, plugin or null.")]


def one_line_errors(command: Command) -> Command:
    """A user's mistake is one line on stderr and exit code 2; a warning is a line that starts with note."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("always", UserWarning)
            warnings.showwarning = lambda message, *rest: typer.echo(f"note: {message}", err=True)
            try:
                return command(*args, **kwargs)
            except (OSError, ValueError, KeyError, ImportError) as error:
                typer.echo(f"error: {_sentence(error)}", err=True)
                raise typer.Exit(2) from error

    return run  # type: ignore[return-value]


@app.command()
@one_line_errors
def report(
    runs: Runs,
    out: Annotated[Path, typer.Option("--out", "-o", help="The page to write.")] = Path("report.html"),
    allow_mixed: Annotated[bool, typer.Option("--allow-mixed", help="Also runs of different protocols.")] = False,
) -> None:
    """Write one self-contained HTML page of the runs; it opens without a network."""
    from ibtrack.report.html import write_report

    typer.echo(f"wrote {write_report([_existing(run) for run in runs], out, allow_mixed=allow_mixed)}")


@app.command("list")
@one_line_errors
def list_runs(
    folder: Annotated[Path, typer.Argument(help="Every trajectory.jsonl below it is listed.")] = Path("."),
    order: Order = "token",
) -> None:
    """List the runs below a folder: steps, last values, phase, and which compresses most.

    The column "behind" says by how many standard errors a run's fall of I(X;Z) is smaller than the largest.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder")
    paths = sorted(folder.rglob("trajectory.jsonl"))
    if not paths:
        raise ValueError(f"there is no trajectory.jsonl below {folder}")
    runs = {str(path.parent.relative_to(folder)): _read(path) for path in paths}
    readable = {name: run for name, run in runs.items() if isinstance(run, Trajectory)}
    found = {name: of for name, run in readable.items() if (of := find_phases(run, order)).why_not is None}
    differences = why_not_comparable({name: readable[name] for name in found})
    behind = {} if differences else {place.run: _behind(place) for place in ranking(found)}
    head = ("run", "points", "last step", "loss", "I(X;Z)", "I(Y;Z)", "behind", "phase")
    typer.echo(_table([head, *(_list_row(name, run, order, behind.get(name, "")) for name, run in runs.items())]))
    if differences:
        typer.echo(f"\nNot ranked, as they were measured under different protocols: {'; '.join(differences)}.")
    elif len(found) > 1:
        typer.echo(f"\n{verdict(found)}")


@app.command()
@one_line_errors
def show(run: Run, order: Order = "token", site: Site = "mean", reading: Reading = "debiased") -> None:
    """Show the points of a run, its path through the plane, and its phases."""
    trajectory = _load(run)
    rows = plane_rows([trajectory], site=site, order=order, reading=reading)
    typer.echo(
        f"{trajectory.name}: {site}, {order} labels, {reading} reading; fractions of log K, ± {Z95} standard errors\n"
    )
    letters = _letters(rows)
    table = [(letter, *_show_row(row)) for letter, row in zip(letters, rows, strict=True)]
    typer.echo(_table([("", "step", "loss", "I(X;Z)", "I(Y;Z)"), *table]))
    typer.echo(f"\n{terminal_plane(rows)}\n")
    typer.echo(find_phases(trajectory, order).sentence())


@app.command()
@one_line_errors
def export(run: Run, parquet: Annotated[Path, typer.Option(help="The Parquet file to write.")]) -> None:
    """Write every number of a run as a Parquet file, one row per number."""
    _load(run).to_parquet(parquet)
    typer.echo(f"wrote {parquet}")


@app.command()
@one_line_errors
def plane(
    runs: Runs,
    out: Annotated[Path, typer.Option("--out", "-o", help="The PNG to write.")] = Path("plane.png"),
    order: Order = "token",
    site: Site = "mean",
    reading: Reading = "debiased",
) -> None:
    """Draw the path of the runs through the plane as a PNG."""
    from ibtrack.report import charts

    chart = charts.plane([_load(run) for run in runs], site=site, order=order, reading=reading)
    typer.echo(f"wrote {charts.save_png(chart, out)}")


@app.command()
@one_line_errors
def dashboard(
    run: Run,
    entity: Annotated[str, typer.Option(help="wandb user or team.")],
    project: Annotated[str, typer.Option(help="wandb project that the runs are in.")],
    name: Annotated[str, typer.Option(help="Of the workspace.")] = "Information plane",
    prefix: Annotated[str, typer.Option(help="Of the logged keys, as in the monitor.")] = "ib",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be sent; no network.")] = False,
    chart_installed: Annotated[bool, typer.Option("--chart-installed", help="Leave the chart as it is.")] = False,
) -> None:
    """Make a wandb workspace for a project whose runs are like RUN, and install the plane as a custom chart.

    Each call saves a new view of the project; no other view is touched.
    """
    from ibtrack.integrations.wandb_workspace import make_dashboard

    made = make_dashboard(_load(run), entity=entity, project=project, name=name, prefix=prefix)
    if dry_run:
        typer.echo(json.dumps(made.requests(), indent=2, ensure_ascii=False))
    else:
        typer.echo(f"wrote {made.send(install_chart=not chart_installed)}")


def terminal_plane(rows: Sequence[dict[str, Any]], *, width: int = 60, height: int = 20) -> str:
    """The plane in letters: the first point is ``a``, the next ``b``; after ``z`` comes ``A``, then ``+``.

    Args:
        rows: of one run, as `ibtrack.report.tables.plane_rows` makes them.
        width: letters from left to right.
        height: lines from bottom to top.

    Example:
        >>> rows = [
        ...     {"step": 0, "complexity": 0.1, "expressivity": 0.0, "complexity_se": None, "expressivity_se": None},
        ...     {"step": 9, "complexity": 0.4, "expressivity": 0.3, "complexity_se": None, "expressivity_se": None},
        ... ]
        >>> print(terminal_plane(rows, width=20, height=5))
        I(Y;Z)
         0.40 |                 ...
              |            .....  b
              |        ....
              |   .....
         0.00 |...  a
              +--------------------
               0.00            0.40  I(X;Z)
    """
    low, high = plane_domain(rows)
    span = high - low
    canvas = [[" "] * width for _ in range(height)]

    def cell(x: float, y: float) -> tuple[int, int]:
        return height - 1 - round((y - low) / span * (height - 1)), round((x - low) / span * (width - 1))

    for column in range(width):
        at = low + span * column / (width - 1)
        line, _ = cell(at, at)
        canvas[line][column] = "."
    for letter, row in zip(_letters(rows), rows, strict=True):
        if letter != "×":
            line, column = cell(row["complexity"], row["expressivity"])
            canvas[line][column] = letter
    lines = ["".join(line).rstrip() for line in canvas]
    marks = [f"{high:5.2f}", *["     "] * (height - 2), f"{low:5.2f}"]
    axis = f"{low:.2f}{high:{width - 4}.2f}"
    body = [f"{mark} |{line}" for mark, line in zip(marks, lines, strict=True)]
    return "\n".join(["I(Y;Z)", *body, f"      +{'-' * width}", f"       {axis}  I(X;Z)"])


def _letters(rows: Sequence[dict[str, Any]]) -> list[str]:
    """A letter for each point that has a place in the plane, and a cross for the others."""
    letters = iter(ascii_letters)
    lost = [row["complexity"] is None or row["expressivity"] is None for row in rows]
    return ["×" if missing else next(letters, "+") for missing in lost]


def _read(path: Path) -> Trajectory | str:
    """The trajectory, or why it cannot be read."""
    try:
        return Trajectory.load(path)
    except (OSError, ValueError, KeyError) as error:
        return _sentence(error)


def _list_row(name: str, run: Trajectory | str, order: str, behind: str) -> tuple[str, ...]:
    if isinstance(run, str):
        return (name, "", "", "", "", "", "", f"not readable: {run}")
    rows = plane_rows([run], order=order)
    if not rows:
        return (name, "0", "", "", "", "", "", "no points yet")
    failed = sum(point.failure is not None for point in run.points)
    points = f"{len(rows)} ({failed} failed)" if failed else str(len(rows))
    return (name, points, *_show_row(rows[-1]), behind, find_phases(run, order).short())


def _behind(place: Place) -> str:
    if place.fall is None:
        return ""
    return "first" if place.behind == 0 else f"{place.behind:.1f} se" + (", tied" if place.tied else "")


def _show_row(row: dict[str, Any]) -> tuple[str, ...]:
    loss = "" if row["loss"] is None else f"{row['loss']:.3f}"
    if row["why"]:
        return (str(row["step"]), loss, f"no value: {row['why']}", "")
    values = ((row[name], row[f"{name}_se"]) for name in ("complexity", "expressivity"))
    return (str(row["step"]), loss, *(f"{value:.3f}" + (f" ± {Z95 * se:.3f}" if se else "") for value, se in values))


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(size) for cell, size in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _load(path: Path) -> Trajectory:
    return Trajectory.load(_existing(path))


def _existing(path: Path) -> Path:
    if not path.exists():
        raise ValueError(f"{path} does not exist")
    if path.is_dir() and not (path / "trajectory.jsonl").exists():
        raise ValueError(f"{path} holds no trajectory.jsonl; is it the folder of a run?")
    return path


def _sentence(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "not a trajectory file: it is not text"
    return f"the file is damaged: {error} is missing" if isinstance(error, KeyError) else str(error)


if __name__ == "__main__":
    app()
