"""Probabilities from scores, fitted on held-out images, and how far they are right on other images.

Platt scaling: p = 1 / (1 + exp(-(slope x score + intercept))), fitted by maximum likelihood to smoothed targets (Platt,
Advances in Large Margin Classifiers, 1999; Lin, Lin & Weng, Mach. Learn. 68:267, 2007). Calibration in the large and
calibration slope: Cox, Biometrika 45:562 (1958); Van Calster et al., BMC Med. 17:230 (2019).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from adbench.errors import AdbenchError
from adbench.statistics.figures import Figure, figure
from adbench.statistics.jackknife import mean, without_each
from adbench.statistics.patients import Groups

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
LEAST_PATIENTS = 10  # of each class, for Platt scaling
BINS = 10  # of a reliability diagram


@dataclass(frozen=True)
class Platt:
    """A map from scores to probabilities: the logit of the probability is slope x score + intercept.

    normal, abnormal: the numbers of images that it was fitted to. The probabilities hold where the share of abnormal
    images is as it was among them.
    """

    slope: float
    intercept: float
    normal: int
    abnormal: int

    def logits(self, scores: NDArray[np.floating]) -> Floats:
        """Return the logits (N,) of scores (N,)."""
        return self.slope * np.asarray(scores, np.float64) + self.intercept

    def probabilities(self, scores: NDArray[np.floating]) -> Floats:
        """Return the probabilities (N,), from 0 to 1, that images of scores (N,) are abnormal."""
        return np.asarray(expit(self.logits(scores)))


@dataclass(frozen=True)
class ReliabilityBin:
    """One point of a reliability diagram: images of neighbouring probabilities.

    probability: their mean. observed: the share of them that is abnormal. images: how many.
    """

    probability: float
    observed: float
    images: int


def platt(scores: NDArray[np.floating], labels: Bools, groups: Groups) -> Platt:
    """Fit Platt scaling to held-out images.

    scores, labels, groups: (N,), higher is more abnormal; true where abnormal; the patient of each, any numbers.
    The targets are (N1 + 1) / (N1 + 2) for abnormal images and 1 / (N0 + 2) for normal ones, as Platt proposed, so
    that classes without overlap have a finite slope too.
    Raises AdbenchError where a class has images of fewer than 10 patients, where all scores are equal, and where higher
    scores are not more abnormal.
    """
    counts = [len(np.unique(groups[labels == label])) for label in (False, True)]
    for count, name in zip(counts, ("normal", "abnormal"), strict=True):
        if count < LEAST_PATIENTS:
            raise AdbenchError(
                f"probabilities need held-out {name} images of at least {LEAST_PATIENTS} patients; there are {count}"
            )
    values = np.asarray(scores, np.float64)
    middle, spread = float(values.mean()), float(values.std())
    if np.ptp(values) == 0:
        raise AdbenchError("probabilities need held-out scores that differ; all are equal")
    abnormal, normal = int(labels.sum()), int((~labels).sum())
    targets = np.where(labels, (abnormal + 1) / (abnormal + 2), 1 / (normal + 2))
    standard = (values - middle) / spread
    found = _logistic(np.stack([np.ones(len(standard)), standard], axis=1), targets)
    intercept, slope = float(found[0]), float(found[1])
    if slope <= 0:
        raise AdbenchError("no probability: the held-out abnormal images have no higher scores than the normal ones")
    return Platt(slope / spread, intercept - slope * middle / spread, normal, abnormal)


def brier(probabilities: Floats, labels: Bools, groups: Groups, level: float = 0.95) -> Figure:
    """Return the Brier score, the mean of (probability - label)²: 0 is best (Brier, Mon. Weather Rev. 78:1, 1950).

    groups: (N,), the patient of each image, any numbers.

    >>> brier(np.array([0.5, 1.0]), np.array([False, True]), np.arange(2)).value
    0.125
    """
    return figure(*mean((probabilities - labels) ** 2, groups), level)


def calibration_in_the_large(logits: Floats, labels: Bools, groups: Groups, level: float = 0.95) -> Figure:
    """Return calibration in the large: the intercept of a logistic regression on the logits, with slope 1.

    groups: as in `brier`. 0 is right; below 0 the probabilities are too high on the whole.
    """
    return _regression(logits, labels, groups, level, with_slope=False)


def calibration_slope(logits: Floats, labels: Bools, groups: Groups, level: float = 0.95) -> Figure:
    """Return the calibration slope: of a logistic regression of the labels on the logits.

    groups: as in `brier`. 1 is right; below 1 the probabilities are too extreme.
    """
    return _regression(logits, labels, groups, level, with_slope=True)


def reliability(probabilities: Floats, labels: Bools, bins: int = BINS) -> tuple[ReliabilityBin, ...]:
    """Return the points of a reliability diagram: about as many images in each bin; equal probabilities stay together.

    >>> points = reliability(np.array([0.1, 0.1, 0.8, 0.9]), np.array([False, True, True, True]), bins=2)
    >>> [(round(one.probability, 2), one.observed, one.images) for one in points]
    [(0.1, 0.5, 2), (0.85, 1.0, 2)]
    """
    if bins < 1:
        raise AdbenchError(f"bins={bins} is not possible: at least 1 is needed.")
    ordered = np.sort(probabilities)
    # The bin of an image is that of the first one of equal probability.
    at = np.searchsorted(ordered, probabilities) * bins // max(len(probabilities), 1)
    points = []
    for number in np.unique(at):
        some = at == number
        points.append(ReliabilityBin(float(probabilities[some].mean()), float(labels[some].mean()), int(some.sum())))
    return tuple(points)


def expected_calibration_error(points: tuple[ReliabilityBin, ...]) -> float:
    """Return the expected calibration error: the mean distance of a reliability diagram's points from the diagonal.

    Naeini, Cooper & Hauskrecht, AAAI 2015; with bins of equal mass it does not depend on how the probabilities spread.

    >>> expected_calibration_error((ReliabilityBin(0.1, 0.5, 2), ReliabilityBin(0.85, 1.0, 2)))
    0.275
    """
    images = sum(one.images for one in points)
    return math.fsum(one.images * abs(one.observed - one.probability) for one in points) / images


def _regression(logits: Floats, labels: Bools, groups: Groups, level: float, with_slope: bool) -> Figure:
    found = _recalibrated(logits, labels, with_slope)
    if found is None:
        missing = "abnormal" if not labels.any() else "normal" if labels.all() else ""
        why = (
            f"there is no {missing} image" if missing else "the scores separate the classes, so there is no finite one"
        )
        return Figure(None, why=why, patients=len(np.unique(groups)))

    def last(keep: Bools) -> float:
        again = _recalibrated(logits[keep], labels[keep], with_slope, found)
        return math.nan if again is None else float(again[-1])

    return figure(float(found[-1]), without_each(last, groups), level, logit=False)


def _recalibrated(logits: Floats, labels: Bools, with_slope: bool, start: Floats | None = None) -> Floats | None:
    """Return intercept and, if asked for, slope of the labels on the logits; None where they are not finite."""
    well, ill = logits[~labels], logits[labels]
    if not (len(well) and len(ill)):
        return None
    if not with_slope:
        return _logistic(np.ones((len(logits), 1)), labels.astype(float), logits, start)
    # Only classes that overlap have a finite maximum of the likelihood.
    if not (well.max() > ill.min() and ill.max() > well.min()):
        return None
    return _logistic(np.stack([np.ones(len(logits)), logits], axis=1), labels.astype(float), 0.0, start)


def _logistic(design: Floats, targets: Floats, offset: Floats | float = 0.0, start: Floats | None = None) -> Floats:
    """Return the coefficients (K,) that maximise the likelihood, by Newton's method with halved steps."""
    beta = np.zeros(design.shape[1]) if start is None else start
    loss = _loss(design @ beta + offset, targets)
    for _ in range(200):
        p = expit(design @ beta + offset)
        gradient = design.T @ (targets - p)
        curvature = (design * (p * (1 - p))[:, None]).T @ design
        step = np.linalg.lstsq(curvature, gradient)[0]
        if np.abs(step).max() <= 1e-6 * max(1.0, float(np.abs(beta).max())):
            return beta + step  # its error is about the square of the step's
        for _ in range(40):
            after = _loss(design @ (beta + step) + offset, targets)
            if after <= loss:
                break
            step = step / 2
        else:
            return beta  # no step makes it better: this is the maximum, up to rounding
        beta, loss = beta + step, after
    return beta


def _loss(logits: Floats, targets: Floats) -> float:
    return float((np.logaddexp(0, logits) - targets * logits).sum())
