"""The model: its architectures and sizes, its loss, and the schedules of its learning rate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Dataset

from experiments.model import LanguageModel
from tests.runs import TRAINING, config, options

pytestmark = TRAINING

SMALL_MODEL = ["model.settings.hidden_size=32", "model.settings.num_hidden_layers=2", "data.block_size=16"]
ARCHITECTURES = ["llama_1M", "gpt2", "gpt_neox", "olmo2"]


def language_model(name: str, *overrides: str) -> LanguageModel:
    torch.manual_seed(0)
    cfg = config(f"model={name}", *SMALL_MODEL, *overrides).model
    model: LanguageModel = instantiate(cfg, vocab_size=64, block_size=16)
    return model


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_each_architecture_learns_and_does_not_look_ahead(name: str) -> None:
    model = language_model(name)
    batch = torch.randint(64, (4, 16), generator=torch.Generator().manual_seed(0))
    optimizer = model.optimizer(model._parameter_groups())
    losses = []
    for _ in range(30):
        losses.append(model._loss(batch))
        torch.autograd.backward(losses[-1])
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < losses[0] - 1  # nats; it learns the batch by heart
    changed = batch.clone()
    changed[:, 8:] = 0
    with torch.no_grad():
        logits, others = model(batch).logits, model(changed).logits
    torch.testing.assert_close(logits[:, :8], others[:, :8])
    assert model.network.get_input_embeddings().padding_idx is None, "or a token's embedding stays zero"


def test_loss_is_the_cross_entropy_of_each_next_token() -> None:
    model = language_model("gpt2")
    batch = torch.randint(64, (2, 16), generator=torch.Generator().manual_seed(0))
    log_p = model(batch).logits.log_softmax(-1)
    expected = -sum(log_p[s, t, batch[s, t + 1]] for s in range(2) for t in range(15)) / 30
    torch.testing.assert_close(model._loss(batch), expected)
    torch.testing.assert_close(model.network(batch, labels=batch).loss, expected)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_document_does_not_see_the_one_before_it(name: str) -> None:
    model = language_model(name).eval()
    model.document_end = 0
    first, second, third = (
        torch.randint(1, 64, (1, number), generator=torch.Generator().manual_seed(number)) for number in (5, 7, 1)
    )
    end = torch.zeros(1, 1, dtype=torch.long)
    packed = torch.cat([first, end, second, end, third, end], dim=1)
    others = torch.cat([second, end, first, third, end, end], dim=1)  # a batch of blocks that are cut differently
    with torch.no_grad():
        logits = model(torch.cat([packed, others])).logits
        alone = [model(torch.cat([document, end], dim=1)).logits[0] for document in (first, second, third)]
    tolerance: dict[str, Any] = {"rtol": 0, "atol": 1e-5}  # other kernels of float32
    torch.testing.assert_close(logits[0], torch.cat(alone), **tolerance)
    torch.testing.assert_close(logits[1, :8], alone[1], **tolerance)
    model.document_end = None
    with torch.no_grad():
        crossed = model(packed).logits[0]
    assert (crossed - logits[0])[6:].abs().max() > 1e-2, "without the end of a document they do"


def test_a_document_learns_nothing_from_the_one_before_it() -> None:
    model = language_model("llama_1M", "model.settings.tie_word_embeddings=false")
    model.document_end = 0
    batch = torch.randint(1, 64, (1, 16), generator=torch.Generator().manual_seed(0))
    batch[0, 9] = 0
    embedding = model.network.get_input_embeddings().weight
    logits: Any = model(batch).logits
    logits[0, 10:].sum().backward()
    seen = {int(token) for token in embedding.grad.abs().sum(1).nonzero()}
    assert seen == set(batch[0, 10:].tolist())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_chunked_head_has_the_loss_and_the_gradients_of_a_whole_one(name: str) -> None:
    whole, chunked = language_model(name), language_model(name, "model.head=chunked")
    batch = torch.randint(64, (4, 16), generator=torch.Generator().manual_seed(0))
    losses = [model._loss(batch) for model in (whole, chunked)]
    torch.testing.assert_close(*losses)
    for loss in losses:
        torch.autograd.backward(loss)
    for one, other in zip(whole.parameters(), chunked.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6)  # sums in another order


def test_a_chunked_head_never_has_the_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    model = language_model("llama_1M", "model.head=chunked")
    rows: list[int] = []
    model.network.get_output_embeddings().register_forward_hook(
        lambda module, inputs, output: rows.append(output.numel())
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model._loss(torch.zeros(4, 16, dtype=torch.long))
    assert rows == [0]
    assert loss.dtype == torch.float32


def test_a_head_that_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="head must be one of whole, chunked, got 'half'"):
        LanguageModel("llama", {}, vocab_size=64, block_size=16, head="half")
    with pytest.raises(ValueError, match="head must be 'whole' for gemma2, as the chunked one is known to fit llama"):
        LanguageModel("gemma2", {}, vocab_size=64, block_size=16, head="chunked")
    model = language_model("llama_1M", "model.head=chunked")
    monkeypatch.setattr(LanguageModel, "device_mesh", {"data_parallel": None})
    with pytest.raises(ValueError, match="head must be whole where weights are sharded"):
        model.configure_model()
    monkeypatch.delattr(torch.nn.functional, "linear_cross_entropy")
    with pytest.raises(ValueError, match=r"head must be 'whole' before PyTorch 2\.13"):
        LanguageModel("llama", {}, vocab_size=64, block_size=16, head="chunked")


def test_gradients_of_checkpointed_blocks_are_the_same() -> None:
    models = [language_model("llama_1M", f"model.checkpoint_blocks={option}") for option in ("false", "true")]
    batch = torch.randint(64, (4, 16), generator=torch.Generator().manual_seed(0))
    runs: list[int] = []
    for model in models:
        model.network.model.layers[0].mlp.register_forward_pre_hook(lambda *_: runs.append(1))
        torch.autograd.backward(model._loss(batch))
        runs.append(0)
    assert runs == [1, 0, 1, 1, 0], "the second model runs its blocks twice"
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=0, atol=0)


def test_embeddings_can_be_spared_the_decay() -> None:
    model = language_model("gpt2", "model.decay_embeddings=false")
    matrices, others = model._parameter_groups()
    spared = [parameter for parameter in others["params"] if parameter.ndim == 2]
    assert len(spared) == 2
    assert any(parameter is model.network.get_input_embeddings().weight for parameter in spared)
    assert len(matrices["params"]) + len(others["params"]) == len(list(model.parameters()))


class Values(Logger):
    """Keeps what is logged."""

    name, version = "values", 0

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[tuple[int | None, float]] = []

    def log_hyperparams(self, *_: Any, **__: Any) -> None: ...

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.kept += [(step, value) for name, value in metrics.items() if name == "train/loss"]


class EachLoss(Callback):
    """Keeps the loss of each batch."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        self.losses.append(float(outputs["loss"]) * trainer.accumulate_grad_batches)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_loss_is_logged_where_loggers_keep_it_and_at_the_end(
    accumulate: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    log: Any = LanguageModel.log

    def counted(module: LanguageModel, name: str, *values: Any, **options: Any) -> None:
        calls.append(name)
        log(module, name, *values, **options)

    monkeypatch.setattr(LanguageModel, "log", counted)
    values, each = Values(), EachLoss()
    quiet: dict[str, Any] = dict.fromkeys(
        ["enable_progress_bar", "enable_checkpointing", "enable_model_summary"], False
    )
    trainer = Trainer(
        accelerator="cpu", logger=values, callbacks=[each], max_steps=7, max_epochs=-1, log_every_n_steps=3,
        limit_val_batches=0, accumulate_grad_batches=accumulate, **quiet,
    )  # fmt: skip
    blocks = torch.randint(64, (20, 16), generator=torch.Generator().manual_seed(0))
    loader: Any = DataLoader(cast("Dataset[Tensor]", blocks))
    trainer.fit(language_model("llama_1M"), loader, loader)
    of_step = each.losses[accumulate - 1 :: accumulate]
    steps, kept = zip(*values.kept, strict=True)
    assert steps == (2, 5)
    assert kept == pytest.approx([of_step[2], of_step[5]])
    assert float(trainer.callback_metrics["train/loss"]) == pytest.approx(of_step[6])
    assert len(calls) == 3 * accumulate


