"""Figures of a part of the images, each with an interval over patients: AUROC, a rate per image, a rank correlation."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from adbench.statistics import jackknife
from adbench.statistics.auroc import auroc_without_each, placements
from adbench.statistics.figures import LEAST_PATIENTS, Figure, figure
from adbench.statistics.patients import Groups

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def auroc(scores: Floats, labels: Bools, groups: Groups, level: float = 0.95) -> Figure:
    """Return the AUROC of some images with its interval for new patients.

    scores, labels, groups: (N,); groups: the patient of each image, any numbers. No interval is given where fewer than
    10 patients have an abnormal image, or a normal one; `patients` is the smaller of the two numbers.

    >>> one = auroc(np.arange(40.0), np.arange(40) >= 20, np.arange(40))
    >>> one.value, one.why, one.patients
    (1.0, 'no interval: no patient contradicts 1', 20)
    """
    ill, well = (len(np.unique(groups[labels == label])) for label in (True, False))
    if not ill or not well:
        return Figure(None, why=f"there is no {'normal' if ill else 'abnormal'} image", patients=0)
    value = float(placements(scores, labels)[labels].mean())
    if min(ill, well) < LEAST_PATIENTS:
        kind = "an abnormal" if ill < LEAST_PATIENTS else "a normal"
        few = f"{min(ill, well)} patients with {kind} image are too few for an interval; {LEAST_PATIENTS} are needed"
        return Figure(value, why=few, patients=min(ill, well))
    found = figure(value, auroc_without_each(scores, labels, groups), level)
    return Figure(found.value, found.low, found.high, found.why, min(ill, well))


def mean(values: Floats, groups: Groups, level: float = 0.95) -> Figure:
    """Return the mean of values (N,) from 0 to 1, one an image, with its interval for new patients.

    groups: as in `auroc`.

    >>> mean(np.array([0.25, 0.75]), np.array([0, 1])).value
    0.5
    """
    return figure(*jackknife.mean(values, groups), level)


def per_image(counts: NDArray[np.integer], groups: Groups, level: float = 0.95) -> Figure:
    """Return the mean of counts (N,) over images, such as false positives, with its interval for new patients.

    groups: as in `auroc`.

    >>> per_image(np.array([2, 0, 1, 1]), np.array([0, 0, 1, 2])).value
    1.0
    """
    found = figure(*jackknife.mean(counts.astype(np.float64), groups), level, logit=False)
    low = None if found.low is None else max(found.low, 0.0)
    return Figure(found.value, low, found.high, found.why, found.patients)


def spearman(x: Floats, y: Floats, groups: Groups, level: float = 0.95) -> Figure:
    """Return Spearman's rank correlation of x and y, (N,) each, with its jackknife interval; ties have mid-ranks.

    groups: as in `auroc`.

    >>> spearman(np.array([1.0, 2.0, 3.0]), np.array([1.0, 4.0, 9.0]), np.arange(3)).value
    1.0
    """
    value = _correlation(x, y)
    if not math.isfinite(value):
        equal = "it does not exist on these images: all values are equal"
        return Figure(None, why=equal, patients=len(np.unique(groups)))
    without = jackknife.without_each(lambda keep: _correlation(x[keep], y[keep]), groups)
    found = figure(value, without, level, logit=False)
    if found.low is None or found.high is None:
        return found
    return Figure(found.value, max(found.low, -1.0), min(found.high, 1.0), found.why, found.patients)


def _correlation(x: Floats, y: Floats) -> float:
    a, b = (rankdata(values) - (len(values) + 1) / 2 for values in (x, y))
    scale = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / scale if scale > 0 else math.nan
