"""The budget of a run: how many tokens a step and the run see, and the settings of the trainer that follow from it.

Lengths are written as a reader thinks of them: tokens of the run and of a step, and a warm-up or a decay as a share of
the run or in tokens. `settled` turns them into what Lightning and the schedule of the learning rate take, which is
batches and steps.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, prod
from typing import Any

import torch
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict, read_write

UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "G": 10**9, "T": 10**12}
PARTS_OF_A_RUN = ("model.warmup_steps", "model.schedule_settings.num_decay_steps")

_AMOUNT = re.compile(r"([0-9][0-9_,]*(?:\.[0-9]+)?(?:[eE]\+?[0-9]+)?)\s*([kKmMbBgGtT]?)")
_SHARE = re.compile(r"([0-9]*\.?[0-9]+(?:e-?[0-9]+)?)\s*(%?)")


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How many tokens a run sees, and in which portions.

    Attributes:
        batch_size: Blocks in a batch of one process, B.
        block_size: Tokens in a block, T; 1 for data that are not blocks of tokens.
        processes: Processes over all nodes, each with batches of its own.
        accumulate: Batches of each process in one optimizer step.
        steps: Optimizer steps of the run; None where the configuration gives none, as with a number of epochs.

    Example:
        >>> budget = Budget(batch_size=16, block_size=1024, processes=8, accumulate=4, steps=1000)
        >>> budget.tokens_per_step, budget.tokens
        (524288, 524288000)
    """

    batch_size: int
    block_size: int
    processes: int = 1
    accumulate: int = 1
    steps: int | None = None

    @property
    def tokens_per_step(self) -> int:
        """Tokens in one optimizer step, over all processes and accumulated batches."""
        return prod((self.batch_size, self.block_size, self.processes, self.accumulate))

    @property
    def tokens(self) -> int | None:
        """Tokens of the run, or None where the number of its steps is not known."""
        return None if self.steps is None else self.steps * self.tokens_per_step


def settled(cfg: DictConfig, processes: int) -> DictConfig:
    """Return a configuration in which all lengths are steps, and the batches of a step a number.

    Args:
        cfg: Configuration of a run, which stays as it is.
        processes: Processes over all nodes, from `count_processes`.

    Raises:
        ValueError: A length is none, is given twice, or cannot be had with these batches.
    """
    found = budget_of(cfg, processes)
    cfg = cfg.copy()
    with read_write(cfg), open_dict(cfg):
        cfg.trainer.max_steps = -1 if found.steps is None else found.steps
        if cfg.get("tokens_per_step") is not None:
            cfg.trainer.accumulate_grad_batches = found.accumulate
        for key in PARTS_OF_A_RUN:
            if (part := OmegaConf.select(cfg, key)) is not None:
                OmegaConf.update(cfg, key, steps_of(key, part, found))
    return cfg


def budget_of(cfg: DictConfig, processes: int) -> Budget:
    """Find how many tokens a step and the run see.

    Args:
        cfg: Configuration of a run.
        processes: Processes over all nodes.

    Raises:
        ValueError: A length is none, is given twice, or cannot be had with these batches.
    """
    asked = [key for key in ("tokens", "tokens_per_step") if cfg.get(key) is not None]
    if asked and "block_size" not in cfg.data:
        raise ValueError(f"{asked[0]} must be null for data that are not blocks of tokens, got {cfg[asked[0]]}")
    batch = Budget(
        batch_size=cfg.data.get("batch_size", 1), block_size=cfg.data.get("block_size", 1), processes=processes
    )
    accumulate = _accumulate(cfg, batch)
    step = Budget(**{**vars(batch), "accumulate": accumulate})
    return Budget(**{**vars(step), "steps": _steps(cfg, step)})


def steps_of(name: str, part: Any, budget: Budget) -> int:
    """Read a part of a run, such as its warm-up, as steps.

    Args:
        name: Key of the setting, for the message.
        part: Number of steps, a share of the run such as ``1%`` or 0.01, or a number of tokens such as ``10M tokens``.
        budget: The budget of the run.

    Raises:
        ValueError: The part is none of these, or a share of a run whose steps are not known.

    Example:
        >>> budget = Budget(batch_size=16, block_size=128, steps=1500)
        >>> [steps_of("model.warmup_steps", part, budget) for part in (50, "2%", 0.02, "0.1M tokens")]
        [50, 30, 30, 49]
    """
    text = str(part).strip()
    if text.isdecimal():
        return int(text)
    if text.endswith("tokens"):
        return ceil(Fraction(amount(name, text.removesuffix("tokens")), budget.tokens_per_step))
    share = _share(text)
    if share is None:
        raise ValueError(f"{name} must be steps, a share such as 1%, or tokens such as '10M tokens', got {part!r}")
    if budget.steps is None:
        raise ValueError(f"{name} must be steps or tokens in a run without trainer.max_steps or tokens, got {part}")
    return round(budget.steps * share)


