"""The plan of a run: what it would do and take, worked out before any of it is done.

Nothing is downloaded, written or trained. What cannot be known before is None, and a note says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import torch
from hydra.utils import instantiate
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy
from omegaconf import DictConfig
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from experiments.budget import Budget, budget_of, count_processes, settled
from experiments.model import LanguageModel, ParameterCount
from experiments.outlook import Outlook
from experiments.run_disk import checkpoint_bytes, trajectory_bytes
from experiments.step_memory import StepMemory, precision_of, step_memory, units, with_ddp, with_fsdp
from experiments.tokenizer import load_tokenizer, vocabulary_size
from ibtrack.schedules import Progress, Schedule
from ibtrack.tracking.tracker import check_schedule

# of the trainer: the machine that plans is not the one that trains
_ANYWHERE = {"accelerator": "cpu", "devices": 1, "num_nodes": 1, "strategy": "auto", "logger": False, "callbacks": []}
_NOT_ON_A_CPU = ("16", "transformer-engine")  # beginnings of precisions that Lightning refuses without a GPU
# ids of tokenizers that a plan need not download, the greatest plus one
PUBLISHED_VOCABULARIES = {"gpt2": 50_257, "EleutherAI/gpt-neox-20b": 50_277, "allenai/OLMo-2-0425-1B": 100_278}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run would do and take.

    Attributes:
        name: Name of the run.
        budget: Its tokens and steps.
        warmup_steps: Steps in which the learning rate rises.
        precision: Precision of the trainer, as Lightning names it.
        strategy: How processes train together: ``one process``, ``DDP``, ``FSDP2``, or the name of another strategy.
        corpus: Words for the corpus.
        corpus_tokens: Tokens to train on.
        parameters: Parameters of the model.
        flops_per_token: Operations of forward and backward pass for one token, see `flops_per_token`.
        memory: What a training step takes on each device.
        measurements: Measurements that are due; fewer are made where ``max_overhead`` bounds them.
        probe_tokens: Tokens of a measurement.
        disk: What is written, to its bytes.
        notes: What is not known and why, and what is to be watched.
    """

    name: str
    budget: Budget
    warmup_steps: float | None
    precision: str
    strategy: str
    corpus: str
    corpus_tokens: int | None = None
    parameters: ParameterCount | None = None
    flops_per_token: int | None = None
    memory: StepMemory | None = None
    measurements: int | None = None
    probe_tokens: int | None = None
    disk: Mapping[str, int | None] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def flops(self) -> int | None:
        """Operations of the whole training, without measurements."""
        tokens = self.budget.tokens
        return None if tokens is None or self.flops_per_token is None else tokens * self.flops_per_token

    @property
    def epochs(self) -> float | None:
        """How often the run sees its corpus."""
        tokens = self.budget.tokens
        return None if tokens is None or not self.corpus_tokens else tokens / self.corpus_tokens

    @property
    def measured_share(self) -> float | None:
        """Tokens that all measurements run through the model, by those that training does."""
        if self.measurements is None or self.probe_tokens is None or not self.budget.tokens:
            return None
        return self.measurements * self.probe_tokens / self.budget.tokens

    def hours(self, peak: float, mfu: float) -> float | None:
        """Return how long training takes on devices that reach a share of what they could.

        Args:
            peak: Operations a second of one device at its best.
            mfu: Share of it that training reaches, model FLOPs utilization (arXiv 2204.02311, appendix B).
        """
        return None if self.flops is None else self.flops / (peak * mfu * self.budget.processes) / 3600


def make_plan(cfg: DictConfig) -> Plan:
    """Work out what a run would do.

    Args:
        cfg: Configuration of the run.

    Returns:
        The plan. Where the configuration is one that the run would refuse, this raises what the run would raise.
    """
    notes: list[str] = []
    processes = _processes(cfg.trainer, notes)
    budget, cfg = budget_of(cfg, processes), settled(cfg, processes)
    _check_trainer(cfg.trainer)
    corpus = _corpus(instantiate(cfg.data), cfg.data, notes)
    measured = _measured(cfg, budget, notes)
    strategy = _strategy(cfg.trainer, processes)
    model = _model(cfg, budget, corpus.model_settings, strategy, notes)
    plan = Plan(
        name=cfg.name,
        budget=budget,
        warmup_steps=cfg.model.get("warmup_steps"),
        precision=str(cfg.trainer.get("precision") or "32-true"),
        strategy=strategy,
        corpus=corpus.words,
        corpus_tokens=corpus.tokens,
        parameters=model.parameters,
        flops_per_token=model.flops_per_token,
        memory=model.memory,
        measurements=measured,
        probe_tokens=_probe_tokens(cfg),
        disk={"corpus": corpus.disk, **_written(cfg, model, budget.steps, measured)},
        notes=tuple(notes),
    )
    return plan


