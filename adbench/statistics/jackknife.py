"""The jackknife over patients: figures without each patient, and their covariance."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from adbench.errors import AdbenchError
from adbench.statistics.patients import Groups

Floats = NDArray[np.float64]
ROUNDING = 1e-13  # of equal figures, relative to them


def without_each(figure: Callable[[NDArray[np.bool_]], float], groups: Groups) -> Floats:
    """Return a figure without each patient, (I,).

    figure: gets a mask (N,) of the images to keep, and returns NaN where the figure does not exist.

    >>> ages = np.array([40.0, 50.0, 60.0])
    >>> without_each(lambda keep: float(ages[keep].mean()), np.array([0, 1, 2])).tolist()
    [55.0, 50.0, 45.0]
    """
    return np.array([figure(groups != patient) for patient in range(int(groups.max()) + 1)])


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
