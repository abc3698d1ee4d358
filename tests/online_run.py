"""A training run that gives its points to wandb's own client, which sends them to a faulty server on this machine.

It is a process of its own, as wandb's client is set up once in a process. It prints what the server has got, as JSON.

python -m tests.online_run FOLDER FAULT
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import warnings
from typing import Any

from ibtrack import InformationPlaneTracker, schedules
from ibtrack.integrations import wandb as adapter
from tests.models import Model, probe
from tests.wandb_server import WandbServer

POINTS = 6
LONG_AGO = 1e6  # seconds since training began: enough for a table and a picture at every point


def main(folder: str, fault: str) -> None:
    """Train while the server has a fault; let it recover before the run is finished."""
    with WandbServer("down" if fault == "down" else "none") as server:
        os.environ.update(server.environment(folder))
        if fault == "down":  # at first: wandb's own start waits until it is up
            threading.Timer(3.0, setattr, (server, "fault", "none")).start()
        import wandb

        settings = wandb.Settings(
            init_timeout=300, x_graphql_retry_wait_max_seconds=2, x_file_stream_retry_wait_max_seconds=2
        )
        run = wandb.init(project="ibtrack", settings=settings)
        waited = _threads_that_wait(run)
        server.fault = fault
        if fault != "none":
            adapter.WAIT_AT_END = 5.0
        told = _train(run, f"{folder}/trajectory.jsonl")
        server.fault = "none"
        run.finish()
        result = {name: getattr(server, name) for name in ("history", "summary", "config", "artifacts", "alerts")}
        sizes = {name: len(content) for name, content in server.files.items()}
        print(json.dumps({**result, **told, "files": sizes, "waited": waited, "asked": server.asked}))


def _train(run: Any, path: str) -> dict[str, Any]:
    tracker = InformationPlaneTracker(probe(), path=path, schedule=schedules.every(1), loggers=[run])
    model = Model()
    tracker.start(model)
    tracker._began = time.monotonic() - LONG_AGO
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for step in range(POINTS):
            tracker.step(model, step)
        (log,) = tracker._logs
        log.alert("a phase", "has begun")
        began = time.monotonic()
        tracker.finish(model, POINTS - 1)
    values = [{"step": point.step, "values": dict(point.values)} for point in tracker.trajectory.points]
    finish = time.monotonic() - began
    return {"points": values, "warnings": [str(each.message) for each in caught], "finish_seconds": finish}


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
