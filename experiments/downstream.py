"""Scores of downstream tasks while a model trains, by lm-evaluation-harness, beside the readings of the same steps."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import logging
import math
import os
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import FSDPStrategy, ModelParallelStrategy
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from experiments.documents import local
from experiments.tokenizer import END
from experiments.whole_file import write_whole
from ibtrack import InformationPlaneMonitor
from ibtrack.analysis.score_files import read_scores
from ibtrack.capture.isolation import undisturbed
from ibtrack.record.texts import reason
from ibtrack.schedules import Progress, Schedule


class Downstream(Callback):
    """Scores the model by tasks of lm-evaluation-harness at steps that the monitor has measured.

    A file of results is written for each step, as the harness writes its own, so that ``ibtrack scores`` finds it
    beside the trajectory; loggers get the scores as ``scores/<task>/<metric>``. Training goes on as if nothing had been
    scored: random states, modes and buffers are put back. A task that fails while training is one warning.

    Of several processes with the whole model each, the first scores and the others wait; where weights are sharded over
    them, the scores are refused.

    Args:
        tasks: Names of the harness's tasks, or of those in ``task_folder``.
        texts: Name to files of held-out texts (text, JSON or Parquet), which are scored by their bits per byte. These
            can be compared between models of different tokenizers.
        schedule: When scores are due; they are taken at the first step from then on that is measured. The first and the
            last step always are.
        folder: Folder of the files of results, ``scores`` beside the trajectory.
        name: Name of the run.
        task_folder: Folder with tasks of one's own, as YAML.
        limit: Number of documents of each task, or their share if below 1; None takes all.
        num_fewshot: Number of examples before each question; None leaves it to the task.
        batch_size: Number of requests in a forward pass.

    Raises:
        ValueError: Nothing is to be scored, or the schedule depends on more than the step.
    """

    def __init__(
        self,
        tasks: Sequence[str] = (),
        *,
        texts: Mapping[str, str | Sequence[str]] | None = None,
        schedule: Schedule,
        folder: str | os.PathLike[str],
        name: str,
        task_folder: str | None = None,
        limit: float | None = None,
        num_fewshot: int | None = None,
        batch_size: int = 16,
    ) -> None:
        if not tasks and not texts:
            raise ValueError("tasks or texts must name something to score, got neither")
        if not schedule.by_step_alone:
            raise ValueError("schedule must depend on the step alone, as it is asked on each process")
        self.tasks: list[Any] = [*tasks, *(_text_task(each, files) for each, files in (texts or {}).items())]
        self.schedule, self.folder, self.name = schedule, Path(folder), name
        self.task_folder, self.limit, self.num_fewshot, self.batch_size = task_folder, limit, num_fewshot, batch_size
        self.seconds = 0.0
        self._asked, self._due, self._scored = Progress(0), True, -1

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Load the tasks and their data, so that what is wrong with them is said before training.

        Raises:
            ModuleNotFoundError: lm-evaluation-harness is not installed.
            ValueError: There is no such task, or the weights will be sharded.
        """
        try:
            from lm_eval.tasks import TaskManager
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("scores need lm-evaluation-harness: pip install 'ibtrack[downstream]'") from error
        if isinstance(trainer.strategy, FSDPStrategy | ModelParallelStrategy):
            raise ValueError(
                "scores need the whole model in each process: score checkpoints of sharded weights instead"
            )
        with _silent():
            self._manager = TaskManager(include_path=self.task_folder)
            known = set(self._manager.all_tasks)
            if unknown := [each for each in self.tasks if isinstance(each, str) and each not in known]:
                raise ValueError(f"tasks must be those of lm-evaluation-harness or of task_folder, got {unknown[0]!r}")
            self._manager.load(self.tasks)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Score the model before its first step; after a resume, drop the scores of steps that will come again."""
        self._asked = Progress(trainer.global_step)
        self._due, self._scored = trainer.global_step == 0, -1
        if trainer.is_global_zero:
            for file in self.folder.glob("step-*.json"):
                if int(file.stem.removeprefix("step-")) > trainer.global_step or trainer.global_step == 0:
                    file.unlink()
        self._score_if_due(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Score the model if scores are due and this step has been measured."""
        now = Progress(trainer.global_step)
        self._due = self._due or self.schedule.due(now, since=self._asked)
        self._asked = now
        self._score_if_due(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Score the model of the last step."""
        self._due = True
        self._score_if_due(trainer, pl_module)

    def _score_if_due(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Score the model if the monitor, whose hooks run before those of other callbacks, has measured this step."""
        step = trainer.global_step
        if not self._due or step == self._scored or not trainer.strategy.broadcast(_is_measured(trainer)):
            return
        if trainer.is_global_zero:
            self._score(trainer, pl_module, step)
        trainer.strategy.barrier()
        self._due, self._scored = False, step

    def _score(self, trainer: Trainer, pl_module: LightningModule, step: int) -> None:
        """Write the scores of a step and hand them to loggers and callbacks; a fault is a warning."""
        began = time.perf_counter()
        try:
            tokenizer = in_transformers(trainer.datamodule.tokenizer)  # type: ignore[attr-defined]
            with undisturbed(pl_module), trainer.precision_plugin.forward_context():
                results = self._evaluate(pl_module, tokenizer)
            seconds = time.perf_counter() - began
            scores = self._write(results, step, seconds)
        except Exception as error:
            warnings.warn(f"step {step} could not be scored: {reason(error)}; training goes on", stacklevel=2)
            return
        finally:
            self.seconds += time.perf_counter() - began
        metrics = {f"scores/{name}": value for name, value in scores.items()}
        for logger in trainer.loggers:
            logger.log_metrics({**metrics, "scores/seconds": seconds}, step=step)
        trainer.callback_metrics.update(
            {name: torch.tensor(value, dtype=torch.float64) for name, value in metrics.items()}
        )

    def _evaluate(self, pl_module: LightningModule, tokenizer: PreTrainedTokenizerBase) -> Mapping[str, Any]:
        import lm_eval

        with _silent():
            model = _live_model(pl_module, tokenizer, self.batch_size)
            results: Mapping[str, Any] = lm_eval.simple_evaluate(
                model=model,
                tasks=self.tasks,
                num_fewshot=self.num_fewshot,
                limit=self.limit,
                task_manager=self._manager,
                bootstrap_iters=0,  # it would start processes
                log_samples=False,
            )
        return results

    def _write(self, results: Mapping[str, Any], step: int, seconds: float) -> Mapping[str, float]:
        """Write a file that has its name only when it is whole, and return the scores as a reader finds them.

        A score that is no number is left out of the file, with a warning.
        """
        kept, missing = _finite(results["results"])
        if missing:
            warnings.warn(f"step {step} has no {', '.join(missing)}: no finite number came out", stacklevel=2)
        about = {"limit": self.limit, "num_fewshot": self.num_fewshot, "seconds": seconds}
        content = {"model_name": self.name, "results": kept, "config": about, "versions": results["versions"]}
        whole = self.folder / f"step-{step}.json"
        write_whole(whole, json.dumps(content, indent=1, default=str) + "\n")
        return read_scores(whole)[0].scores


def in_transformers(tokenizer: Any) -> PreTrainedTokenizerBase:
    """Return a tokenizer that the harness takes, and may change.

    Args:
        tokenizer: Tokenizer of transformers, or of the package tokenizers.

    Example:
        >>> from experiments.tokenizer import train_tokenizer
        >>> in_transformers(train_tokenizer(["abc"], vocab_size=257)).eos_token
        '<|endoftext|>'
    """
    if isinstance(tokenizer, PreTrainedTokenizerBase):
        return copy.deepcopy(tokenizer)
    make: Any = PreTrainedTokenizerFast  # which has no types
    made: PreTrainedTokenizerBase = make(tokenizer_object=tokenizer, eos_token=END)
    return made


def _live_model(pl_module: LightningModule, tokenizer: PreTrainedTokenizerBase, batch_size: int) -> Any:
    """Wrap the module for the harness; its own forward is run, which may keep documents apart."""
    from lm_eval.models.huggingface import HFLM

    class LiveModel(HFLM):  # type: ignore[misc]  # which has no types
        def _model_call(self, inps: Any, attn_mask: Any = None, labels: Any = None) -> Any:
            return pl_module(inps).logits

    return LiveModel(pretrained=pl_module.network, tokenizer=tokenizer, batch_size=batch_size, backend="causal")


def _text_task(name: str, files: str | Sequence[str]) -> dict[str, Any]:
    """Describe a task of the harness: the bits per byte of texts."""

    def data(**_: Any) -> dict[str, Dataset]:
        return {"test": Dataset.from_dict({"text": list(local(files))})}

    return {
        "task": name,
        "custom_dataset": data,
        "test_split": "test",
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{text}}",
        "metric_list": [{"metric": "bits_per_byte"}],
    }


def _is_measured(trainer: Trainer) -> bool:
    """Tell whether the last point of the monitor is of this step; without a monitor each step will do."""
    callbacks: Any = trainer
    monitors = [each for each in callbacks.callbacks if isinstance(each, InformationPlaneMonitor)]
    points = monitors[0].trajectory.points if monitors else ()
    return not monitors or bool(points and points[-1].step == trainer.global_step)


def _finite(results: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Part scores that are numbers, and what is said beside them, from those that are not finite."""
    missing = [
        f"{task}/{metric}"
        for task, metrics in results.items()
        for metric, value in metrics.items()
        if isinstance(value, float) and not math.isfinite(value)
    ]
    kept = {
        task: {metric: value for metric, value in metrics.items() if f"{task}/{metric}" not in missing}
        for task, metrics in results.items()
    }
    return kept, missing


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep what the harness says and its bars off the terminal; what is wrong with it is raised."""
    log = logging.getLogger("lm_eval")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
