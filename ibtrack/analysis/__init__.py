"""What trajectories show: phases of a run, which run compresses most, what differs between runs, what settings do."""

from ibtrack.analysis.comparison import most_telling, telling_settings, why_not_comparable
from ibtrack.analysis.effects import Contrast, Effect, Effects, which_compresses
from ibtrack.analysis.groups import Groups, group_runs
from ibtrack.analysis.matching import Match, match_runs
from ibtrack.analysis.movements import Movement, noise_threshold
from ibtrack.analysis.phases import Phases, find_phases, phases_of_runs
from ibtrack.analysis.ranking import Place, ranking, verdict

__all__ = [
    "Contrast",
    "Effect",
    "Effects",
    "Groups",
    "Match",
    "Movement",
    "Phases",
    "Place",
    "find_phases",
    "group_runs",
    "match_runs",
    "most_telling",
    "noise_threshold",
    "phases_of_runs",
    "ranking",
    "telling_settings",
    "verdict",
    "which_compresses",
    "why_not_comparable",
]
