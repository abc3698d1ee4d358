"""A training run that gives its points to wandb's own client, which sends them to a faulty server on this machine.

It is a process of its own, as wandb's client is set up once in a process. It prints what the server has got, as JSON.

python -m tests.online_run FOLDER FAULT [FIRST AFTER]

With two steps the server has its fault from the first of them until the other one, and not at the end of the run.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import warnings
from typing import Any, cast

from ibtrack import InformationPlaneTracker, schedules
from ibtrack.integrations import wandb as adapter
from ibtrack.record.logged import logged_metrics
from tests.models import Model, probe
from tests.wandb_server import WandbServer

POINTS = 6
LONG_AGO = 1e6  # seconds since training began: enough for a table and a picture at every point


LONG_ENOUGH = 900.0  # seconds to wait at the end for what is drawn, on a machine that is busy with other things


def main(folder: str, fault: str, *steps: str) -> None:
    """Train while the server has a fault; let it recover before the run is finished."""
    during = range(*map(int, steps)) if steps else range(POINTS + 1)
    from_the_start = fault in ("down", "gone") and not steps
    adapter.WAIT_AT_END = LONG_ENOUGH if fault == "none" or steps else 5.0
    with WandbServer(fault if from_the_start else "none") as server:
        os.environ.update(server.environment(folder))
        if from_the_start:  # wandb's own start waits until it is up
            threading.Timer(3.0, setattr, (server, "fault", "none")).start()
        import wandb

        settings = wandb.Settings(
            init_timeout=300, x_graphql_retry_wait_max_seconds=2, x_file_stream_retry_wait_max_seconds=2
        )
        run = wandb.init(project="ibtrack", settings=settings)
        waited = _threads_that_wait(run)
        told = _train(run, f"{folder}/trajectory.jsonl", server, fault, during)
        server.fault = "none"
        run.finish()
        result = {name: getattr(server, name) for name in ("history", "summary", "config", "artifacts", "alerts")}
        sizes = {name: len(content) for name, content in server.files.items()}
        print(json.dumps({**result, **told, "files": sizes, "waited": waited, "asked": server.asked}))


def _train(run: Any, path: str, server: WandbServer, fault: str, during: range) -> dict[str, Any]:
    tracker = InformationPlaneTracker(probe(), path=path, schedule=schedules.every(1), loggers=[run], verbose=False)
    model = Model()
    tracker.start(model)
    tracker._began = time.monotonic() - LONG_AGO
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for step in range(POINTS):
            server.fault = fault if step in during else "none"
            tracker.step(model, step, tokens_seen=384 * step)
            if step >= POINTS - 3:  # one that is drawn from here on is drawn before the end, which may be short
                _wait_for_drawings(tracker)
        server.fault = fault if POINTS in during else "none"
        (log,) = cast(Any, tracker)._recorder.logs
        log.alert("a phase", "has begun")
        tracker.finish(model, POINTS - 1, tokens_seen=384 * (POINTS - 1))
    values = [{"step": point.step, "logged": logged_metrics(point)} for point in tracker.trajectory.points]
    return {
        "points": values,
        "path": path,
        "warnings": [str(each.message) for each in caught],
        "fault_at_end": server.fault,
    }


def _wait_for_drawings(tracker: InformationPlaneTracker) -> None:
    (log,) = cast(Any, tracker)._recorder.logs
    assert all(log._asides[thing].wait(LONG_ENOUGH) for thing in (adapter.PICTURE, adapter.PAGE))


def _threads_that_wait(run: Any) -> list[str]:
    """Names of the threads that hand over an artifact, which is where wandb's client waits for its server."""
    names: list[str] = []
    log_artifact = run.log_artifact

    def noted(*args: Any, **kwargs: Any) -> Any:
        names.append(threading.current_thread().name)
        return log_artifact(*args, **kwargs)

    run.log_artifact = noted
    return names


if __name__ == "__main__":
    main(*sys.argv[1:])
