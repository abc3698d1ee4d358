"""The callback for ``transformers.Trainer``: routes its events to the tracker."""

from __future__ import annotations

from typing import Any

from ibtrack._checks import needs
from ibtrack.probe.probe import Probe
from ibtrack.record.trajectory import Trajectory
from ibtrack.schedules import Progress
from ibtrack.tracking.tracker import InformationPlaneTracker

with needs("the callback for transformers.Trainer", extra="hub"):
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class InformationPlaneTrainerCallback(TrainerCallback):
    """Follow a model through the information plane while ``transformers.Trainer`` trains it.

    The trainer has no event for an exception: after one, the last point is that of the last due step.

    Args:
        probe: what to measure on; documents held out from training.
        **options: of `ibtrack.InformationPlaneTracker`; ``path`` names the trajectory file, and ``loggers=[wandb.run]``
            gives rows to the run that the trainer reports to.

    Raises:
        ValueError: when training starts, if layers, probe, model, or schedule do not fit each other.
        FileExistsError: when training starts, if ``path`` holds another run's trajectory.
    """

    def __init__(self, probe: Probe, **options: Any) -> None:
        self._tracker = InformationPlaneTracker(probe, **options)

    @property
    def trajectory(self) -> Trajectory:
        """What has been recorded so far."""
        return self._tracker.trajectory

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **rest: Any
    ) -> None:
        resumed = Progress(state.global_step, state.num_input_tokens_seen) if state.global_step else None
        self._tracker.start(rest["model"], max_steps=state.max_steps, resume_from=resumed, precision=_precision(args))
        self._tracker.step(rest["model"], state.global_step, tokens_seen=_tokens(state))

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **rest: Any) -> None:
        self._tracker.step(rest["model"], state.global_step, tokens_seen=_tokens(state))

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **rest: Any) -> None:
        self._tracker.finish(rest["model"], state.global_step, tokens_seen=_tokens(state))


def _tokens(state: TrainerState) -> int | None:
    """The trainer counts tokens only with ``include_num_input_tokens_seen``."""
    return int(state.num_input_tokens_seen) or None


def _precision(args: TrainingArguments) -> str | None:
    """Of the autocast that the trainer puts into the model's forward; without one, the weights tell."""
    return "bf16-mixed" if args.bf16 else "16-mixed" if args.fp16 else None
