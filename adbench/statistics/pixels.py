"""Pixel metrics without each patient, from what each image contributes to the histogram."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adbench.errors import AdbenchError
from adbench.metrics.per_image import Contributions
from adbench.statistics.patients import Groups

Floats = NDArray[np.float64]
METRICS = ("pixel_auroc", "pixel_ap", "pixel_f1_max", "pixel_aupro", "pixel_aupro_05")
LIMITS = {"pixel_aupro": 0.3, "pixel_aupro_05": 0.05}  # of the false positive rate
CHUNK = 256  # patients at a time


def pixel_figures(whole: Contributions, metrics: Sequence[str] = METRICS) -> Floats:
    """Return the metrics (K,) over all images, each bin taken as one score."""
    one = np.zeros(len(whole.regions), np.intp)
    p, n, w, regions = _by_patient(whole, one)
    return _figures(p, n, w, regions, metrics)[0]


def pixel_figures_without_each(whole: Contributions, groups: Groups, metrics: Sequence[str] = METRICS) -> Floats:
    """Return the metrics without each patient, (I, K): the total less the patient's own; NaN where one does not exist.

    groups: (N,), the patient of each image, as from `group`.
    Raises AdbenchError where their number is not that of the images, and for an unknown metric.
    """
    if len(groups) != len(whole.regions):
        raise AdbenchError(f"{len(groups)} patients are given for {len(whole.regions)} images.")
    p, n, w, regions = _by_patient(whole, groups)
    rows, totals = [], [part.sum(axis=0) for part in (p, n, w)]
    for start in range(0, len(p), CHUNK):
        some = slice(start, start + CHUNK)
        abnormal, normal, weight = (total - part[some] for total, part in zip(totals, (p, n, w), strict=True))
        rows.append(_figures(abnormal, normal, weight, regions.sum() - regions[some], metrics))
    return np.concatenate(rows)


def _by_patient(whole: Contributions, groups: Groups) -> tuple[Floats, Floats, Floats, Floats]:
    """Return abnormal pixels, normal pixels and region weights (I, bins), highest score first, and regions (I,)."""
    count = int(groups.max()) + 1 if len(groups) else 0
    low = int(whole.bin.min()) if whole.bin.size else 0
    bins = int(whole.bin.max()) - low + 1 if whole.bin.size else 0
    at = groups[whole.image] * bins + (bins - 1 - (whole.bin - low))

    def table(column: NDArray[Any]) -> Floats:
        return np.bincount(at, column, count * bins).astype(np.float64, copy=False).reshape(count, bins)

    regions = np.bincount(groups, whole.regions, count).astype(np.float64)
    return table(whole.positive), table(whole.negative), table(whole.region_weight), regions


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
            elif metric in LIMITS:
                limit, width = LIMITS[metric], n / negatives
                used = np.clip(limit - (fp - n) / negatives, 0, width)
                rise = np.where(width > 0, used / width, 0) * w
                area = (used * (np.cumsum(w, axis=1) - w + rise / 2)).sum(axis=1, keepdims=True)
                area = area / (limit * regions.reshape(-1, 1))
            else:
                raise AdbenchError(f"{metric} is no pixel metric that has a jackknife; {', '.join(METRICS)} have.")
            columns.append(np.where((positives > 0) & (negatives > 0), area, np.nan))
    return np.concatenate(columns, axis=1)
