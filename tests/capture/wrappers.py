"""Ways in which people wrap, average and extend their models, each as a short training run.

`WAYS` is the table of docs/howto/wrappers.md: training with a tracker leaves everything equal bit for bit, or the
tracker refuses the model before the first step, with a sentence.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torchmetrics
import transformers as hf
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch._C._distributed_c10d import HashStore
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.func import functional_call, stack_module_state, vmap
from torch.nn.utils import parametrizations
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.checkpoint import checkpoint

from ibtrack import InformationPlaneTracker, schedules
from tests.models import VOCABULARY, WIDTH, Block, Model, probe, tokens

STEPS = 4


def _loss(model: nn.Module, ids: Tensor) -> Tensor:
    output = model(ids)
    logits = output if isinstance(output, Tensor) else output.logits
    return nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())


def _adamw(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], 1e-2)


@dataclass
class Run:
    """What a plain training loop needs, and what must be equal at its end beside weights, losses and random states."""

    model: nn.Module
    measured: nn.Module | None = None
    loss: Callable[[nn.Module, Tensor], Tensor] = _loss
    optimizer: Callable[[nn.Module], Any] = _adamw
    backward: Callable[[Tensor], object] = torch.Tensor.backward
    after_step: Callable[[], object] = lambda: None
    around: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext
    kept: Callable[[], Any] = lambda: 0
    options: dict[str, Any] = field(default_factory=dict)  # of the tracker


@dataclass(frozen=True)
class Way:
    """A way of wrapping a model.

    Attributes:
        make: Makes the model, inside a process group of one if ``grouped``.
        refusal: What the tracker says at its start, if it refuses.
    """

    make: Callable[[], Run]
    refusal: str | None = None
    grouped: bool = False


WAYS: dict[str, Way] = {}


def _way(name: str, *, refusal: str | None = None, grouped: bool = False) -> Callable[..., Callable[[], Run]]:
    def add(make: Callable[[], Run]) -> Callable[[], Run]:
        WAYS[name] = Way(make, refusal, grouped)
        return make

    return add


def train(way: Way, *, follow: bool) -> tuple[dict[str, Any], list[str | None]]:
    """Train for a few steps; everything that must be equal, and the failures of the points."""
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    run = way.make()
    run.model.train()
    tracker = InformationPlaneTracker(**{"probe": probe(), "schedule": schedules.every(1), **run.options})
    optimizer, losses = run.optimizer(run.model), []
    for step in range(STEPS + 1):
        with run.around():
            if follow:
                tracker.step(run.measured or run.model, step)
            optimizer.zero_grad()
            loss = run.loss(run.model, tokens(4, seed=step))
            run.backward(loss)
        optimizer.step()
        run.after_step()
        losses.append(float(loss))
    numpy_state: Any = np.random.get_state()
    state = {
        "weights": {name: _plain(value) for name, value in run.model.state_dict().items()},
        "losses": losses,
        "kept": run.kept(),
        "torch": torch.get_rng_state(),
        "numpy": numpy_state[1].tolist(),
        "python": list(random.getstate()[1]),
    }
    return state, [point.failure for point in tracker.trajectory.points]


def _plain(value: Any) -> Any:
    return value.full_tensor() if hasattr(value, "full_tensor") else value


def _with(change: Callable[[Any, Tensor], Tensor], **attributes: Any) -> Model:
    """The model, whose first block has these attributes and changes what it makes."""

    class Changing(Block):
        def forward(self, hidden: Tensor) -> Tensor:
            return change(self, super().forward(hidden))

    model = Model()
    block: Any = Changing()
    model.blocks = nn.ModuleList([block, Changing()])
    for each in model.blocks:
        for name, value in attributes.items():
            setattr(each, name, value() if callable(value) else value)
    return model


def _llama(**options: Any) -> Any:
    sizes: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 32, "vocab_size": VOCABULARY, "attention_dropout": 0.1}
    return hf.LlamaForCausalLM(hf.LlamaConfig(**sizes, **options))


@_way("a plain `nn.Module`, with dropout and batch norm")
def _plain_model() -> Run:
    return Run(Model())


@_way("`torch.compile(model)`")
def _compiled() -> Run:
    torch._dynamo.reset()
    model: Any = torch.compile(Model(), backend="eager")
    return Run(model)


@_way("`model.compile()`")
def _compiled_in_place() -> Run:
    torch._dynamo.reset()
    model: Any = Model()
    model.compile(backend="eager")
    return Run(model)


@_way("`torch.compile` of each block")
def _compiled_blocks() -> Run:
    torch._dynamo.reset()
    model = Model()
    compiled: Any = [torch.compile(block, backend="eager") for block in model.blocks]
    model.blocks = nn.ModuleList(compiled)
    return Run(model)


@_way("weight norm, as hooks (`torch.nn.utils.weight_norm`)")
def _weight_norm() -> Run:
    model: Any = Model()
    for block in model.blocks:
        nn.utils.weight_norm(block.mix)
    return Run(model)


@_way("weight norm, as a parametrization")
def _weight_norm_parametrized() -> Run:
    model: Any = Model()
    for block in model.blocks:
        parametrizations.weight_norm(block.mix)
    return Run(model)


@_way("spectral norm, as hooks or as a parametrization")
def _spectral_norm() -> Run:
    model: Any = Model()
    nn.utils.spectral_norm(model.blocks[0].mix)
    parametrizations.spectral_norm(model.blocks[1].mix)
    parametrizations.spectral_norm(model.head)
    return Run(model)


@_way("tied weights")
def _tied() -> Run:
    model = Model()
    model.head.weight = model.embed.weight
    return Run(model)


@_way("frozen modules that stay in evaluation mode")
def _frozen() -> Run:
    class Frozen(Model):
        def train(self, mode: bool = True) -> Frozen:
            super().train(mode)
            self.blocks[0].eval()
            return self

    model = Frozen()
    model.blocks[0].requires_grad_(False)
    return Run(model)


@_way("activation checkpointing (`torch.utils.checkpoint`)")
def _checkpointed() -> Run:
    class Saving(Model):
        def forward(self, ids: Tensor) -> Tensor:
            hidden = self.embed(ids)
            for block in self.blocks:
                hidden = checkpoint(block, hidden, use_reentrant=False)
            return self.head(hidden)

    return Run(Saving())


@_way("activation checkpointing, as a wrapper (`checkpoint_wrapper`)")
def _checkpoint_wrapper() -> Run:
    model = Model()
    model.blocks = nn.ModuleList([checkpoint_wrapper(block) for block in model.blocks])
    return Run(model)


@_way("gradient checkpointing of transformers")
def _gradient_checkpointing() -> Run:
    model = _llama()
    model.gradient_checkpointing_enable()
    return Run(model)


@_way("autocast around the step and the measurement")
def _autocast() -> Run:
    return Run(Model(), around=lambda: torch.autocast("cpu", dtype=torch.bfloat16))


@_way("weights in bfloat16")
def _half() -> Run:
    return Run(Model().to(torch.bfloat16))


@_way("an average beside the model (`AveragedModel`)")
def _average_beside() -> Run:
    model = Model()
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    return Run(model, after_step=lambda: average.update_parameters(model), kept=average.state_dict)


@_way("the average itself, measured in place of the model")
def _average_measured() -> Run:
    model = Model()
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    return Run(model, measured=average, after_step=lambda: average.update_parameters(model), kept=average.state_dict)


class _ScheduleFree(torch.optim.SGD):
    """Trains weights between those that it keeps and their mean, and shows the mean in ``eval()``, as schedule-free."""

    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # it takes none
        for weight in self.param_groups[0]["params"]:
            state = self.state[weight]
            state.setdefault("z", weight.detach().clone())
            state.setdefault("x", weight.detach().clone())
            state["z"].sub_(weight.grad, alpha=0.1)
            state["x"].lerp_(state["z"], 0.5)
            weight.data.copy_(torch.lerp(state["z"], state["x"], 0.9))


@_way("an optimizer whose evaluated weights differ from the trained ones (as schedule-free)")
def _schedule_free() -> Run:
    return Run(Model(), optimizer=lambda model: _ScheduleFree(model.parameters(), 0.1))


def _lazy_buffer(block: Any, hidden: Tensor) -> Tensor:
    if "scale" not in block._buffers:
        block.register_buffer("scale", torch.rand(WIDTH) + hidden.detach().abs().mean())
    return hidden * block.scale


@_way("buffers that the first forward registers")
def _new_buffers() -> Run:
    return Run(_with(_lazy_buffer))


def _empty_buffer(block: Any, hidden: Tensor) -> Tensor:
    block.scale = hidden.detach().abs().mean() if block.scale is None else block.scale * 0.9 + 0.1
    return hidden * block.scale


@_way("buffers registered as None, and running statistics that evaluation changes too")
def _none_buffers() -> Run:
    model = _with(_empty_buffer)
    for block in model.blocks:
        block.register_buffer("scale", None)
    return Run(model)


def _made_layer(block: Any, hidden: Tensor) -> Tensor:
    if not hasattr(block, "extra"):
        block.extra = nn.Linear(WIDTH, WIDTH).requires_grad_(False)
    return hidden + block.extra(hidden)


@_way("layers that the first forward makes")
def _new_layers() -> Run:
    return Run(_with(_made_layer))


@_way(
    "lazy layers without a shape (`nn.LazyLinear`)", refusal="'head.weight', 'head.bias' get their shape in the first"
)
def _lazy() -> Run:
    model: Any = Model()
    model.head = nn.LazyLinear(VOCABULARY)
    return Run(model)


def _own_noise(block: Any, hidden: Tensor) -> Tensor:
    block.calls += 1
    numpy_noise = torch.from_numpy(block.numbers.standard_normal(WIDTH)).float() * block.python.random()
    return hidden + torch.randn(WIDTH, generator=block.generator) + numpy_noise


@_way("modules with generators and counters of their own (torch, NumPy, Python)")
def _generators() -> Run:
    model = _with(
        _own_noise,
        generator=lambda: torch.Generator().manual_seed(3),
        numbers=lambda: np.random.default_rng(3),
        python=lambda: random.Random(3),
        calls=0,
    )
    blocks: Any = model.blocks
    return Run(model, kept=lambda: [block.calls for block in blocks])


_SHARED = torch.Generator()


@_way("a generator that is not in the model", refusal="the same block gives other activations of L00 a second time")
def _global_generator() -> Run:
    return Run(_with(lambda block, hidden: hidden + torch.randn(WIDTH, generator=_SHARED)))


def _cache_rows(block: Any, hidden: Tensor) -> Tensor:
    block.rows.append(hidden.detach().mean((0, 1)))
    block.last = hidden.detach()[:1]
    block.seen["rows"] = block.seen.get("rows", 0) + 1
    return hidden + torch.stack(block.rows).mean(0)


@_way("caches and running statistics as attributes, lists and dictionaries")
def _caches() -> Run:
    model = _with(_cache_rows, rows=list, seen=dict, last=None)
    blocks: Any = model.blocks
    return Run(model, kept=lambda: [[block.rows, block.last, block.seen] for block in blocks])


class _Cache:
    """A cache of keys and values as people write them."""

    def __init__(self) -> None:
        self.keys: list[Tensor] = []
        self.filled = torch.zeros(1)

    def update(self, key: Tensor) -> Tensor:
        self.keys.append(key)
        self.filled += 1
        return torch.stack(self.keys).mean(0)


def _cache_in_object(block: Any, hidden: Tensor) -> Tensor:
    return hidden + block.cache.update(hidden.detach().mean((0, 1)))


@_way("a cache of keys and values that is an object of the model's own package")
def _cache_object() -> Run:
    model = _with(_cache_in_object, cache=lambda: _Cache())
    blocks: Any = model.blocks
    return Run(model, kept=lambda: [[block.cache.keys, block.cache.filled] for block in blocks])


@_way("a configuration of transformers that keeps a cache (`use_cache=True`)")
def _use_cache() -> Run:
    return Run(_llama(use_cache=True))


@_way(
    'rotary positions that are worked out anew beyond the context (`rope_type="dynamic"`)',
    refusal="the probe's blocks must fit the model's context of 8, got 16 tokens",
)
def _dynamic_positions() -> Run:
    rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    model = _llama(rope_parameters=rope, max_position_embeddings=8)  # the probe's blocks have 16
    return Run(model)


def _count(block: Any, hidden: Tensor) -> Tensor:
    block.metric.update(hidden.detach().mean())
    block.spread.update(hidden.detach().std())
    return hidden


@_way("a torchmetric that the forward updates")
def _metrics() -> Run:
    model = _with(_count, metric=torchmetrics.MeanMetric, spread=torchmetrics.CatMetric)
    blocks: Any = model.blocks
    return Run(
        model,
        kept=lambda: [[block.metric.compute(), block.spread.compute(), block.metric._update_count] for block in blocks],
    )


@_way("an embedding that shortens the rows it reads (`max_norm`)")
def _max_norm() -> Run:
    model = Model()
    model.embed = nn.Embedding(VOCABULARY, WIDTH, max_norm=0.5)
    return Run(model)


def _moves_weights(block: Any, hidden: Tensor) -> Tensor:
    block.mix.weight.data.mul_(0.99)
    return hidden


@_way(
    "a forward that changes its parameters", refusal="the model's forward changes the parameter 'blocks.0.mix.weight'"
)
def _moving() -> Run:
    return Run(_with(_moves_weights))


@_way("a forward that adds to gradients", refusal="changes the gradient of 'blocks.0.mix.weight'")
def _inner_gradient() -> Run:
    def energy(block: Any, hidden: Tensor) -> Tensor:
        with torch.enable_grad():
            block.mix(hidden.detach()).square().mean().backward()
        return hidden

    return Run(_with(energy))


@_way("forward hooks that collect what passes")
def _hooks() -> Run:
    model, seen, calls = Model(), [], 0

    def collect(module: nn.Module, args: Any, output: Tensor) -> None:
        nonlocal calls
        calls += 1
        seen.append(output.detach().mean())

    for block in model.blocks:
        block.register_forward_hook(collect)
    return Run(model, kept=lambda: [seen, calls])


@_way("backward hooks, and hooks that change what passes")
def _backward_hooks() -> Run:
    model, seen = Model(), []

    def collect(module: nn.Module, ins: Any, outs: Any) -> None:
        seen.append(outs[0].mean())

    model.blocks[0].register_full_backward_hook(collect)
    model.blocks[1].register_forward_hook(lambda module, args, output: output * 0.5)
    return Run(model, kept=lambda: seen)


@_way("parts by `torch.jit.script` that are not measured")
def _scripted_part() -> Run:
    model: Any = Model()
    model.head = torch.jit.script(model.head)
    return Run(model)


@_way("measured layers by `torch.jit.script`", refusal="'blocks.0', 'blocks.1' come from torch.jit.script")
def _scripted() -> Run:
    model: Any = torch.jit.script(_Scriptable())
    return Run(model, options={"layers": ["blocks.*"]})


class _Scriptable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, WIDTH)
        self.blocks = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH))
        self.head = nn.Linear(WIDTH, VOCABULARY)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.blocks(self.embed(ids)))


class _Ensemble(nn.Module):
    """Several models that run at once by ``vmap``; the modules inside see what only exists there."""

    def __init__(self) -> None:
        super().__init__()
        members = [_Scriptable() for _ in range(2)]
        weights, _ = stack_module_state(members)
        self.names = list(weights)
        self.weights = nn.ParameterList([nn.Parameter(each.detach()) for each in weights.values()])
        self.base = members[0].requires_grad_(False)

    def forward(self, ids: Tensor) -> Tensor:
        weights = dict(zip(self.names, self.weights, strict=True))
        logits: Tensor = vmap(lambda each: functional_call(self.base, each, (ids,)))(weights)
        return logits.mean(0)


@_way("an ensemble by `torch.func.vmap`", refusal="inside of torch.func.vmap")
def _ensemble() -> Run:
    return Run(_Ensemble())


class _Adapted(nn.Module):
    """A linear layer with a low-rank addition, which ``eval()`` merges into its weight."""

    def __init__(self, base: Any) -> None:
        super().__init__()
        self.base, self.merged = base.requires_grad_(False), False
        self.down, self.up = nn.Parameter(torch.randn(2, WIDTH) / 4), nn.Parameter(torch.zeros(WIDTH, 2))

    def train(self, mode: bool = True) -> _Adapted:
        if mode == self.merged:
            self.base.weight.data += (self.up @ self.down).detach() * (-1 if mode else 1)
            self.merged = not mode
        super().train(mode)
        return self

    def forward(self, hidden: Tensor) -> Tensor:
        adapted: Tensor = self.base(hidden)
        return adapted if self.merged else adapted + hidden @ self.down.T @ self.up.T


@_way("low-rank adapters that evaluation merges")
def _adapters() -> Run:
    model = Model()
    for block in model.blocks:
        block.mix = _Adapted(block.mix)
    return Run(model)


class _Recurrent(Model):
    """A recurrent model that goes on from the state that the last batch left."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(WIDTH, WIDTH, batch_first=True)
        self.state: Any = None

    def forward(self, ids: Tensor) -> Tensor:
        hidden = self.embed(ids)
        if self.state is not None and self.state[0].shape[1] != len(ids):
            self.state = None
        hidden, state = self.lstm(hidden, self.state)
        self.state = tuple(each.detach() for each in state)
        for block in self.blocks:
            hidden = block(hidden)
        return self.head(hidden)


