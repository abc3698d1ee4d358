"""Use ibtrack where only its base dependencies are installed: metrics, tracker, terminal, and what needs an extra.

`make package` runs this file in an empty environment that holds the wheel; `tests/test_package.py` runs it beside links
to the base dependencies. It takes a folder to write into, and prints what it has found.
"""

from __future__ import annotations

import importlib
import math
import sys
from pathlib import Path

import ibtrack

FROM_EXTRAS = (
    *("lightning", "wandb", "wandb_workspaces", "altair", "vl_convert", "PIL", "pyarrow"),
    *("transformers", "huggingface_hub", "datasets", "tokenizers", "safetensors", "yaml", "accelerate", "hydra"),
    "omegaconf",
)


def main(folder: Path) -> None:
    check_that_it_is_bare()
    use_the_metrics()
    run = folder / "runs" / "toy"
    use_the_tracker(run / "trajectory.jsonl")
    use_the_terminal(folder / "runs", run)
    sentences = missing_extras(run)
    print(f"ibtrack {ibtrack.__version__} of {ibtrack.__path__[0]}")
    print("metrics, tracker and terminal work with the base dependencies alone; what needs an extra says so:")
    print(*sentences, sep="\n")


def check_that_it_is_bare() -> None:
    for name in FROM_EXTRAS:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            assert error.name == name, f"{name} is installed in part: {error}"
        else:
            raise AssertionError(f"{name} is installed, but no base dependency")


def use_the_metrics() -> None:
    """Rows that depend on their label alone hold information about it, rows that do not depend on it hold none."""
    import torch

    from ibtrack import Probe
    from ibtrack.metrics import InformationPlane, SoftEntropy, SoftMutualInformation

    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(400) % 4
    noise = torch.randn(400, 16, generator=generator)
    informative = 20 * torch.randn(4, 16, generator=generator)[labels] + noise

    entropy = SoftEntropy(16)
    entropy.update(informative)
    assert 0 < float(entropy.compute()) < math.log(100)

    some, none = (SoftMutualInformation(16, 4) for _ in range(2))
    some.update(informative, labels)
    none.update(noise, labels)
    assert abs(float(none.compute())) < 0.05 < float(some.compute()) < math.log(4)

    probe = Probe(torch.arange(256).view(8, 32) % 7)  # the next token follows from the token
    plane = InformationPlane(probe, {"L00": 16})
    embedded = torch.randn(7, 16, generator=generator)[probe.inputs.flatten()]
    plane.update("L00", embedded, torch.arange(probe.num_positions), rows=probe.positions)
    assert abs(float(plane.compute()["ib/L00/token/optimality"]) - 1) < 1e-6


def use_the_tracker(path: Path) -> None:
    import torch
    from torch import nn

    from ibtrack import InformationPlaneTracker, Probe, Trajectory, schedules

    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(11, 16), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 11))
    tokens = torch.randint(0, 11, (12, 16))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    tracker = InformationPlaneTracker(
        Probe(tokens), layers=["1", "2"], schedule=schedules.every(2), path=path, verbose=False
    )
    tracker.step(model, 0)
    for step in range(1, 5):
        loss = nn.functional.cross_entropy(model(tokens)[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        tracker.step(model, step, loss=loss.detach())
    tracker.finish(model, 4)

    trajectory = Trajectory.load(path)
    assert trajectory.steps == [0, 2, 4]
    assert not any(point.failure for point in trajectory.points)
    assert all(map(math.isfinite, trajectory.values("ib/mean/token/complexity")))
    assert trajectory.protocol["versions"]["torch"] == torch.__version__
    assert "lightning" not in trajectory.protocol["versions"]


def use_the_terminal(folder: Path, run: Path) -> None:
    for arguments, words in ((["--help"], "report"), (["list", folder], "toy"), (["show", run], "toy")):
        code, out, err = terminal(*arguments)
        assert (code, err) == (0, "") and words in out, (arguments, code, out, err)


def missing_extras(run: Path) -> list[str]:
    """What each command and each import that needs an extra says, one sentence each."""
    sentences = []
    for arguments in (
        ("report", run, "-o", run / "report.html"),
        ("plane", run, "-o", run / "plane.png"),
        ("export", run, "--parquet", run / "run.parquet"),
        ("dashboard", run, "--entity", "team", "--project", "plane", "--dry-run"),
    ):
        code, out, err = terminal(*arguments)
        assert (code, out) == (2, "") and err.startswith("error: "), (arguments, code, out, err)
        sentences.append(err.removeprefix("error: ").rstrip("\n"))
    for module, name in (
        ("ibtrack", "InformationPlaneMonitor"),
        ("ibtrack.integrations.huggingface", "InformationPlaneTrainerCallback"),
    ):
        try:
            getattr(importlib.import_module(module), name)
        except ImportError as error:
            sentences.append(str(error))
        else:
            raise AssertionError(f"{module}.{name} came without its extra")
    assert sorted(path.name for path in run.iterdir()) == ["trajectory.jsonl"], "a refused command has written"
    return sentences


def terminal(*arguments: object) -> tuple[int, str, str]:
    """Exit code, output and errors of the command ``ibtrack``."""
    from typer.testing import CliRunner

    from ibtrack.cli import app

    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


if __name__ == "__main__":
    main(Path(sys.argv[1]))
