"""The options of several benchmarks."""

from __future__ import annotations

import pytest
import torch

from experiments.benchmarks.options import use_threads


@pytest.mark.usefixtures("one_thread")
def test_threads_are_set_where_a_number_is_given() -> None:
    use_threads(2)
    assert torch.get_num_threads() == 2
    use_threads(None)
    assert torch.get_num_threads() == 2
