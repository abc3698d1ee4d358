"""Models made by classes and functions of the user's, and weights matched with them."""

from __future__ import annotations

import functools
import sys
import textwrap
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from ibtrack.replay.errors import LoadingError
from ibtrack.replay.factories import Weight, cast_to_stored, find_factory, make_model, match_weights
from ibtrack.replay.pickles import Unread
from tests.replay.saved import Module, Network

HYPER = {"hyper_parameters": {"width": 6, "optimizer": None, "unknown": 1}}


def _weights(state: dict[str, Tensor]) -> list[Weight]:
    return [Weight(name, value.shape, value.dtype) for name, value in state.items()]


def _renamed(state: dict[str, Tensor], rename: Callable[[str], str]) -> dict[str, Tensor]:
    return {rename(name): value for name, value in state.items()}


def test_a_class_gets_the_hyper_parameters_it_takes() -> None:
    model = make_model("tests.replay.saved:Module", HYPER, label="x")
    assert isinstance(model, Module)
    assert model.model.embed.embedding_dim == 6
    assert isinstance(make_model(Network, HYPER, label="x"), Network), "any module will do"
    assert make_model(Network, {}, label="x").embed.embedding_dim == 4  # type: ignore[union-attr]


def test_a_class_that_takes_all_as_one_gets_them_as_one() -> None:
    class Whole(nn.Module):
        def __init__(self, hparams: dict[str, Any]) -> None:
            super().__init__()
            self.hparams = hparams

    class Any_(nn.Module):
        def __init__(self, **options: Any) -> None:
            super().__init__()
            self.options = options

    assert make_model(Whole, {**HYPER, "hparams_name": "hparams"}, label="x").hparams == HYPER["hyper_parameters"]
    assert make_model(Any_, HYPER, label="x").options == HYPER["hyper_parameters"]


def test_a_function_gets_one_dictionary_or_nothing() -> None:
    given: list[Any] = []

    def makes(hyper_parameters: dict[str, Any]) -> nn.Module:
        given.append(hyper_parameters)
        return Network()

    unread = type("Unread", (Unread,), {"kind": "functools.partial"})()
    make_model(makes, {"hyper_parameters": {"width": 6, "optimizer": unread}}, label="x")
    assert given == [{"width": 6}], "without what was not read"
    assert isinstance(make_model(lambda: Network(), HYPER, label="x"), Network)
    make_model(functools.partial(Network, 8), {}, label="x")


def test_a_hyper_parameter_that_was_not_read_is_no_argument_of_a_class() -> None:
    unread = type("Unread", (Unread,), {"kind": "functools.partial"})()
    with pytest.raises(
        LoadingError, match=r"step=5 has a hyper-parameter optimizer of functools\.partial, which is not"
    ):
        make_model(Module, {"hyper_parameters": {"optimizer": unread}}, label="step=5")
    make_model(Module, {"hyper_parameters": {"other": unread}}, label="step=5")


def test_a_lightning_module_makes_its_layers_late_and_sees_the_checkpoint() -> None:
    class Late(LightningModule):
        def configure_model(self) -> None:
            self.model = Network()

        def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
            self.seen = checkpoint

    model = make_model(Late, {"epoch": 3}, label="x")
    assert isinstance(model.model, Network)
    assert model.seen == {"epoch": 3}


def test_parameters_are_not_drawn_and_buffers_are() -> None:
    class Filled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.full((3, 3), 7.0))
            for draw in (nn.init.uniform_, nn.init.normal_, nn.init.kaiming_uniform_):
                draw(self.weight)
            nn.init.normal_(tensor=self.weight)
            self.register_buffer("scale", nn.init.constant_(torch.zeros(3), 2.0), persistent=False)

    model = make_model(Filled, {}, label="x")
    assert model.weight.flatten().tolist() == [7] * 9
    assert model.scale.tolist() == [2, 2, 2]
    assert 7 not in Filled().weight, "only while a factory makes a model"


def test_modules_in_the_current_folder_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_own_models.py").write_text(
        textwrap.dedent("""
            from torch import nn
            class Inner:
                @staticmethod
                def make(): return nn.Linear(1, 1)
        """)
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    assert isinstance(make_model("my_own_models:Inner.make", {}, label="x"), nn.Linear)


@pytest.mark.parametrize("factory", ["module", ":make", "module:", ""])
def test_a_factory_has_a_module_and_a_name(factory: str) -> None:
    with pytest.raises(ValueError, match=f"factory must be given as module:name, .* got '{factory}'"):
        find_factory(factory)


@pytest.mark.parametrize("factory", ["no_such_module:make", "tests.replay.saved:no_such_name"])
def test_a_factory_that_does_not_exist_is_refused(factory: str) -> None:
    with pytest.raises(ValueError, match=f"factory must name what can be imported, got '{factory}' ") as caught:
        find_factory(factory)
    assert not isinstance(caught.value, LoadingError), "it fits no checkpoint"


