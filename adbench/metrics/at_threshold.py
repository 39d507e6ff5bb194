"""Pixel sensitivity, specificity and Dice at a given threshold, from a histogram."""

from typing import NamedTuple

import numpy as np

from adbench.errors import AdbenchError
from adbench.metrics.arrays import require_both_classes
from adbench.metrics.histogram import Histogram
from adbench.metrics.keys import to_keys
from adbench.metrics.pixel import Estimate


class AtThreshold(NamedTuple):
    """What a threshold reaches over all pixels: shares of abnormal and of normal pixels, and the Dice coefficient."""

    sensitivity: Estimate
    specificity: Estimate
    dice: Estimate


def pixels_at(hist: Histogram, threshold: float) -> AtThreshold:
    """Return what a threshold reaches; a pixel whose score reaches it is called abnormal.

    Only a bin that holds several scores, and the threshold between them, leaves anything open: at worst all its normal
    pixels and no abnormal one reach the threshold, at best the other way round. Dice is 2 TP / (P + TP + FP).

    Raises AdbenchError where abnormal or normal pixels are missing, or the threshold is not finite.

    >>> hist = Histogram()
    >>> hist.update([[0.75, 0.5], [0.25, 0.5]], [[1, 1], [0, 0]])
    >>> pixels_at(hist, 0.5).dice, pixels_at(hist, 0.5).specificity
    (Estimate(value=0.8, half_width=0.0), Estimate(value=0.5, half_width=0.0))
    """
    if not np.isfinite(threshold):
        raise AdbenchError(f"pixels_at: threshold must be finite, got {threshold}")
    require_both_classes("pixels_at", hist.n_positive, hist.n_negative, "pixels")
    table = hist.table()
    key, edge = int(to_keys(np.array([threshold], np.float32))[0]), table.keys.astype(np.int64)
    end = np.where(table.mixed, edge + (1 << table.shift), edge + 1)
    above, opened = edge >= key, (edge < key) & (end > key)
    normal = table.total - table.positive
    tp, fp = float(table.positive[above].sum()), float(normal[above].sum())
    more_tp, more_fp = float(table.positive[opened].sum()), float(normal[opened].sum())
    p, n = float(hist.n_positive), float(hist.n_negative)
    return AtThreshold(
        _between(tp / p, (tp + more_tp) / p),
        _between(1 - (fp + more_fp) / n, 1 - fp / n),
        _between(2 * tp / (p + tp + fp + more_fp), 2 * (tp + more_tp) / (p + tp + more_tp + fp)),
    )


def _between(low: float, high: float) -> Estimate:
    return Estimate((low + high) / 2, (high - low) / 2)