def amount(name: str, text: Any) -> int:
    """Read a large number as it is written in papers and on command lines.

    Args:
        name: Key of the setting, for the message.
        text: A number or its text, such as ``524_288``, ``5e5``, ``300M`` or ``2B``.

    Raises:
        ValueError: It is no whole number of at least 1.

    Example:
        >>> [amount("tokens", text) for text in (524288, "524_288", 5e5, "1.5k", "2B")]
        [524288, 524288, 500000, 1500, 2000000000]
    """
    found = _AMOUNT.fullmatch(str(text).strip())
    number = Fraction(found[1].replace(",", "").replace("_", "")) * UNITS[found[2].upper()] if found else Fraction(0)
    if number < 1 or number.denominator != 1:
        raise ValueError(f"{name} must be a whole number such as 524_288, 5e8, 300M or 2B, got {text!r}")
    return int(number)


def count_processes(trainer: DictConfig) -> int:
    """Count the processes that a trainer will have over all nodes, as Lightning does.

    Args:
        trainer: Configuration of the trainer.

    Returns:
        The number, or 0 if it is the number of GPUs of this machine and it has none.

    Example:
        >>> count_processes(OmegaConf.create({"accelerator": "gpu", "devices": [0, 1], "num_nodes": 4}))
        8
    """
    devices = trainer.get("devices", "auto")
    if isinstance(devices, str) and "," in devices:
        devices = [each for each in devices.split(",") if each.strip()]
    if isinstance(devices, ListConfig | list):
        number = len(devices)
    elif str(devices) in ("auto", "-1"):
        number = _devices_here(trainer.get("accelerator", "auto"))
    else:
        number = int(devices)
    return number * int(trainer.get("num_nodes", 1))


def check_processes(cfg: DictConfig, processes: int) -> None:
    """See that a trainer has the processes that the budget was worked out for.

    Args:
        cfg: Configuration of a run.
        processes: Processes of its trainer.

    Raises:
        ValueError: It has another number of them, so that its steps would have other tokens than was asked for.
    """
    counted = count_processes(cfg.trainer)
    if processes != counted and not (cfg.get("tokens") is None and cfg.get("tokens_per_step") is None):
        raise ValueError(
            f"tokens and tokens_per_step must be for the trainer's processes, got {counted} by trainer.devices and "
            f"trainer.num_nodes and {processes} in the trainer"
        )


def _share(text: str) -> Fraction | None:
    """Read a share of a run, in percent or as a number below 1; None if it is none."""
    found = _SHARE.fullmatch(text)
    share = Fraction(found[1]) / (100 if found[2] else 1) if found else Fraction(1)
    return share if share <= 1 and found and (found[2] or share < 1) else None


def _accumulate(cfg: DictConfig, batch: Budget) -> int:
    """Return the batches of each process in a step.

    Raises:
        ValueError: The tokens of a step are not a multiple of those of a batch, or are given twice.
    """
    given = cfg.trainer.get("accumulate_grad_batches")
    if cfg.get("tokens_per_step") is None:
        return given or 1
    wanted, portion = amount("tokens_per_step", cfg.tokens_per_step), batch.tokens_per_step
    if given is not None:
        raise ValueError(
            "a step must be given by tokens_per_step or by trainer.accumulate_grad_batches, not by both, "
            f"got {wanted:,} and {given}"
        )
    if wanted % portion:
        near = [number for number in (wanted // portion * portion, (wanted // portion + 1) * portion) if number]
        raise ValueError(
            f"tokens_per_step must be a multiple of {portion:,} ({batch.batch_size} blocks of {batch.block_size:,} "
            f"tokens in each of {batch.processes} process{'es' if batch.processes > 1 else ''}), such as "
            f"{' or '.join(f'{number:,}' for number in near)}, got {wanted:,}"
        )
    return wanted // portion


def _steps(cfg: DictConfig, step: Budget) -> int | None:
    """Return the steps of the run; one more than its tokens fill where they do not fill the last one.

    Raises:
        ValueError: The length is given twice.
    """
    steps: int | None = cfg.trainer.get("max_steps")
    if cfg.get("tokens") is None:
        return None if steps is None or steps < 0 else steps
    tokens = amount("tokens", cfg.tokens)
    is_default = OmegaConf.is_interpolation(cfg.trainer, "max_steps")
    if not is_default and steps is not None and steps >= 0:
        raise ValueError(
            f"the length of a run must be given by tokens or by trainer.max_steps, not by both, got {tokens:,} and "
            f"{steps:,}; trainer.max_steps=null leaves it to the tokens"
        )
    return ceil(Fraction(tokens, step.tokens_per_step))


def _devices_here(accelerator: str) -> int:
    """Count the devices that ``auto`` stands for on this machine."""
    gpus = torch.cuda.device_count() or int(torch.backends.mps.is_available())
    return gpus if accelerator in ("gpu", "cuda", "mps") else 1 if accelerator == "cpu" else gpus or 1