def flops_per_token(network: nn.Module, num_parameters: int, block_size: int) -> int:
    """Count the operations of forward and backward pass for one token, as in PaLM (arXiv 2204.02311, appendix B).

    They are 6 N + 12 L H Q T: N parameters that a token is multiplied with, and for L layers of H heads of width Q all
    scores of a block of T tokens, those that a causal mask hides among them.

    Args:
        network: Model of transformers.
        num_parameters: Number of its parameters, those that only look up an embedding left out, N.
        block_size: Tokens in a block, T.
    """
    config: Any = network.config
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return 6 * num_parameters + 12 * config.num_hidden_layers * config.num_attention_heads * width * block_size


def due(schedule: Schedule, budget: Budget) -> int | None:
    """Count the measurements of a run: before the first step, whenever the schedule says, and after the last step.

    Args:
        schedule: When to measure.
        budget: Tokens and steps of the run.

    Returns:
        The number, or None if it depends on the clock or on a number of steps that is not known.

    Example:
        >>> from ibtrack import schedules
        >>> due(schedules.powers(2) | schedules.every(250), Budget(batch_size=16, block_size=128, steps=1500))
        18
    """
    if budget.steps is None or any(getattr(rule, "unit", None) == "seconds" for rule in schedule.rules):
        return None
    number, last, per_step = 1, Progress(0), budget.tokens_per_step
    for step in range(1, budget.steps + 1):
        now = Progress(step, step * per_step)
        if schedule.due(now, since=last) or step == budget.steps:
            number += 1
        last = now
    return number


class _Corpus(NamedTuple):
    """What is known of the data without preparing them; without ``model_settings`` there is no model to be planned."""

    words: str
    tokens: int | None
    disk: int | None
    model_settings: dict[str, Any] | None


class _Model(NamedTuple):
    """What is known of the model and of its training step."""

    parameters: ParameterCount | None = None
    flops_per_token: int | None = None
    memory: StepMemory | None = None
    alone: StepMemory | None = None
    num_layers: int | None = None


def _processes(trainer: DictConfig, notes: list[str]) -> int:
    """Count the processes, and say it where that is a guess."""
    found = count_processes(trainer)
    is_auto = str(trainer.get("devices", "auto")) in ("auto", "-1") and trainer.get("accelerator") != "cpu"
    if is_auto and not torch.cuda.device_count():
        notes.append(
            "trainer.devices takes all GPUs, and this machine has none: all is for one process on each node; "
            "trainer.devices=8 plans for eight"
        )
    return found or int(trainer.get("num_nodes", 1))


def _check_trainer(trainer: DictConfig) -> None:
    """Make the trainer as far as this machine can, for what it refuses."""
    only_gpus = str(trainer.get("precision")).startswith(_NOT_ON_A_CPU)
    instantiate(trainer, **_ANYWHERE, **({"precision": "32-true"} if only_gpus else {}))


def _strategy(trainer: DictConfig, processes: int) -> str:
    """Name how processes train together."""
    strategy = trainer.get("strategy", "auto")
    if processes == 1:
        return "one process"
    if isinstance(strategy, DictConfig):
        strategy = instantiate(strategy)
    if isinstance(strategy, ModelParallelStrategy):
        return "FSDP2"
    if isinstance(strategy, DDPStrategy) or strategy in ("auto", "ddp", "ddp_spawn", "ddp_fork", "ddp_notebook"):
        return "DDP"
    return strategy if isinstance(strategy, str) else type(strategy).__name__


def _corpus(data: Any, settings: DictConfig, notes: list[str]) -> _Corpus:
    """Find out what is known of the data."""
    words = settings._target_.rpartition(".")[2]
    if not hasattr(data, "outlook"):
        if not hasattr(data, "block_size"):
            notes.append(f"the model is not looked at, as {words} has no blocks of tokens")
            return _Corpus(words, None, 0, None)
        return _Corpus(words, data.num_blocks * data.block_size, 0, data.model_settings)
    try:
        found: Outlook = data.outlook()
    except ValueError as error:  # the tokenizer is one that the run would have to download
        name = data.tokenizer_source
        if name not in PUBLISHED_VOCABULARIES:
            notes.append(f"the vocabulary is not known here, nor what depends on it: {error}")
            return _Corpus(words, None, None, None)
        notes.append(f"the tokenizer {name} is not on this machine: its vocabulary is the published one")
        data = instantiate(settings, tokenizer=None, vocab_size=PUBLISHED_VOCABULARIES[name])
        found = data.outlook()
    vocabulary = _vocabulary(data, found)
    end = 0 if settings.get("attention") == "within_documents" else None
    if found.disk and found.disk + (found.sorting or 0) > found.free:
        notes.append(f"too little disk: {found.sentence()}")
    model_settings = {"vocab_size": vocabulary, "block_size": data.block_size, "document_end": end}
    return _Corpus(found.sentence(), found.tokens, found.disk, model_settings)


