"""The callback for ``transformers.Trainer``, which routes its events to the tracker."""

from __future__ import annotations

from typing import Any

from torch import nn

from ibtrack._checks import needs
from ibtrack.integrations.reporters import TrainerReporters
from ibtrack.probe.probe import Probe
from ibtrack.record.trajectory import Trajectory
from ibtrack.schedules import Progress
from ibtrack.tracking.tracker import InformationPlaneTracker

with needs("the callback for transformers.Trainer", extra="hub"):
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


STATE = (
    "ibtrack"  # under which checkpoints keep what a restart needs, with the prefix unless it is that of one callback
)
LOADED = (
    "the trainer has loaded its best checkpoint before the last step could be measured; give this callback after the "
    "one that stops training early"
)


class InformationPlaneTrainerCallback(TrainerCallback):
    """Follow a model through the information plane while ``transformers.Trainer`` trains it.

    Points are of the weights as they are trained, also the last: with ``load_best_model_at_end`` it is measured before
    the best model is loaded. Where that cannot be, the last point says so.

    The trainer has no event for an exception: after one, the last point is that of the last due step. It hands its loss
    to callbacks only when it logs it, as the mean since the last log; points have it with ``logging_steps=1``.

    Points go to what the trainer reports to, by ``report_to=`` or by a callback of its user, under the keys that they
    have in every loop: wandb, TensorBoard, MLflow and trackio; other reporters put ``train/`` before each key. Where it
    does not report to wandb, they go to a run that ``wandb.init`` has opened. ``loggers=()`` gives them to none.

    A trainer can have several, each with its own probe, ``path`` and ``prefix``. Trainers of TRL are trainers as well:
    with ``stage="dpo"`` the points of one go on in the file of the trainer before, see
    `ibtrack.InformationPlaneTracker`.

    Args:
        probe: The probe to measure on; documents held out from training.
        **tracker_options: Arguments of `ibtrack.InformationPlaneTracker`; ``path`` names the trajectory file, and
            ``report=True`` keeps an HTML page beside it up to date.

    Raises:
        ValueError: When training starts, if layers, probe, model, or schedule do not fit each other, or if another
            callback of the trainer has the same prefix.
        FileExistsError: When training starts, if ``path`` holds another run's trajectory, or another process writes it.
    """

    def __init__(self, probe: Probe, **tracker_options: Any) -> None:
        self._tracker = InformationPlaneTracker(probe, **tracker_options)
        self._state = STATE if self._tracker.prefix == "ib" else f"{STATE}[{self._tracker.prefix}]"
        self._loss: float | None = None
        self._reporters = TrainerReporters(lambda: self._tracker.steps_before)
        self._tracker.find_loggers = self._reporters

    @property
    def trajectory(self) -> Trajectory:
        """The points that have been recorded so far, with protocol and run."""
        return self._tracker.trajectory

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **rest: Any
    ) -> None:
        """Start the tracker, and measure the model before its first step.

        Raises:
            ValueError: Layers, probe, model, or schedule do not fit each other, or another callback has the prefix.
        """
        self._loss = None
        kept = _states(state).get(self._state, {})
        if kept and not state.global_step:  # a trainer begins with none, so this one is of another callback
            raise ValueError(
                f"two callbacks of one trainer have the prefix {self._tracker.prefix!r}; give each a prefix= of its own"
            )
        seconds = float(kept.get("seconds", 0.0))
        resumed = Progress(state.global_step, state.num_input_tokens_seen, seconds) if state.global_step else None
        self._tracker.measure_seconds = float(kept.get("measure_seconds", 0.0))
        self._reporters.begin(args, state, control, rest["model"])
        self._tracker.start(
            rest["model"],
            max_steps=state.max_steps,
            resume_from=resumed,
            run_id=kept.get("run_id"),
            precision=_precision(args),
        )
        self._keep(state)
        self._tracker.step(rest["model"], state.global_step, tokens_seen=_tokens(state))

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **rest: Any) -> None:
        """Measure if a measurement is due or the step is the last, unless its loss is about to be logged."""
        if not (control.should_log and _logs_every_step(state)):
            self._step(state, control, rest["model"])
        self._keep(state)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **rest: Any,
    ) -> None:
        """Measure if a measurement is due and the loss of this step, which comes just after it, is logged."""
        if logs is not None and "loss" in logs and _logs_every_step(state):
            self._loss = logs["loss"]
            self._step(state, control, rest["model"], loss=self._loss)

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **rest: Any) -> None:
        """Measure the last step if training has just been stopped, before the best model is loaded."""
        self._measure_if_last(state, control, rest["model"])

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **rest: Any) -> None:
        """Measure the last step if a callback after this one has stopped training at the evaluation."""
        self._measure_if_last(state, control, rest["model"])

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **rest: Any) -> None:
        """Measure the last step if training was stopped within the epoch."""
        self._measure_if_last(state, control, rest["model"])

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **rest: Any) -> None:
        """Measure the last step, if it has not been and its weights are still there."""
        failure = LOADED if args.load_best_model_at_end and _best_is_another(state) else None
        self._tracker.finish(
            rest["model"], state.global_step, tokens_seen=_tokens(state), loss=self._loss, failure=failure
        )

    def _step(self, state: TrainerState, control: TrainerControl, model: nn.Module, loss: float | None = None) -> None:
        act = self._tracker.measure_last if control.should_training_stop else self._tracker.step
        act(model, state.global_step, tokens_seen=_tokens(state), loss=loss)

    def _keep(self, state: TrainerState) -> None:
        """Put what a restart needs where checkpoints are made from."""
        tracker = self._tracker
        _states(state)[self._state] = {
            "run_id": tracker.run_id,
            "seconds": tracker.seconds,
            "measure_seconds": tracker.measure_seconds,
        }

    def _measure_if_last(self, state: TrainerState, control: TrainerControl, model: nn.Module) -> None:
        if control.should_training_stop:
            self._step(state, control, model, loss=self._loss)


def _best_is_another(state: TrainerState) -> bool:
    """Whether the trainer has put a checkpoint in the place of the weights of the last step."""
    best = getattr(state, "best_global_step", None)  # which older versions of transformers do not tell
    return state.best_model_checkpoint is not None and best != state.global_step


def _states(state: TrainerState) -> dict[str, Any]:
    """Return what checkpoints keep for callbacks, by name."""
    states: Any = state.stateful_callbacks  # declared as the list that it is made from
    return states


def _logs_every_step(state: TrainerState) -> bool:
    """Whether a logged loss is that of one step; otherwise it is a mean over several."""
    return state.logging_steps == 1


def _tokens(state: TrainerState) -> int | None:
    """Return the tokens seen, which the trainer counts only with ``include_num_input_tokens_seen``; else None."""
    return int(state.num_input_tokens_seen) or None


def _precision(args: TrainingArguments) -> str | None:
    """Name the autocast that the trainer puts into the model's forward; None leaves it to the weights."""
    return "bf16-mixed" if args.bf16 else "16-mixed" if args.fp16 else None
