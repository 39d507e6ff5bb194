"""Intervals, verdicts and power for methods compared on the same patients and draws, on plain arrays.

A few-shot benchmark has the design of a multi-reader multi-case study: methods are modalities, draws of the support are
readers, patients are cases. docs/statistics.md explains what to write in a paper.
"""

from adbench.statistics.auroc import auroc_without_each, clustered_covariance, placements
from adbench.statistics.calibration import (
    Platt,
    ReliabilityBin,
    brier,
    calibration_in_the_large,
    calibration_slope,
    expected_calibration_error,
    platt,
    reliability,
)
from adbench.statistics.comparisons import Verdict, holm, rank_intervals, verdict
from adbench.statistics.figures import Figure, dice, pixel_share, predictive_values, share
from adbench.statistics.images import image_figures_without_each
from adbench.statistics.jackknife import covariance, without_each
from adbench.statistics.mrmc import (
    Components,
    FTest,
    Interval,
    compare_pair,
    components,
    f_test,
    interaction,
    interval,
    mean_of,
    on_logit,
    single,
)
from adbench.statistics.patients import group
from adbench.statistics.pixels import pixel_figures, pixel_figures_without_each
from adbench.statistics.power import Design, design, detectable, draws_needed, patients_needed
from adbench.statistics.prediction import prediction_interval
from adbench.statistics.thresholds import Threshold, image_threshold, least_normals, pixel_threshold

__all__ = [
    "Components",
    "Design",
    "FTest",
    "Figure",
    "Interval",
    "Platt",
    "ReliabilityBin",
    "Threshold",
    "Verdict",
    "auroc_without_each",
    "brier",
    "calibration_in_the_large",
    "calibration_slope",
    "clustered_covariance",
    "compare_pair",
    "components",
    "covariance",
    "design",
    "detectable",
    "dice",
    "draws_needed",
    "expected_calibration_error",
    "f_test",
    "group",
    "holm",
    "image_figures_without_each",
    "image_threshold",
    "interaction",
    "interval",
    "least_normals",
    "mean_of",
    "on_logit",
    "patients_needed",
    "pixel_figures",
    "pixel_figures_without_each",
    "pixel_share",
    "pixel_threshold",
    "placements",
    "platt",
    "prediction_interval",
    "predictive_values",
    "rank_intervals",
    "reliability",
    "share",
    "single",
    "verdict",
    "without_each",
]