@_way("a recurrent model that keeps its state between batches")
def _recurrent() -> Run:
    model = _Recurrent()
    return Run(model, kept=lambda: model.state)


@_way("fake quantisation with observers (`torch.ao.quantization`)")
def _quantised() -> Run:
    from torch.ao.quantization import FakeQuantize, MovingAverageMinMaxObserver

    fake: Any = FakeQuantize.with_args(observer=MovingAverageMinMaxObserver, quant_min=0, quant_max=255)
    model: Any = _with(lambda block, hidden: block.fake(hidden), fake=fake)
    return Run(model)


@_way("`nn.DataParallel`")
def _data_parallel() -> Run:
    return Run(nn.DataParallel(Model()))


@_way("Lightning Fabric")
def _fabric() -> Run:
    fabric = Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")
    model = fabric.setup_module(Model())
    return Run(model, backward=fabric.backward)


@_way("accelerate (`Accelerator.prepare`)")
def _accelerate() -> Run:
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True, mixed_precision="bf16")
    model = accelerator.prepare_model(Model())
    return Run(model, backward=accelerator.backward)


@_way("DistributedDataParallel", grouped=True)
def _ddp() -> Run:
    return Run(nn.parallel.DistributedDataParallel(Model()))


@_way("DistributedDataParallel, compiled", grouped=True)
def _ddp_compiled() -> Run:
    torch._dynamo.reset()
    model: Any = torch.compile(nn.parallel.DistributedDataParallel(Model()), backend="eager")
    return Run(model)


@_way("FSDP2 (`fully_shard`)", grouped=True)
def _fsdp2() -> Run:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    model, mesh = Model(), init_device_mesh("cpu", (1,))
    for block in model.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return Run(model)


@_way("FSDP1 (`FullyShardedDataParallel`), by blocks", grouped=True)
def _fsdp1() -> Run:
    from torch.distributed.fsdp import FullyShardedDataParallel
    from torch.distributed.fsdp.wrap import ModuleWrapPolicy

    policy = ModuleWrapPolicy({Block})
    return Run(
        FullyShardedDataParallel(Model(), auto_wrap_policy=policy, device_id=torch.device("cpu"), use_orig_params=True)
    )


@contextlib.contextmanager
def group_of_one() -> Iterator[None]:
    """Join a process group of this process alone."""
    torch.distributed.init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()
