"""What trajectories show: the phases of a run, which run compresses most, what differs between runs."""

from ibtrack.analysis.comparison import most_telling, telling_settings, why_not_comparable
from ibtrack.analysis.movements import Movement, noise_threshold
from ibtrack.analysis.phases import Phases, find_phases, phases_of_runs
from ibtrack.analysis.ranking import Place, ranking, verdict

__all__ = [
    "Movement",
    "Phases",
    "Place",
    "find_phases",
    "most_telling",
    "noise_threshold",
    "phases_of_runs",
    "ranking",
    "telling_settings",
    "verdict",
    "why_not_comparable",
]
