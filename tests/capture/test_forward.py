"""The forward pass, the loss of the model's own head, and the checks of vocabulary and context."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers as hf
from torch import Tensor, nn

from ibtrack.capture import forward
from ibtrack.capture.forward import check_text_fits, default_forward, logits_of, next_token_loss
from tests.models import Model, Module, tokens


def _llama() -> hf.LlamaForCausalLM:
    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }
    model = hf.LlamaForCausalLM(hf.LlamaConfig(vocab_size=23, max_position_embeddings=16, **sizes))
    model.train(False)
    return model


def test_hugging_face_models_keep_no_cache() -> None:
    assert default_forward(_llama(), tokens(2, seed=0)).past_key_values is None


def test_a_module_without_forward_is_looked_through() -> None:
    class Headless(Module):
        forward = nn.Module.forward

    module = Headless(Model().eval())
    assert default_forward(module, tokens(2, seed=0)).equal(module.model(tokens(2, seed=0)))


def test_loss_is_the_models_own() -> None:
    model, ids = _llama(), tokens(5, seed=0)
    rows = (torch.arange(5 * 16).view(5, 16)[:, :-1]).flatten()
    with torch.no_grad():
        output = model(ids, labels=ids)
        total = next_token_loss(output, ids.flatten()[rows + 1], rows)
    assert total is not None
    assert float(total) / len(rows) == pytest.approx(float(output.loss), rel=1e-5)


@pytest.mark.parametrize("output", [None, torch.zeros(2, 4), {"hidden": torch.zeros(2, 4, 8)}, ("text",)])
def test_no_logits_no_loss(output: Any) -> None:
    assert next_token_loss(output, torch.tensor([0]), torch.tensor([0])) is None


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: (x,), lambda x: {"logits": x}])
def test_logits_are_found(wrap: Callable[[Tensor], Any]) -> None:
    loss = next_token_loss(wrap(torch.zeros(1, 4, 8)), torch.tensor([3, 5]), torch.tensor([0, 2]))
    assert loss is not None
    assert float(loss) == pytest.approx(2 * math.log(8))


def test_logits_may_have_their_time_first() -> None:
    logits = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(0))
    targets, rows = torch.tensor([3, 5, 1]), torch.tensor([0, 2, 6])
    expected = next_token_loss(logits, targets, rows)
    assert expected is not None
    assert next_token_loss(logits.transpose(0, 1), targets, rows, time_first=True) == expected


def test_the_loss_is_summed_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = torch.randn(2, 40, 8, generator=torch.Generator().manual_seed(0))
    targets, rows = torch.arange(60) % 8, torch.arange(60)
    whole = next_token_loss(logits, targets, rows)
    assert whole is not None
    monkeypatch.setattr(forward, "LOSS_ROWS", 7)
    assert next_token_loss(logits, targets, rows) == whole


def test_integers_are_no_logits() -> None:
    assert logits_of(torch.ones(1, 4, 8, dtype=torch.int64)) is None


def test_token_ids_beyond_the_vocabulary() -> None:
    with pytest.raises(ValueError, match="must lie below the model's vocabulary of 23, got 23"):
        check_text_fits(_llama(), torch.full((1, 8), 23))
    with pytest.raises(ValueError, match="must lie below the model's vocabulary of 23, got 30"):
        check_text_fits(Module(), torch.full((1, 8), 30))


def test_blocks_beyond_the_context() -> None:
    with pytest.raises(ValueError, match="must fit the model's context of 16, got 17 tokens"):
        check_text_fits(_llama(), torch.zeros(1, 17, dtype=torch.long))


def test_every_bfloat16_logit_is_a_float16_number() -> None:
    """On a GPU logits in bfloat16 are made float16 before their softmax; all 65,536 of them are tried."""
    logits = torch.arange(-(1 << 15), 1 << 15).to(torch.int16).view(torch.bfloat16).float()
    logits = logits[logits.isfinite()]
    change = (logits.half().float() - logits).abs()
    size = logits.abs()
    assert change[(size >= 6.2e-5) & (size < 65504)].eq(0).all()
    assert float(change[size < 6.2e-5].max()) < 3.1e-8
    assert logits[size > 65504].half().isinf().all()
