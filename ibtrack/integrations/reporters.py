"""What ``transformers.Trainer`` reports to, as loggers that points are given to.

The trainer makes its reporters by itself, from ``report_to=``, as callbacks beside those of its user. Points go to what
stands behind them, under the keys that other loops log them by, and with the trainer's own count of steps: its rows and
ours have one axis. ``trainer.log`` would put ``train/`` before each key, and all of them into the log history.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

from torch import nn

from ibtrack._checks import needs
from ibtrack.integrations.wandb import STEP_KEY
from ibtrack.tracking.loggers import open_wandb_runs

with needs("the callback for transformers.Trainer", extra="hub"):
    from transformers import TrainerCallback, TrainerState, TrainingArguments
    from transformers.integrations import integration_utils as known
    from transformers.trainer_callback import CallbackHandler, TrainerControl

TRAINER_STEP_KEY = "train/global_step"  # the step in the rows that the trainer gives to wandb, trackio and swanlab
MOST_PER_CALL = 1000  # metrics that mlflow takes in one call, by its REST API


class TrainerReporters:
    """Finds what a trainer reports to, and an open wandb run that it does not report to by itself.

    Args:
        steps_before: Called without arguments; says how many steps of a point's count earlier stages took, which the
            trainer does not count.
    """

    def __init__(self, steps_before: Callable[[], int]) -> None:
        self._steps_before = steps_before
        self._callbacks: Sequence[TrainerCallback] = ()
        self._found: dict[int, Any] = {}
        self._trainer: tuple[Any, ...] = ()

    def begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: nn.Module) -> None:
        """Look at the callbacks of the trainer that calls this in an event; training begins.

        Args:
            args: Arguments of the trainer.
            state: Its state, as it hands it to callbacks.
            control: Its control.
            model: Its model.
        """
        self._callbacks, self._found = _callbacks_of_caller(), {}
        self._trainer = (args, state, control, model)

    def __call__(self) -> list[Any]:
        """List as loggers what is open by now."""
        for callback in self._callbacks:
            if id(callback) not in self._found and (logger := self._logger(callback)) is not None:
                self._found[id(callback)] = logger
        if not any(isinstance(callback, known.WandbCallback) for callback in self._callbacks):
            return [*self._found.values(), *open_wandb_runs()]
        return list(self._found.values())

    def _logger(self, callback: TrainerCallback) -> Any:
        """Make a logger of a callback; None if it is no reporter, or has not begun to report."""
        if isinstance(callback, known.WandbCallback):
            return next((TrainerRun(run, self._steps_before) for run in open_wandb_runs()), None)
        for kind, reporter in _REPORTERS.items():
            if isinstance(callback, kind):
                is_open = reporter.is_open(callback)
                return reporter(callback, self._steps_before, *self._trainer) if is_open else None
        return None


class TrainerRun:
    """A wandb run that a trainer reports to: its rows have the step under the trainer's name as well.

    Args:
        run: The wandb run.
        steps_before: Says how many steps of a point's count the trainer does not count.
    """

    def __init__(self, run: Any, steps_before: Callable[[], int]) -> None:
        self._run, self._steps_before = run, steps_before

    def __getattr__(self, name: str) -> Any:
        """Be the run in all else."""
        return getattr(self._run, name)

    def log(self, row: Mapping[str, Any], *rest: Any, **options: Any) -> None:
        """Log a row."""
        step = row.get(STEP_KEY)
        more = {} if step is None else {TRAINER_STEP_KEY: step - self._steps_before()}
        self._run.log({**row, **more}, *rest, **options)

    def define_metric(self, name: str, *rest: Any, step_metric: str | None = None, **options: Any) -> Any:
        """Define a metric on the axis that all others of the run have."""
        axis = TRAINER_STEP_KEY if step_metric == STEP_KEY else step_metric
        return self._run.define_metric(name, *rest, step_metric=axis, **options)


class Reporter:
    """Gives points to a reporter as the trainer does, which puts ``train/`` before each key.

    Args:
        callback: The reporter.
        steps_before: Says how many steps of a point's count the trainer does not count.
        args: Arguments of the trainer.
        state: Its state.
        control: Its control.
        model: Its model.
    """

    def __init__(
        self,
        callback: Any,
        steps_before: Callable[[], int],
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module,
    ) -> None:
        self.callback, self._steps_before = callback, steps_before
        self._args, self._state, self._control, self._model = args, state, control, model
        self.reports_to = type(callback).__name__.removesuffix("Callback")

    @staticmethod
    def is_open(callback: Any) -> bool:
        """Whether a reporter has begun to report."""
        return bool(getattr(callback, "_initialized", True))

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Log the metrics of a point.

        Args:
            metrics: Numbers by key.
            step: Step of the point, counted through all stages.
        """
        self.write(metrics, step - self._steps_before())

    def write(self, metrics: Mapping[str, float], step: int) -> None:
        """Hand metrics over.

        Args:
            metrics: Numbers by key.
            step: Step as the trainer counts it.
        """
        state = copy.copy(self._state)  # the point may be an earlier one, of before the reporter began
        state.global_step = step
        self.callback.on_log(self._args, state, copy.copy(self._control), logs=dict(metrics), model=self._model)


class TensorBoardReporter(Reporter):
    """Gives points to the trainer's writer of TensorBoard."""

    @staticmethod
    def is_open(callback: Any) -> bool:
        """Whether there is a writer."""
        return callback.tb_writer is not None

    def write(self, metrics: Mapping[str, float], step: int) -> None:
        """Write each metric as a scalar.

        Raises:
            RuntimeError: Training is over, and the writer closed.
        """
        writer = self.callback.tb_writer
        if writer is None:
            raise RuntimeError("the trainer has closed its writer")
        for key, value in metrics.items():
            writer.add_scalar(key, value, step)
        writer.flush()


class MLflowReporter(Reporter):
    """Gives points to the trainer's run of MLflow."""

    def write(self, metrics: Mapping[str, float], step: int) -> None:
        """Log the metrics, as many in a call as MLflow takes."""
        items = iter(metrics.items())
        while some := dict(islice(items, MOST_PER_CALL)):
            self.callback._ml_flow.log_metrics(metrics=some, step=step)


class TrackioReporter(Reporter):
    """Gives points to the trainer's run of trackio."""

    def write(self, metrics: Mapping[str, float], step: int) -> None:
        """Log the metrics as one row, on the axis of the trainer's rows."""
        self.callback._trackio.log({**metrics, TRAINER_STEP_KEY: step})


def _reporters() -> dict[type[TrainerCallback], type[Reporter]]:
    """List how points reach each reporter that this version of transformers has; Kubeflow shows but a job's status."""
    own = {"tensorboard": TensorBoardReporter, "mlflow": MLflowReporter, "dagshub": MLflowReporter}
    own["trackio"] = TrackioReporter
    all_known: Mapping[str, type[TrainerCallback]] = known.INTEGRATION_TO_CALLBACK
    return {
        callback: own.get(name, Reporter)
        for name, callback in all_known.items()
        if callback.on_log is not TrainerCallback.on_log and name not in ("wandb", "kubeflow")
    }


_REPORTERS = _reporters()


def _callbacks_of_caller() -> Sequence[TrainerCallback]:
    """Find all callbacks of the trainer that has called one of them: it hands each of them everything but the others.

    They are those of the handler that calls, which stands in a frame above; none where another loop calls.
    """
    frame = sys._getframe(1)
    while (above := frame.f_back) is not None:
        frame = above
        if isinstance(handler := frame.f_locals.get("self"), CallbackHandler):
            return handler.callbacks
    return ()
