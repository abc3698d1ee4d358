"""What trajectories show: the phases of a run, which run compresses most, what differs between runs."""

from ibtrack.analysis.bands import critical_value
from ibtrack.analysis.comparison import most_telling, telling_settings, why_not_comparable
from ibtrack.analysis.curves import Curve, curve
from ibtrack.analysis.differences import Difference, difference
from ibtrack.analysis.movements import Movement
from ibtrack.analysis.phase_words import Phases
from ibtrack.analysis.phases import find_phases, phases_of_runs
from ibtrack.analysis.ranking import Place, ranking, verdict

__all__ = [
    "Curve",
    "Difference",
    "Movement",
    "Phases",
    "Place",
    "critical_value",
    "curve",
    "difference",
    "find_phases",
    "most_telling",
    "phases_of_runs",
    "ranking",
    "telling_settings",
    "verdict",
    "why_not_comparable",
]
