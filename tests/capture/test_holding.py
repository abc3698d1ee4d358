"""What a model keeps beside its parameters is found and put back; what it does not own is left alone."""

from __future__ import annotations

import functools
import random
import types
from collections import Counter, OrderedDict, deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ibtrack.capture import holding
from ibtrack.capture.holding import Held
from tests.models import Model


@dataclass
class _Record:
    rows: list[int] = field(default_factory=lambda: [1])
    count: int = 0


class _Counting:
    """Of the package of the model's own classes."""

    def __init__(self) -> None:
        self.count, self.tensor = 0, torch.zeros(2)

    def __call__(self, module: nn.Module, args: Any, output: Tensor) -> None:
        self.count += 1
        self.tensor += 1


def _change_list(model: Any) -> None:
    model.kept.append(5)


def _change_nested(model: Any) -> None:
    model.kept["a"][0].append(3)
    model.kept["b"] = 1


def _change_tensor(model: Any) -> None:
    model.kept += 1


def _change_array(model: Any) -> None:
    model.kept[:] = 7


def _rebind(model: Any) -> None:
    model.kept = None


def _change_record(model: Any) -> None:
    model.kept.rows.append(2)
    model.kept.count += 1


def _change_namespace(model: Any) -> None:
    model.kept.extra = 1


@pytest.mark.parametrize(
    ("kept", "change"),
    [
        ([1, 2], _change_list),
        (deque([1, 2], maxlen=2), _change_list),
        ({"a": ([1],)}, _change_nested),
        (OrderedDict(a=([1],)), _change_nested),
        (Counter("aab"), lambda model: model.kept.update("z")),
        ({1, 2}, lambda model: model.kept.add(3)),
        (torch.zeros(3), _change_tensor),
        (torch.zeros(3), _rebind),
        (np.zeros(3), _change_array),
        (4, _rebind),
        (_Record(), _change_record),
        (types.SimpleNamespace(count=0), _change_namespace),
        (random.Random(0), lambda model: model.kept.random()),
        (np.random.default_rng(0), lambda model: model.kept.random()),
        (np.random.RandomState(0), lambda model: model.kept.rand()),
        (torch.Generator(), lambda model: torch.rand(1, generator=model.kept)),
        (functools.partial(print, [1]), lambda model: model.kept.args[0].append(2)),
    ],
    ids=repr,
)
def test_an_attribute_is_as_before(kept: Any, change: Any) -> None:
    model: Any = Model()
    model.kept = kept
    model.blocks[0].same = kept  # found twice, put back once
    before = _shown(kept)
    held = Held(model)
    change(model)
    assert _shown(model.kept) != before  # so that the test can fail
    held.put_back()
    assert model.kept is kept
    assert _shown(kept) == before


def _shown(thing: Any) -> str:
    for read in (
        lambda: thing.getstate(),
        lambda: thing.get_state().tolist(),
        lambda: [str(part) for part in thing.get_state()],
        lambda: thing.bit_generator.state,
    ):
        try:
            return str(read())
        except (AttributeError, TypeError):
            continue
    return str(thing)


def test_what_hooks_count_and_close_over_is_as_before() -> None:
    model, counting, seen, calls = Model(), _Counting(), [], 0

    def hook(module: nn.Module, args: Any, output: Tensor) -> None:
        nonlocal calls
        calls += 1
        seen.append(output)

    model.blocks[0].register_forward_hook(hook)
    model.blocks[1].register_forward_hook(counting)
    held = Held(model)
    model(torch.zeros(1, 4, dtype=torch.long))
    assert (calls, len(seen), counting.count, counting.tensor.tolist()) == (1, 1, 1, [1, 1])
    held.put_back()
    assert (calls, len(seen), counting.count, counting.tensor.tolist()) == (0, 0, 0, [0, 0])


