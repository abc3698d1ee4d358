"""The model: any causal language model of transformers, made from its configuration and never from weights."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, SchedulerType, get_scheduler
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

# the learning rate is that of the 1M model; betas and weight decay are as in GPT-3 (arXiv 2005.14165, appendix B)
ADAMW = partial(torch.optim.AdamW, lr=2e-3, betas=(0.9, 0.95), weight_decay=0.1)


class LanguageModel(LightningModule):
    """A decoder that learns to predict the next token.

    Args:
        architecture: Model type of transformers, such as ``llama``, ``gpt2``, ``gpt_neox`` or ``olmo2``.
        settings: Settings that differ from that architecture's default configuration.
        vocab_size: Number of token ids, V.
        block_size: Number of tokens in a training block, T; at most the model's context.
        document_end: Id of the token that ends a document, which attention does not cross; None lets it cross.
        optimizer: Function from parameter groups to an optimizer. Only matrices get its weight decay.
        schedule: Schedule of the learning rate, by a name that `transformers.get_scheduler` has.
        warmup_steps: Number of optimizer steps in which the rate rises from 0; a schedule without warm-up ignores it.
        schedule_settings: Further arguments of that schedule.

    Raises:
        ValueError: There is no such architecture, setting or schedule, or a block is longer than the context.

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
        optimizer: Callable[[list[dict[str, Any]]], Optimizer] = ADAMW,
        schedule: str = "cosine_with_min_lr",
        warmup_steps: int = 0,
        schedule_settings: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.optimizer = optimizer
        self.schedule = SchedulerType(schedule)
        self.warmup_steps = warmup_steps
        self.schedule_settings = dict(schedule_settings or {})
        config = _configuration(architecture, settings, vocab_size)
        if block_size > config.max_position_embeddings:
            raise ValueError(
                f"block_size must be at most {config.max_position_embeddings}, the model's context, got {block_size}"
            )
        make_network: Callable[..., Any] = AutoModelForCausalLM.from_config
        self.network: Any = make_network(config, attn_implementation="sdpa")

    def forward(self, input_ids: Tensor) -> CausalLMOutputWithPast:
        """Return the output of the transformers model, with ``logits`` (batch_size, T, V), for ids (batch_size, T)."""
        output: CausalLMOutputWithPast = self.network(input_ids=input_ids)
        return output

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        """Return the mean cross-entropy, in nats, of the tokens after the first, and log it as ``train/loss``."""
        loss = self._loss(batch)
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        """Log the mean cross-entropy of held-out blocks as ``val/loss``."""
        self.log("val/loss", self._loss(batch), prog_bar=True, sync_dist=True)

    def configure_model(self) -> None:
        """Shard the transformer blocks and then the rest, where the strategy brings a device mesh (FSDP2)."""
        if self.device_mesh is None:
            return
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

    def _loss(self, batch: Tensor) -> Tensor:
        logits = self.network(input_ids=batch).logits[:, :-1]  # the last token has no next token to predict
        return cross_entropy(logits.flatten(0, 1).float(), batch[:, 1:].flatten())

    def _blocks(self) -> list[nn.Module]:
        names: Any = self.network._no_split_modules
        return [module for module in self.network.modules() if type(module).__name__ in names]

    def _parameter_groups(self) -> list[dict[str, Any]]:
        parameters = list(self.parameters())
        matrices = [parameter for parameter in parameters if parameter.ndim >= 2]
        vectors = [parameter for parameter in parameters if parameter.ndim < 2]
        return [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]


def _configuration(architecture: str, settings: Mapping[str, Any], vocab_size: int) -> PretrainedConfig:
    if architecture not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        nearest = ", ".join(_nearest(architecture))
        raise ValueError(
            f"architecture must be a causal language model of transformers, such as {nearest}, got {architecture!r}"
        )
    default = AutoConfig.for_model(architecture)
    for name in settings:
        if not hasattr(default, name):
            raise ValueError(f"settings must be those of a {architecture} configuration, got {name!r}")
    # blocks are packed, so there is no padding; with an id for it, as in OLMo 2, its embedding would stay zero
    no_special = {"pad_token_id": None, "bos_token_id": None, "eos_token_id": None}
    return AutoConfig.for_model(architecture, **no_special, vocab_size=vocab_size, use_cache=False, **settings)


def _nearest(architecture: str) -> list[str]:
    return difflib.get_close_matches(architecture, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES) or ["llama", "gpt2", "olmo2"]
