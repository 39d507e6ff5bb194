"""Intervals, verdicts and power for methods compared on the same patients and draws, on plain arrays.

A few-shot benchmark has the design of a multi-reader multi-case study: methods are modalities, draws of the support are
readers, patients are cases. docs/statistics.md explains what to write in a paper.
"""

from adbench.statistics.auroc import auroc_without_each, clustered_covariance, placements
from adbench.statistics.comparisons import Verdict, holm, rank_intervals, verdict
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

__all__ = [
    "Components",
    "Design",
    "FTest",
    "Interval",
    "Verdict",
    "auroc_without_each",
    "clustered_covariance",
    "compare_pair",
    "components",
    "covariance",
    "design",
    "detectable",
    "draws_needed",
    "f_test",
    "group",
    "holm",
    "image_figures_without_each",
    "interaction",
    "interval",
    "mean_of",
    "on_logit",
    "patients_needed",
    "pixel_figures",
    "pixel_figures_without_each",
    "placements",
    "prediction_interval",
    "rank_intervals",
    "single",
    "verdict",
    "without_each",
]
