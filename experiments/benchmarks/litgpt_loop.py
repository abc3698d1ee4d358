"""The pre-training loop of litgpt, in turns with a bare loop of ours; litgpt has to be installed beside ibtrack.

Its model is its own implementation of a Llama with the same widths, heads and layers, and a head that is not tied.
"""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from omegaconf import DictConfig
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from experiments.benchmarks.throughput import NUM_BLOCKS, LoopState, quiet, speeds, waiting
from experiments.benchmarks.turns import Turns


class TurnLoader:
    """A loader that ends a step whenever the next batch is asked for, and keeps the batches for the bare loop.

    Args:
        loader: Loader of blocks of T + 1 token ids.
        turns: The two loops.
        batches: Where the batches go, without their last tokens.
    """

    def __init__(self, loader: Any, turns: Turns, batches: deque[Tensor]) -> None:
        self.loader, self.turns, self.batches = loader, turns, batches

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self.loader)

    def __iter__(self) -> Iterator[Tensor]:
        """Yield the batches."""
        for (batch,) in self.loader:
            self.batches.append(batch[:, :-1])
            yield batch
            self.turns.step_ended()


def litgpt_row(cfg: DictConfig, vocab: int, *, steps: int, turn: int, clock: Callable[[], float]) -> dict[str, Any]:
    """Time litgpt's loop and a bare loop of our model.

    Args:
        cfg: Configuration of a run of a Llama.
        vocab: Number of token ids.
        steps: Steps of each that are timed.
        turn: Steps of one before it is the other's turn.
        clock: Returns seconds.

    Returns:
        Tokens a second of both, and the ratio of each turn.

    Raises:
        ValueError: The model is no Llama.
    """
    from litgpt.args import EvalArgs, TrainArgs
    from litgpt.pretrain import fit

    if cfg.model.architecture != "llama":
        raise ValueError(f"the model must be a llama to be timed in litgpt's loop, got {cfg.model.architecture}")
    batch_size, block_size, num_steps = cfg.data.batch_size, cfg.data.block_size, steps + turn
    bare, batches = LoopState(cfg, vocab, num_steps), deque[Tensor]()
    turns = Turns(lambda: bare.step(batches.popleft()), turn=turn, wait=waiting(cfg), clock=clock)
    fabric = Fabric(accelerator=cfg.trainer.accelerator, devices=1, precision=cfg.trainer.precision)
    model = fabric.setup(_model(cfg, vocab))
    optimizer = fabric.setup_optimizers(torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True))
    tokens = torch.randint(vocab, (NUM_BLOCKS, block_size + 1))
    loader = fabric.setup_dataloaders(DataLoader(TensorDataset(tokens), batch_size, shuffle=True, drop_last=True))
    state = {"model": model, "optimizer": optimizer, "iter_num": 0, "step_count": 0}
    train = TrainArgs(
        global_batch_size=batch_size,
        micro_batch_size=batch_size,
        max_tokens=num_steps * batch_size * block_size,
        log_interval=cfg.trainer.log_every_n_steps,
        lr_warmup_steps=cfg.model.warmup_steps,
        save_interval=None,
        max_norm=cfg.trainer.gradient_clip_val,
    )
    with tempfile.TemporaryDirectory() as folder, quiet():
        fit(
            fabric,
            1,
            state,
            TurnLoader(loader, turns, batches),
            [batch for (batch,) in loader][:2],
            Path(folder),
            None,
            train,
            EvalArgs(interval=10**9, initial_validation=False, final_validation=False, max_iters=1),
        )
    return speeds(turns, batch_size * block_size)


def _model(cfg: DictConfig, vocab: int) -> Any:
    from litgpt import GPT, Config

    own = cfg.model.settings
    model = GPT(
        Config(
            name="llama",
            block_size=cfg.data.block_size,
            vocab_size=vocab,
            padded_vocab_size=vocab,
            n_layer=own.num_hidden_layers,
            n_head=own.num_attention_heads,
            n_embd=own.hidden_size,
            intermediate_size=own.intermediate_size,
            rotary_percentage=1.0,
            parallel_residual=False,
            bias=False,
            norm_class_name="RMSNorm",
            mlp_class_name="LLaMAMLP",
        )
    )
    model.max_seq_length = cfg.data.block_size
    return model
