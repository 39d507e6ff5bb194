"""Figures of a part of the images: against scikit-learn and SciPy, and what is too little for an interval."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from adbench.statistics import breakdown, clustered_covariance

rng = np.random.default_rng(1)
OWNER = np.repeat(np.arange(30), 3) + 100  # numbers need not begin at 0
LABELS = np.arange(90) % 3 == 0
SCORES = rng.normal(size=90) + LABELS


def test_auroc_is_that_of_the_scores_and_its_interval_near_the_closed_form() -> None:
    one = breakdown.auroc(SCORES, LABELS, OWNER)
    assert one.value == pytest.approx(roc_auc_score(LABELS, SCORES))
    error = float(np.sqrt(clustered_covariance(SCORES[None], LABELS, OWNER - 100)[0, 0]))
    assert one.high - one.low == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert one.patients == 30


def test_too_few_patients_of_a_class_give_no_interval() -> None:
    ill = LABELS & (OWNER < 109)
    one = breakdown.auroc(SCORES[ill | ~LABELS], LABELS[ill | ~LABELS], OWNER[ill | ~LABELS])
    assert (one.low, one.patients) == (None, 9)
    assert "9 patients with an abnormal image" in one.why
    assert breakdown.auroc(SCORES[LABELS], LABELS[LABELS], OWNER[LABELS]).why == "there is no normal image"


def test_counts_per_image_are_a_ratio_of_patients_sums() -> None:
    counts = rng.poisson(1.5, 90)
    one = breakdown.per_image(counts, OWNER)
    assert one.value == pytest.approx(counts.mean())
    sums = counts.reshape(30, 3).sum(axis=1) / 3  # patients of equal size: the standard error of a mean
    assert one.high - one.value == pytest.approx(1.96 * sums.std(ddof=1) / np.sqrt(30), rel=1e-3)
    none = breakdown.per_image(np.zeros(90, int), OWNER)
    assert (none.value, none.low, none.why) == (0, None, "no interval: no patient changes it")


def test_rank_correlation_is_scipys() -> None:
    area = np.round(np.exp(SCORES + rng.normal(size=90)))
    one = breakdown.spearman(SCORES, area, OWNER)
    assert one.value == pytest.approx(stats.spearmanr(SCORES, area).statistic)
    assert -1 <= one.low < one.value < one.high <= 1
    assert "all values are equal" in breakdown.spearman(SCORES, np.ones(90), OWNER).why
