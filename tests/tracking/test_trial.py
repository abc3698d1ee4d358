"""The trial of one block: models that answer twice alike, and what their logits predict."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers as hf
from torch import Tensor, nn

from ibtrack import MeasurementWarning, Probe, schedules
from ibtrack.capture.sharded import SharedPasses
from ibtrack.capture.sites import find_sites
from ibtrack.capture.traces import TraceError
from ibtrack.tracking.measurement import Layout, find_layouts
from ibtrack.tracking.trial import SEES_AHEAD, SHIFTED, try_block
from tests.models import VOCABULARY, WIDTH, Model, probe, tokens
from tests.tracking.test_tracker import tracker

pytestmark = pytest.mark.filterwarnings("ignore:.*fast path.*", "ignore:.*falling back.*")
SIZES: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
T5 = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2, "decoder_start_token_id": 0}
BART: dict[str, Any] = {"d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 32}
BART |= {"decoder_ffn_dim": 32, "encoder_attention_heads": 2, "decoder_attention_heads": 2}

Make = Callable[[], Any]
NOT_CAUSAL: dict[str, Make] = {
    "bert": lambda: hf.BertForMaskedLM(hf.BertConfig(vocab_size=VOCABULARY, **SIZES)),
    "roberta": lambda: hf.RobertaForMaskedLM(hf.RobertaConfig(vocab_size=VOCABULARY, **SIZES)),
    "t5": lambda: hf.T5ForConditionalGeneration(hf.T5Config(vocab_size=VOCABULARY, **T5)),  # type: ignore[arg-type]
    "bart": lambda: hf.BartForConditionalGeneration(hf.BartConfig(vocab_size=VOCABULARY, **BART)),
}
CAUSAL: dict[str, Make] = {
    "llama": lambda: hf.LlamaForCausalLM(hf.LlamaConfig(vocab_size=VOCABULARY, **SIZES)),
    "mixtral": lambda: hf.MixtralForCausalLM(
        hf.MixtralConfig(vocab_size=VOCABULARY, num_key_value_heads=2, num_local_experts=4, **SIZES)
    ),
    "causal bert": lambda: hf.BertLMHeadModel(hf.BertConfig(vocab_size=VOCABULARY, is_decoder=True, **SIZES)),
    "no attention": Model,
}

# their embedding is called as a function, or twice
LAYERS: dict[type, str] = {hf.T5ForConditionalGeneration: "decoder.block.*"}
LAYERS[hf.BartForConditionalGeneration] = "model.decoder.layers.*"


def _forward(model: Any, inputs: Tensor) -> Any:
    if isinstance(model, hf.T5ForConditionalGeneration):
        return model(input_ids=inputs, decoder_input_ids=inputs)
    return model(inputs)


def _tried(model: nn.Module, sample: Probe | None = None, forward: Any = _forward) -> str | None:
    sample = sample or probe()
    sites = find_sites(model, LAYERS.get(type(model), "auto"))
    passes = SharedPasses()
    layouts = find_layouts(model, sample, sites, forward, passes)
    return try_block(model, sample, sites, layouts, forward, passes).no_loss


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", NOT_CAUSAL)
def test_models_that_see_what_comes_have_no_next_token_loss(name: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    assert _tried(NOT_CAUSAL[name]().to(dtype)) == SEES_AHEAD


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", CAUSAL)
def test_models_that_do_not_have_one(name: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    assert _tried(CAUSAL[name]().to(dtype)) is None


class _Shifted(Model):
    """Predicts each token from those before it, as decoders do that begin with a start token."""

    def forward(self, ids: Tensor) -> Tensor:
        return super().forward(torch.cat([torch.zeros_like(ids[:, :1]), ids[:, :-1]], dim=1))


def test_logits_of_the_token_itself_are_not_of_the_next() -> None:
    assert _tried(_Shifted()) == SHIFTED


def test_a_head_of_zeros_tells_nothing() -> None:
    model = Model()
    nn.init.zeros_(model.head.weight)
    assert _tried(model) is None


def test_logits_with_time_first_are_told_apart_too() -> None:
    forward = lambda model, inputs: model(inputs).transpose(0, 1)  # noqa: E731  # as short as the others
    sample = Probe(tokens(8, seed=0, length=12), orders=(1,))
    assert _tried(Model(), sample, forward) is None
    assert _tried(_Shifted(), sample, forward) == SHIFTED


def test_no_loss_is_written_but_why_there_is_none() -> None:
    follow = tracker(layers="bert.encoder.layer.*")
    point = follow.measure(NOT_CAUSAL["bert"]())
    for key in ("ib/probe_loss", "ib/variational_floor"):
        assert point.values[key] != point.values[key]
        assert point.notes[key] == SEES_AHEAD
    assert point.failure is None


def test_a_model_that_does_not_answer_twice_alike_is_refused() -> None:
    model, sample, calls = Model(), probe(), []

    def forward(model: nn.Module, inputs: Tensor) -> Any:
        calls.append(1)
        return model((inputs + len(calls)) % VOCABULARY)

    with pytest.raises(TraceError, match="the same block gives other activations of embed a second time"):
        _tried(model, sample, forward)


@pytest.mark.parametrize("noise", [1e-7, 1e-3])
def test_rounding_is_no_difference(noise: float) -> None:
    model, scale = Model(), [1.0]

    def forward(model: nn.Module, inputs: Tensor) -> Any:
        scale[0] += noise
        return model(inputs) * scale[0]

    sites = find_sites(model)
    layouts = {**{site: Layout(WIDTH, False) for site in sites}, "logits": Layout(VOCABULARY, False)}
    if noise < 1e-5:
        assert try_block(model, probe(), sites, layouts, forward, SharedPasses()).no_loss is None
    else:
        with pytest.raises(TraceError, match="other activations of logits"):
            try_block(model, probe(), sites, layouts, forward, SharedPasses())


def test_activations_that_are_not_numbers_are_alike_where_they_are_the_same() -> None:
    model = Model()
    model.embed.weight.data[3] = torch.nan
    assert _tried(model) is None


def test_another_model_of_the_same_layout_is_measured_and_said_to_be_another() -> None:
    model, other, follow = Model(), Model(), tracker()
    follow.step(model, 0)
    assert "model" not in follow.measure(model).notes
    assert "another object" in follow.measure(other).notes["model"]
    assert "model" not in follow.measure(other).notes


class _Other(Model):
    def __init__(self, *, width: int = WIDTH, name: str = "blocks") -> None:
        super().__init__()
        blocks, self.name = nn.ModuleList([nn.Linear(width, width) for _ in range(2)]), name
        del self.blocks
        setattr(self, name, blocks)
        self.embed, self.head = nn.Embedding(VOCABULARY, width), nn.Linear(width, VOCABULARY)

    def forward(self, ids: Tensor) -> Tensor:
        hidden = self.embed(ids)
        for block in getattr(self, self.name):
            hidden = block(hidden)
        return self.head(hidden)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (lambda: _Other(width=8), "hands over embed of width 8, .* was started with embed of width 16"),
        (lambda: _Other(name="layers"), r"the model has no module 'blocks\.0', which is to be measured"),
    ],
)
def test_a_model_of_another_layout_is_refused(other: Callable[[], nn.Module], words: str) -> None:
    follow = tracker(schedule=schedules.every(1))
    follow.step(Model(), 0)
    with pytest.warns(MeasurementWarning, match=words):
        point = follow.step(other(), 1)
    assert point is not None
    assert point.values.keys() == {"ib/overhead_fraction"}


def test_wrappers_of_the_same_model_are_not_another_one() -> None:
    model, follow = Model(), tracker()
    follow.start(model)
    wrapped: Any = nn.DataParallel(model)
    assert "model" not in follow.measure(wrapped).notes


class _Second(nn.Module):
    """A block whose stream stands second, after weights of attention."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        return hidden.new_ones(len(hidden), 2, 3), self.block(hidden)


class _Seconds(Model):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([_Second(block) for block in self.blocks])

    def forward(self, ids: Tensor) -> Tensor:
        hidden = self.embed(ids)
        for block in self.blocks:
            _, hidden = block(hidden)
        return self.head(hidden)


def test_a_stream_that_stands_second_reads_as_one_that_stands_alone() -> None:
    torch.manual_seed(0)
    plain = Model()
    boxed = _Seconds()
    boxed.load_state_dict({key.replace("blocks.0", "blocks.0.block").replace("blocks.1", "blocks.1.block"): value
                           for key, value in plain.state_dict().items()})  # fmt: skip
    follow = tracker()
    assert follow.measure(boxed).values == tracker().measure(plain).values
    assert {site: layout.element for site, layout in follow._layouts.items()} == {
        "embed": 0,
        "L00": 1,
        "L01": 1,
        "logits": 0,
    }
