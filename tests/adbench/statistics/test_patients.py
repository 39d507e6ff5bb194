"""Patients may have any numbers: every figure and interval depends on who shares one, not on which it is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from adbench.metrics.per_image import ImageHistograms
from adbench.statistics import (
    auroc_without_each,
    brier,
    calibration_in_the_large,
    calibration_slope,
    clustered_covariance,
    image_figures_without_each,
    image_threshold,
    pixel_figures_without_each,
    pixel_threshold,
    platt,
    predictive_values,
    share,
    without_each,
)
from adbench.statistics.breakdown import auroc, mean, per_image, spearman
from adbench.statistics.jackknife import ratio
from adbench.statistics.patients import Groups, renumbered

RNG = np.random.default_rng(0)
PATIENTS = np.repeat(np.arange(40), 2)
LABELS = RNG.random(80) < 0.5
SCORES = RNG.normal(size=80) + LABELS
SHARES = 1 / (1 + np.exp(-SCORES))
MAPS = RNG.normal(size=(80, 6, 6)).astype(np.float32)
MASKS = np.zeros((80, 6, 6), bool)
MASKS[LABELS, 1:4, 2:5] = True
HISTOGRAMS = ImageHistograms()
HISTOGRAMS.update(0, MAPS + MASKS, MASKS)

FIGURES: dict[str, Callable[[Groups], object]] = {
    "auroc_without_each": lambda groups: auroc_without_each(SCORES, LABELS, groups),
    "breakdown.auroc": lambda groups: auroc(SCORES, LABELS, groups),
    "breakdown.mean": lambda groups: mean(SHARES, groups),
    "breakdown.per_image": lambda groups: per_image(LABELS.astype(int), groups),
    "breakdown.spearman": lambda groups: spearman(SCORES, SHARES + LABELS, groups),
    "brier": lambda groups: brier(SHARES, LABELS, groups),
    "calibration_in_the_large": lambda groups: calibration_in_the_large(SCORES, LABELS, groups),
    "calibration_slope": lambda groups: calibration_slope(SCORES, LABELS, groups),
    "clustered_covariance": lambda groups: clustered_covariance(SCORES[None], LABELS, groups),
    "image_figures_without_each": lambda groups: image_figures_without_each(SCORES, LABELS, groups),
    "image accuracy": lambda groups: image_figures_without_each(SCORES, LABELS, groups, ("image_accuracy",), 0.5),
    "image_threshold": lambda groups: image_threshold(SCORES, groups),
    "pixel_figures_without_each": lambda groups: pixel_figures_without_each(HISTOGRAMS.total(), groups),
    "pixel_threshold": lambda groups: pixel_threshold(np.array([0.1, 0.2]), np.array([95, 5]), groups),
    "platt": lambda groups: platt(SCORES, LABELS, groups),
    "predictive_values": lambda groups: predictive_values(SHARES > 0.5, LABELS, groups, prevalence=0.2),
    "ratio": lambda groups: ratio(SHARES, SCORES + 9, groups)[1],
    "share": lambda groups: share(LABELS, groups),
    "without_each": lambda groups: without_each(lambda keep: float(SCORES[keep].mean()), groups),
}


@pytest.mark.parametrize("name", FIGURES)
def test_numbers_of_patients_may_have_gaps(name: str) -> None:
    expected, found = (FIGURES[name](groups) for groups in (PATIENTS, PATIENTS * 5 + 3))
    assert np.array_equal(found, expected) if isinstance(expected, np.ndarray) else found == expected


def test_renumbered_keeps_the_order_of_the_numbers() -> None:
    assert renumbered(np.array([7, 3, 7, -1])).tolist() == [2, 1, 2, 0]
    assert renumbered(PATIENTS).tolist() == PATIENTS.tolist(), "as `group` numbers them"
