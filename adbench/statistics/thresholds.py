"""Thresholds at a chosen specificity, from held-out normal images or pixels. No test score comes in here.

A score that reaches the threshold is abnormal. The threshold is the lowest one below which at least the chosen share of
the held-out normal scores lies: their empirical quantile, taken upwards, so that ties never cost specificity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adbench.errors import AdbenchError
from adbench.statistics.patients import Groups

Floats = NDArray[np.floating]
LEAST_PATIENTS = 10  # from whom a threshold is taken
OF_MAPS = (0.9, 0.95, 0.99)  # specificities of map thresholds, at which false positives are counted


@dataclass(frozen=True)
class Threshold:
    """A threshold from held-out normals, or a sentence why there is none.

    value: a score that reaches it is abnormal; None where `why` says why not.
    reached: the share of held-out normal images (or of their pixels) below it, at least the chosen specificity.
    images, patients: the held-out normal images, and their patients; one whose patient is unknown has its own.
    """

    value: float | None
    reached: float | None
    images: int
    patients: int
    why: str = ""


def check_share(name: str, value: float) -> float:
    """Return a specificity, prevalence or level; raises AdbenchError unless it lies between 0 and 1.

    >>> check_share("specificity", 0.95)
    0.95
    """
    if not (isinstance(value, (int, float, np.floating)) and 0 < value < 1):
        raise AdbenchError(f"{name}={value} is not possible: a share between 0 and 1 is needed, as in 0.95.")
    return float(value)


def least_normals(specificity: float) -> int:
    """Return how many normal images a specificity needs: with fewer, not one of them may lie above the threshold.

    >>> least_normals(0.95), least_normals(0.9), least_normals(0.99)
    (20, 10, 100)
    """
    return math.ceil(round(1 / (1 - check_share("specificity", specificity)), 6))


def image_threshold(scores: Floats, groups: Groups, specificity: float = 0.95) -> Threshold:
    """Return the threshold of the image score.

    scores: (N,), finite, of held-out normal images, 32 bits. groups: (N,), their patients, as from `group`.
    Too few images or patients give a sentence and no number; see `least_normals`.

    >>> scores = np.arange(1, 41, dtype=np.float32)  # 40 patients: 38 lie below the threshold
    >>> found = image_threshold(scores, np.arange(40), specificity=0.95)
    >>> round(found.value, 4), found.reached
    (38.0, 0.95)
    >>> image_threshold(scores[:15], np.arange(15), specificity=0.95).why
    'specificity 0.95 needs at least 20 held-out normal images; there are 15'
    """
    values, counts = np.unique(np.asarray(scores, np.float32), return_counts=True)
    with np.errstate(over="ignore"):  # above the largest number there is none: see `_chosen`
        above = np.nextafter(values, np.float32(np.inf))
    return _chosen(above, counts, len(scores), groups, specificity)


def pixel_threshold(upper: Floats, counts: NDArray[np.integer], groups: Groups, specificity: float = 0.95) -> Threshold:
    """Return the threshold of the anomaly map from the pixels of held-out normal images.

    upper: (B,), rising: the upper edges of the bins, which lie below them. counts: (B,), pixels in each bin.
    groups: (N,), the patient of each of the N images. The threshold is an edge, so `reached` is exact.

    >>> found = pixel_threshold(np.array([0.1, 0.2, 0.3]), np.array([90, 6, 4]), np.arange(20), specificity=0.95)
    >>> found.value, found.reached
    (0.2, 0.96)
    """
    return _chosen(upper, counts, len(groups), groups, specificity)


def pixel_thresholds(upper: Floats, counts: NDArray[np.integer], groups: Groups) -> dict[float, float]:
    """Return the thresholds of the anomaly map by specificity: of `OF_MAPS` those that so few images can give.

    The arguments are those of `pixel_threshold`.

    >>> pixel_thresholds(np.array([0.1, 0.2, 0.3]), np.array([90, 6, 4]), np.arange(20))
    {0.9: 0.1, 0.95: 0.2}
    """
    found = {one: pixel_threshold(upper, counts, groups, one).value for one in OF_MAPS}
    return {specificity: value for specificity, value in found.items() if value is not None}


def _chosen(upper: Floats, counts: NDArray[np.integer], images: int, groups: Groups, specificity: float) -> Threshold:
    least, patients = least_normals(specificity), len(np.unique(groups))
    if images < least:
        why = f"specificity {specificity:g} needs at least {least} held-out normal images; there are {images}"
        return Threshold(None, None, images, patients, why)
    if patients < LEAST_PATIENTS:
        why = f"a threshold needs held-out normal images of at least {LEAST_PATIENTS} patients; there are {patients}"
        return Threshold(None, None, images, patients, why)
    below, total = np.cumsum(counts), int(counts.sum())
    place = int(np.searchsorted(below, math.ceil(round(specificity * total, 6))))
    value = float(upper[place])
    if not math.isfinite(value):
        return Threshold(None, None, images, patients, "the held-out normal scores are as large as scores can be")
    return Threshold(value, float(below[place] / total), images, patients)
