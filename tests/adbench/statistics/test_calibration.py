"""Probabilities: Platt scaling and its figures against scikit-learn, by hand, and where there are none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import expit
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from adbench.errors import AdbenchError
from adbench.statistics import calibration
from adbench.statistics.calibration import (
    ReliabilityBin,
    brier,
    calibration_in_the_large,
    calibration_slope,
    expected_calibration_error,
    platt,
    reliability,
)

N = 200
OWNER = np.arange(N) // 2
RNG = np.random.default_rng(0)
LABELS = RNG.random(N) < 0.4
SCORES = (3.0 + 0.1 * (RNG.normal(size=N) + 1.2 * LABELS)).astype(np.float32)


def _sklearn(design: np.ndarray, targets: np.ndarray) -> tuple[float, float]:
    """Slope and intercept of a logistic regression to targets between 0 and 1: each image once as 1 and once as 0."""
    twice, labels = np.tile(design, 2)[:, None], np.repeat([1, 0], len(design))
    weights = np.concatenate([targets, 1 - targets])
    kept = weights > 0
    fitted = LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000, solver="newton-cholesky")
    fitted.fit(twice[kept], labels[kept], sample_weight=weights[kept])
    return float(fitted.coef_[0, 0]), float(fitted.intercept_[0])


def test_platt_scaling_is_a_regression_to_smoothed_targets() -> None:
    found = platt(SCORES, LABELS, OWNER)
    ones, zeros = int(LABELS.sum()), int((~LABELS).sum())
    targets = np.where(LABELS, (ones + 1) / (ones + 2), 1 / (zeros + 2))
    values = SCORES.astype(float)
    standard = (values - values.mean()) / values.std()
    steep, middle = _sklearn(standard, targets)
    assert found.slope == pytest.approx(steep / values.std(), rel=1e-6)
    assert found.probabilities(SCORES) == pytest.approx(expit(steep * standard + middle), abs=1e-7)
    assert (found.normal, found.abnormal) == (zeros, ones)


def test_the_same_images_in_another_order_give_the_same_probabilities() -> None:
    mixed = RNG.permutation(N)
    one, other = platt(SCORES, LABELS, OWNER), platt(SCORES[mixed], LABELS[mixed], OWNER[mixed])
    assert one.probabilities(SCORES) == pytest.approx(other.probabilities(SCORES), abs=1e-12)


def test_classes_without_overlap_have_a_finite_slope() -> None:
    labels = np.arange(60) >= 30
    found = platt(labels.astype(np.float32), labels, np.arange(60))
    assert found.probabilities(np.array([0.0, 1.0])) == pytest.approx([1 / 32, 31 / 32], abs=1e-9), "the targets"


@pytest.mark.parametrize(
    ("scores", "labels", "owner", "why"),
    [
        (SCORES, np.zeros(N, bool), OWNER, "abnormal images of at least 10 patients; there are 0"),
        (SCORES, np.ones(N, bool), OWNER, "normal images of at least 10 patients; there are 0"),
        (SCORES, LABELS, OWNER % 9, "of at least 10 patients; there are 9"),
        (np.ones(N, np.float32), LABELS, OWNER, "all are equal"),
        (-SCORES, LABELS, OWNER, "have no higher scores than the normal ones"),
    ],
)
def test_no_probability_is_a_sentence(scores, labels, owner, why: str) -> None:
    with pytest.raises(AdbenchError, match=why):
        platt(scores, labels, owner)


def test_brier_as_in_scikit_learn() -> None:
    p = expit(RNG.normal(size=N))
    found = brier(p, LABELS, OWNER)
    assert found.value == pytest.approx(brier_score_loss(LABELS, p), abs=1e-15)
    assert found.low < found.value < found.high
    assert found.patients == N // 2


def test_calibration_in_the_large_is_where_the_mean_probability_is_the_share_of_abnormal_images() -> None:
    logits = RNG.normal(size=N)
    found = calibration_in_the_large(logits, LABELS, OWNER)
    root = brentq(lambda a: expit(a + logits).mean() - LABELS.mean(), -20, 20, xtol=1e-14)
    assert found.value == pytest.approx(root, abs=1e-9)
    assert found.low < root < found.high


def test_the_slope_is_that_of_a_logistic_regression() -> None:
    logits = 2 * RNG.normal(size=N) + LABELS
    found = calibration_slope(logits, LABELS, OWNER)
    assert found.value == pytest.approx(_sklearn(logits, LABELS.astype(float))[0], rel=1e-6)
    assert found.low < found.value < found.high


def test_right_probabilities_have_intercept_0_and_slope_1_within_the_intervals() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(size=2000)
    labels = rng.random(2000) < expit(logits)
    owner = np.arange(2000) // 20
    for function, right in ((calibration_in_the_large, 0.0), (calibration_slope, 1.0)):
        found = function(logits, labels, owner, 0.999)
        assert found.low < right < found.high
        assert found.high - found.low < 0.6


def test_separated_classes_and_one_class_have_no_slope() -> None:
    labels = np.arange(40) >= 20
    apart = calibration_slope(np.arange(40.0), labels, np.arange(40))
    assert (apart.value, apart.low) == (None, None)
    assert "separate the classes" in apart.why
    assert calibration_slope(np.zeros(40), labels, np.arange(40)).value is None, "all equal"
    for function in (calibration_slope, calibration_in_the_large):
        assert function(np.arange(40.0), np.ones(40, bool), np.arange(40)).why == "there is no normal image"
    one_overlaps = labels.copy()
    one_overlaps[0] = True
    found = calibration_slope(np.arange(40.0), one_overlaps, np.arange(40))
    assert found.value is not None
    assert "without one of the patients the figure does not exist" in found.why


def test_the_reliability_diagram_as_in_scikit_learn() -> None:
    p = expit(RNG.normal(size=N))
    points = reliability(p, LABELS, bins=10)
    observed, predicted = calibration_curve(LABELS, p, n_bins=10, strategy="quantile")
    assert [one.observed for one in points] == pytest.approx(observed.tolist(), abs=1e-12)
    assert [one.probability for one in points] == pytest.approx(predicted.tolist(), abs=1e-12)
    assert [one.images for one in points] == [20] * 10
    by_hand = sum(abs(o - q) for o, q in zip(observed, predicted, strict=True)) / 10
    assert expected_calibration_error(points) == pytest.approx(by_hand, abs=1e-12)


def test_equal_probabilities_share_a_bin_whatever_their_order() -> None:
    p, labels = np.repeat([0.2, 0.7], 15), np.arange(30) % 3 == 0
    points = reliability(p, labels)
    assert [(round(one.probability, 12), one.images) for one in points] == [(0.2, 15), (0.7, 15)]
    mixed = RNG.permutation(30)
    again = reliability(p[mixed], labels[mixed])
    assert [one.images for one in again] == [15, 15]
    assert reliability(np.full(7, 0.5), np.ones(7, bool)) == (ReliabilityBin(0.5, 1.0, 7),)
    with pytest.raises(AdbenchError, match="bins=0"):
        reliability(p, labels, bins=0)


def test_newton_finds_the_maximum_from_far_away() -> None:
    design = np.stack([np.ones(6), [-30.0, -1, 0, 0, 1, 30]], axis=1)
    targets = np.array([0.0, 1, 0, 1, 0, 1])
    beta = calibration._logistic(design, targets)
    gradient = design.T @ (targets - expit(design @ beta))
    assert np.abs(gradient).max() < 1e-8
