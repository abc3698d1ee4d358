"""Whole runs of a few steps on models as people have them: every point is there and every number is one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers as hf
from lightning.pytorch.demos import Transformer
from torch import Tensor, nn

from ibtrack import InformationPlaneTracker, Probe, Trajectory, schedules
from tests.models import VOCABULARY, probe, tokens

Loss = Callable[[Any, int], Tensor]  # of a model at a step

pytestmark = pytest.mark.filterwarnings("ignore:.*")  # transformers speaks of missing fast kernels
SIZES: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
LABELS: dict[str, Any] = {"vocab_size": VOCABULARY, "pad_token_id": None, "bos_token_id": None, "eos_token_id": None}
CONFIGS: dict[str, Callable[[], Any]] = {
    "gpt2": lambda: hf.GPT2Config(n_embd=16, n_layer=2, n_head=2, **LABELS),
    "llama": lambda: hf.LlamaConfig(**LABELS, **SIZES),
    "gpt_neox": lambda: hf.GPTNeoXConfig(**LABELS, **SIZES),
    "olmo2": lambda: hf.Olmo2Config(num_key_value_heads=2, **LABELS, **SIZES),
    "mixtral": lambda: hf.MixtralConfig(num_key_value_heads=2, num_local_experts=4, **LABELS, **SIZES),
    "mamba": lambda: hf.MambaConfig(hidden_size=16, num_hidden_layers=2, state_size=4, **LABELS),
}


def _train(model: Any, loss: Loss, after_step: Callable[[Any, int], object]) -> dict[str, Tensor]:
    """Train for three steps; the weights at the end."""
    torch.manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    for step in range(4):
        after_step(model, step)
        optimizer.zero_grad()
        total: Any = loss(model, step)
        total.backward()
        optimizer.step()
    weights: dict[str, Tensor] = model.state_dict()
    return weights


def _measured(model: Any, loss: Loss, **options: Any) -> tuple[dict[str, Tensor], Trajectory]:
    """Train and measure after each step; the weights at the end, and what was measured."""
    tracker = InformationPlaneTracker(**{"probe": probe(), "schedule": schedules.every(1), **options})
    return _train(model, loss, tracker.step), tracker.trajectory


def _check(trajectory: Trajectory, sites: list[str], *, quantity: str = "expressivity", order: str = "token") -> None:
    assert [point.failure for point in trajectory.points] == [None] * 4
    assert list(trajectory.protocol["sites"]) == sites
    for site in ("mean", *sites):
        assert all(math.isfinite(value) for value in trajectory.values(f"ib/{site}/{order}/{quantity}"))


def _causal_loss(model: Any, step: int) -> Tensor:
    ids = tokens(4, seed=step)
    loss: Tensor = model(ids, labels=ids).loss
    return loss


@pytest.mark.parametrize("name", CONFIGS)
def test_decoders_of_transformers(name: str) -> None:
    def model() -> Any:
        torch.manual_seed(1)
        make: Any = hf.AutoModelForCausalLM
        return make.from_config(configuration).train()

    configuration = CONFIGS[name]()
    weights, trajectory = _measured(model(), _causal_loss, layers="auto")
    torch.testing.assert_close(weights, _train(model(), _causal_loss, lambda model, step: None), rtol=0, atol=0)
    _check(trajectory, ["embed", "L00", "L01"])
    assert all(0 < value < 5 for value in trajectory.values("ib/probe_loss"))


def test_the_transformer_of_lightnings_demos() -> None:
    """It takes targets as well, and gives log probabilities without a shape."""

    def loss(model: Any, step: int) -> Tensor:
        ids = tokens(4, seed=step)
        return nn.functional.nll_loss(model(ids[:, :-1], ids[:, :-1]), ids[:, 1:].flatten())

    model = Transformer(VOCABULARY, ninp=16, nhid=16).train()
    _, trajectory = _measured(
        model, loss, forward=lambda model, ids: model(ids, ids), layers=["transformer.*coder.layers.*"]
    )
    _check(trajectory, ["L00", "L01", "L02", "L03"])
    assert trajectory.protocol["sites"]["L02"] == "transformer.decoder.layers.0"


class _Named(nn.Module):
    """Names that mean something elsewhere: wrappers, wandb, globs."""

    def __init__(self) -> None:
        super().__init__()
        self.lookup = nn.Embedding(VOCABULARY, 16)
        self.towers = nn.ModuleDict({"left-hand (old)": nn.Linear(16, 16), "module_2": nn.Linear(16, 16)})

    def forward(self, ids: Tensor) -> Tensor:
        hidden = self.lookup(ids)
        for tower in self.towers.values():
            hidden = hidden + tower(hidden)
        summed: Tensor = hidden
        return summed


def test_a_module_with_odd_names() -> None:
    def loss(model: Any, step: int) -> Tensor:
        mean: Tensor = model(tokens(4, seed=step)).square().mean()
        return mean

    _, trajectory = _measured(_Named(), loss, layers="towers.*")
    _check(trajectory, ["L00", "L01"])
    assert trajectory.protocol["sites"] == {"L00": "towers.left-hand (old)", "L01": "towers.module_2"}


def _padded(pad: int, blocks: int = 24, length: int = 16) -> Probe:
    """Blocks whose ends are padding, with the documents that say so."""
    ids = tokens(blocks, seed=5).clamp(1, VOCABULARY - 2)
    padding = torch.arange(length) >= 6 + torch.arange(blocks)[:, None] % 9  # no block is whole
    documents = torch.arange(blocks)[:, None].expand(blocks, length).masked_fill(padding, -1)
    return Probe(ids.masked_fill(padding, pad), orders=(1,), documents=documents)


class _Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)

    def forward(self, ids: Tensor, padding: Tensor) -> Tensor:
        hidden: Tensor = self.encoder(self.embed(ids), src_key_padding_mask=padding)
        return hidden


def _bert() -> nn.Module:
    return hf.BertModel(hf.BertConfig(vocab_size=VOCABULARY, **SIZES))


@pytest.mark.parametrize(
    ("make", "run"),
    [
        (_Encoder, lambda model, ids, padding: model(ids, padding)),
        (_bert, lambda model, ids, padding: model(ids, attention_mask=(~padding).long()).last_hidden_state),
    ],
    ids=["torch", "bert"],
)
def test_an_encoder_with_masks(make: Callable[[], Any], run: Callable[[Any, Tensor, Tensor], Tensor]) -> None:
    """Padding is in no reading: whatever stands there, the numbers are the same."""
    model = make().train()
    readings = []
    for pad in (0, VOCABULARY - 1):
        sample = _padded(pad)

        def forward(model: Any, ids: Tensor, pad: int = pad) -> Tensor:
            return run(model, ids, ids == pad)

        readings.append(InformationPlaneTracker(sample, forward=forward, batch_size=5).measure(model).values)
    assert readings[0] == pytest.approx(readings[1], abs=1e-6)
    assert "ib/probe_loss" not in readings[0]

    def loss(model: Any, step: int) -> Tensor:
        return forward(model, sample.inputs).square().mean()

    _, trajectory = _measured(model, loss, probe=sample, forward=forward)
    _check(trajectory, ["embed", "L00", "L01"])


class _Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Sequential(nn.Linear(4, 8), nn.Tanh()), nn.Sequential(nn.Linear(8, 8), nn.Tanh())
        )
        self.head = nn.Linear(8, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.head(self.layers(inputs))
        return logits


def test_a_classifier_of_its_own_classes() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(400, 4, generator=generator)
    classes = (inputs[:, 0] > 0).long()
    sample = Probe(inputs, labels={"input": torch.arange(400) % 50, "output": classes})

    def loss(model: Any, step: int) -> Tensor:
        return nn.functional.cross_entropy(model(inputs), classes)

    _, trajectory = _measured(_Classifier(), loss, probe=sample, layers="layers.*")
    _check(trajectory, ["L00", "L01"], order="label")
    told = trajectory.values("ib/L01/label/expressivity")
    assert told[-1] > told[0] > 0
    assert "ib/probe_loss" not in trajectory.points[0].values
