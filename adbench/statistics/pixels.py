"""Pixel metrics without each patient, from what each image contributes to the histogram."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adbench.errors import AdbenchError
from adbench.metrics import pixel
from adbench.metrics.per_image import Contributions
from adbench.statistics.patients import Groups, renumbered

Floats = NDArray[np.float64]
METRICS = pixel.METRICS
CHUNK = 32  # patients at a time


def pixel_figures(whole: Contributions, metrics: Sequence[str] = METRICS) -> Floats:
    """Return the metrics (K,) over all images, each bin taken as one score."""
    places, bins, columns = _by_bin(whole)
    p, n, w = _tables(places, columns, (1, bins))
    return _figures(p, n, w, whole.regions.sum(dtype=np.float64, keepdims=True), metrics)[0]


def pixel_figures_without_each(whole: Contributions, groups: Groups, metrics: Sequence[str] = METRICS) -> Floats:
    """Return the metrics without each patient, (I, K): the total less the patient's own; NaN where one does not exist.

    groups: (N,), the patient of each image: any numbers, in whose order the figures are returned.
    Raises AdbenchError where their number is not that of the images, and for an unknown metric.
    """
    if len(groups) != len(whole.regions):
        raise AdbenchError(f"{len(groups)} patients are given for {len(whole.regions)} images.")
    groups = renumbered(groups)
    count = int(groups.max()) + 1 if len(groups) else 0
    regions = np.bincount(groups, whole.regions, count)
    places, bins, columns = _by_bin(whole)
    totals = _tables(places, columns, (1, bins))
    patients = groups[whole.image]
    order = np.argsort(patients, kind="stable")
    places, patients, columns = places[order], patients[order], [column[order] for column in columns]
    found = np.empty((count, len(metrics)))
    for first in range(0, count, CHUNK):
        last = min(first + CHUNK, count)
        rows = slice(*np.searchsorted(patients, [first, last]))
        at = (patients[rows] - first) * bins + places[rows]
        own = _tables(at, [column[rows] for column in columns], (last - first, bins))
        abnormal, normal, weight = (total - part for total, part in zip(totals, own, strict=True))
        found[first:last] = _figures(abnormal, normal, weight, regions.sum() - regions[first:last], metrics)
    return found


def _by_bin(whole: Contributions) -> tuple[NDArray[np.intp], int, list[NDArray[Any]]]:
    """Return each row's bin (R,), 0 the highest; the number of bins; abnormal and normal pixels and region weights."""
    places = (whole.bin.max() - whole.bin if whole.bin.size else whole.bin).astype(np.intp)
    return places, int(places.max(initial=0)) + 1, [whole.positive, whole.negative, whole.region_weight]


def _tables(at: NDArray[np.intp], columns: Sequence[NDArray[Any]], shape: tuple[int, int]) -> list[Floats]:
    """Return the sum of each column (R,) at each place (R,) of a table of that shape."""
    size = shape[0] * shape[1]
    return [np.bincount(at, column, size).astype(np.float64, copy=False).reshape(shape) for column in columns]


def _figures(p: Floats, n: Floats, w: Floats, regions: Floats, metrics: Sequence[str]) -> Floats:
    positives, negatives = p.sum(axis=1, keepdims=True), n.sum(axis=1, keepdims=True)
    tp, fp = np.cumsum(p, axis=1), np.cumsum(n, axis=1)
    columns = []
    with np.errstate(divide="ignore", invalid="ignore"):
        for metric in metrics:
            if metric == "pixel_auroc":
                area = (n * (tp - p / 2)).sum(axis=1, keepdims=True) / (positives * negatives)
            elif metric == "pixel_ap":
                area = np.where(p > 0, p * tp / (tp + fp), 0).sum(axis=1, keepdims=True) / positives
            elif metric == "pixel_f1_max":
                area = (2 * tp / (tp + fp + positives)).max(axis=1, keepdims=True)
            elif metric in pixel.LIMITS:
                limit, width = pixel.LIMITS[metric], n / negatives
                used = np.clip(limit - (fp - n) / negatives, 0, width)
                rise = np.where(width > 0, used / width, 0) * w
                area = (used * (np.cumsum(w, axis=1) - w + rise / 2)).sum(axis=1, keepdims=True)
                area = area / (limit * regions.reshape(-1, 1))
            else:
                raise AdbenchError(f"{metric} is no pixel metric that has a jackknife; {', '.join(METRICS)} have.")
            columns.append(np.where((positives > 0) & (negatives > 0), area, np.nan))
    return np.concatenate(columns, axis=1)
