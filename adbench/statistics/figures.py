"""Figures with an interval over patients, or a sentence why there is none: shares, predictive values, Dice."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from adbench.metrics.pixel import Estimate
from adbench.statistics.jackknife import ROUNDING, covariance, mean, ratio
from adbench.statistics.mrmc import interval, on_logit
from adbench.statistics.patients import Groups
from adbench.statistics.thresholds import check_share

Floats = NDArray[np.float64]
LEAST_PATIENTS = 10  # for an interval


@dataclass(frozen=True)
class Figure:
    """A figure with its interval for new patients, or a sentence why one of them is missing.

    value, low, high: None where `why` says why. patients: how many enter it.
    half_width: of a figure from a histogram, the true one lies within `value` ± this; 0: exact.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    why: str = ""
    patients: int = 0
    half_width: float = 0.0


def figure(value: float, without: Floats, level: float = 0.95, logit: bool = True, half_width: float = 0.0) -> Figure:
    """Return a figure with the interval of its jackknife over patients.

    without: (I,), the figure without each patient who enters it; NaN where it does not exist then.
    logit: whether it lies between 0 and 1, and its interval is taken on the logit scale.

    >>> figure(0.5, np.full(4, 0.5)).why
    '4 patients are too few for an interval; 10 are needed'
    """
    count = len(without)
    if not math.isfinite(value):
        return Figure(None, why="it does not exist on these images", patients=count)
    if count < LEAST_PATIENTS:
        few = f"{count} patient{' is' if count == 1 else 's are'} too few for an interval; {LEAST_PATIENTS} are needed"
        return Figure(value, None, None, few, count, half_width)
    if not np.isfinite(without).all():
        why = "no interval: without one of the patients the figure does not exist"
        return Figure(value, None, None, why, count, half_width)
    if logit and value in (0, 1):
        return Figure(value, None, None, f"no interval: no patient contradicts {value:g}", count, half_width)
    if np.ptp(without) <= ROUNDING * max(abs(value), float(np.abs(without).max())):
        return Figure(value, None, None, "no interval: no patient changes it", count, half_width)
    one = interval(value, float(covariance(without[:, None])[0, 0]), 0.0, math.inf, level)
    if not logit:
        return Figure(value, one.low, one.high, "", count, half_width)
    low, high = on_logit(one, level)
    return Figure(value, low, high, "", count, half_width)


def share(hits: NDArray[np.bool_], groups: Groups, level: float = 0.95) -> Figure:
    """Return the share of images that are hits: a sensitivity over abnormal images, a specificity over normal ones.

    hits: (N,). groups: (N,), the patient of each image, any numbers; only patients with such an image come in.

    >>> one = share(np.arange(40) % 4 > 0, np.arange(40))
    >>> one.value, round(one.low, 3), round(one.high, 3)
    (0.75, 0.592, 0.861)
    """
    return figure(*mean(hits.astype(float), groups), level)


def dice(tp: Floats, fp: Floats, positive: Floats, finer: Estimate | None = None, level: float = 0.95) -> Figure:
    """Return the Dice coefficient over all pixels, 2 TP / (P + TP + FP), from the counts of each patient.

    tp, fp, positive: (I,): abnormal and normal pixels that reach the threshold, and all abnormal pixels.
    finer: the same figure from a finer histogram, which is then returned; the counts give its interval alone.

    >>> dice(np.array([3.0, 1.0]), np.array([1.0, 0.0]), np.array([4.0, 2.0])).value
    0.7272727272727273
    """
    return _pooled(2 * tp, positive + tp + fp, finer, level)


def pixel_share(hits: Floats, pixels: Floats, finer: Estimate | None = None, level: float = 0.95) -> Figure:
    """Return a share of pixels from the counts (I,) of each patient; patients without such a pixel don't come in.

    finer: as in `dice`.

    >>> pixel_share(np.array([3.0, 1.0, 0.0]), np.array([4.0, 4.0, 0.0])).value
    0.5
    """
    kept = pixels > 0
    return _pooled(hits[kept], pixels[kept], finer, level)


def predictive_values(
    called: NDArray[np.bool_], labels: NDArray[np.bool_], groups: Groups, prevalence: float, level: float = 0.95
) -> tuple[Figure, Figure]:
    """Return the positive and the negative predictive value at a prevalence, by Bayes' theorem.

    PPV = Se p / (Se p + (1 - Sp)(1 - p)), NPV = Sp (1 - p) / (Sp (1 - p) + (1 - Se) p).
    called: (N,), whether an image is called abnormal. labels: (N,). groups: (N,), the patient of each, any numbers.

    >>> called, labels = np.array([True, True, False, False]), np.array([True, False, True, False])
    >>> ppv, npv = predictive_values(called, labels, np.arange(4), prevalence=0.2)
    >>> round(ppv.value, 3), round(npv.value, 3)  # a test that says nothing leaves the prevalence as it was
    (0.2, 0.8)
    """
    p = check_share("prevalence", prevalence)
    se, se_without = ratio((called & labels).astype(float), labels.astype(float), groups)
    sp, sp_without = ratio((~called & ~labels).astype(float), (~labels).astype(float), groups)
    figures = [
        figure(float(_bayes(se, sp, p)), _bayes(se_without, sp_without, p), level),
        figure(float(_bayes(sp, se, 1 - p)), _bayes(sp_without, se_without, 1 - p), level),
    ]
    few = min(len(np.unique(groups[labels])), len(np.unique(groups[~labels])))
    if few < LEAST_PATIENTS:
        why = f"no interval: a class has {few} patients, and {LEAST_PATIENTS} are needed"
        figures = [replace(one, low=None, high=None, why=one.why or why) for one in figures]
    return figures[0], figures[1]


def _bayes(right: Floats | float, other: Floats | float, prior: float) -> Floats:
    """Return the share of right answers among those of one kind; NaN where there is no such answer."""
    hits, errors = np.multiply(right, prior), np.multiply(1 - np.asarray(other), 1 - prior)
    return np.divide(hits, hits + errors, out=np.full(np.shape(hits), np.nan), where=hits + errors > 0)


def _pooled(top: Floats, bottom: Floats, finer: Estimate | None, level: float) -> Figure:
    own, without = ratio(top, bottom, np.arange(len(top)))
    value, half_width = finer or Estimate(own, 0.0)
    return figure(value, without, level, half_width=half_width)
