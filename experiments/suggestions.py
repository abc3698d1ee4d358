"""Suggestions for a wrong override: the name that was probably meant, or the extra to install for it."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from hydra.errors import MissingConfigException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

EXTRAS = {
    "hydra/launcher/joblib": "joblib",
    "hydra/launcher/submitit_local": "submitit",
    "hydra/launcher/submitit_slurm": "submitit",
    "hydra/launcher/ray": "ray",
    "hydra/launcher/ray_aws": "ray",
    "hydra/sweeper/optuna": "optuna",
}


@contextmanager
def suggesting() -> Iterator[None]:
    """Add a suggestion to the message with which Hydra ends the program.

    Yields:
        Nothing; Hydra runs in the body of the ``with`` statement.

    Raises:
        SystemExit: Hydra has ended the program.
    """
    try:
        yield
    except SystemExit as end:
        if text := suggestion(end.__context__):
            print(f"\n{text}", file=sys.stderr)
        raise


def suggestion(error: BaseException | None) -> str | None:
    """Return what to write or to install instead, or None where Hydra's own message says it.

    Args:
        error: The error that made Hydra end the program, if there was one.

    Example:
        >>> from omegaconf import OmegaConf
        >>> config = OmegaConf.create({"trainer": {"max_steps": 8, "devices": 1}}, flags={"struct": True})
        >>> try:
        ...     config.trainer.max_step = 9
        ... except AttributeError as error:
        ...     print(suggestion(error))
        trainer has devices, max_steps; did you mean max_steps?
    """
    if isinstance(error, MissingConfigException):
        extra = EXTRAS.get(error.missing_cfg_file or "")
        return f"{error.missing_cfg_file} is an extra: pip install --editable '.[{extra}]'" if extra else None
    cause = error if isinstance(error, OmegaConfBaseException) else getattr(error, "__cause__", None)
    if not (isinstance(cause, OmegaConfBaseException) and isinstance(cause.parent_node, DictConfig)):
        return None
    names = sorted(str(name) for name in cause.parent_node if name not in ("_target_", "_partial_", "hydra"))
    nearest = difflib.get_close_matches(str(cause.key), names, n=1)
    place = cause.parent_node._get_full_key("") or "the configuration"
    return f"{place} has {', '.join(names)}" + (f"; did you mean {nearest[0]}?" if nearest else "")
