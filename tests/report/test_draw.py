"""Pictures that are drawn in a process of their own."""

import multiprocessing
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ibtrack.record.texts import printable
from ibtrack.record.trajectory import Point, Trajectory
from ibtrack.report import charts, draw
from tests import trajectories

PNG = b"\x89PNG\r\n\x1a\n"
KILLERS = ["\x00", "\x1b[31m", "\x07", "\x0c", "\ufffe", "\uffff"]  # of vl-convert 1.9; half a surrogate is an error


def titled(title: str | list[str]) -> dict[str, Any]:
    return {"mark": "point", "data": {"values": [{"a": 1}]}, "title": title, "encoding": {"x": {"field": "a"}}}


def test_a_spec_becomes_a_picture_of_its_scale() -> None:
    small, large = (draw.png(titled("a"), scale=scale) for scale in (1, 3))
    assert small.startswith(PNG)
    assert large.startswith(PNG)
    assert int.from_bytes(large[16:20], "big") == 3 * int.from_bytes(small[16:20], "big")


@pytest.mark.parametrize("text", KILLERS, ids=ascii)
def test_what_kills_the_drawing_is_an_error_of_the_caller(text: str) -> None:
    with pytest.raises(RuntimeError, match="the chart could not be drawn: the process that draws was ended by signal"):
        draw.png(titled(f"a{text}b"))


def test_a_spec_that_is_none_is_an_error_with_its_reason() -> None:
    with pytest.raises(RuntimeError, match="the chart could not be drawn: ValueError: "):
        draw.png({"mark": 5})


def test_a_spec_becomes_an_svg_or_a_page_that_needs_no_network() -> None:
    assert draw.text(titled("a title"), "svg").startswith("<svg")
    page = draw.text(titled("a title"), "html")
    assert "a title" in page
    assert 'src="http' not in page
    with pytest.raises(RuntimeError, match="the process that draws was ended by signal"):
        draw.text(titled("a\x07b"), "svg")
    with pytest.raises(ValueError, match="kind must be one of 'svg', 'html', got 'pdf'"):
        draw.text(titled("a"), "pdf")


def test_a_drawing_without_end_is_given_up() -> None:
    with pytest.raises(RuntimeError, match=r"the chart was not drawn within 0\.001 s"):
        draw.png(titled("a"), timeout=0.001)


def test_the_plane_of_a_run_is_the_chart_of_that_name() -> None:
    run = trajectories.without_quadgrams()
    assert draw.plane_png(run, order="bigram") == charts.to_png(charts.plane(run, order="bigram"))


def test_a_plane_that_cannot_be_made_is_an_error_with_its_reason() -> None:
    odd = replace(RUN, protocol={**RUN.protocol, "sites": 5, "orders": 5}, points=[replace(RUN.points[0], step=None)])  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match=r"the chart could not be drawn: \w*Error: "):
        draw.plane_png(odd)


def test_nothing_runs_the_callers_program_again(tmp_path: Path) -> None:
    """Neither a script without a guard, nor one that lies where the drawing process starts, under a name of its own."""
    script = tmp_path / "train.py"
    script.write_text(
        f"from ibtrack.report import draw\nprint('training begins')\nprint(draw.png({titled('a')!r})[:4])\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == "training begins\nb'\\x89PNG'\n"


def _draw_into(queue: Any) -> None:
    queue.put(draw.png(titled("a"))[:8])


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_daemonic_process_draws(method: str) -> None:
    context: Any = multiprocessing.get_context(method)
    queue = context.Queue()
    process = context.Process(target=_draw_into, args=(queue,), daemon=True)
    process.start()
    assert queue.get(timeout=300) == PNG
    process.join(timeout=300)
    assert process.exitcode == 0


ANY_TEXT = st.text(st.characters(codec=None, categories=None), max_size=30) | st.sampled_from(KILLERS)
RUN = trajectories.make(num_points=4, num_layers=1)


def told(run: Trajectory, name: str, note: str, failure: str) -> Trajectory:
    """A run all of whose texts that come from outside are given."""
    first, *_, last = run.points
    key = "ib/mean/token/kept"
    doubted = replace(first, notes={key: note})
    failed = Point(last.step + 1, failure=failure)
    return Trajectory(
        run.protocol, {"name": name}, [doubted, *run.points[1:], failed], Path(f"{printable(name)}/t.jsonl")
    )


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(name=ANY_TEXT, note=ANY_TEXT, failure=ANY_TEXT)
def test_no_text_of_a_run_keeps_its_plane_from_being_drawn(name: str, note: str, failure: str) -> None:
    runs = [told(RUN, name, note, failure), told(RUN, f"{name}2", failure, note)]
    assert charts.to_png(charts.plane(runs)).startswith(PNG)