def test_new_parts_are_gone_and_old_ones_are_the_same_objects() -> None:
    model: Any = Model()
    model.register_buffer("empty", None)
    model.register_parameter("none", None)
    model.register_buffer("old", torch.zeros(2))
    old, names = model.old, list(model.state_dict())
    held = Held(model)
    model.empty = torch.ones(1)
    model.old = torch.ones(2)
    old += 1
    model.extra = nn.Linear(1, 1)
    model.none = nn.Parameter(torch.ones(1))
    model.register_buffer("new", torch.ones(1), persistent=False)
    held.put_back()
    assert list(model.state_dict()) == names
    assert model.old is old
    assert old.tolist() == [0, 0]
    assert (model.empty, model.none) == (None, None)
    assert not model._non_persistent_buffers_set
    assert [name for name, _ in model.named_children()] == ["embed", "blocks", "head"]


def test_modules_that_are_not_registered_are_found() -> None:
    model: Any = Model()
    teacher = nn.BatchNorm1d(4)
    model.hidden = [teacher]
    held = Held(model)
    teacher(torch.ones(3, 4))
    held.put_back()
    assert int(teacher.num_batches_tracked or 0) == 0


def test_a_parametrized_weight_is_not_worked_out() -> None:
    model = nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4)))
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    Held(model).put_back()
    assert all(buffer.equal(before[name]) for name, buffer in model.named_buffers())


def test_buffers_and_attributes_from_a_validation_can_be_written() -> None:
    model: Any = nn.Linear(2, 2)
    with torch.inference_mode():
        model.register_buffer("scale", torch.ones(2))
        model.last = torch.ones(2)
    held = Held(model)
    with torch.inference_mode():
        model.scale += 1
        model.last += 1
    held.put_back()
    assert model.scale.tolist() == model.last.tolist() == [1, 1]


def test_a_tensor_that_a_graph_needs_is_not_written() -> None:
    model: Any = nn.Linear(2, 2)
    model.mask = torch.ones(2)
    loss = (model.weight * model.mask).sum()
    Held(model).put_back()
    loss.backward()  # an error if the mask had been written to


def test_what_takes_too_much_memory_is_named_and_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "MAX_BYTES", 100)
    model: Any = Model()
    model.blocks[0].rows = [torch.zeros(20), torch.zeros(20)]
    held = Held(model)
    assert list(held.too_large) == ["blocks.0.rows"]
    assert held.too_large["blocks.0.rows"] is model.blocks[0].rows[1]


def test_objects_of_other_packages_are_left_alone() -> None:
    class Foreign:
        """A logger with a thread of its own, perhaps."""

        count = 0

    Foreign.__module__ = "elsewhere.loggers"
    model: Any = nn.Linear(1, 1)
    model.logger = Foreign()
    held = Held(model)
    model.logger.count = 1
    held.put_back()
    assert model.logger.count == 1


def test_all_is_put_back_where_one_thing_cannot_be() -> None:
    model: Any = nn.Linear(1, 1)
    model.rows = np.zeros(2)
    model.calls = [1]
    held = Held(model)
    model.rows.flags.writeable = False
    model.calls.append(2)
    with pytest.raises(ValueError, match="read-only"):
        held.put_back()
    assert model.calls == [1]


def test_what_is_deep_or_long_is_walked_as_far_as_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = nn.Linear(1, 1)
    deep: list[Any] = [1]
    model.deep = deep
    for _ in range(5000):
        model.deep = [model.deep]
    held = Held(model)
    deep.append(2)
    held.put_back()
    assert deep == [1]
    monkeypatch.setattr(holding, "MAX_ENTRIES", 100)
    model.deep, model.data = [1], [[1] for _ in range(200)]
    held = Held(model)
    model.deep.append(2), model.data.append(3), model.data[0].append(2)
    held.put_back()
    assert model.deep == [1]
    assert len(model.data) == 200
    assert model.data[0] == [1, 2]  # data, which no forward pass is expected to change
