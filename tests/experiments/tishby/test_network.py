"""The network of the experiment."""

from __future__ import annotations

import pytest
import torch

from experiments.tishby.network import Network


def test_an_unknown_activation_is_answered_with_the_known() -> None:
    with pytest.raises(ValueError, match="activation must be one of tanh, relu, got 'gelu'"):
        Network("gelu", optimizer=torch.optim.SGD)
