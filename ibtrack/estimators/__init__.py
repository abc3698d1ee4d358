"""Other families of estimators behind the same two verbs, for whoever asks whether a picture depends on the estimator.

Each is a torchmetrics.Metric: ``update`` with rows, ``compute`` a number in nats. The tracker logs none of them.
"""

from __future__ import annotations

from ibtrack.estimators.gaussian import GaussianInformation
from ibtrack.estimators.hard import HardMutualInformation
from ibtrack.estimators.kernel import MatrixEntropy, MatrixInformation
from ibtrack.estimators.neighbours import NeighbourInformation
from ibtrack.estimators.variational import VariationalFloor

__all__ = [
    "GaussianInformation",
    "HardMutualInformation",
    "MatrixEntropy",
    "MatrixInformation",
    "NeighbourInformation",
    "VariationalFloor",
]
