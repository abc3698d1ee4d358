"""Scores of models from files: a table in CSV or Parquet, or results of lm-evaluation-harness as it writes them."""

from __future__ import annotations

import csv
import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ibtrack._checks import needs
from ibtrack.analysis.groups import listed
from ibtrack.record.texts import printable

NAME_COLUMNS = ("run", "model", "name", "model_name")
STEP_COLUMN, REVISION_COLUMN = "step", "revision"
SIZE_COLUMNS = ("num_parameters", "parameters", "params", "model_num_parameters", "n_params", "size")
"""Names under which a column of a table or a setting of a run is taken to be the number of parameters."""

SCORES_FOLDER = "scores"
"""Folder beside a trajectory in which the scores of its run are."""

_PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".joblib")
_STEP_IN_NAME = re.compile(r"(?:^|[^a-z])(?:step|checkpoint|ckpt)[-_]?(\d+)", flags=re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class ScoreRow:
    """The scores of one model at one step.

    Attributes:
        model: Name of the model or the run.
        step: Step of training, or None where the row does not say: then it is the end of training.
        scores: Name of each score to its value; those that the row lacks are left out.
        others: Name of each further column to its value, such as the family of the model.
        source: Place in the files, for messages.
        also: Other names of the model, which count where no run has its name: that in the name of the file.
    """

    model: str
    step: int | None = None
    scores: Mapping[str, float]
    others: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    also: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """Name the row in a sentence."""
        return self.model + ("" if self.step is None else f" at step {self.step}")


def read_scores(path: str | os.PathLike[str]) -> list[ScoreRow]:
    r"""Read the scores of models.

    A table (``.csv``, ``.tsv``, or ``.parquet`` with the extra ``parquet``) has a column for the name of the run or
    model, ``run``, ``model``, ``name`` or ``model_name``; it may have ``step`` or ``revision``, in whose text a step is
    looked for, as in ``step3000``; each further column of numbers is a score, and columns of texts are kept beside
    them. An empty cell is a missing score.

    A JSON file, or a folder with such files at any depth, holds results of lm-evaluation-harness of any version. Scores
    are called ``<task>/<metric>``, with ``,<filter>`` where there is one besides ``none``; standard errors are left
    out. Model and revision come from ``model_name``, ``model_args`` and ``model_revision``; of a path to a checkpoint
    the name of its folder counts, such as ``out/run/checkpoint-500``. What a file does not say of model and step is
    taken from its name where that ends in a step, such as ``pythia-70m_step3000.json``. Several files on one model are
    put together.

    Args:
        path: File or folder.

    Returns:
        One row for each model and step, in the order in which they first occur.

    Raises:
        FileNotFoundError: There is no such file or folder.
        ValueError: The format is unknown or damaged, no column names the run or is numeric, a number is not finite, a
            column holds numbers and texts, or two rows are about the same model and step.
        ModuleNotFoundError: pyarrow is not installed and the file is Parquet.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder) / "scores.csv"
        ...     _ = path.write_text("run,step,family,hellaswag\na,500,llama,0.31\n")
        ...     (row,) = read_scores(path)
        >>> row.words, dict(row.scores), dict(row.others)
        ('a at step 500', {'hellaswag': 0.31}, {'family': 'llama'})
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    suffix = path.suffix.lower()
    if path.is_dir() or suffix == ".json":
        return _harness_rows(path)
    if suffix in _PICKLES:
        raise ValueError(f"{path} is a pickle, which runs code when it is read: write the scores as CSV or Parquet")
    if suffix in (".csv", ".tsv"):
        return _table_rows(path, _delimited(path, "\t" if suffix == ".tsv" else ","))
    if suffix == ".parquet":
        return _table_rows(path, _parquet(path))
    raise ValueError(
        f"{path} must be .csv, .tsv, .parquet, results of lm-evaluation-harness in .json, or a folder of such"
    )


def scores_beside(path: str | os.PathLike[str], model: str) -> list[ScoreRow]:
    """Read the scores that were taken while a run trained: results in the folder ``scores`` beside its trajectory.

    Args:
        path: The trajectory file.
        model: Name that the run goes by, whatever the results call it.

    Returns:
        One row for each step; none where there is no such folder.

    Raises:
        ValueError: A file is damaged, or holds a number that is not finite.
    """
    folder = Path(path).parent / SCORES_FOLDER
    return [replace(row, model=model) for row in read_scores(folder)] if folder.is_dir() else []


def step_in(name: str | None) -> int | None:
    """Look for a step in the name of a revision or a folder.

    Args:
        name: Name, or None.

    Example:
        >>> [step_in(name) for name in ("step3000", "stage1-step500-tokens2B", "checkpoint-7", "main")]
        [3000, 500, 7, None]
    """
    found = _STEP_IN_NAME.search(name or "")
    return int(found[1]) if found else None


def _delimited(path: Path, delimiter: str) -> list[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = [line for line in csv.reader(file, delimiter=delimiter, strict=True) if any(line)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a table of text: {error}") from error
    head = [_text(cell.strip()) for cell in lines[0]] if lines else []
    if twice := [name for name in dict.fromkeys(head) if head.count(name) > 1]:
        raise ValueError(f"{path} has the column {twice[0]!r} twice")
    for number, line in enumerate(lines[1:], start=2):
        if len(line) != len(head):
            raise ValueError(f"{path}, row {number} has {len(line)} cells for {len(head)} columns")
    return [dict(zip(head, map(str.strip, line), strict=True)) for line in lines[1:]]


def _parquet(path: Path) -> list[dict[str, Any]]:
    with needs("a Parquet file", extra="parquet"):
        import pyarrow
        import pyarrow.parquet
    try:
        rows: list[dict[str, Any]] = pyarrow.parquet.read_table(path).to_pylist()
    except pyarrow.ArrowException as error:
        raise ValueError(f"{path} is not a Parquet file: {error}") from error
    return [{_text(name): cell for name, cell in row.items()} for row in rows]


def _table_rows(path: Path, cells: Sequence[Mapping[str, Any]]) -> list[ScoreRow]:
    if not cells:
        raise ValueError(f"{path} has no rows")
    head = list(cells[0])
    name = next((column for wanted in NAME_COLUMNS for column in head if column.lower() == wanted), None)
    if name is None:
        raise ValueError(f"{path} needs a column {' or '.join(NAME_COLUMNS)}, which names the run, got {listed(head)}")
    place = {column.lower(): column for column in head}
    own = [place[column] for column in (STEP_COLUMN, REVISION_COLUMN) if column in place]
    rest = [column for column in head if column not in (name, *own)]
    columns = {column: _column(path, column, [row[column] for row in cells]) for column in rest}
    numeric = [column for column, values in columns.items() if any(isinstance(value, float) for value in values)]
    scores = [column for column in numeric if column.lower() not in SIZE_COLUMNS]
    if not scores:
        raise ValueError(f"{path} has no column of numbers besides {listed([name, *own])}, so it holds no scores")
    rows = []
    for index, row in enumerate(cells):
        source = f"{path}, row {index + 2}"
        values = {column: value for column, each in columns.items() if (value := each[index]) is not None}
        own_scores = {column: float(value) for column, value in values.items() if column in scores}
        others = {column: value for column, value in values.items() if column not in scores}
        step = _step(row, place, source)
        model = "" if row[name] is None else _text(row[name])
        if not model:
            raise ValueError(f"{source} names no run in the column {name}")
        rows.append(ScoreRow(model=model, step=step, scores=own_scores, others=others, source=source))
    _check_once(rows)
    return rows


def _column(path: Path, name: str, cells: Sequence[Any]) -> list[float | str | None]:
    """Read a column as numbers where all of its cells are numbers, else as texts; None stands for an empty cell.

    Raises:
        ValueError: It holds both, or a number that is not finite.
    """
    values = [None if cell is None or cell == "" else _number(cell) for cell in cells]
    bad = [i for i, value in enumerate(values) if isinstance(value, float) and not math.isfinite(value)]
    if bad:
        raise ValueError(f"{path}, row {bad[0] + 2}: {name} is {values[bad[0]]}, which is no score; leave it empty")
    texts = [i for i, value in enumerate(values) if isinstance(value, str)]
    if texts and any(isinstance(value, float) for value in values):
        raise ValueError(
            f"{path}, row {texts[0] + 2}: {name} is {values[texts[0]]!r} where other rows have numbers; leave a cell "
            "empty where there is no score"
        )
    return values


def _number(cell: Any) -> float | str:
    if isinstance(cell, bool):
        return str(cell)
    try:
        return float(cell)
    except (TypeError, ValueError):
        return _text(cell)


def _text(cell: Any) -> str:
    """Write a cell as a text that can be shown anywhere."""
    return printable(str(cell))


def _step(row: Mapping[str, Any], place: Mapping[str, str], source: str) -> int | None:
    """Take the step of a row of a table, from its column or from the name of its revision.

    Raises:
        ValueError: The step is not a whole number, or the revision names none and is not that of the end.
    """
    cell = row[place[STEP_COLUMN]] if STEP_COLUMN in place else None
    if cell not in (None, ""):
        step = _number(cell)
        if isinstance(step, str) or not step.is_integer() or step < 0:
            raise ValueError(f"{source}: step must be a whole number, got {_text(cell)!r}")
        return int(step)
    return _step_of_revision(row[place[REVISION_COLUMN]] if REVISION_COLUMN in place else None, source)


def _step_of_revision(revision: Any, source: str) -> int | None:
    """Read the step of a revision; None for that of the end of training.

    Raises:
        ValueError: It names no step, and is none of those that stand for the end.
    """
    if revision in (None, "", "main", "master"):
        return None
    step = step_in(str(revision))
    if step is None:
        raise ValueError(f"{source}: the revision {_text(revision)!r} names no step, such as step3000, and is not main")
    return step


def _check_once(rows: Sequence[ScoreRow]) -> None:
    """Check that no two rows are about one model and step.

    Raises:
        ValueError: Two are.
    """
    first: dict[tuple[str, int | None], ScoreRow] = {}
    for row in rows:
        other = first.setdefault((row.model, row.step), row)
        if other is not row:
            raise ValueError(f"{row.source} is about {row.words}, as {other.source.rpartition(', ')[2]} is already")


def _harness_rows(path: Path) -> list[ScoreRow]:
    """Read results of lm-evaluation-harness, and put files about the same model and step together.

    Raises:
        ValueError: There is no file, or one is not such a result.
    """
    files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
    if not files:
        raise ValueError(f"{path} holds no .json, as lm-evaluation-harness writes its results")
    together: dict[tuple[str, int | None], ScoreRow] = {}
    for row in map(_harness_row, files):
        before = together.get((row.model, row.step))
        together[row.model, row.step] = row if before is None else _merged(before, row)
    return list(together.values())


def named_in_file(path: Path) -> tuple[str, int] | None:
    """Read model and step in the name of a file of results.

    Args:
        path: Path of the file.

    Returns:
        Model and step, or None where the name does not end in a step. A name that is a step alone is that of a file
        in the folder of its model.

    Example:
        >>> named_in_file(Path("zero-shot/pythia-70m_step3000.json")), named_in_file(Path("pythia-70m/step512.json"))
        (('pythia-70m', 3000), ('pythia-70m', 512))
        >>> named_in_file(Path("results_2024-05-01.json"))
    """
    found = re.fullmatch(r"(?:(.+?)[-_.@])?(?:step|checkpoint|ckpt)[-_]?(\d+)", path.stem, flags=re.IGNORECASE)
    model = found and (found[1] or path.parent.name)
    return (_text(model), int(found[2])) if found and model else None


def _harness_row(path: Path) -> ScoreRow:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    results = content.get("results") if isinstance(content, dict) else None
    if not isinstance(results, dict) or not all(isinstance(task, dict) for task in results.values()):
        raise ValueError(f"{path} is not a result of lm-evaluation-harness: it has no results of tasks")
    config = content["config"] if isinstance(content.get("config"), dict) else {}
    arguments = _model_arguments(config.get("model_args"))
    in_name = named_in_file(path)
    name = content.get("model_name") or arguments.get("pretrained") or (in_name and in_name[0])
    if not isinstance(name, str) or not name:
        raise ValueError(f"{path} does not name its model, as model_name, in model_args or in the name of the file")
    revision = arguments.get("revision") or config.get("model_revision")
    model, step = _model_and_step(name)
    step = _step_of_revision(revision, str(path)) if step is None else step
    step = in_name[1] if step is None and in_name else step
    scores = dict(_harness_scores(results, path))
    if not scores:
        raise ValueError(f"{path} holds no scores")
    size = config.get("model_num_parameters")
    others = {"num_parameters": float(size)} if isinstance(size, int) and size > 0 else {}
    also = (in_name[0],) if in_name and in_name[0] != model else ()
    return ScoreRow(model=_text(model), step=step, scores=scores, others=others, source=str(path), also=also)


def _model_arguments(given: Any) -> dict[str, Any]:
    """Take the arguments of the model apart, which are a text or a mapping."""
    if isinstance(given, dict):
        return given
    parts = str(given or "").split(",")
    return dict(part.split("=", 1) for part in parts if "=" in part)


def _model_and_step(name: str) -> tuple[str, int | None]:
    """Tell the path of a checkpoint from the name of a model: the folder above it names the run."""
    head, _, last = name.rstrip("/").rpartition("/")
    if head and re.fullmatch(r"(?:checkpoint|step|ckpt)[-_]?\d+", last):
        return head, step_in(last)
    return name, None


def _harness_scores(results: Mapping[str, Mapping[str, Any]], path: Path) -> Iterator[tuple[str, float]]:
    """Name and give each score of each task; standard errors, aliases and what is no number are passed over.

    Yields:
        Name and value.

    Raises:
        ValueError: A score is not finite.
    """
    for task, metrics in results.items():
        for key, value in metrics.items():
            metric, _, kind = key.partition(",")
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not is_number or metric.endswith("_stderr") or metric in ("sample_len", "samples"):
                continue
            name = _text(f"{task}/{metric}" + (f",{kind}" if kind not in ("", "none") else ""))
            if (isinstance(value, int) and abs(value) > 2**63) or not math.isfinite(value):
                raise ValueError(f"{path}: {name} is {str(value)[:20]}, which is no score; take it out of the file")
            yield name, float(value)


def _merged(first: ScoreRow, second: ScoreRow) -> ScoreRow:
    """Put two files about one model and step together.

    Raises:
        ValueError: They differ in a score.
    """
    for name in first.scores.keys() & second.scores.keys():
        if first.scores[name] != second.scores[name]:
            raise ValueError(
                f"{second.source} and {first.source} are both about {first.words} and differ in {name}: keep one"
            )
    return ScoreRow(
        model=first.model,
        step=first.step,
        scores={**first.scores, **second.scores},
        others={**first.others, **second.others},
        source=first.source,
        also=tuple(dict.fromkeys((*first.also, *second.also))),
    )
