"""The model: a causal language model of transformers, its loss, its optimizer and the schedule of its learning rate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.utilities import GradClipAlgorithmType
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.nn import functional
from torch.optim import Optimizer
from transformers import SchedulerType, get_scheduler
from transformers.modeling_outputs import CausalLMOutputWithPast

from experiments.network import (
    ParameterCount,
    configuration,
    count_parameters,
    document_positions,
    make_network,
    rounded_up,
)

__all__ = ["LanguageModel", "ParameterCount", "count_parameters"]

# the learning rate is that of the 1M model; betas and weight decay are as in GPT-3 (arXiv 2005.14165, appendix B)
ADAMW = partial(torch.optim.AdamW, lr=2e-3, betas=(0.9, 0.95), weight_decay=0.1)
HEADS = ("whole", "chunked")
CHUNKED = ("llama", "gpt2", "gpt_neox", "olmo2")  # whose logits are the last states times the head, and nothing more


class LanguageModel(LightningModule):
    """A decoder that learns to predict the next token.

    Args:
        architecture: Model type of transformers, such as ``llama``, ``gpt2``, ``gpt_neox`` or ``olmo2``.
        settings: Settings that differ from that architecture's default configuration.
        vocab_size: Number of token ids, V.
        block_size: Number of tokens in a training block, T; at most the model's context.
        document_end: Id of the token that ends a document, which attention does not cross; None lets it cross. The
            first token of a document is predicted from the end of the one before it.
        vocab_multiple: The embeddings have a number of rows that is a multiple of this, at least V.
        branch_end_std: Standard deviation of the matrices that end the branches of a block, where a paper draws them
            from another distribution than the rest; None leaves them to the architecture.
        attention: Implementation of attention, by the name that transformers has for it. Each of them masks documents.
        head: ``whole`` makes the logits of a batch at once, ``chunked`` never has all of them in memory and needs
            PyTorch 2.13.
        checkpoint_blocks: Whether a block's activations are made anew for its backward pass instead of kept.
        optimizer: Function from parameter groups to an optimizer. Only matrices get its weight decay.
        decay_embeddings: Whether embeddings of tokens and positions are among the matrices that do.
        schedule: Schedule of the learning rate, by a name that `transformers.get_scheduler` has.
        warmup_steps: Number of optimizer steps in which the rate rises from 0; a schedule without warm-up ignores it.
        schedule_settings: Further arguments of that schedule.

    Raises:
        ValueError: There is no such architecture, setting, head or schedule, a number is out of its range, or a block
            is longer than the context.

    Example:
        >>> tiny = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
        >>> model = LanguageModel("olmo2", tiny, vocab_size=300, block_size=8)
        >>> model(torch.zeros(2, 8, dtype=torch.long)).logits.shape
        torch.Size([2, 8, 300])
    """

    def __init__(
        self,
        architecture: str,
        settings: Mapping[str, Any],
        *,
        vocab_size: int,
        block_size: int,
        document_end: int | None = None,
        vocab_multiple: int = 1,
        branch_end_std: float | None = None,
        attention: str = "sdpa",
        head: str = "whole",
        checkpoint_blocks: bool = False,
        optimizer: Callable[[list[dict[str, Any]]], Optimizer] = ADAMW,
        decay_embeddings: bool = True,
        schedule: str = "cosine_with_min_lr",
        warmup_steps: int = 0,
        schedule_settings: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.document_end = document_end
        self.head = _checked_head(head, architecture)
        self.optimizer = optimizer
        self.decay_embeddings = decay_embeddings
        self.schedule = SchedulerType(schedule)
        self.warmup_steps = warmup_steps
        self.schedule_settings = dict(schedule_settings or {})
        num_ids = rounded_up(vocab_size, vocab_multiple)
        context = configuration(architecture, settings, num_ids).max_position_embeddings
        if block_size > context:
            raise ValueError(f"block_size must be at most {context}, the model's context, got {block_size}")
        self.network: Any = make_network(
            architecture, settings, vocab_size=num_ids, attention=attention, branch_end_std=branch_end_std
        )
        if checkpoint_blocks:
            new, older = "activation_checkpointing_enable", "gradient_checkpointing_enable"  # the name before version 6
            getattr(self.network, new if hasattr(self.network, new) else older)({"use_reentrant": False})

    def forward(self, input_ids: Tensor) -> CausalLMOutputWithPast:
        """Return the output of the transformers model, with ``logits`` (batch_size, T, V), for ids (batch_size, T)."""
        output: CausalLMOutputWithPast = self.network(input_ids=input_ids, **self._positions(input_ids))
        return output

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        """Return the mean cross-entropy, in nats, of the tokens after the first.

        It is logged as ``train/loss`` at the steps of which loggers keep a value, and at the last one: of what a step
        of Lightning's costs besides the model, handing over a number that nobody keeps is a third.
        """
        loss = self._loss(batch)
        if self._trainer is not None and _keeps(self._trainer):  # outside of a trainer there is none
            self.log("train/loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        """Log the mean cross-entropy of held-out blocks as ``val/loss``."""
        self.log("val/loss", self._loss(batch), prog_bar=True, sync_dist=True)

    def configure_model(self) -> None:
        """Shard the transformer blocks and then the rest, where the strategy brings a device mesh (FSDP2).

        Raises:
            ValueError: The head is chunked and its weights would be sharded.
        """
        if self.device_mesh is None:
            return
        if self.head == "chunked":
            raise ValueError("head must be whole where weights are sharded, as it is used outside of its module")
        mesh = self.device_mesh["data_parallel"]
        for block in self._blocks():
            fully_shard(block, mesh=mesh)
        fully_shard(self.network, mesh=mesh)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return the optimizer and the schedule of its learning rate, which advances with each optimizer step.

        Raises:
            ValueError: The trainer has no last step, which every schedule but a constant one needs.
        """
        num_steps = self.trainer.estimated_stepping_batches
        endless = num_steps == float("inf")
        if endless and self.schedule not in (SchedulerType.CONSTANT, SchedulerType.CONSTANT_WITH_WARMUP):
            raise ValueError(
                f"schedule {self.schedule.value!r} must know the last step; give the trainer max_steps or max_epochs, "
                "or use constant_with_warmup"
            )
        optimizer = self.optimizer(self._parameter_groups())
        schedule = get_scheduler(
            self.schedule, optimizer, self.warmup_steps, None if endless else int(num_steps), self.schedule_settings
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip gradients as the trainer is told to, also those of a fused optimizer in bf16-mixed precision.

        Lightning 2.6 refuses these in every mixed precision, and only gradients that are scaled, as in 16-mixed, cannot
        be clipped before such an optimizer.
        """
        precision: Any = self.trainer.precision_plugin
        if getattr(precision, "scaler", None) is not None:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
        else:
            algorithm = GradClipAlgorithmType(gradient_clip_algorithm or "norm")
            Precision.clip_gradients(precision, optimizer, gradient_clip_val or 0.0, algorithm)

    def _loss(self, batch: Tensor) -> Tensor:
        targets = batch[:, 1:].flatten()  # the last token has no next token to predict
        if self.head == "whole":
            logits: Any = self.forward(batch).logits
            return functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), targets)
        none: Any = torch.empty(0, dtype=torch.long, device=batch.device)
        output = self.network(input_ids=batch, **self._positions(batch), logits_to_keep=none, output_hidden_states=True)
        states = output.hidden_states[-1][:, :-1].flatten(0, 1).float()  # after the final norm
        weight = self.network.get_output_embeddings().weight
        with torch.autocast(batch.device.type, enabled=False):  # in half precision the loss would have three digits
            return functional.linear_cross_entropy(states, weight, targets, options=nn.LinearCrossEntropyOptions())

    def _positions(self, input_ids: Tensor) -> dict[str, Tensor]:
        """Return the argument that keeps documents apart, if they are to be."""
        if self.document_end is None:
            return {}
        return {"position_ids": document_positions(input_ids, self.document_end)}

    def _blocks(self) -> list[nn.Module]:
        names: Any = self.network._no_split_modules
        return [module for module in self.network.modules() if type(module).__name__ in names]

    def _parameter_groups(self) -> list[dict[str, Any]]:
        embeddings = [] if self.decay_embeddings else [m for m in self.modules() if isinstance(m, nn.Embedding)]
        spared = {parameter for module in embeddings for parameter in module.parameters()}
        decays = {p: p.ndim >= 2 and p not in spared for p in self.parameters()}
        matrices = [parameter for parameter, does in decays.items() if does]
        others = [parameter for parameter, does in decays.items() if not does]
        return [{"params": matrices}, {"params": others, "weight_decay": 0.0}]


def _keeps(trainer: Any) -> bool:
    """Tell whether the step that a trainer takes now is the last one or one of which its loggers keep a value."""
    step = trainer.global_step + 1
    return step % max(trainer.log_every_n_steps, 1) == 0 or step == trainer.max_steps


def _checked_head(head: str, architecture: str) -> str:
    """Return the head if there is such a one for the architecture.

    Raises:
        ValueError: There is not.
    """
    if head not in HEADS:
        raise ValueError(f"head must be one of {', '.join(HEADS)}, got {head!r}")
    if head == "chunked" and architecture not in CHUNKED:
        raise ValueError(
            f"head must be 'whole' for {architecture}, as the chunked one is known to fit {', '.join(CHUNKED)}"
        )
    if head == "chunked" and not hasattr(functional, "linear_cross_entropy"):
        raise ValueError(f"head must be 'whole' before PyTorch 2.13, this is {torch.__version__}")
    return head
