"""What a run writes to its folder, in bytes, estimated before it writes: its trajectory and its checkpoints."""

from __future__ import annotations

from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint

from experiments.checkpoints import MeasuredCheckpoints
from experiments.last_state import LastState
from ibtrack.record.influences import MOST_GROUPS

# of a point, as files of 2 and 6 layers, 8 and 64 documents, and 1, 2 and 4 orders had them
VALUE_BYTES = 20  # one number with its comma
VALUES_OF_A_SITE, VALUES_OF_AN_ORDER = 5, 34  # of each site, and of each order of a site
INFLUENCE_BYTES = 2.2  # of one document on one number, packed and in base64
NAME_BYTES = 30  # one key, which the file has once
HEADER_BYTES = 4_000


def trajectory_bytes(points: int, *, sites: int, orders: int, documents: int) -> int:
    """Estimate the size of a trajectory file with influences.

    Args:
        points: Number of points.
        sites: Number of sites, the mean over layers among them.
        orders: Number of label sets.
        documents: Number of documents of the probe.

    Example:
        >>> round(trajectory_bytes(100, sites=14, orders=4, documents=64) / 1e6)
        6
    """
    values = sites * (VALUES_OF_A_SITE + VALUES_OF_AN_ORDER * orders)
    influences = sites * (2 + 2 * orders) * min(documents, MOST_GROUPS) * INFLUENCE_BYTES
    return round(HEADER_BYTES + values * NAME_BYTES + points * (values * VALUE_BYTES + influences))


def checkpoint_bytes(
    callback: Callback, *, weights: int, states: int, steps: int | None, measurements: int | None
) -> int | None:
    """Return the bytes of the checkpoints that a callback has on disk, where they are most.

    Args:
        callback: The callback.
        weights: Bytes of the weights.
        states: Bytes of the optimizer's states, which checkpoints to go on from hold as well.
        steps: Optimizer steps of the run.
        measurements: Measurements of the run.

    Returns:
        The bytes; 0 for a callback that saves no model, None where their number is not known.
    """
    if isinstance(callback, LastState):
        return 2 * (weights + states)  # one is written beside the one before
    if isinstance(callback, MeasuredCheckpoints):
        return None if measurements is None else measurements * weights
    if not isinstance(callback, ModelCheckpoint):
        return 0
    one = weights if callback.save_weights_only else weights + states
    kept = callback.save_top_k
    if kept < 0:
        interval = callback._every_n_train_steps
        if not interval or steps is None:
            return None
        kept = steps // interval
    return (kept + bool(callback.save_last)) * one
