"""The jackknife over patients: figures without each patient, and their covariance."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from adbench.errors import AdbenchError
from adbench.statistics.patients import Groups, renumbered, sums

Floats = NDArray[np.float64]
ROUNDING = 1e-13  # of equal figures, relative to them


def without_each(figure: Callable[[NDArray[np.bool_]], float], groups: Groups) -> Floats:
    """Return a figure without each patient, (I,).

    groups: (N,), the patient of each image: any numbers, in whose order the figures are returned.
    figure: gets a mask (N,) of the images to keep, and returns NaN where the figure does not exist.

    >>> ages = np.array([40.0, 50.0, 60.0])
    >>> without_each(lambda keep: float(ages[keep].mean()), np.array([0, 1, 2])).tolist()
    [55.0, 50.0, 45.0]
    """
    return np.array([figure(groups != patient) for patient in np.unique(groups)])


def ratio(top: Floats, bottom: Floats, groups: Groups) -> tuple[float, Floats]:
    """Return the ratio of the sums of top and bottom, (N,) each, and the same without each patient, (I,).

    groups: as in `without_each`. A ratio is NaN where the lower sum is 0.

    >>> ratio(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 4.0]), np.array([0, 1, 1]))
    (0.6, array([0.625, 0.5  ]))
    """
    if not len(top):
        return math.nan, np.empty(0)
    own = renumbered(groups)
    above, below = top.sum(), bottom.sum()
    left = below - sums(bottom, own)
    without = np.divide(above - sums(top, own), left, out=np.full(len(left), np.nan), where=left > 0)
    return float(above / below) if below > 0 else math.nan, without


def mean(values: Floats, groups: Groups) -> tuple[float, Floats]:
    """Return the mean of values (N,), and the mean without each patient, (I,); NaN where no image is left.

    groups: as in `without_each`.

    >>> mean(np.array([40.0, 50.0, 60.0]), np.array([0, 1, 1]))
    (50.0, array([55., 40.]))
    """
    return ratio(values, np.ones(len(values)), groups)


def covariance(replicates: Floats) -> Floats:
    """Return the (K, K) jackknife covariance of K figures from their values without each of I patients, (I, K).

    (I - 1) / I times the sum of squares and products about the mean; exactly 0 for a figure that no patient changes by
    more than rounding. Leave out, for all figures alike, the patients
    who cannot enter the figure: for a sensitivity those without an abnormal image.

    Raises AdbenchError where a figure does not exist without some patient, and with fewer than two patients.

    >>> covariance(np.array([[55.0], [50.0], [45.0]])).round(4).tolist()  # the squared standard error of a mean
    [[33.3333]]
    """
    count = len(replicates)
    if count < 2:
        raise AdbenchError(f"{count} patient is too few for a jackknife; two are needed.")
    missing = np.flatnonzero(~np.isfinite(replicates).all(axis=1))
    if len(missing):
        raise AdbenchError(
            f"without patient {missing[0]} of {count} the figure does not exist: no other patient has such an image."
        )
    same = np.ptp(replicates, axis=0) <= ROUNDING * np.abs(replicates).max(axis=0)
    centred = np.where(same, 0.0, replicates - replicates.mean(axis=0))
    return np.asarray((count - 1) / count * centred.T @ centred)
