"""Measure the tokens a second of a training run over those of a bare PyTorch loop of the same model and batches.

python experiments/benchmarks/throughput.py
python experiments/benchmarks/throughput.py --model llama_125M --device cuda --vocab 50257 --set data.block_size=1024
python experiments/benchmarks/throughput.py --litgpt    # its loop as well, where litgpt can be imported

The blocks are random tokens, since their values cost nothing; all else is what ``experiments/train.py`` takes: model,
optimizer, schedule, trainer, loader, progress bar and a logger. The two loops take turns of some steps in one process.
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Annotated, Any

import numpy as np
import torch
import typer
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer, seed_everything
from omegaconf import DictConfig
from torch import Tensor
from transformers import get_scheduler

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from experiments.benchmarks.figures import Figure, report
from experiments.benchmarks.options import JsonFile, Overrides, Threads, use_threads
from experiments.benchmarks.turns import Turns
from experiments.blocks import Blocks
from experiments.loader import training_loader
from ibtrack import Probe

CONF = Path(__file__).resolve().parents[2] / "conf"
MODELS = ("llama_0.3M", "llama_4M")
WANTED = 0.95
NUM_BLOCKS = 4096
TRAINERS = {"cpu": "cpu", "cuda": "gpu"}
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}


class RandomBlocks(LightningDataModule):
    """Blocks of random tokens.

    Args:
        vocab_size: Number of token ids.
        block_size: Number of tokens in a block.
        batch_size: Number of blocks in a batch.
    """

    def __init__(self, *, vocab_size: int, block_size: int, batch_size: int) -> None:
        super().__init__()
        self.block_size, self.batch_size = block_size, batch_size
        row = np.random.default_rng(0).integers(vocab_size, size=NUM_BLOCKS * block_size, dtype=np.int32)
        self.blocks = Blocks(row, block_size)

    def train_dataloader(self) -> Any:
        """Return batches as `experiments.data.BlockData` does, whose module would bring much with it."""
        return training_loader(self.blocks, batch_size=self.batch_size)


class Turn(Callback):
    """Ends a step of the trainer for `Turns`, after all other callbacks, and keeps the batches for the bare loop.

    Args:
        turns: The two loops.
        batches: Where the batches go.
    """

    def __init__(self, turns: Turns, batches: deque[Tensor]) -> None:
        self.turns, self.batches = turns, batches

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Keep the batch."""
        self.batches.append(batch)

    def on_train_batch_end(self, *_: Any) -> None:
        """End the step."""
        self.turns.step_ended()


