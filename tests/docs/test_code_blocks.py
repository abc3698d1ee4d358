"""The code on the pages runs: Python blocks page by page, ``ibtrack`` commands on small trajectories."""

from __future__ import annotations

import contextlib
import importlib
import json
import re
import shlex
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import wandb
from typer.testing import CliRunner

from ibtrack import MeasurementWarning, Trajectory
from ibtrack.cli import app
from tests.docs.pages import PAGES, ROOT, blocks, name
from tests.docs.preludes import FILES, HUBS, PRELUDES, SWEEP, write_runs
from tests.runs import config

NOT_RUN = {"howto/post_training.md": 3, "howto/transformers.md": 1, "howto/wandb.md": 1}  # that need more than is here
WITH_CODE = [page for page in [ROOT / "README.md", *PAGES] if blocks(page, "python")]
WITH_COMMANDS = [page for page in PAGES if blocks(page, "bash")]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Third parties may warn, of small loaders and the like; a measurement that fails may not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", MeasurementWarning)
        yield


@pytest.fixture
def at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to be in, and wandb offline."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    return tmp_path


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("page", WITH_CODE, ids=name)
def test_the_python_of_a_page_runs(page: Path, at_hand: Path) -> None:
    write_runs(at_hand, ["RUN", *SWEEP])
    if (write_more := FILES.get(name(page))) is not None:
        write_more(at_hand)
    names = {"__name__": "__main__", **PRELUDES.get(name(page), dict)()}
    try:
        with _quiet():
            for number, block in enumerate(blocks(page, "python"), start=1):
                if block.reason is None:
                    exec(compile(block.code, f"{name(page)}, block {number}", "exec"), names)
    finally:
        wandb.finish()


def test_blocks_that_are_not_run_are_counted_and_say_why() -> None:
    found = {name(page): [b.reason for b in blocks(page, "python") if b.reason is not None] for page in WITH_CODE}
    assert {page: len(reasons) for page, reasons in found.items() if reasons} == NOT_RUN
    assert all(reason.startswith("needs ") for reasons in found.values() for reason in reasons if reason)


def _commands(page: Path) -> list[str]:
    lines = "".join(block.code for block in blocks(page, "bash")).splitlines()
    return [re.split(r"\s#", line)[0].strip() for line in lines if line.strip()]


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=name)
def test_the_commands_of_a_page_are_taken(page: Path, at_hand: Path) -> None:
    write_runs(at_hand)
    if (write_more := FILES.get(name(page))) is not None:
        write_more(at_hand)
    with contextlib.ExitStack() as stack:
        if (make_hub := HUBS.get(name(page))) is not None:
            stack.enter_context(stack.enter_context(make_hub(at_hand)).instead())
        _take_commands(page, at_hand)


def _take_commands(page: Path, at_hand: Path) -> None:
    for command in _commands(page):
        program, *arguments = shlex.split(command)
        if program == "ibtrack":
            expanded = [part for a in arguments for part in (map(str, sorted(at_hand.glob(a))) if "*" in a else [a])]
            expanded = [str(Path(part).relative_to(at_hand)) if part.startswith("/") else part for part in expanded]
            result = CliRunner().invoke(app, expanded)
            assert result.exit_code == 0, (command, result.output)
        elif command.startswith("python experiments/train.py"):
            _check_overrides(arguments[1:])
        elif command.startswith("python experiments/benchmarks/"):
            _check_options(Path(arguments[0]), arguments[1:])
        else:
            assert program in ("pip", "wandb"), command


def _check_overrides(arguments: list[str]) -> None:
    """A configuration can be composed of them; what an option of Hydra's own does is Hydra's matter."""
    overrides = [argument for argument in arguments if "=" in argument]
    assert set(arguments) - set(overrides) <= {"-m", "--help", "--dry-run"}
    config(*overrides)


def _check_options(program: Path, arguments: list[str]) -> None:
    """A program takes the arguments; what it does with them is its own tests' matter."""
    module = importlib.import_module(".".join(program.with_suffix("").parts))
    whole = typer.Typer()
    whole.command()(module.main)
    typer.main.get_command(whole).make_context(program.name, arguments)


def test_the_extras_that_pages_install_exist() -> None:
    _, _, rest = (ROOT / "pyproject.toml").read_text().partition("[project.optional-dependencies]\n")
    extras = re.findall(r"^(\w+) = \[", rest.partition("\n[")[0], flags=re.MULTILINE)
    for page in [ROOT / "README.md", *PAGES]:
        for group in re.findall(r"(?:'\.|ibtrack)\[([a-z,]+)\]", page.read_text("utf-8")):
            assert set(group.split(",")) <= set(extras), (name(page), group)


def test_the_targets_that_pages_name_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for page in [ROOT / "README.md", *PAGES]:
        for target in re.findall(r"(?:`|^    )make ([\w-]+)", page.read_text("utf-8"), flags=re.MULTILINE):
            assert f"\n{target}:" in makefile, (name(page), target)


def test_the_example_of_a_trajectory_file_is_one(tmp_path: Path) -> None:
    (example,) = blocks(ROOT / "docs" / "trajectory_file.md", "json")
    (tmp_path / "trajectory.jsonl").write_text(example.code)
    trajectory = Trajectory.load(tmp_path)
    assert trajectory.steps == [0, 1]
    fields = [json.loads(line) for line in example.code.splitlines()[1:] if line.startswith("{")]
    assert [set(of) for of in fields] == [set(json.loads(point.to_json())) for point in trajectory.points]
