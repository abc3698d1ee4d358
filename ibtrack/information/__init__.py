"""Pure functions on tensors: from activations and labels to entropies and informations with their errors."""

from __future__ import annotations

from ibtrack.information.assignments import assign, draw_anchors, temperature
from ibtrack.information.bottleneck import bottleneck_curve
from ibtrack.information.functional import debiased_information, information_lower_end, plugin_information
from ibtrack.information.options import SoftOptions
from ibtrack.information.readings import ESTIMATOR_VERSION
from ibtrack.information.spectrum import alpha_req, cloud_geometry, participation_ratio, rankme
from ibtrack.information.standard_errors import Estimate

__all__ = [
    "ESTIMATOR_VERSION",
    "Estimate",
    "SoftOptions",
    "alpha_req",
    "assign",
    "bottleneck_curve",
    "cloud_geometry",
    "debiased_information",
    "draw_anchors",
    "information_lower_end",
    "participation_ratio",
    "plugin_information",
    "rankme",
    "temperature",
]
