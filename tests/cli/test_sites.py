"""``ibtrack sites``: the table of what would be measured, and of the lists that could be the blocks."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn
from typer.testing import CliRunner

from ibtrack.cli import app
from ibtrack.cli.sites import lists_table, load_model
from ibtrack.tracking.sites import find_sites
from tests.models import Model, probe
from tests.structures import Triples

A_MODEL = Model()


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["sites", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_the_table_says_what_is_measured_and_what_else_there_is() -> None:
    code, shown, _ = run("tests.structures:Triples")
    assert code == 0
    lines = [line.split() for line in shown.splitlines()]
    assert lines[0] == ["site", "module", "class", "shape", "calls", "parameters"]
    assert lines[2] == ["L00", "layers.0.2", "Add", "1", "x", "16", "x", "16", "1", "0"]
    (stream,) = [line for line in shown.splitlines() if line.startswith("layers.*.2 ")]
    assert stream.endswith("measured as L00 to L03")
    (branch,) = [line for line in shown.splitlines() if line.startswith("layers.*.1 ")]
    assert branch.endswith("do not take what the one before returns")


def test_layers_and_a_probe(tmp_path: Path) -> None:
    probe().save(tmp_path / "probe.pt")
    code, shown, _ = run(
        "tests.cli.test_sites:A_MODEL",
        "--layers",
        "embed",
        "--layers",
        "blocks.1",
        "--probe",
        str(tmp_path / "probe.pt"),
    )
    assert code == 0
    assert [line.split()[:2] for line in shown.splitlines()[1:3]] == [["embed", "embed"], ["L00", "blocks.1"]]


def test_where_the_blocks_are_not_clear_the_lists_are_shown_before_the_error() -> None:
    code, shown, error = run("tests.structures:Heads")
    assert code == 2
    assert "heads.*" in shown
    assert error.startswith("error: layers='auto' found several lists of modules that may be the blocks in the model")
    assert len(error.splitlines()) == 1


def test_a_model_without_blocks_or_tokens() -> None:
    code, shown, error = run("torch.nn:Identity")
    assert (code, shown) == (2, "")
    assert "found no list of repeated blocks" in error


def test_a_long_list_of_lists_is_cut() -> None:
    found = find_sites(Triples()).candidates
    many = lists_table([*found] * 9)
    assert many.splitlines()[-1] == f"and {9 * len(found) - 12} smaller lists"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("tests.structures", "MODULE:FACTORY must look like package.module:make_model, got 'tests.structures'"),
        ("no_such_module:make", "there is no module 'no_such_module'"),
        ("tests.structures:Nothing", "has no attribute 'Nothing'"),
        ("builtins:dict", "must give a torch.nn.Module, got dict from 'builtins:dict'"),
        ("math:pi", "must give a torch.nn.Module, got float from 'math:pi'"),
    ],
)
def test_what_is_no_model(name: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence.replace("(", r"\(")):
        load_model(name)
    code, _, error = run(name)
    assert (code, len(error.splitlines())) == (2, 1)


def test_a_model_by_its_class_by_itself_or_by_what_makes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_model("tests.cli.test_sites:A_MODEL") is A_MODEL
    assert isinstance(load_model("tests.models:Model"), Model)
    (tmp_path / "mine_of_this_test.py").write_text("from torch import nn\n\ndef make():\n    return nn.Linear(2, 2)\n")
    monkeypatch.chdir(tmp_path)
    assert isinstance(load_model("mine_of_this_test:make"), nn.Linear)
