"""Estimators of entropy and information as torchmetrics: rows and labels in, batch by batch; nats out."""

from ibtrack.metrics.gaussian import GaussianInformation
from ibtrack.metrics.hard import HardMutualInformation
from ibtrack.metrics.matrix_renyi import MatrixEntropy, MatrixInformation
from ibtrack.metrics.neighbours import NeighbourInformation
from ibtrack.metrics.plane import InformationPlane
from ibtrack.metrics.soft import SoftDisentanglement, SoftEntropy, SoftMutualInformation
from ibtrack.metrics.variational import VariationalFloor

__all__ = [
    "GaussianInformation",
    "HardMutualInformation",
    "InformationPlane",
    "MatrixEntropy",
    "MatrixInformation",
    "NeighbourInformation",
    "SoftDisentanglement",
    "SoftEntropy",
    "SoftMutualInformation",
    "VariationalFloor",
]
