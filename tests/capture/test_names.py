"""Bare names of modules, whatever a model is wrapped in."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from ibtrack.capture.names import bare_name, beside_sites, named_modules
from tests.models import Model

COMPILE_WARNINGS = pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated")  # torch's own import


@COMPILE_WARNINGS
def test_wrappers_leave_no_trace_in_names() -> None:
    model = Model()
    plain = list(named_modules(model))
    compiled: Any = torch.compile(model)
    model.blocks[0] = torch.compile(model.blocks[0])  # type: ignore[assignment]  # torch says it is a function
    assert list(named_modules(compiled)) == plain
    assert list(named_modules(nn.DataParallel(model))) == plain


def test_a_model_with_adapters_of_peft_has_its_own_names() -> None:
    class Inner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = Model()

    class Adapted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.peft_config: dict[str, Any] = {}
            self.base_model = Inner()

    assert set(named_modules(Model())) <= set(named_modules(Adapted()))


def test_the_name_of_a_weight() -> None:
    assert bare_name("_forward_module.module._orig_mod.blocks.0._checkpoint_wrapped_module.mix") == "blocks.0.mix"


def test_what_stands_beside_the_sites_tells_the_number_of_blocks() -> None:
    def model(blocks: int) -> nn.Module:
        return nn.Sequential(nn.Embedding(3, 2), nn.ModuleList([nn.Linear(2, 2) for _ in range(blocks)]))

    measured = ["0", "1.0", "1.1"]
    assert beside_sites(model(2), measured) == {"1.0", "1.1"}
    assert beside_sites(model(3), measured) ^ beside_sites(model(2), measured) == {"1.2"}
