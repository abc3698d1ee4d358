"""What trajectories show: phases of a run, which run compresses most, what differs between runs, what settings do."""

from ibtrack.analysis.bands import critical_value
from ibtrack.analysis.comparison import most_telling, telling_settings, why_not_comparable
from ibtrack.analysis.curves import Curve, curve
from ibtrack.analysis.differences import Difference, difference
from ibtrack.analysis.effects import Contrast, Effect, Effects, which_compresses
from ibtrack.analysis.groups import Groups, group_runs
from ibtrack.analysis.matching import Match, match_runs
from ibtrack.analysis.movements import Movement
from ibtrack.analysis.phase_words import Phases
from ibtrack.analysis.phases import find_phases, phases_of_runs
from ibtrack.analysis.ranking import Place, ranking, verdict
from ibtrack.analysis.scores import Relation, Relations, join_scores, read_scores, relate

__all__ = [
    "Contrast",
    "Curve",
    "Difference",
    "Effect",
    "Effects",
    "Groups",
    "Match",
    "Movement",
    "Phases",
    "Place",
    "Relation",
    "Relations",
    "critical_value",
    "curve",
    "difference",
    "find_phases",
    "group_runs",
    "join_scores",
    "match_runs",
    "most_telling",
    "phases_of_runs",
    "ranking",
    "read_scores",
    "relate",
    "telling_settings",
    "verdict",
    "which_compresses",
    "why_not_comparable",
]