def _vocabulary(data: Any, found: Outlook) -> int:
    """Return how many ids the model needs."""
    if found.facts is not None:
        return found.facts.vocab_size
    if data.tokenizer_source is None:
        size: int = data.vocab_size
        return size
    return vocabulary_size(load_tokenizer(data.tokenizer_source, data.end_token).tokenizer)


def _model(cfg: DictConfig, budget: Budget, settings: dict[str, Any] | None, strategy: str, notes: list[str]) -> _Model:
    """Make the model without contents, and count what it has and what a step of it takes."""
    if settings is None:
        return _Model()
    make = partial(instantiate, cfg.model, **settings)
    with FakeTensorMode():
        module = make()
        if not isinstance(module, LanguageModel):
            notes.append(f"nothing is counted for {type(module).__name__}, which is no LanguageModel")
            return _Model()
        parameters = _counted(module.network)
        head = module.network.get_output_embeddings().weight.numel()
        flops = flops_per_token(module.network, parameters.non_embedding + head, budget.block_size)
        largest_block, rest = units(module.network)
        num_layers: int = module.network.config.num_hidden_layers
    precision = precision_of(cfg.trainer.get("precision"))
    if precision is None:
        notes.append(f"the memory of precision {cfg.trainer.precision} is not known")
        return _Model(parameters, flops, num_layers=num_layers)
    alone = step_memory(
        make, budget.batch_size, budget.block_size, precision=precision, accumulates=budget.accumulate > 1
    )
    if strategy == "DDP":
        memory = with_ddp(alone)
    elif strategy == "FSDP2":
        memory = with_fsdp(alone, budget.processes, largest_block, rest)
    else:
        memory = alone
        if strategy != "one process":
            notes.append(f"what {strategy} adds to the memory of a process, or takes from it, is not known")
    return _Model(parameters, flops, memory, alone, num_layers)


def _counted(network: Any) -> ParameterCount:
    """Count parameters as `experiments.model.count_parameters` does, of a network that there is already."""
    tables = {module.weight for module in network.modules() if isinstance(module, nn.Embedding)}
    tables.add(network.get_output_embeddings().weight)
    total = sum(parameter.numel() for parameter in network.parameters())
    return ParameterCount(total, sum(table.numel() for table in tables))


def _measured(cfg: DictConfig, budget: Budget, notes: list[str]) -> int | None:
    """Count the measurements that are due."""
    schedule: Schedule = instantiate(cfg.monitor.schedule, _convert_="all")
    check_schedule(schedule, budget.steps)
    instantiate(cfg.monitor.get("options"), _convert_="all")
    number = due(schedule, budget)
    if number is None:
        notes.append("how many measurements are due depends on the clock or on the length of the run")
    elif cfg.monitor.get("max_overhead"):
        notes.append(
            f"measurements are left out where they would take more than {cfg.monitor.max_overhead:.2%} of time"
        )
    return number


def _probe_tokens(cfg: DictConfig) -> int | None:
    """Return the tokens of the probe's blocks."""
    blocks, length = cfg.probe.get("num_blocks"), cfg.probe.get("block_size")
    return blocks * length if blocks and length else None


def _written(cfg: DictConfig, model: _Model, steps: int | None, measured: int | None) -> dict[str, int | None]:
    """Estimate what the run writes to its folder."""
    callbacks = [instantiate(callback) for callback in cfg.callbacks.values()]
    written: dict[str, int | None] = {"trajectory": None, "checkpoints": None}
    orders, blocks = cfg.probe.get("orders"), cfg.probe.get("num_blocks")
    if None not in (measured, model.num_layers, orders, blocks) and cfg.monitor.layers == "auto":
        sites = model.num_layers + 2  # type: ignore[operator]  # the embedding, and the mean
        written["trajectory"] = trajectory_bytes(measured, sites=sites, orders=len(orders), documents=blocks)  # type: ignore[arg-type]
    if model.alone is not None:
        sizes = {"weights": model.alone.gradients, "states": model.alone.optimizer}  # without the buffers
        each = [checkpoint_bytes(callback, **sizes, steps=steps, measurements=measured) for callback in callbacks]
        written["checkpoints"] = None if None in each else sum(filter(None, each))
    return written
