"""What a reader of a page has at hand before its first block: a model, a loader, held-out texts and so on."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from ibtrack import InformationPlaneTracker, Probe, schedules
from tests import saved_models, trajectories
from tests.hub_server import Hub
from tests.models import tokens
from tests.post_training import sentence
from tests.replay import saved

VOCABULARY, LENGTH, WIDTH = 256, 128, 16


class Block(nn.Module):
    """A residual layer."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(WIDTH, WIDTH)

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden + torch.tanh(self.mix(hidden))


class Model(nn.Module):
    """Two blocks over bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, WIDTH)
        self.blocks = nn.ModuleList([Block(), Block()])
        self.head = nn.Linear(WIDTH, VOCABULARY)

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.embed(tokens)
        for block in self.blocks:
            hidden = block(hidden)
        logits: Tensor = self.head(hidden)
        return logits


class Module(LightningModule):
    """The model in Lightning."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.model(tokens)
        return logits

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return loss_of(self.model, batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=1e-2)


class Classifier(nn.Module):
    """Two layers over 12 numbers, in a list that is called ``layers``."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(12, WIDTH), nn.Linear(WIDTH, WIDTH)])

    def forward(self, inputs: Tensor) -> Tensor:
        for layer in self.layers:
            inputs = torch.tanh(layer(inputs))
        return inputs


def loss_of(model: nn.Module, batch: list[Tensor]) -> Tensor:
    """Cross entropy of the next token."""
    (tokens,) = batch
    loss: Tensor = nn.functional.cross_entropy(model(tokens)[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    return loss


def train_one_step(model: nn.Module, batch: list[Tensor]) -> Tensor:
    """One step of gradient descent."""
    loss = loss_of(model, batch)
    loss.backward()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.sub_(0.1 * parameter.grad)
                parameter.grad = None
    return loss.detach()


def tokenizer(text: str) -> list[int]:
    """A token is a byte."""
    return list(text.encode())


def texts(number: int, seed: int) -> list[str]:
    """Texts of a few words, longer than a block."""
    generator = torch.Generator().manual_seed(seed)
    words = ("red", "green", "blue", "house", "tree", "runs", "sees", "the", "a", "and")
    return [
        " ".join(words[i] for i in torch.randint(len(words), (60,), generator=generator).tolist())
        for _ in range(number)
    ]


def loader() -> DataLoader[tuple[Tensor, ...]]:
    """Eight batches of four blocks."""
    blocks = torch.stack([torch.tensor(tokenizer(text)[:LENGTH]) for text in texts(32, seed=1)])
    return DataLoader(TensorDataset(blocks), batch_size=4)


def training() -> dict[str, Any]:
    """What a page has that adds a measurement to training."""
    held_out = texts(80, seed=0)
    return {
        "held_out_texts": held_out,
        "other_texts": texts(40, seed=2),
        "tokenizer": tokenizer,
        "probe": Probe.from_texts(held_out, tokenizer, num_blocks=24, block_size=64, orders=(1, 2)),
        "module": Module(),
        "model": Model(),
        "loader": loader(),
        "max_steps": 8,
        "loss_of": loss_of,
        "train_one_step": train_one_step,
    }


def resuming() -> dict[str, Any]:
    """Blocks and a model that is trained on them."""
    from experiments.model import LanguageModel

    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    module = LanguageModel("llama", size, vocab_size=256, block_size=LENGTH, schedule="constant")
    return {
        "blocks": torch.stack([torch.tensor(tokenizer(text)[:LENGTH]) for text in texts(32, seed=1)]),
        "module": module,
    }


def hugging_face() -> dict[str, Any]:
    """Rows for ``transformers.Trainer``."""
    rows = [{"input_ids": tokens, "labels": tokens} for batch in loader() for tokens in batch[0]]
    return {**training(), "rows": rows}


def own_checkpoints() -> dict[str, Any]:
    """A module, its model, and rows to train another one on."""
    return {**hugging_face(), "Model": Model}


def preferences() -> dict[str, Any]:
    """Prompts with a good and a bad answer."""
    good, bad = texts(80, seed=3), [text.upper() for text in texts(80, seed=4)]
    pairs = [(f"question {i}: ", *answers) for i, answers in enumerate(zip(good, bad, strict=True))]
    return {**training(), "pairs": pairs}


def replays() -> dict[str, Any]:
    """Texts, and the tokenizer of the checkpoints."""
    draw = random.Random(1)
    return {"held_out_texts": [sentence(draw, 60) for _ in range(40)], "tokenizer": saved_models.tokenizer()}


def labels() -> dict[str, Any]:
    """A classifier of inputs that are no text."""
    return {"classifier": Classifier()}


def answers() -> dict[str, Any]:
    """A probe, and the trajectory of an untrained model."""
    known = training()
    tracker = InformationPlaneTracker(known["probe"], schedule=schedules.every(1))
    tracker.step(known["model"], 0)
    return {**known, "Probe": Probe, "trajectory": tracker.trajectory}


PRELUDES: dict[str, Callable[[], dict[str, Any]]] = {
    "README.md": training,
    "start.md": training,
    "howto/lightning.md": training,
    "howto/fabric.md": training,
    "howto/plain_loop.md": training,
    "howto/transformers.md": hugging_face,
    "howto/resume.md": resuming,
    "howto/replay_own.md": own_checkpoints,
    "howto/wandb.md": training,
    "howto/wrappers.md": training,
    "howto/post_training.md": training,
    "howto/preferences.md": preferences,
    "howto/paper.md": preferences,
    "howto/replay.md": replays,
    "howto/labels.md": labels,
    "howto/geometry.md": training,
    "howto/layers.md": training,
    "questions.md": answers,
}


def write_saved_run(folder: Path) -> None:
    """Put checkpoints and their probe where a page speaks of those of RUN, in the place of its made-up points."""
    shutil.rmtree(folder / "RUN", ignore_errors=True)
    probe = Probe(tokens(24, seed=0, vocabulary=saved.VOCABULARY, length=saved.LENGTH), orders=(1, 2))
    live = InformationPlaneTracker(probe, schedule=schedules.every(1), path=folder / "RUN" / "trajectory.jsonl")
    for step in range(3):
        model = saved.llama(step)
        saved.save(model, folder / "RUN" / "checkpoints" / f"step-{step}")
        live.step(model, step)
    live.close()
    probe.save(folder / "RUN" / "probe.pt")


SWEEP = tuple(f"outputs/tiny_sweep/recipe={recipe},seed={seed}" for recipe in ("constant", "cosine") for seed in (0, 1))
RUNS = ("RUN", "RUN2", "RUN3", "FOLDER/recipe=one", "FOLDER/recipe=two", "runs/bytes", "runs/c4", *SWEEP)


def write_checkpoints(folder: Path) -> None:
    """Put five checkpoints of a small model into a folder, and texts beside them."""
    for seed, step in enumerate((0, 1, 8, 64, 512)):
        saved_models.save(folder / "checkpoints" / f"step{step}", "neox", 32, seed=seed, context=128)
    saved_models.write_texts(folder / "held_out.jsonl", 96, length=160)


@contextlib.contextmanager
def pythia_hub(folder: Path) -> Iterator[Hub]:
    """A hub that has these checkpoints as branches of Pythia."""
    with Hub() as hub:
        branches = {
            saved.name: {path.name: path.read_bytes() for path in saved.iterdir()}
            for saved in (folder / "checkpoints").iterdir()
        }
        hub.add("EleutherAI/pythia-70m", branches)
        yield hub


def write_models(folder: Path) -> None:
    """Put small models, texts and the list of both into a folder."""
    saved_models.write_list(folder)


def write_scores(folder: Path) -> None:
    """Put runs beside a table of their scores, and others that have theirs in a folder of their own."""
    trajectories.write_scored(folder)
    runs, table = trajectories.scored()
    for run, row in zip(runs, table, strict=True):
        scores = trajectories.write(run, folder / "scored" / run.name) / "scores"
        scores.mkdir()
        results = {task: {"acc,none": score} for task, score in row.items() if task != "run"}
        (scores / "step-1000.json").write_text(json.dumps({"model_name": run.name, "results": results}))


def write_model(folder: Path) -> None:
    """Write a module that makes a model."""
    (folder / "my_models.py").write_text("from tests.docs.preludes import Model as make_model\n", encoding="utf-8")


FILES: dict[str, Callable[[Path], None]] = {
    "howto/models.md": write_models,
    "howto/replay.md": write_checkpoints,
    "howto/replay_own.md": write_saved_run,
    "howto/scores.md": write_scores,
    "howto/layers.md": write_model,
}
"""Page to what writes further files that it speaks of into a folder."""

HUBS: dict[str, Callable[[Path], contextlib.AbstractContextManager[Hub]]] = {"howto/replay.md": pythia_hub}
"""Page to a hub on this machine that its commands talk to, made from these files."""


def write_runs(folder: Path, places: Sequence[str] = RUNS) -> None:
    """Put small trajectories where the pages speak of RUN, FOLDER and others."""
    for seed, place in enumerate(places):
        name = place.rpartition("/")[2]
        config = dict(part.split("=") for part in name.split(",") if "=" in part)
        made = trajectories.make(name, num_points=8, num_layers=2, seed=seed, config=config)
        trajectories.write(made, folder / place)
