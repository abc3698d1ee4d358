"""The command line of a run, as it is when something else than the run starts its processes: torchrun, or SLURM."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

_RANKS = ("RANK", "SLURM_PROCID")
_STARTERS = {"TORCHELASTIC_RUN_ID": "WORLD_SIZE", "SLURM_JOB_ID": "SLURM_NTASKS"}  # with the number of processes


def with_own_folder(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> list[str]:
    """Have Hydra put its own files into the folder of the run as well, and only the first process write them.

    Hydra would make a further folder, with the time in its name, for each process that torchrun or SLURM starts.

    Args:
        arguments: Arguments of the command line.
        environment: Variables that say which process this is.

    Returns:
        The arguments to run with.

    Example:
        >>> with_own_folder(["seed=1", "run_dir=runs/a"], {})
        ['seed=1', 'run_dir=runs/a', 'hydra.run.dir=runs/a']
        >>> with_own_folder(["run_dir=a"], {"RANK": "3"})
        ['run_dir=a', 'hydra.run.dir=a', 'hydra.output_subdir=null', 'hydra.job.name=process_3']
    """
    given = [argument.partition("=")[2] for argument in arguments if argument.startswith("run_dir=")]
    sweep = {"-m", "--multirun", "hydra.mode=MULTIRUN"} & set(arguments)
    if not given or sweep or any(argument.startswith("hydra.run.dir=") for argument in arguments):
        return list(arguments)
    rank = next((environment[name] for name in _RANKS if name in environment), "0")
    others = [] if rank == "0" else ["hydra.output_subdir=null", f"hydra.job.name=process_{rank}"]
    return [*arguments, f"hydra.run.dir={given[-1]}", *others]


def check_folder(cfg: DictConfig, environment: Mapping[str, str] = os.environ) -> None:
    """Refuse a folder that every process would name after its own clock.

    Args:
        cfg: Configuration of the run.
        environment: Variables that say what has started this process.

    Raises:
        ValueError: Several processes were started from outside, and ``run_dir`` is not given.
    """
    several = any(name in environment and int(environment.get(of, "1")) > 1 for name, of in _STARTERS.items())
    if not several or not HydraConfig.initialized() or HydraConfig.get().mode == RunMode.MULTIRUN:
        return
    if not any(override.startswith(("run_dir=", "hydra.run.dir=")) for override in _overrides()):
        raise ValueError(
            "run_dir must be given where torchrun or SLURM starts the processes, as each of them would name a folder "
            f"after its own clock, got {cfg.run_dir}"
        )


def _overrides() -> list[str]:
    own: list[str] = [*HydraConfig.get().overrides.task, *HydraConfig.get().overrides.hydra]
    return own
