"""What a run, or every run of a sweep, would do: ``--dry-run`` in the place of running.

Hydra makes folders and files before it calls a program, and its sweepers keep studies. So the configurations are
composed here, from the same command line, and nothing is run by Hydra.
"""

from __future__ import annotations

import argparse
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import constants
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args_parser, run_and_report
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from experiments.plan import Plan, make_plan
from experiments.plan_table import Hardware, plan_table, total_sentence
from experiments.sweep import job_name, shared_keys

FLAG = "--dry-run"
# dense products in bfloat16, in operations a second, as the vendors' data sheets have them
HARDWARE = {
    "A100": 312e12,
    "H100": 989e12,  # SXM
    "H200": 989e12,
    "L4": 121e12,
    "L40S": 362e12,
}


class Job(NamedTuple):
    """A run that is asked for: its configuration, and how often it is made with values that are not known before."""

    cfg: DictConfig
    times: int = 1


def dry_run(arguments: Sequence[str], config_dir: Path) -> None:
    """Print what the runs of a command line would do.

    Args:
        arguments: The command line, `FLAG` among it.
        config_dir: Folder of the configuration.

    Raises:
        SystemExit: The command line or a configuration is wrong; a sentence says what.
    """
    own, rest = _own_parser().parse_known_args([each for each in arguments if each != FLAG])
    asked = get_args_parser().parse_args(rest)
    jobs: list[Job] = run_and_report(lambda: compose_jobs(asked, config_dir))
    try:
        hardware = hardware_of(own.hardware, own.mfu)
        with _silently_offline():
            plans = [make_plan(job.cfg) for job in jobs]
        _check_hardware(plans, own.hardware)
    except (ValueError, InstantiationException) as error:
        raise SystemExit(_sentence(error)) from error
    print("\n\n".join(plan_table(plan, hardware) for plan in plans))
    if len(plans) > 1 or jobs[0].times > 1:
        print(f"\n{total_sentence(plans, hardware, times=jobs[0].times)}")


def hardware_of(name: str | None, mfu: float | None) -> Hardware | None:
    """Look up the devices that a time is asked for.

    Args:
        name: One of `HARDWARE`, or operations a second of one device, such as ``312e12``.
        mfu: Share of them that training reaches.

    Returns:
        The devices; None where none are named.

    Raises:
        ValueError: Only one of the two is given, or one of them is none.

    Example:
        >>> hardware_of("H100", 0.4)
        Hardware(name='H100', peak=989000000000000.0, mfu=0.4)
    """
    if name is None and mfu is None:
        return None
    if name is None or mfu is None:
        raise ValueError("--hardware and --mfu must be given together, such as --hardware H100 --mfu 0.4")
    if not 0 < mfu <= 1:
        raise ValueError(f"--mfu must be above 0 and at most 1, got {mfu}")
    if name in HARDWARE:
        return Hardware(name, HARDWARE[name], mfu)
    try:
        peak = float(name)
    except ValueError:
        peak = 0.0
    if not 0 < peak < float("inf"):
        raise ValueError(f"--hardware must be one of {', '.join(HARDWARE)}, or FLOP/s such as 312e12, got {name!r}")
    return Hardware("device", peak, mfu)


def compose_jobs(asked: argparse.Namespace, config_dir: Path) -> list[Job]:
    """Compose the configurations of the runs that a command line asks for, as Hydra would.

    Args:
        asked: The command line as Hydra reads it.
        config_dir: Folder of the configuration.

    Returns:
        One job for each run, or one for all runs of a search, whose values are not known before.
    """
    GlobalHydra.instance().clear()
    extra = [f"hydra.searchpath=['file://{Path(asked.config_dir).absolute()}']"] if asked.config_dir else []
    name = asked.config_name or "config"
    with initialize_config_dir(version_base="1.3", config_dir=str(asked.config_path or config_dir)):
        if not asked.multirun:
            return [Job(_composed(name, [*extra, *asked.overrides]))]
        parsed = OverridesParser.create().parse_overrides(asked.overrides)
        single = [str(override.input_line) for override in parsed if not override.is_sweep_override()]
        hydra = compose(name, overrides=[*extra, *single], return_hydra_config=True).hydra
        params = [f"{key}={value}" for key, value in (hydra.sweeper.get("params") or {}).items()]
        if not hydra.sweeper._target_.endswith(f".{BasicSweeper.__name__}"):
            return [Job(_composed(name, [*extra, *single]), times=hydra.sweeper.get("n_trials", 1))]
        overrides = [*params, *asked.overrides]
        (jobs,) = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(overrides), None)
        shared = shared_keys(overrides)
        return [Job(_composed(name, [*extra, *job], shared)) for job in jobs]


def _composed(name: str, overrides: list[str], shared: Sequence[str] = ()) -> DictConfig:
    """Compose one configuration, with the folder and the name that the run would have."""
    cfg: Any = compose(name, overrides=overrides, return_hydra_config=True)
    with read_write(cfg), open_dict(cfg):
        if OmegaConf.is_interpolation(cfg, "run_dir"):
            cfg.run_dir = cfg.hydra.run.dir
        if shared:
            own = [
                each for each in overrides if each.partition("=")[0].lstrip("+~") not in (*shared, "hydra.searchpath")
            ]
            cfg.name = job_name(cfg.name, own)
        del cfg["hydra"]
    return cfg


def _own_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--hardware")
    parser.add_argument("--mfu", type=float)
    return parser


def _check_hardware(plans: Sequence[Plan], name: str | None) -> None:
    """See that a named device has the speed that is known of it.

    Raises:
        ValueError: A run trains in another precision than bfloat16 or float16.
    """
    slow = next((plan.precision for plan in plans if "16" not in plan.precision), None)
    if name in HARDWARE and slow is not None:
        raise ValueError(
            f"--hardware must be FLOP/s for precision {slow}, as those of {name} are known for bf16 and 16 alone"
        )


@contextmanager
def _silently_offline() -> Iterator[None]:
    """Ask no hub for anything, and say nothing of what only training would have to know."""
    offline, disabled = constants.HF_HUB_OFFLINE, logging.root.manager.disable
    constants.HF_HUB_OFFLINE = True
    logging.disable(logging.INFO)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        constants.HF_HUB_OFFLINE = offline
        logging.disable(disabled)


def _sentence(error: BaseException) -> str:
    """Return what the run itself would say, out of what Hydra says about the object that it could not make."""
    while isinstance(error, InstantiationException) and error.__cause__ is not None:
        error = error.__cause__
    return str(error)
