"""Isolation: what a run leaves behind in its process."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
import torch
import wandb

from experiments.isolation import isolated
from tests.runs import inspect, process_state


def test_isolation_ends_a_run_as_failed_after_an_error(tmp_path: Path) -> None:
    def fail() -> NoReturn:
        wandb.init(dir=tmp_path, mode="offline")
        torch.manual_seed(7)
        random.seed(7)
        np.random.seed(7)
        os.environ["WANDB_MODE"] = "dryrun"
        raise RuntimeError("midway")

    before = process_state()
    with pytest.raises(RuntimeError, match="midway"), isolated():
        fail()
    assert process_state() == before
    assert wandb.run is None
    assert json.loads(inspect(tmp_path, "--summary", "--json"))["exit_code"] == 1
