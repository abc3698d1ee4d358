"""Whatever a training script puts into its hyperparameters, as strict JSON."""

from __future__ import annotations

import functools
import json
import math
import operator
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from ibtrack.record.plain import DEEPEST, LARGEST, plain


class Colour(Enum):
    RED = 1


@dataclass
class Options:
    path: Path = Path("a/b")
    sizes: tuple[int, ...] = (1, 2)
    more: dict[str, Any] = field(default_factory=lambda: {"x": math.nan})


class Unreadable(Mapping[str, int]):
    def __getitem__(self, key: str) -> int:
        raise LookupError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(["a"])

    def __len__(self) -> int:
        return 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, True),
        (np.bool_(True), True),
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (-math.inf, "-inf"),
        (np.float64("nan"), "nan"),
        (2**64, "0x10000000000000000"),
        pytest.param(10**5000, hex(10**5000), id="beyond what str() writes"),
        (Path("a") / "b", "a/b"),
        (b"\xff", "ff"),
        (Colour.RED, "Colour.RED"),
        (torch.float32, "torch.float32"),
        (torch.device("cpu"), "cpu"),
        (torch.nn.Linear, "torch.nn.modules.linear.Linear"),
        (operator.add, "_operator.add"),
        (functools.partial(operator.add, 1), "functools.partial(<built-in function add>, 1)"),
        (object(), "builtins.object"),
        (torch.tensor([[1, 2]]), [[1, 2]]),
        (torch.tensor(0.5, dtype=torch.bfloat16, requires_grad=True), 0.5),
        (np.array([1.0, np.nan]), [1.0, "nan"]),
        (torch.zeros(LARGEST + 1), f"torch.Tensor of shape ({LARGEST + 1},)"),
        ({3, 1, 2}, [1, 2, 3]),
        (frozenset({"b", 1}), ["b", 1]),
        (range(3), [0, 1, 2]),
        (OrderedDict([(Path("k"), (1,)), (None, 2)]), {"k": [1], "None": 2}),
        (Options(), {"path": "a/b", "sizes": [1, 2], "more": {"x": "nan"}}),
        (Options, f"{__name__}.Options"),
        (Unreadable(), {"a": "unreadable: LookupError"}),
        (OmegaConf.create({"sizes": [1], "late": "???"}), {"sizes": [1], "late": "unreadable: MissingMandatoryValue"}),
        (deque([1, (2,)]), [1, [2]]),
    ],
)
def test_values_are_plain_and_strict_json_gives_them_back(value: Any, expected: Any) -> None:
    assert plain(value) == expected
    assert json.loads(json.dumps(plain(value), allow_nan=False)) == expected


def test_a_value_that_holds_itself_ends() -> None:
    value: dict[str, Any] = {}
    value["self"] = value
    text = json.dumps(plain(value), allow_nan=False)
    assert text.count("self") == DEEPEST + 1
    assert "nested too deeply" in text


def test_an_object_is_the_same_text_after_a_restart() -> None:
    assert plain({"loss": torch.nn.Identity().forward}) == plain({"loss": torch.nn.Identity().forward})


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner),
    max_leaves=10,
)


@given(anything)
def test_anything_is_strict_json_and_stays_what_it_is(value: Any) -> None:
    once = plain(value)
    assert json.loads(json.dumps(once, allow_nan=False)) == once
    assert plain(once) == once