def test_what_is_no_factory_is_refused() -> None:
    with pytest.raises(ValueError, match=r"factory must be a class or a function, got '.*:LENGTH', which is int"):
        find_factory("tests.replay.saved:LENGTH")
    with pytest.raises(ValueError, match=r"factory must return a torch\.nn\.Module, and builtins:dict returns dict"):
        make_model("builtins:dict", {}, label="x")

    def fails() -> nn.Module:
        raise KeyError("width")

    with pytest.raises(ValueError, match=r"factory .*fails fails for step=5 \(KeyError: 'width'\)"):
        make_model(fails, {}, label="step=5")


@pytest.mark.parametrize("prefix", ["", "model.", "network.inner.", "_orig_mod.", "model._orig_mod.", "module."])
def test_weights_are_found_behind_any_prefix(prefix: str) -> None:
    model = Network()
    matched = match_weights(model, _weights(_renamed(model.state_dict(), lambda name: prefix + name)), label="x")
    assert {key: weight.name for key, weight in matched.items()} == {key: prefix + key for key in model.state_dict()}


def test_wrappers_inside_a_name_do_not_matter_on_either_side() -> None:
    state = _renamed(Network().state_dict(), lambda name: name.replace("blocks.0.", "blocks.0._orig_mod."))
    assert len(match_weights(Network(), _weights(state), label="x")) == len(state)
    compiled = Network()
    compiled.blocks[0] = nn.Sequential(OrderedDict(_orig_mod=compiled.blocks[0]))  # as torch.compile does
    matched = match_weights(compiled, _weights(Network().state_dict()), label="x")
    assert matched["blocks.0._orig_mod.weight"].name == "blocks.0.weight"


def test_weights_behind_other_prefixes_are_no_concern() -> None:
    state = _renamed(Network().state_dict(), lambda name: f"model.{name}")
    state |= {"metric.total": torch.ones(1), "teacher.weight": torch.ones(1)}
    assert len(match_weights(Network(), _weights(state), label="x")) == len(state) - 2


def test_missing_and_unexpected_weights_are_named() -> None:
    state = _renamed(Network().state_dict(), lambda name: f"model.{name}")
    del state["model.blocks.1.weight"], state["model.blocks.1.bias"]
    state["model.head.weight"] = torch.ones(1)
    sentence = (
        r"^step=5 does not fit the model: it lacks blocks\.1\.bias, blocks\.1\.weight and has head\.weight, which the "
        r"model does not take$"
    )
    with pytest.raises(LoadingError, match=sentence):
        match_weights(Network(), _weights(state), label="step=5")
    with pytest.raises(LoadingError, match=r"it has extra, which the model does not take"):
        match_weights(Network(), _weights({**Network().state_dict(), "extra": torch.ones(1)}), label="x")
    many = {f"other.{number}": torch.ones(1) for number in range(9)}
    with pytest.raises(LoadingError, match=r"it lacks .*embed\.weight and has other\.0, .*other\.4 and 4 others"):
        match_weights(Network(), _weights(many), label="x")


def test_a_weight_of_another_shape_is_named() -> None:
    with pytest.raises(
        LoadingError,
        match=r"embed\.weight has the shape \(64, 8\) in it and \(64, 4\) in the model, and 4 others differ as well",
    ):
        match_weights(Network(4), _weights(Network(8).state_dict()), label="x")


def test_a_student_and_its_teacher_are_not_mixed_up() -> None:
    state = {
        **_renamed(Network().state_dict(), lambda name: f"student.{name}"),
        **_renamed(Network().state_dict(), lambda name: f"teacher.{name}"),
    }
    with pytest.raises(
        LoadingError, match=r"more than once, behind 'student\.' and 'teacher\.'; let the factory return"
    ):
        match_weights(Network(), _weights(state), label="x")


def test_a_model_gets_the_type_of_its_stored_weights() -> None:
    model = Network()
    stored = {name: value.bfloat16() for name, value in model.state_dict().items()}
    cast_to_stored(model, match_weights(model, _weights(stored), label="x"), None)
    assert {each.dtype for each in (*model.parameters(), *model.buffers())} == {torch.bfloat16}
    stored["embed.weight"] = stored["embed.weight"].float()
    model = Network()
    cast_to_stored(model, match_weights(model, _weights(stored), label="x"), None)
    assert (model.embed.weight.dtype, model.blocks[0].weight.dtype) == (torch.float32, torch.bfloat16)
    assert model.frequencies.dtype == torch.float32
    cast_to_stored(model, match_weights(model, _weights(stored), label="x"), torch.float64)
    assert {each.dtype for each in (*model.parameters(), *model.buffers())} == {torch.float64}
