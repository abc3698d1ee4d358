"""The phases of a run while it goes on: found after a point, and told when one begins."""

from __future__ import annotations

from ibtrack.analysis.phase_words import Phases
from ibtrack.analysis.phases import find_phases
from ibtrack.record.trajectory import Trajectory
from ibtrack.tracking.budget import Budget

FINDING_SHARE = 0.01  # of wall time that finding phases may take: it grows with the square of the number of points
FIRST = 0.2  # seconds that it is expected to take the first time, imports included


class PhaseWatch:
    """Finds the phases of a run after its points, and says which are new.

    It looks at the first label order, at the mean over the layers. Phases are found at every point as long as that
    takes less than a hundredth of the run, then at fewer, and always at the last.
    """

    def __init__(self) -> None:
        self._told: set[str] = set()
        self._budget = Budget(FINDING_SHARE, phases=FIRST)

    def look(self, trajectory: Trajectory, *, is_last: bool = False) -> tuple[Phases | None, list[str]]:
        """Find the phases so far.

        Args:
            trajectory: The points so far.
            is_last: Whether no point follows.

        Returns:
            The phases, or None where they are left out for their time or the run has no label orders; and a sentence
            for each that has begun since the last look.

        Example:
            >>> PhaseWatch().look(Trajectory({"orders": ["token"]}, {}, []), is_last=True)[0].sentence()
            'No points yet.'
        """
        orders = trajectory.protocol.get("orders")
        wall_time = trajectory.points[-1].wall_time if trajectory.points else 0.0
        if not orders or not (is_last or self._budget.allows("phases", wall_time)):
            return None, []
        with self._budget.spend("phases"):
            phases = find_phases(trajectory, orders[0])
        beginnings = phases.beginnings()
        news = [sentence for name, sentence in beginnings.items() if name not in self._told]
        self._told.update(beginnings)
        return phases, news
