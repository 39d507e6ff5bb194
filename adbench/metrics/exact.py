"""Pixel metrics straight from the full, sorted pixel list: the oracle that the histograms are tested against.

Memory grows with the number of pixels (about 70 bytes each). Use `Histogram` for anything but a check.
"""

from typing import Any

import numpy as np
from scipy import ndimage

from adbench.metrics.arrays import as_maps, require_both_classes
from adbench.metrics.image import average_precision, f1_max, roc_auc
from adbench.metrics.pixel import LIMITS


def exact_pixel(scores: Any, masks: Any, limit: float = LIMITS["pixel_aupro"]) -> dict[str, float]:
    """Return `pixel_auroc`, `pixel_ap`, `pixel_f1_max`, `pixel_aupro` (FPR up to `limit`), `pixel_aupro_05` (to 0.05).

    Args:
        scores: (N, H, W), finite; higher is more abnormal; compared in the precision given.
        masks: (N, H, W), boolean or 0/1; true where abnormal.
        limit: largest false positive rate of the AUPRO, in (0, 1].

    Raises:
        AdbenchError: wrong shape, or abnormal or normal pixels are missing.
        NumericalError: a score is NaN or infinite.

    >>> exact_pixel([[[0.9, 0.2], [0.5, 0.1]]], [[[1, 1], [0, 0]]])["pixel_aupro"]
    0.5

    """
    maps, truth = as_maps(scores, masks)
    require_both_classes("exact_pixel", int(truth.sum()), int((~truth).sum()), "pixels")
    flat, abnormal = maps.ravel(), truth.ravel()
    return {
        "pixel_auroc": roc_auc(flat, abnormal),
        "pixel_ap": average_precision(flat, abnormal),
        "pixel_f1_max": f1_max(flat, abnormal),
        "pixel_aupro": _aupro(maps, truth, limit),
        "pixel_aupro_05": _aupro(maps, truth, LIMITS["pixel_aupro_05"]),
    }


def _aupro(maps: Any, truth: Any, limit: float) -> float:
    between_images = np.zeros((3, 3, 3), bool)
    between_images[1] = True
    labels, regions = ndimage.label(truth, between_images)
    area = np.bincount(labels.ravel())
    weight = np.where(truth, 1 / (area[labels] * regions), 0).ravel()
    flat = maps.ravel()
    order = np.argsort(-flat.astype(np.promote_types(flat.dtype, np.float64)), kind="stable")
    last = np.append(np.flatnonzero(np.diff(flat[order])), flat.size - 1)
    overlap = np.append(0, np.cumsum(weight[order])[last])
    rate = np.append(0, np.cumsum(~truth.ravel()[order])[last] / (~truth).sum())
    inside = rate <= limit
    x, y = rate[inside], overlap[inside]
    if not inside.all():
        after = int(inside.sum())  # the curve is linear up to the first point beyond the limit
        slope = (overlap[after] - y[-1]) / (rate[after] - x[-1])
        x, y = np.append(x, limit), np.append(y, y[-1] + slope * (limit - x[-1]))
    return float(np.trapezoid(y, x) / limit)
