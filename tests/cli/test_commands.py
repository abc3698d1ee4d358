"""The command line: what it prints, and that a mistake is one line and exit code 2."""

from __future__ import annotations

import csv
import gc
import json
import os
import re
import shutil
import subprocess
import sys
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from typer.testing import CliRunner, Result

from ibtrack.analysis.effects import effects
from ibtrack.analysis.phases import find_phases
from ibtrack.cli import app
from ibtrack.record.keys import READINGS
from ibtrack.record.trajectory import Point, Trajectory
from tests import trajectories

Run = Callable[..., Result]


@pytest.fixture
def run() -> Run:
    """Call the command; the exit code is as expected."""

    def invoke(*arguments: Any, code: int = 0) -> Result:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == code, result.output
        return result

    return invoke


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sweep of two runs."""
    for width in (32, 64):
        trajectories.write(trajectories.make(f"w{width}", drop=width / 1000), tmp_path / "sweep" / f"w{width}")
    return tmp_path / "sweep"


def only_line(result: Result) -> str:
    """The one line of an error, on stderr."""
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    return line


def test_report_writes_a_page(run: Run, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "r.html"
    assert run("report", folder / "w32", folder / "w64", "-o", out).stdout == f"wrote {out}\n"
    assert out.read_text().startswith("<!doctype html>")


def test_report_refuses_mixed_protocols_unless_asked(run: Run, folder: Path, tmp_path: Path) -> None:
    other = trajectories.write(trajectories.make("b", num_points=3, num_anchors=50), tmp_path / "b")
    refused = run("report", folder / "w32", other, "-o", tmp_path / "r.html", code=2)
    assert "num_anchors: 100 in 'w32', 50 in 'b'" in only_line(refused)
    run("report", folder / "w32", other, "-o", tmp_path / "r.html", "--allow-mixed")
    assert "never numbers" in (tmp_path / "r.html").read_text()


def test_list_has_a_line_per_run_with_steps_values_and_phase(run: Run, folder: Path) -> None:
    head, first, second, *rest = run("list", folder).stdout.splitlines()
    assert head.split()[:2] == ["run", "points"]
    assert first.split()[:4] == ["w32", "14", "4000", "2.200"]
    assert "± 0.016" in first
    assert "I(X;Z) and I(Y;Z) are shares of the ceiling." in rest
    _, first, _, *rest = run("list", folder, "--unit", "log_k").stdout.splitlines()
    assert "± 0.008" in first
    assert "I(X;Z) and I(Y;Z) are fractions of log K." in rest
    assert any("of log K from step 278" in line for line in rest)
    assert "compression since 278 (" in second


def test_list_says_which_run_compresses_most_and_by_how_much(run: Run, folder: Path) -> None:
    still = trajectories.make("still", shape="flat", num_points=14)
    trajectories.write(still, folder / "still")
    lines = run("list", folder).stdout.splitlines()
    falls = {line.split()[0]: line for line in lines[1:4]}
    assert "  first  " in falls["w64"]
    assert re.search(r" \d\.\d se", falls["w32"])
    assert not re.search("first| se  ", falls["still"])
    assert any(line.startswith("w64 compresses most: I(X;Z) falls by 0.2") for line in lines)


def test_a_run_has_one_name_in_list_show_compare_and_report(run: Run, tmp_path: Path) -> None:
    for made in trajectories.sweep():
        named = replace(made, run={**made.run, "name": f"tiny {made.name.replace('-', ' ')} cpu"})
        trajectories.write(named, tmp_path / "jobs" / f"job,{made.name}")
    text = run("list", tmp_path / "jobs").stdout
    table, shared, what, *_ = text.split("\n\n")
    names = ["w32 s0", "w32 s1", "w64 s0", "w64 s1"]
    rows = [re.split(r"  +", line) for line in table.splitlines()]
    assert rows[0][-1] == "folder"
    assert [row[0] for row in rows[1:]] == names
    assert [row[-1] for row in rows[1:]] == [f"job,{name.replace(' ', '-')}" for name in names]
    assert shared == "The names of all runs have these words as well: tiny … cpu"
    assert "I(X;Z): how much is kept of the tokens just read; I(Y;Z): how much is told" in what
    shown = run("show", tmp_path / "jobs" / rows[1][-1]).stdout
    assert shown.startswith("tiny w32 s0 cpu: mean, token labels")
    assert "fraction of log K is a part of the most that K anchors could tell" in shown.split("\n\n")[0]
    page = tmp_path / "report.html"
    run("report", *sorted((tmp_path / "jobs").iterdir()), "-o", page)
    (data,) = re.findall(r'id="data">(.*?)</script>', page.read_text(), re.DOTALL)
    assert [each["label"] for each in json.loads(data)["runs"]] == names
    assert "<h1>4 runs of tiny … cpu</h1>" in page.read_text()


def test_compare_is_of_the_layer_that_is_named(run: Run, swept: Path) -> None:
    found = effects({path.name: Trajectory.load(path) for path in sorted(swept.iterdir())}, site="L01", order="bigram")
    text = run("compare", swept, "--site", "L01", "--order", "bigram").stdout
    assert found["fall"].sentence() in text
    assert " in L01: fall of I(X;Z) " in text
    assert "bigram labels, layer L01; I(X;Z)" in text
    assert "site must be one of 'mean', " in only_line(run("compare", swept, "--site", "L7", code=2))


def test_list_does_not_rank_across_protocols(run: Run, folder: Path) -> None:
    trajectories.write(trajectories.make("other", num_points=14, num_anchors=50), folder / "other")
    text = run("list", folder).stdout
    assert "Not ranked, as they were measured under different protocols: num_anchors: 50 in 'other'" in text
    assert "first" not in text
    assert "compresses most" not in text


def test_list_shows_failed_young_cut_and_foreign_runs(run: Run, folder: Path) -> None:
    trajectories.write(Trajectory({}, {"name": "young"}, []), folder / "young")
    failed = Trajectory({}, {"name": "failed"}, [Point(0, failure="out of memory")])
    trajectories.write(failed, folder / "failed")
    (folder / "foreign").mkdir()
    (folder / "foreign" / "trajectory.jsonl").write_bytes(b"\xff\x00")
    cut = folder / "w64" / "trajectory.jsonl"
    cut.write_text(cut.read_text()[:-50])
    result = run("list", folder)
    lines = {line.split()[0]: line for line in result.stdout.splitlines()[:6]}
    assert "no points yet" in lines["young"]
    assert "1 (1 failed)" in lines["failed"]
    assert "no value: out of memory" in lines["failed"]
    assert "not readable: " in lines["foreign"]
    assert lines["w64"].split()[1] == "13"
    assert "note: " in result.stderr
    assert "cut off while it was written" in result.stderr


def test_show_has_the_points_the_plane_and_the_phases(run: Run, folder: Path) -> None:
    text = run("show", folder / "w32").stdout
    table, plane, phases = text.split("\n\n")[1:4]
    assert len(table.splitlines()) == 15
    assert table.splitlines()[1].split()[:2] == ["a", "0"]
    assert plane.splitlines()[0] == "I(Y;Z)"
    assert "n" in plane
    assert "Compression since step 278" in phases


@pytest.mark.parametrize("reading", READINGS)
def test_show_takes_site_order_and_reading(run: Run, folder: Path, reading: str) -> None:
    text = run("show", folder / "w32", "--site", "L01", "--order", "bigram", "--reading", reading).stdout
    assert text.startswith(f"w32: L01, bigram labels, {reading} reading")
    assert ("±" in text.split("\n\n")[1]) == (reading == "debiased")


@pytest.mark.parametrize("command", ["show", "plane"])
@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--site", "L09", "site must be one of 'mean', 'embed', 'L00', 'L01', 'L02', 'L03', got 'L09'"),
        ("--order", "tokens", "order must be one of 'token', 'bigram', 'trigram', 'quadgram', got 'tokens'"),
    ],
)
def test_a_site_or_an_order_that_was_not_measured_is_refused(
    run: Run, folder: Path, command: str, option: str, value: str, sentence: str
) -> None:
    assert only_line(run(command, folder / "w32", option, value, code=2)) == f"error: {sentence}"


def test_a_picture_may_hold_runs_of_which_one_lacks_a_layer(run: Run, tmp_path: Path) -> None:
    for num_layers in (2, 4):
        made = trajectories.make(f"n{num_layers}", num_layers=num_layers, num_points=3)
        trajectories.write(made, tmp_path / f"n{num_layers}")
    run("plane", tmp_path / "n2", tmp_path / "n4", "--site", "L03", "-o", tmp_path / "p.png")
    assert "got 'L03'" in only_line(run("plane", tmp_path / "n2", "--site", "L03", code=2))


@pytest.mark.parametrize("command", ["show", "plane"])
def test_a_run_of_a_preference_probe_has_no_plane(run: Run, tmp_path: Path, command: str) -> None:
    pairs = trajectories.write(replace(trajectories.make(num_points=2), protocol={"orders": []}), tmp_path / "pairs")
    sentence = "run has no plane: its probe has no label orders, as one of preference pairs"
    assert only_line(run(command, pairs, code=2)).startswith(f"error: {sentence}")


def test_show_says_of_what_its_last_sentence_speaks(run: Run, folder: Path) -> None:
    def last(*options: str) -> str:
        return run("show", folder / "w32", *options).stdout.splitlines()[-1]

    of_mean = last()
    assert of_mean.startswith("Narrowing until step ")
    assert last("--reading", "null") == f"Debiased reading: {of_mean}"
    of_layer = find_phases(Trajectory.load(folder / "w32"), site="L01").sentence()
    assert last("--site", "L01") == f"Layer L01: {of_layer}"
    assert of_layer != of_mean
    assert last("--site", "L01", "--reading", "plugin") == f"Layer L01, debiased reading: {of_layer}"


def test_show_speaks_of_errors_only_where_there_are_some(run: Run, folder: Path) -> None:
    assert (
        run("show", folder / "w32").stdout.splitlines()[0].endswith("; shares of the ceiling, ± 1.96 standard errors")
    )
    assert run("show", folder / "w32", "--reading", "plugin").stdout.splitlines()[0].endswith("; shares of the ceiling")


def test_show_has_a_unit_for_its_points_and_its_phases(run: Run, folder: Path) -> None:
    head, *_, last = run("show", folder / "w32", "--unit", "log_k").stdout.splitlines()
    assert head.endswith("; fractions of log K, ± 1.96 standard errors")
    assert re.search(r"Compression since step \d+ \(begun between \d+ and \d+\): I\(X;Z\) -0\.\d+ of log K by", last)
    wrong = run("show", folder / "w32", "--unit", "bits", code=2)
    assert only_line(wrong) == "error: unit must be one of 'share', 'log_k', got 'bits'"


def test_show_marks_points_without_a_value(run: Run, tmp_path: Path) -> None:
    folder = trajectories.write(Trajectory({}, {}, [Point(0, failure="out of memory")]), tmp_path / "bad")
    text = run("show", folder).stdout
    assert "×  0           no value: out of memory" in text
    assert "No point has a value for token labels." in text


def test_more_points_than_letters_are_drawn_as_plus(run: Run, tmp_path: Path) -> None:
    folder = trajectories.write(trajectories.make(num_points=60), tmp_path / "long")
    assert "+  4000" in run("show", folder).stdout


def test_show_has_the_geometry_where_it_was_measured(run: Run, tmp_path: Path) -> None:
    made = trajectories.make(num_points=3, geometry=True)
    values = {**made.points[1].values, "ib/L01/alpha_req": float("nan")}
    second = replace(made.points[1], values=values, notes={"ib/L01/alpha_req": "one is 0"})
    made = replace(made, points=[made.points[0], second, made.points[2]])
    text = run("show", trajectories.write(made, tmp_path / "run"), "--site", "L01").stdout
    head, table = text.split("\n\n")[-2:]
    assert head == "L01: geometry of 4096 positions, ± 1.96 standard errors (from half of the documents)"
    rows = [re.split("  +", line) for line in table.splitlines()]
    assert rows[0] == ["step", "RankMe", "participation ratio", "α-ReQ"]
    value = made.points[2].values["ib/L01/rankme"]
    assert rows[3][:2] == ["4000", f"{value:.3f} ± {1.96 * 0.01 * value:.3f} ({0.9 * value:.3f})"]
    assert rows[2][3] == "no value: one is 0"
    without = trajectories.write(trajectories.make(num_points=3), tmp_path / "other")
    assert "geometry" not in run("show", without).stdout


def test_export_writes_every_number(run: Run, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "w32.parquet"
    assert run("export", folder / "w32", "--parquet", out).stdout == f"wrote {out}\n"
    table = pyarrow.parquet.read_table(out)
    points = Trajectory.load(folder / "w32").points
    assert table.num_rows == sum(len(point.values) for point in points)


def test_plane_draws_a_png(run: Run, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "plane.png"
    run("plane", folder / "w32", folder / "w64", "-o", out, "--order", "bigram")
    assert out.read_bytes().startswith(b"\x89PNG")


def test_plane_draws_simultaneous_bars_where_asked(run: Run, folder: Path, tmp_path: Path) -> None:
    pictures = []
    for options in ([], ["--band", "pointwise"], ["--band", "simultaneous"]):
        run("plane", folder / "w32", "-o", tmp_path / "p.png", *options)
        pictures.append((tmp_path / "p.png").read_bytes())
    assert pictures[0] == pictures[1] != pictures[2]
    refused = run("plane", folder / "w32", "--band", "wide", "-o", tmp_path / "p.png", code=2)
    assert only_line(refused) == "error: band must be one of 'pointwise', 'simultaneous', got 'wide'"


def test_plane_refuses_mixed_protocols_unless_asked(run: Run, folder: Path, tmp_path: Path) -> None:
    other = trajectories.write(trajectories.make("b", num_points=3, num_anchors=50), tmp_path / "b")
    refused = run("plane", folder / "w32", other, "-o", tmp_path / "p.png", code=2)
    assert "num_anchors: 100 in 'w32', 50 in 'b' (--allow-mixed draws them" in only_line(refused)
    run("plane", folder / "w32", other, "-o", tmp_path / "p.png", "--allow-mixed")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_plane_writes_nothing_but_png(run: Run, folder: Path, tmp_path: Path) -> None:
    refused = run("plane", folder / "w32", "-o", tmp_path / "p.svg", code=2)
    assert only_line(refused).startswith("error: path must end in .png, as charts are written as PNG, got ")
    assert not (tmp_path / "p.svg").exists()
    run("plane", folder / "w32", "-o", tmp_path / "new" / "P.PNG")


def test_list_names_the_prefix_of_a_second_monitor_and_leaves_out_what_was_moved_aside(
    run: Run, tmp_path: Path
) -> None:
    path = trajectories.write(trajectories.make("a", num_points=3), tmp_path / "a") / "trajectory.jsonl"
    for name in ("trajectory_code.jsonl", "trajectory.1.jsonl", "trajectory_code.2.jsonl", "trajectory.tmp"):
        (path.parent / name).write_bytes(path.read_bytes())
    lines = run("list", tmp_path).stdout.split("\n\n")[0].splitlines()
    assert [line.split("  ")[0] for line in lines[1:]] == ["a", "a · code"]
    assert run("show", path.parent / "trajectory_code.jsonl").stdout.startswith("a · code: mean, ")
    path.unlink()
    assert "a · code" in run("list", tmp_path).stdout
    refused = only_line(run("show", path.parent, code=2))
    assert refused.endswith("holds no trajectory.jsonl; name one of its files: trajectory_code.jsonl")


@pytest.mark.parametrize("command", ["list", "compare"])
def test_of_many_runs_one_is_in_memory_at_a_time(
    run: Run, swept: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    loaded: list[weakref.ref[Trajectory]] = []
    most = 0
    load = Trajectory.load

    def counted(path: Path, **options: Any) -> Trajectory:
        nonlocal most
        gc.collect()
        most = max(most, sum(reference() is not None for reference in loaded))
        trajectory = load(path, **options)
        loaded.append(weakref.ref(trajectory))
        return trajectory

    monkeypatch.setattr(Trajectory, "load", counted)
    run(command, swept)
    assert len(loaded) > 3
    assert most == 0


def test_list_refuses_labels_that_no_run_has(run: Run, folder: Path) -> None:
    assert "order must be one of " in only_line(run("list", folder, "--order", "five", code=2))


def test_list_has_no_column_for_places_that_nobody_has(run: Run, folder: Path) -> None:
    assert "behind" in run("list", folder).stdout.splitlines()[0]
    assert "behind" not in run("list", folder / "w32").stdout.splitlines()[0]
    trajectories.write(trajectories.make("other", num_points=14, num_anchors=50), folder / "other")
    head, *rows = run("list", folder).stdout.split("\n\n")[0].splitlines()
    assert head.split()[-2:] == ["I(Y;Z)", "phase"]
    assert all("compression since" in row for row in rows)


def test_mistakes_are_one_line(run: Run, folder: Path, tmp_path: Path) -> None:
    assert "does not exist" in only_line(run("report", tmp_path / "none", code=2))
    assert "holds no trajectory.jsonl" in only_line(run("show", folder, code=2))
    assert "is not a folder" in only_line(run("list", tmp_path / "none", code=2))
    (tmp_path / "empty").mkdir()
    assert "there is no trajectory.jsonl below" in only_line(run("list", tmp_path / "empty", code=2))
    wrong = run("plane", folder / "w32", "--reading", "raw", code=2)
    assert only_line(wrong) == "error: reading must be one of 'debiased', 'plugin', 'null', got 'raw'"
    (tmp_path / "file").touch()
    nowhere = run("export", folder / "w32", "--parquet", tmp_path / "file" / "x.parquet", code=2)
    assert "File exists" in only_line(nowhere)


@pytest.mark.parametrize("content", ["", "hello\n", '{"format": "other"}\n', '{"format": "ibtrack/1"}\n', "\x00\n"])
def test_foreign_files_are_one_line(run: Run, tmp_path: Path, content: str) -> None:
    path = tmp_path / "trajectory.jsonl"
    path.write_text(content)
    for command in ("show", "report", "plane"):
        only_line(run(command, path, code=2))


def test_a_damaged_line_is_named(run: Run, folder: Path) -> None:
    path = folder / "w32" / "trajectory.jsonl"
    lines = path.read_text().splitlines()
    lines[3] = lines[3][:40]
    path.write_text("\n".join(lines) + "\n")
    assert "line 4 is damaged" in only_line(run("show", path, code=2))


def test_a_pipe_or_a_folder_under_the_name_of_a_trajectory_is_listed_as_no_file(run: Run, folder: Path) -> None:
    for name in ("pipe", "folder"):
        (folder / name).mkdir()
    os.mkfifo(folder / "pipe" / "trajectory.jsonl")  # opening it would wait for a writer without end
    (folder / "folder" / "trajectory.jsonl").mkdir()
    text = run("list", folder).stdout
    assert text.count("is no file") == 2
    assert "w32" in text


def test_a_reader_that_has_seen_enough_gets_no_error(folder: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-c", "from ibtrack.cli import app; app()", "list", str(folder)]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert done.stderr == ""


def test_without_a_command_the_help_is_shown(run: Run) -> None:
    text = CliRunner().invoke(app, []).output
    for command in ("report", "list", "show", "export", "plane"):
        assert command in text


def test_show_and_list_say_why_quadgrams_are_undefined(run: Run, tmp_path: Path) -> None:
    trajectories.write(trajectories.without_quadgrams(), tmp_path / "short")
    reason = f"no value: {trajectories.ALL_DISTINCT}"
    assert run("show", tmp_path / "short", "--order", "quadgram").stdout.count(reason) == 5
    assert reason in run("list", tmp_path, "--order", "quadgram").stdout
    for options in (["--reading", "plugin", "--order", "quadgram"], ["--order", "trigram"]):
        assert "no value" not in run("show", tmp_path / "short", *options).stdout


def test_a_file_of_format_1_is_read_with_a_note_and_its_reasons(run: Run, tmp_path: Path) -> None:
    short = trajectories.without_quadgrams()
    old = replace(short, points=[replace(p, notes={"input/quadgram": "all distinct"}) for p in short.points])
    path = trajectories.write_older(old, tmp_path / "old", form=1) / "trajectory.jsonl"
    result = run("show", path, "--order", "quadgram")
    assert result.stdout.count("no value: all distinct") == 5
    assert result.stderr.startswith(f"note: {path}: this file is of format 1: it does not say which version")
    assert "this file is of format 1" in run("list", tmp_path).stderr
    run("report", path, "-o", tmp_path / "r.html")
    assert "this file is of format 1" in (tmp_path / "r.html").read_text()


def test_versions_of_the_estimator_are_told_apart(run: Run, tmp_path: Path) -> None:
    for version in (1, 2):
        trajectories.write(trajectories.make(f"v{version}", estimator=version), tmp_path / f"v{version}")
    sentence = (
        "estimator: 1 in 'v1', 2 in 'v2' (each version of the estimator gives other numbers for the same activation"
    )
    assert sentence in run("list", tmp_path).stdout
    assert sentence in only_line(run("report", tmp_path / "v1", tmp_path / "v2", "-o", tmp_path / "r.html", code=2))


@pytest.mark.parametrize(("command", "what"), [("report", "the report"), ("plane", "a chart")])
def test_a_missing_extra_is_one_line_with_the_install_line(
    folder: Path, tmp_path: Path, command: str, what: str
) -> None:
    code = "import sys; sys.modules['altair'] = None; from ibtrack.cli import app; app()"
    arguments = [sys.executable, "-c", code, command, str(folder / "w32"), "-o", str(tmp_path / "out")]
    failed = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert failed.returncode == 2
    sentence = f"error: {what} needs altair, which is not installed: pip install 'ibtrack[report]'\n"
    assert failed.stderr == sentence


def test_show_says_which_points_are_in_doubt(run: Run, tmp_path: Path) -> None:
    folder = trajectories.write(trajectories.doubted(), tmp_path / "doubted")
    text = run("show", folder).stdout
    assert "\ndoubted: 1 of 5 points in doubt, the first at step" in text
    assert "in doubt" not in run("show", folder, "--order", "bigram").stdout


@pytest.fixture
def swept(tmp_path: Path) -> Path:
    """A sweep of two widths with three seeds each, one of which has an earlier attempt in its folder."""
    for made in trajectories.sweep(3, num_points=8):
        trajectories.write(made, tmp_path / "swept" / made.name)
    trajectories.write(trajectories.make("old", num_points=2), tmp_path / "swept" / "w32-s0" / "attempt_1")
    return tmp_path / "swept"


def test_compare_says_what_a_setting_does(run: Run, swept: Path, tmp_path: Path) -> None:
    text = run("compare", swept, "--by", "width", "-o", tmp_path / "new" / "e.png").stdout
    groups, place, means, contrasts, sentences, wrote = text.split("\n\n")
    assert groups == "Groups by model.width: width=32 (3 runs), width=64 (3 runs)."
    assert place == "at step 4000, token labels; I(X;Z) and I(Y;Z) are shares of the ceiling"
    assert [line.split()[:2] for line in means.splitlines()] == [
        ["group", "runs"],
        ["width=32", "3"],
        ["width=64", "3"],
    ]
    rows = [re.split("  +", line) for line in contrasts.splitlines()]
    assert [row[0] for row in rows[1:]] == ["I(X;Z)", "I(Y;Z)", "optimality", "fall of I(X;Z)", "loss on the probe"]
    assert rows[1][1] == "width=64 less width=32"
    assert re.fullmatch(r"-0\.\d{3} to -0\.\d{3}", rows[1][3])
    assert re.fullmatch(r"± 0\.\d{3}", rows[1][4])
    assert sentences.startswith("width=64 keeps less than width=32 at step 4000: I(X;Z) 0.")
    assert ", a difference of -0." in sentences.partition("95 %")[0]
    assert wrote == f"wrote {tmp_path / 'new' / 'e.png'}\n"
    assert (tmp_path / "new" / "e.png").read_bytes().startswith(b"\x89PNG")
    files = sorted(swept.glob("*/trajectory.jsonl"))
    assert run("compare", *files, "--by", "model.width").stdout == text.partition("\n\nwrote")[0] + "\n"


def test_compare_takes_place_order_and_unit(run: Run, swept: Path) -> None:
    text = run("compare", swept, "--at", "loss", "--order", "bigram", "--unit", "log_k").stdout
    assert "\nat a loss on the probe of 2.300, bigram labels; I(X;Z) and I(Y;Z) are fractions of log K\n" in text
    assert "\nsteps" in text
    step = Trajectory.load(swept / "w32-s0").steps[3]
    assert f"\nat step {step}, token labels; " in run("compare", swept, "--step", step).stdout
    assert "after 8,192,000 tokens, token" in run("compare", swept, "--at", "tokens").stdout


def test_compare_pairs_runs_of_one_seed(run: Run, swept: Path) -> None:
    assert run("compare", swept, "--paired").stdout.count("over 3 seeds, compared seed by seed.") == 4
    (swept / "w32-s0" / "trajectory.jsonl").unlink()
    refused = only_line(run("compare", swept, "--paired", code=2))
    assert refused == "error: pairs need one run of each seed in each group, and width=32 has seed=1, seed=2"


def test_compare_of_one_seed_each_says_so(run: Run, swept: Path) -> None:
    text = run("compare", swept / "w32-s0", swept / "w64-s0").stdout
    assert text.count("One seed each: differences may be chance.") == 5
    assert "—" in text


def test_compare_names_what_is_left_out(run: Run, swept: Path, tmp_path: Path) -> None:
    points = Trajectory.load(swept / "w64-s0").points
    failed = replace(points[-1], values={}, failure="out of memory")
    short = replace(trajectories.sweep(1)[1], points=[*points[:-1], failed])
    (swept / "w64-s0" / "trajectory.jsonl").unlink()
    trajectories.write(short, swept / "w64-s0")
    last = run("compare", swept).stdout.splitlines()[-1]
    assert last == "w64-s0 is left out at step 4000: its point at step 4000 has no value: out of memory."
    trajectories.write(replace(short, points=[]), tmp_path / "young")
    last = run("compare", swept, tmp_path / "young").stdout.splitlines()[-2]
    assert last.endswith("is left out at step 4000: it has no points yet.")


def test_compare_refuses_what_is_no_comparison(run: Run, swept: Path, tmp_path: Path) -> None:
    def refused(*arguments: Any) -> str:
        return only_line(run("compare", *arguments, code=2))

    one_group = "error: the runs differ in no setting but seeds, names and paths; an effect needs two groups or more"
    assert refused(swept / "w32-s0") == "error: an effect needs two groups of runs or more, got 1 run"
    assert refused(swept / "w32-s0", swept / "w32-s1") == one_group
    assert refused(swept, "--by", "widht") == "error: no run has a setting 'widht'; near are model.width"
    assert refused(swept, "--by", "seed").startswith("error: seed is a seed")
    first, second, third = Trajectory.load(swept / "w32-s0").steps[:3]
    near = f"error: no run has a point at step 2; near are {first}, {second}, {third}"
    assert refused(swept, "--step", "2") == near
    assert refused(swept, "--at", "time") == "error: at must be one of 'step', 'tokens', 'loss', got 'time'"
    assert "order must be one of 'token'" in refused(swept, "--order", "tokens")
    assert "does not exist" in refused(tmp_path / "none")
    config = trajectories.sweep(1, num_points=1)[0].run["config"]
    other = trajectories.make("w32-lr", num_points=8, config={**config, "lr": 1, "seed": 7})
    trajectories.write(other, tmp_path / "other")
    assert "lr differs within the group width=32" in refused(swept, tmp_path / "other", "--by", "width")
    run("compare", swept, tmp_path / "other", "--by", "width", "--ignore", "lr")
    probe = trajectories.make("p", num_points=8, num_anchors=50, config={"model": {"width": 1}})
    trajectories.write(probe, tmp_path / "probe")
    assert "num_anchors: 100 in" in refused(swept, tmp_path / "probe")


def test_list_says_what_settings_do_over_seeds(run: Run, swept: Path) -> None:
    (swept / "w32-s0" / "attempt_1" / "trajectory.jsonl").unlink()
    head, rest, *_ = run("list", swept).stdout.split("\n\n")[-1].splitlines()
    assert head.startswith("width=64 compresses more than width=32 at step 4000: fall of I(X;Z) 0.")
    assert " of the ceiling, a difference of +0." in head
    assert rest.startswith("Of single runs, w64-s")
    for path in swept.glob("*-s[12]/trajectory.jsonl"):
        path.unlink()
    assert run("list", swept).stdout.splitlines()[-1].endswith("One seed each: differences may be chance.")


def test_scores_says_what_goes_with_what_and_writes_table_and_scatter(run: Run, tmp_path: Path) -> None:
    trajectories.write_scored(tmp_path)
    csv, svg = tmp_path / "new" / "out.csv", tmp_path / "out.svg"
    options = ("--table", tmp_path / "scores.csv", "--by", "family", "-o", csv, "-o", svg)
    text = run("scores", tmp_path / "models", *options).stdout
    table, _, sentences, *wrote = text.split("\n\n")
    head, first, *_ = table.splitlines()
    assert re.split("  +", head) == ["score", "reading", "ρ", "ρ given loss", "ρ given size", "families", "rows"]
    assert first.startswith("hellaswag  told of ")
    assert first.split()[-2:] == ["16", "32"]
    assert "goes with hellaswag: ρ 0.9" in sentences
    assert wrote == [f"wrote {csv}", f"wrote {svg}\n"]
    assert len(csv.read_text().splitlines()) == 1 + 8 * 3 * 3
    assert svg.read_text().startswith("<svg")


def test_scores_are_those_that_are_asked_for(run: Run, tmp_path: Path) -> None:
    trajectories.write_scored(tmp_path, num_families=5)
    options = ("--table", tmp_path / "scores.csv", "--score", "coin", "--quantity", "told", "--order", "token")
    lines = run("scores", tmp_path / "models", *options, "--site", "mean", "--size", "num_parameters").stdout
    assert lines.splitlines()[1].startswith("coin   told of tokens  ")
    assert "\n\n10 runs with scores.\nEach run counts as a family of its own;" in lines


@pytest.fixture
def scored_runs(tmp_path: Path) -> list[Path]:
    """Write runs with a score beside each; the table of them is ``scores.csv`` in the same folder."""
    trajectories.write_scored(tmp_path, num_families=5)
    with (tmp_path / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        beside = tmp_path / "models" / row["run"] / "scores"
        beside.mkdir()
        results = {"coin": {"acc,none": float(row["coin"])}}
        step = max(Trajectory.load(beside.parent).steps)
        (beside / f"step-{step}.json").write_text(json.dumps({"model_name": "any", "results": results}))
    return [tmp_path / "models" / row["run"] for row in rows]


@pytest.mark.usefixtures("scored_runs")
def test_scores_are_found_beside_the_runs(run: Run, tmp_path: Path) -> None:
    told = ("--quantity", "told", "--order", "token")
    found = run("scores", tmp_path / "models", *told).stdout
    table = run("scores", tmp_path / "models", *told, "--table", tmp_path / "scores.csv", "--score", "coin").stdout
    first, other = (text.splitlines()[1].split()[1:8] for text in (found, table))
    assert first == other, "the same numbers as from a table"


def test_the_page_shows_scores_that_the_runs_have_beside_them(
    run: Run, tmp_path: Path, scored_runs: list[Path]
) -> None:
    page = tmp_path / "page.html"
    run("report", *scored_runs, "-o", page, "--quantity", "told")
    assert "ρ given loss" in page.read_text()
    assert "ρ given size" in page.read_text()
    run("report", scored_runs[0] / "trajectory.jsonl", "-o", page)
    assert "ρ given loss" in page.read_text(), "also of a run that is named by its file"
    (scored_runs[0] / "scores" / "step-7.json").write_text("{")
    said = run("report", *scored_runs, "-o", page)
    assert "the scores beside the runs are left out: " in said.stderr
    assert "ρ given loss" not in page.read_text(), "the rest of the page is there all the same"
    assert "step-7.json" in only_line(run("report", *scored_runs, "-o", page, "--quantity", "told", code=2))
    for each in scored_runs:
        shutil.rmtree(each / "scores")
    refused = only_line(run("report", *scored_runs, "-o", page, "--by", "family", code=2))
    assert refused == "error: --by is about scores; name their table by --scores"


def test_mistakes_about_scores_are_one_line(run: Run, folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "s.csv"
    table.write_text("run,arc\nother,0.3\n")
    refused = only_line(run("scores", folder, "--table", table, code=2))
    assert refused == "error: no scores fit a run: the scores are of other, the runs are w32 and w64"
    refused = only_line(run("scores", folder, "--table", table, "-o", tmp_path / "x.pdf", code=2))
    assert refused == "error: the end of --out must be one of '.csv', '.png', '.svg', '.html', got '.pdf'"
    assert "does not exist" in only_line(run("scores", folder, "--table", tmp_path / "none.csv", code=2))
    refused = only_line(run("scores", folder, code=2))
    assert refused == "error: no run has a folder scores beside its trajectory; name a table of scores by --table"
    assert not list(tmp_path.glob("x.*"))