def main(
    models: Annotated[
        list[str] | None, typer.Option("--model", help="Option of conf/model; may be repeated; by default two Llamas.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    vocab: Annotated[int, typer.Option(min=2, help="Number of token ids.")] = 2048,
    steps: Annotated[int, typer.Option(min=1, help="Steps that are timed, of each loop.")] = 200,
    turn: Annotated[int, typer.Option(min=1, help="Steps of a loop before it is the other's turn.")] = 10,
    clock: Annotated[
        str, typer.Option(help="wall, or cpu for the time of the processor, which other programs disturb less.")
    ] = "wall",
    litgpt: Annotated[bool, typer.Option("--litgpt", help="Time litgpt's loop as well.")] = False,
    overrides: Overrides = None,
    threads: Threads = None,
    file: JsonFile = None,
) -> None:
    """Time training by the trainer and by a bare loop, in turns.

    Raises:
        typer.BadParameter: There is no such device or clock.
    """
    if device not in TRAINERS or (device == "cuda" and not torch.cuda.is_available()):
        raise typer.BadParameter(f"--device must be cpu, or cuda where there is one, got {device!r}")
    if clock not in CLOCKS:
        raise typer.BadParameter(f"--clock must be one of {', '.join(CLOCKS)}, got {clock!r}")
    use_threads(threads)
    length: dict[str, Any] = {"steps": steps, "turn": turn, "clock": CLOCKS[clock]}
    rows, figures = [], []
    for name in models or MODELS:
        cfg = configuration(f"model={name}", f"trainer={TRAINERS[device]}", "logger=csv", *(overrides or []))
        for watched in (False, True):
            row = trainer_row(cfg, vocab, **length, watched=watched)
            rows.append({"model": name, "loop": "train.py" + " with the monitor" * watched, **row})
        if litgpt:
            from experiments.benchmarks.litgpt_loop import litgpt_row

            rows.append({"model": name, "loop": "litgpt", **litgpt_row(cfg, vocab, **length)})
        rows.append({"model": name, "loop": "loader alone", "tokens_per_second": loader_speed(cfg, vocab, steps)})
        for row in rows[-(3 + litgpt) :]:
            print(_line(row), flush=True)
        figures.append(_figure(name, rows[-(3 + litgpt)]))
    about = {"device": torch.cuda.get_device_name() if device == "cuda" else "cpu", "vocab": vocab, "clock": clock}
    report("throughput", figures, rows, file, packages=["lightning", "transformers"], about=about)


def configuration(*overrides: str) -> DictConfig:
    """Compose the configuration that ``experiments/train.py`` has with these overrides.

    Args:
        *overrides: Overrides of the command line.
    """
    GlobalHydra.instance().clear()
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return compose("config", overrides=["run_dir=.", *overrides])


def trainer_row(
    cfg: DictConfig, vocab: int, *, steps: int, turn: int, clock: Callable[[], float], watched: bool
) -> dict[str, Any]:
    """Time the trainer and a bare loop.

    Args:
        cfg: Configuration of the run.
        vocab: Number of token ids.
        steps: Steps of each that are timed.
        turn: Steps of one before it is the other's turn.
        clock: Returns seconds.
        watched: Whether the monitor takes part.

    Returns:
        Tokens a second of both, the ratio of each turn, whether both end with the same weights to the last bit, and
        how often the monitor has measured.
    """
    data = RandomBlocks(vocab_size=vocab, block_size=cfg.data.block_size, batch_size=cfg.data.batch_size)
    num_steps = steps + turn  # the first turn of each warms up
    bare, batches = LoopState(cfg, vocab, num_steps), deque[Tensor]()
    turns = Turns(lambda: bare.step(batches.popleft()), turn=turn, wait=waiting(cfg), clock=clock)
    seed_everything(cfg.seed, verbose=False)
    model = instantiate(cfg.model, vocab_size=vocab, block_size=data.block_size)
    with tempfile.TemporaryDirectory() as folder, quiet():
        cfg = cfg.copy()
        cfg.run_dir, cfg.trainer.max_steps = folder, num_steps
        monitors = [_monitor(cfg, vocab)] if watched else []
        callbacks = [*monitors, *(instantiate(each) for each in cfg.callbacks.values()), Turn(turns, batches)]
        loggers = [instantiate(each) for each in cfg.logger.values()]
        trainer: Trainer = instantiate(cfg.trainer, _partial_=True, _convert_="all")(
            logger=loggers, callbacks=callbacks
        )
        trainer.fit(model, datamodule=data)
    points = len(monitors[0].trajectory.points) if monitors else 0
    pairs = zip(model.network.parameters(), bare.model.network.parameters(), strict=True)
    same = all(torch.equal(one.cpu(), other.cpu()) for one, other in pairs)
    return {**speeds(turns, data.batch_size * data.block_size), "same_weights": same, "points": points}


class LoopState:
    """A bare PyTorch loop: model, optimizer and schedule, and a step of them.

    Args:
        cfg: Configuration of the run.
        vocab: Number of token ids.
        num_steps: Steps of the run, for its schedule.
    """

    def __init__(self, cfg: DictConfig, vocab: int, num_steps: int) -> None:
        seed_everything(cfg.seed, verbose=False)
        device = "cuda" if cfg.trainer.accelerator == "gpu" else "cpu"
        self.model = instantiate(cfg.model, vocab_size=vocab, block_size=cfg.data.block_size).to(device).train()
        self.optimizer = self.model.optimizer(self.model._parameter_groups())
        # in the order in which the trainer adds up their norms
        self.parameters = [each for group in self.optimizer.param_groups for each in group["params"]]
        arguments = (self.model.schedule, self.optimizer, self.model.warmup_steps, num_steps)
        self.schedule = get_scheduler(*arguments, self.model.schedule_settings)
        self.max_norm = cfg.trainer.gradient_clip_val
        self.cast = torch.autocast(device, torch.bfloat16, enabled=cfg.trainer.precision == "bf16-mixed")

    def step(self, batch: Tensor) -> None:
        """Take one step.

        Args:
            batch: (B, T) token ids.
        """
        with self.cast:
            loss = self.model._loss(batch)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, self.max_norm)
        self.optimizer.step()
        self.schedule.step()


def loader_speed(cfg: DictConfig, vocab: int, steps: int) -> float:
    """Return the tokens a second of the loader alone, which hands over its batches one after the other.

    Args:
        cfg: Configuration of the run.
        vocab: Number of token ids.
        steps: Number of batches.
    """
    data = RandomBlocks(vocab_size=vocab, block_size=cfg.data.block_size, batch_size=cfg.data.batch_size)
    batches = iter(data.train_dataloader())
    next(batches)
    began = time.perf_counter()
    tokens = sum(next(batches).numel() for _ in range(min(steps, NUM_BLOCKS // data.batch_size - 1)))
    return tokens / (time.perf_counter() - began)


def speeds(turns: Turns, tokens: int) -> dict[str, Any]:
    """Turn times into tokens a second and ratios of speeds.

    Args:
        turns: The two loops, when they are done.
        tokens: Tokens of a step.

    Example:
        >>> turns = Turns(lambda: None, turn=2)
        >>> turns.seconds, turns.others = [2.0, 4.0], [1.0, 3.0]
        >>> speeds(turns, tokens=120)
        {'tokens_per_second': 90.0, 'bare_tokens_per_second': 160.0, 'ratios': [0.5, 0.75], 'overall': 0.667}
    """
    per_turn = turns.turn * tokens
    return {
        "tokens_per_second": median(per_turn / seconds for seconds in turns.seconds),
        "bare_tokens_per_second": median(per_turn / seconds for seconds in turns.others),
        "ratios": [bare / own for own, bare in zip(turns.seconds, turns.others, strict=True)],
        "overall": round(sum(turns.others) / sum(turns.seconds), 3),
    }


def quartiles(ratios: Sequence[float]) -> tuple[float, float]:
    """Return the lower and the upper quartile of some ratios; one ratio is both.

    Example:
        >>> quartiles([0.9, 0.8, 1.0])
        (0.8, 1.0)
    """
    low, _, high = quantiles(ratios, n=4) if len(ratios) > 1 else (ratios[0],) * 3
    return low, high


def _monitor(cfg: DictConfig, vocab: int) -> Any:
    tokens = torch.from_numpy(np.random.default_rng(1).integers(vocab, size=(64, cfg.data.block_size)))
    probe = Probe(tokens, cfg.probe.orders, is_text=True)
    return instantiate(cfg.monitor, _partial_=True, _convert_="all")(probe, name="throughput", verbose=False)


def waiting(cfg: DictConfig) -> Callable[[], object]:
    """Return what waits until the device of a run is done."""
    return torch.cuda.synchronize if cfg.trainer.accelerator == "gpu" else lambda: None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Let a trainer show its progress where nobody reads it."""
    nowhere = io.StringIO()
    with contextlib.redirect_stderr(nowhere), contextlib.redirect_stdout(nowhere), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _line(row: dict[str, Any]) -> str:
    head = f"{row['model']}, {row['loop']}: {row['tokens_per_second']:,.0f} tokens/s"
    if "ratios" not in row:
        return head
    low, high = quartiles(row["ratios"])
    same = {True: "; the same weights", False: "; other weights"}.get(row.get("same_weights"), "")  # type: ignore[arg-type]
    points = f"; {row['points']} points" if row.get("points") else ""
    return (
        f"{head}, {median(row['ratios']):.3f} of a bare loop's (median of {len(row['ratios'])} turns, half of them "
        f"{low:.3f} to {high:.3f}; {row['overall']} by all their time{points}{same})"
    )


def _figure(name: str, row: dict[str, Any]) -> Figure:
    low, high = quartiles(row["ratios"])
    note = f"median of {len(row['ratios'])} turns, half of them {low:.3f} to {high:.3f}"
    return Figure(f"tokens/s of train.py over a bare loop, {name}", "≥", WANTED, median(row["ratios"]), "", note)


if __name__ == "__main__":
    typer.run(main)
