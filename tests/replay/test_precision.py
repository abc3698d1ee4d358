"""The precision of a run, in the forward passes and the weights of its replay."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn

from ibtrack.replay.precision import PRECISIONS, cast_as_trained, check_precision, forward_in
from tests.replay.saved import llama


@pytest.mark.parametrize("precision", sorted({*PRECISIONS} - {"16-mixed"}))  # which Lightning has on GPUs alone
def test_forward_passes_compute_as_under_lightning(precision: str) -> None:
    trainer = Trainer(accelerator="cpu", precision=precision, logger=False, enable_checkpointing=False)  # type: ignore[arg-type]
    plugin = trainer.precision_plugin
    inputs = torch.arange(16).view(1, 16)
    theirs, ours = plugin.convert_module(llama()), cast_as_trained(llama(), precision)  # which has no dropout
    with torch.no_grad(), plugin.forward_context():
        expected = theirs(inputs).logits
    with torch.no_grad():
        found = forward_in(precision)(ours, inputs).logits
    assert found.dtype == expected.dtype
    assert torch.equal(found, expected)
    assert {name: each.dtype for name, each in ours.named_buffers()} == {
        name: each.dtype for name, each in theirs.named_buffers()
    }
    assert torch.get_default_dtype() == torch.float32


def test_without_a_precision_all_stays_as_it_is() -> None:
    model = nn.Linear(2, 2, dtype=torch.float64)
    assert cast_as_trained(model, None).weight.dtype == torch.float64
    assert forward_in(None)(model, torch.ones(1, 2, dtype=torch.float64)).dtype == torch.float64


def test_the_default_type_is_put_back_after_an_error() -> None:
    with pytest.raises(RuntimeError):
        forward_in("bf16-true")(nn.Linear(2, 2), torch.ones(1, 3))
    assert torch.get_default_dtype() == torch.float32


def test_a_precision_there_is_none_of_is_refused() -> None:
    with pytest.raises(ValueError, match=r"precision must be one of '32-true', 'bf16-mixed', .*, got 'bf16'"):
        check_precision("bf16")
    with pytest.raises(ValueError, match="precision must be one of"):
        forward_in("half")
    with pytest.raises(ValueError, match="precision must be one of"):
        cast_as_trained(nn.Linear(1, 1), "half")
    assert check_precision(None) is None
