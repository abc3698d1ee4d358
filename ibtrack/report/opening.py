"""What is said first of several runs: what settings do, where seeds tell how sure that is; then run by run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ibtrack.analysis.effects import effects
from ibtrack.analysis.phase_words import Phases
from ibtrack.analysis.ranking import verdict
from ibtrack.record.trajectory import Trajectory


class Opening(NamedTuple):
    """The first sentences on several runs.

    Attributes:
        headline: The answer: the effect of the settings with its interval, or which run compresses most.
        rest: What else there is to say, or an empty text.
    """

    headline: str
    rest: str = ""

    @property
    def text(self) -> str:
        """Both, in lines."""
        return "\n".join(filter(None, self))


def opening(
    runs: Mapping[str, Trajectory], phases: Mapping[str, Phases], order: str, *, unit: str, site: str = "mean"
) -> Opening:
    """Say of several runs what matters most.

    Groups with several seeds come first: their spread says what chance in training does, which no error of a single
    run does. Without them the ranking of the single runs comes first.

    Args:
        runs: Name of each run to its trajectory, or to its `ibtrack.analysis.outline.outline`.
        phases: Name of each run to its phases.
        order: Label set, such as ``token``.
        unit: ``share`` or ``log_k``, the unit of the phases.
        site: ``mean``, or the site that the phases are of.

    Example:
        >>> opening({"a": Trajectory({}, {}, [])}, {"a": Phases(why_not="No points yet.")}, "token", unit="share").text
        'No points yet.'
    """
    of_runs = verdict(phases)
    try:
        found = effects(runs, order=order, unit=unit, site=site) if len(runs) > 1 else None
    except ValueError:  # runs need not be a sweep; the section on settings says why there are no effects
        found = None
    if found is None or not found["fall"].contrasts:
        return Opening(of_runs)
    fall = found["fall"]
    of_settings = " ".join(filter(None, (fall.sentence(), found.match.remark)))
    if all(pair.interval is None for pair in fall.contrasts):
        return Opening(of_runs, of_settings)
    up_to = ", each up to its last step" if found.match.remark else ""
    return Opening(of_settings, f"Of single runs{up_to}, {of_runs}")