def test_a_step_can_be_taken_without_a_trainer() -> None:
    model = language_model("llama_1M")
    batch = torch.zeros(2, 16, dtype=torch.long)
    assert model.training_step(batch, 0) == model._loss(batch)


def test_only_matrices_decay() -> None:
    matrices, vectors = language_model("gpt2")._parameter_groups()
    assert {p.ndim for p in matrices["params"]} == {2}
    assert {p.ndim for p in vectors["params"]} == {1}
    assert vectors["weight_decay"] == 0


class Rates(Callback):
    """Keeps the learning rate of each step."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        self.values.append(optimizer.param_groups[0]["lr"])


def learning_rates(*overrides: str, **settings: Any) -> list[float]:
    """Return the rate of each step of a short fit."""
    rates = Rates()
    quiet = dict.fromkeys(["logger", "enable_progress_bar", "enable_checkpointing", "enable_model_summary"], False)
    options: dict[str, Any] = {**quiet, "max_steps": 6, "max_epochs": -1, **settings}
    trainer = Trainer(accelerator="cpu", limit_val_batches=0, callbacks=[rates], **options)
    loader: Any = DataLoader(cast("Dataset[Tensor]", torch.zeros(3, 16, dtype=torch.long)))
    trainer.fit(language_model("llama_1M", "model.warmup_steps=2", *overrides), loader, loader)
    return rates.values


def test_the_rate_warms_up_and_falls_to_its_minimum() -> None:
    cosine = [0.1 + 0.9 * 0.5 * (1 + np.cos(np.pi * step / 4)) for step in range(4)]
    assert learning_rates() == pytest.approx([0, 0.5 * 2e-3, *(2e-3 * share for share in cosine)])


@pytest.mark.parametrize("name", options("model/schedule"))
def test_every_schedule_has_its_shape(name: str) -> None:
    falls: dict[str, Callable[[float], float]] = {
        "constant": lambda step: 1.0,
        "cosine": lambda step: 0.1 + 0.9 * 0.5 * (1 + np.cos(np.pi * step / 4)),
        "linear": lambda step: 1 - step / 4,
        "wsd": lambda step: min(1.0, 0.5 * (1 + np.cos(np.pi * (step - 2) / 2)) if step > 2 else 1.0),
    }
    decay = ["model.schedule_settings.num_decay_steps=2"] if name == "wsd" else []
    rates = learning_rates(f"model/schedule={name}", *decay)
    assert rates == pytest.approx([0, 1e-3, *(2e-3 * falls[name](step) for step in range(4))])


def test_a_constant_rate_needs_no_last_step() -> None:
    constant = ["model/schedule=constant"]
    assert learning_rates(*constant) == pytest.approx([0, 1e-3, 2e-3, 2e-3, 2e-3, 2e-3])
    endless: dict[str, Any] = {"max_steps": -1, "max_time": {"seconds": 1}}
    assert learning_rates(*constant, **endless)[:4] == pytest.approx([0, 1e-3, 2e-3, 2e-3])
    with pytest.raises(ValueError, match="schedule 'cosine_with_min_lr' must know the last step; give the trainer"):
        learning_rates(**endless)


def test_a_block_longer_than_the_context_is_refused() -> None:
    with pytest.raises(ValueError, match="block_size must be at most 16, the model's context, got 32"):
        LanguageModel("llama", {"max_position_embeddings": 16}, vocab_size=64, block_size=32)


def test_an_unknown_schedule_is_answered_with_the_known() -> None:
    with pytest.raises(ValueError, match=r"x is not a valid SchedulerType, please select one of .*cosine"):
        LanguageModel("llama", {}, vocab_size=64, block_size=16, schedule="x")


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_gradients_of_a_fused_optimizer_are_clipped(precision: Any) -> None:
    class Norm(Callback):
        def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *rest: object) -> None:
            self.norm = torch.nn.utils.get_total_norm([p.grad for p in pl_module.parameters() if p.grad is not None])

    model, norm = language_model("llama_1M"), Norm()
    blocks = cast("Dataset[Tensor]", torch.zeros(2, 16, dtype=torch.long))
    quiet: dict[str, Any] = dict.fromkeys(["logger", "enable_checkpointing", "enable_progress_bar"], False)
    trainer = Trainer(
        max_steps=1,
        precision=precision,
        gradient_clip_val=0.01,
        accelerator="cpu",
        callbacks=[norm],
        **quiet,
        enable_model_summary=False,
        limit_val_batches=0,
        log_every_n_steps=1,
    )
    loader = DataLoader(blocks, batch_size=2)
    trainer.fit(model, loader, loader)
    assert float(norm.norm) == pytest.approx(0.01, rel=1e-2)


def test_scaled_gradients_are_left_to_lightning(monkeypatch: pytest.MonkeyPatch) -> None:
    model = language_model("llama_1M")
    asked: list[object] = []
    monkeypatch.setattr(model, "clip_gradients", lambda *arguments: asked.append(arguments))
    model._trainer = SimpleNamespace(precision_plugin=SimpleNamespace(scaler=object()))  # type: ignore[assignment]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.configure_gradient_clipping(optimizer, 1.0, "norm")
    assert asked == [(optimizer, 1.0, "norm")]
