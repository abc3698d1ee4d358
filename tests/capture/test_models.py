"""Whole runs of a few steps on models as people have them: every point is there and every number is one."""

import math

import pytest
import torch
import transformers as hf
from lightning.pytorch.demos import Transformer
from torch import nn

from ibtrack import InformationPlaneTracker, Probe, schedules
from tests.models import VOCABULARY, probe, tokens

pytestmark = pytest.mark.filterwarnings("ignore:.*")  # transformers speaks of missing fast kernels
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
LABELS = {"vocab_size": VOCABULARY, "pad_token_id": None, "bos_token_id": None, "eos_token_id": None}
CONFIGS = {
    "gpt2": lambda: hf.GPT2Config(n_embd=16, n_layer=2, n_head=2, **LABELS),
    "llama": lambda: hf.LlamaConfig(**LABELS, **SIZES),
    "gpt_neox": lambda: hf.GPTNeoXConfig(**LABELS, **SIZES),
    "olmo2": lambda: hf.Olmo2Config(num_key_value_heads=2, **LABELS, **SIZES),
    "mixtral": lambda: hf.MixtralConfig(num_key_value_heads=2, num_local_experts=4, **LABELS, **SIZES),
    "mamba": lambda: hf.MambaConfig(hidden_size=16, num_hidden_layers=2, state_size=4, **LABELS),
}


def _run(model, loss, *, steps=3, **options):
    """Train for some steps and measure after each; weights at the end, and the trajectory if it was measured."""
    torch.manual_seed(0)
    follow = (
        InformationPlaneTracker(**{"probe": probe(), "schedule": schedules.every(1), **options}) if options else None
    )
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    for step in range(steps + 1):
        if follow is not None:
            follow.step(model, step)
        optimizer.zero_grad()
        loss(model, step).backward()
        optimizer.step()
    return model.state_dict(), follow and follow.trajectory


def _check(trajectory, sites, *, quantity="expressivity", order="token"):
    assert [point.failure for point in trajectory.points] == [None] * 4
    assert list(trajectory.protocol["sites"]) == sites
    for site in ("mean", *sites):
        assert all(math.isfinite(value) for value in trajectory.values(f"ib/{site}/{order}/{quantity}"))


def _causal_loss(model, step):
    ids = tokens(4, seed=step)
    return model(ids, labels=ids).loss


@pytest.mark.parametrize("name", CONFIGS)
def test_decoders_of_transformers(name):
    found = []
    for options in ({}, {"layers": "auto"}):
        torch.manual_seed(1)
        model = hf.AutoModelForCausalLM.from_config(CONFIGS[name]()).train()
        weights, trajectory = _run(model, _causal_loss, **options)
        found.append(weights)
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)
    _check(trajectory, ["embed", "L00", "L01"])
    assert all(0 < value < 5 for value in trajectory.values("ib/probe_loss"))


def test_the_transformer_of_lightnings_demos():
    """It takes targets as well, and gives log probabilities without a shape."""

    def loss(model, step):
        ids = tokens(4, seed=step)
        return nn.functional.nll_loss(model(ids[:, :-1], ids[:, :-1]), ids[:, 1:].flatten())

    model = Transformer(VOCABULARY, ninp=16, nhid=16).train()
    _, trajectory = _run(
        model, loss, forward=lambda model, ids: model(ids, ids), layers=["transformer.*coder.layers.*"]
    )
    _check(trajectory, ["L00", "L01", "L02", "L03"])
    assert trajectory.protocol["sites"]["L02"] == "transformer.decoder.layers.0"


class _Named(nn.Module):
    """Names that mean something elsewhere: wrappers, wandb, globs."""

    def __init__(self):
        super().__init__()
        self.lookup = nn.Embedding(VOCABULARY, 16)
        self.towers = nn.ModuleDict({"left-hand (old)": nn.Linear(16, 16), "module_2": nn.Linear(16, 16)})

    def forward(self, ids):
        hidden = self.lookup(ids)
        for tower in self.towers.values():
            hidden = hidden + tower(hidden)
        return hidden


def test_a_module_with_odd_names():
    def loss(model, step):
        return model(tokens(4, seed=step)).square().mean()

    _, trajectory = _run(_Named(), loss, layers="towers.*")
    _check(trajectory, ["L00", "L01"])
    assert trajectory.protocol["sites"] == {"L00": "towers.left-hand (old)", "L01": "towers.module_2"}


def _padded(pad, blocks=24, length=16):
    """Blocks whose ends are padding, with the documents that say so."""
    ids = tokens(blocks, seed=5).clamp(1, VOCABULARY - 2)
    padding = torch.arange(length) >= 6 + torch.arange(blocks)[:, None] % 9  # no block is whole
    documents = torch.arange(blocks)[:, None].expand(blocks, length).masked_fill(padding, -1)
    return Probe(ids.masked_fill(padding, pad), orders=(1,), documents=documents)


class _Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)

    def forward(self, ids, padding):
        return self.encoder(self.embed(ids), src_key_padding_mask=padding)


def _bert():
    return hf.BertModel(hf.BertConfig(vocab_size=VOCABULARY, **SIZES))


@pytest.mark.parametrize(
    ("make", "run"),
    [
        (_Encoder, lambda model, ids, padding: model(ids, padding)),
        (_bert, lambda model, ids, padding: model(ids, attention_mask=(~padding).long()).last_hidden_state),
    ],
    ids=["torch", "bert"],
)
def test_an_encoder_with_masks(make, run):
    """Padding is in no reading: whatever stands there, the numbers are the same."""
    model = make().train()
    readings = []
    for pad in (0, VOCABULARY - 1):
        sample = _padded(pad)

        def forward(model, ids, pad=pad):
            return run(model, ids, ids == pad)

        readings.append(InformationPlaneTracker(sample, forward=forward, batch_size=5).measure(model).values)
    assert readings[0] == pytest.approx(readings[1], abs=1e-6) and "ib/probe_loss" not in readings[0]

    def loss(model, step):
        return forward(model, sample.inputs).square().mean()

    _, trajectory = _run(model, loss, probe=sample, forward=forward)
    _check(trajectory, ["embed", "L00", "L01"])


class _Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Sequential(nn.Linear(4, 8), nn.Tanh()), nn.Sequential(nn.Linear(8, 8), nn.Tanh())
        )
        self.head = nn.Linear(8, 2)

    def forward(self, inputs):
        return self.head(self.layers(inputs))


def test_a_classifier_of_its_own_classes():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(400, 4, generator=generator)
    classes = (inputs[:, 0] > 0).long()
    sample = Probe(inputs, labels={"input": torch.arange(400) % 50, "output": classes})

    def loss(model, step):
        return nn.functional.cross_entropy(model(inputs), classes)

    _, trajectory = _run(_Classifier(), loss, probe=sample, layers="layers.*")
    _check(trajectory, ["L00", "L01"], order="label")
    told = trajectory.values("ib/L01/label/expressivity")
    assert told[-1] > told[0] > 0 and "ib/probe_loss" not in trajectory.points[0].values
