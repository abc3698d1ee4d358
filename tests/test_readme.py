"""The code of the README runs, and what it names exists."""

import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.models import Model, Module, loader

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, flags=re.S)


def _train_one_step(model: nn.Module, batch: list[Tensor]) -> None:
    loss = model(batch[0]).square().mean()
    loss.backward()
    with torch.no_grad():
        for parameter in model.parameters():
            assert parameter.grad is not None
            parameter.sub_(1e-3 * parameter.grad)
            parameter.grad = None


def test_the_code_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    words = [" ".join(str((7 * i + 3 * j * j) % 23) for j in range(140 + i)) for i in range(80)]
    names: dict[str, Any] = {
        "held_out_texts": words,
        "tokenizer": lambda text: [int(word) for word in text.split()],
        "module": Module(),
        "model": Model(),
        "loader": loader(),
        "max_steps": 6,
        "train_one_step": _train_one_step,
    }
    assert len(BLOCKS) == 3
    import wandb

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # lightning's about small loaders, and wandb's about its own arguments
            for block in BLOCKS:
                exec(block, names)
    finally:
        wandb.finish()
    assert names["trajectory"].steps == [0, 1, 2, 4, 6]
    assert names["tracker"].trajectory.steps[-1] == names["step"]
    assert not any(point.failure for point in names["trajectory"].points)
    assert (tmp_path / "runs" / "plain" / "trajectory.jsonl").exists()


def test_the_callback_takes_fifteen_lines() -> None:
    assert len([line for line in BLOCKS[0].splitlines() if line.strip()]) <= 15


def test_every_option_of_every_group_is_in_the_table() -> None:
    for group in ("data", "trainer", "monitor", "logger", "experiment"):
        (row,) = re.findall(rf"^\| `{group}` \|(.*)\|$", TEXT, flags=re.M)
        options = {path.stem for path in (ROOT / "conf" / group).glob("*.yaml")} - {"base"}
        assert options <= set(re.findall(r"`([\w.]+)`", row)), group


def test_every_module_is_in_the_layout() -> None:
    layout = TEXT[TEXT.index("## How the code is laid out") :]
    for path in (ROOT / "ibtrack").glob("[a-z]*.py"):
        assert f"`{path.stem}`" in layout or path.stem in ("processes", "huggingface"), path.stem


def test_pictures_and_targets_exist() -> None:
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", TEXT):
        assert (ROOT / picture).exists()
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^    make (\w+)", TEXT, flags=re.M):
        assert f"\n{target}:" in makefile
