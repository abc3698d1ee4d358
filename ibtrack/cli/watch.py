"""``ibtrack watch``: one page on this machine that follows all runs below a folder."""

from __future__ import annotations

import threading
import time
import webbrowser
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ibtrack.cli.terminal import say
from ibtrack.record.files import why_not_read

if TYPE_CHECKING:
    from ibtrack.live.page import LivePage
    from ibtrack.live.runs import FollowedRun, FollowedRuns, News
    from ibtrack.live.server import PageServer

PAUSE = 0.4  # seconds between two looks at the files: new points are to be seen within two
LEAST_READING = 2.0  # seconds of reading before the page is made anew, so that it is there before 200 runs are read
LONGEST_STALE = 10.0  # seconds that axes may keep their ticks while runs grow all the time
PORT = 8765


def watch(
    folder: Annotated[Path, typer.Argument(help="Every trajectory file below it is followed.")] = Path("."),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of this machine; 0 takes one that is free.")] = PORT,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Serve one page that follows all runs below a folder while their files grow.

    It is the page of ibtrack report, on this machine alone. New points come by themselves, and what was chosen on the
    page stays. Ctrl-C ends it.

    Raises:
        ValueError: There is no such folder, or the port is taken.
    """
    from ibtrack.live.page import LivePage
    from ibtrack.live.runs import FollowedRuns

    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder")
    runs = FollowedRuns(folder)
    page = LivePage(runs)
    with _server(page, port) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        say(f"{server.url} follows the runs below {folder}; Ctrl-C ends it")
        if open_page:
            webbrowser.open(server.url)
        try:
            _follow(runs, page)
        except KeyboardInterrupt:
            say("\nended; the runs go on")
        finally:
            server.shutdown()


def _server(page: LivePage, port: int) -> PageServer:
    from ibtrack.live.server import PageServer

    try:
        return PageServer(page, port=port)
    except OSError as error:
        hint = "choose another one by --port, or one that is free by --port 0"
        raise ValueError(f"{why_not_read(error)}; {hint}") from error


def _follow(runs: FollowedRuns, page: LivePage) -> None:
    """Look at the files again and again, and make the page anew when something has changed."""
    was_waiting = False
    while True:
        began = time.monotonic()
        news = runs.look(max(LEAST_READING, page.took))
        if any(news):
            reading = time.monotonic() - began
            page.update(
                with_numbers=bool(news.read or news.gone), with_charts=page.stale > LONGEST_STALE, reading=reading
            )
            _tell(runs, news)
        elif page.stale:
            page.update(with_charts=True)
        elif not runs.by_path and not was_waiting:
            say("no runs yet; it waits for the first trajectory file")
            was_waiting = True
        worked = time.monotonic() - began
        # where there is much to read all the time, a third of a core is left to what runs on this machine
        time.sleep(0.0 if runs.num_unread else max(PAUSE, worked / 2))


def _tell(runs: FollowedRuns, news: News) -> None:
    """Say in lines what has changed; many runs that are new at once are counted."""
    if len(news.new) > 1:
        states = Counter(run.state.value for run in news.new)
        say(f"{len(news.new)} runs: {', '.join(f'{number} {state}' for state, number in states.items())}")
    else:
        for run in news.new:
            say(f"{runs.name(run)}: new, {_words(run)}")
    for run in news.read:
        if run.refusal is not None:
            say(f"{runs.name(run)} is left out: {run.refusal}")
    for run in news.states:
        say(f"{runs.name(run)}: {_words(run)}")
    for run in news.gone:
        say(f"{runs.name(run)}: gone")


def _words(run: FollowedRun) -> str:
    """Say of a run how far it has come, and whether it goes on."""
    number = 0 if run.sheet is None else len(run.sheet.run.points)
    state = "it cannot be told from here whether it goes on" if run.state.value == "unknown" else run.state.value
    return f"{state}, {number} point{'' if number == 1 else 's'}"
