"""Pixel metrics from a histogram, each with a half-width that provably contains the figure of the full pixel list.

A bin that holds one single value is a true tie and costs nothing. Inside a `mixed` bin the order of its p abnormal and
n normal pixels is unknown; every figure is bounded by the best and the worst order they could have.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from adbench.errors import AdbenchError
from adbench.metrics.arrays import require_both_classes
from adbench.metrics.histogram import Histogram
from adbench.metrics.keys import to_floats

Column = npt.NDArray[np.float64]

METRICS = ("pixel_auroc", "pixel_ap", "pixel_f1_max", "pixel_aupro", "pixel_aupro_05")
LIMITS = {"pixel_aupro": 0.3, "pixel_aupro_05": 0.05}  # of the false positive rate
ROUNDING = 1e-12  # of the float64 sums that a bound is made of


class Estimate(NamedTuple):
    """A figure known to lie in [value - half_width, value + half_width]; half_width 0: exact up to float64 rounding."""

    value: float
    half_width: float


class OperatingPoint(NamedTuple):
    """A threshold (abnormal: score >= threshold), the specificity it has, and the best sensitivity to be had there."""

    threshold: float
    sensitivity: Estimate
    specificity: float


class _Curve(NamedTuple):
    # Bins from the highest score down; tp, fp and overlap are what lies above a bin.
    p: Column
    n: Column
    w: Column
    mixed: npt.NDArray[np.bool_]
    tp: Column
    fp: Column
    overlap: Column
    positives: float
    negatives: float


def pixel_metrics(hist: Histogram) -> dict[str, Estimate]:
    """Return `pixel_auroc`, `pixel_ap`, `pixel_f1_max`, `pixel_aupro` (FPR up to 0.3) and `pixel_aupro_05` (0.05).

    Raises:
        AdbenchError: abnormal or normal pixels are missing.

    >>> hist = Histogram()
    >>> hist.update([[0.9, 0.2], [0.1, 0.3]], [[1, 0], [0, 0]])
    >>> sorted(pixel_metrics(hist))
    ['pixel_ap', 'pixel_aupro', 'pixel_aupro_05', 'pixel_auroc', 'pixel_f1_max']

    """
    curve = _curve(hist, "pixel metrics")
    return {
        "pixel_auroc": _auroc(curve),
        "pixel_ap": _ap(curve),
        "pixel_f1_max": _f1_max(curve),
        **{name: _aupro(curve, limit) for name, limit in LIMITS.items()},
    }


def pixel_auroc(hist: Histogram) -> Estimate:
    """Area under the ROC curve over all pixels: the chance that an abnormal pixel outscores a normal one, ties 1/2.

    >>> hist = Histogram()
    >>> hist.update([[0.75, 0.25], [0.125, 0.25]], [[1, 1], [0, 0]])
    >>> pixel_auroc(hist)
    Estimate(value=0.875, half_width=0.0)
    """
    return _auroc(_curve(hist, "pixel_auroc"))


def pixel_ap(hist: Histogram) -> Estimate:
    """Average precision over all pixels: the sum over thresholds of recall gained times precision, no interpolation.

    >>> hist = Histogram()
    >>> hist.update([[0.75, 0.25], [0.5, 0.125]], [[1, 1], [0, 0]])
    >>> round(pixel_ap(hist).value, 4)
    0.8333
    """
    return _ap(_curve(hist, "pixel_ap"))


def pixel_f1_max(hist: Histogram) -> Estimate:
    """Largest F1 score that any threshold reaches over all pixels.

    >>> hist = Histogram()
    >>> hist.update([[0.75, 0.25], [0.5, 0.125]], [[1, 1], [0, 0]])
    >>> pixel_f1_max(hist)
    Estimate(value=0.8, half_width=0.0)
    """
    return _f1_max(_curve(hist, "pixel_f1_max"))


def pixel_aupro(hist: Histogram, limit: float = LIMITS["pixel_aupro"]) -> Estimate:
    """Area under the per-region-overlap curve up to a false positive rate of `limit`, divided by it; in [0, 1].

    The overlap is the mean, over abnormal regions, of the part of a region at or above the threshold (Bergmann et al.,
    MVTec AD, IJCV 2021). Between thresholds the curve is linear, at the limit too.

    >>> hist = Histogram()
    >>> hist.update([[0.75, 0.25], [0.5, 0.125]], [[1, 1], [0, 0]])
    >>> pixel_aupro(hist)
    Estimate(value=0.5, half_width=0.0)
    """
    if not 0 < limit <= 1:
        raise AdbenchError(f"pixel_aupro: limit is a false positive rate in (0, 1], got {limit}")
    return _aupro(_curve(hist, "pixel_aupro"), limit)


def pixel_operating_point(hist: Histogram, specificity: float = 0.95) -> OperatingPoint:
    """Return the lowest known threshold with at least this specificity, and the best sensitivity possible with it.

    Thresholds are known at the edges of bins, as float32 numbers. The `specificity` returned is the exact one of the
    threshold; its own sensitivity is `sensitivity.value - sensitivity.half_width`. The threshold is infinite when the
    highest scores already hold too many normal pixels.

    >>> hist = Histogram()
    >>> hist.update([[0.75, 0.5], [0.25, 0.5]], [[1, 1], [0, 0]])
    >>> pixel_operating_point(hist, 0.6)
    OperatingPoint(threshold=0.75, sensitivity=Estimate(value=0.5, half_width=0.0), specificity=1.0)
    """
    if not 0 <= specificity <= 1:
        raise AdbenchError(f"pixel_operating_point: specificity must be in [0, 1], got {specificity}")
    c = _curve(hist, "pixel_operating_point")
    true_negative_rate = (c.negatives - (c.fp + c.n)) / c.negatives
    used = int(np.count_nonzero(true_negative_rate >= specificity))
    low = float(c.p[:used].sum())
    # A threshold inside the next bin may still be allowed, and may win all its abnormal pixels.
    high = low + (float(c.p[used]) if used < c.p.size and c.mixed[used] else 0.0)
    threshold = float(to_floats(hist.table().keys[::-1][used - 1 : used])[0]) if used else float("inf")
    return OperatingPoint(
        threshold,
        _between(low / c.positives, high / c.positives),
        float(true_negative_rate[used - 1]) if used else 1.0,
    )


def _curve(hist: Histogram, metric: str) -> _Curve:
    table = hist.table()
    p = table.positive[::-1].astype(np.float64)  # exact below 2**53 pixels
    n = table.total[::-1] - p
    positives, negatives = float(p.sum()), float(n.sum())
    require_both_classes(metric, int(positives), int(negatives), "pixels")
    w = table.weight[::-1] / hist.n_regions
    return _Curve(p, n, w, table.mixed[::-1], _above(p), _above(n), _above(w), positives, negatives)


def _above(column: Column) -> Column:
    return np.cumsum(column) - column


def _between(low: float, high: float) -> Estimate:
    low, high = (min(max(float(bound), 0.0), 1.0) for bound in (low, high))  # sums can round beyond
    return Estimate((low + high) / 2, (high - low) / 2 + ROUNDING if high > low else 0.0)


def _bounds(mixed: npt.NDArray[np.bool_], exact: Column, low: Column, high: Column, scale: float) -> Estimate:
    return _between(np.where(mixed, low, exact).sum() / scale, np.where(mixed, high, exact).sum() / scale)


def _auroc(c: _Curve) -> Estimate:
    # Of the p * n pairs within a mixed bin between none and all are in the right order.
    return _bounds(c.mixed, c.n * (c.tp + c.p / 2), c.n * c.tp, c.n * (c.tp + c.p), scale=c.positives * c.negatives)


def _ap(c: _Curve) -> Estimate:
    # Each abnormal pixel contributes the precision t / (t + f) at the last member of its tie group. For the j-th one of
    # a mixed bin, tp + j <= t <= tp + p and fp <= f <= fp + n, and precision grows with t and falls with f. So the
    # best case is one tie of all p before any of the n, and the worst is all n first, then the p one by one:
    #   sum_j (tp + j) / (tp + j + f) = p - f * sum_j 1 / (tp + f + j) >= p - f * log(1 + p / (tp + f + 1/2)),
    # as 1 / i is at most the integral of 1 / x from i - 1/2 to i + 1/2.
    t, f = c.tp + c.p, c.fp + c.n
    exact = c.p * t / (t + f)
    low = c.p - f * np.log1p(c.p / (c.tp + f + 0.5))
    high = c.p * t / np.maximum(t + c.fp, 1)
    return _bounds(c.mixed, exact, low, high, scale=c.positives)


def _f1_max(c: _Curve) -> Estimate:
    # The lower end of every bin is a real threshold. One inside a mixed bin has at most tp + p hits and at least fp
    # false alarms.
    t = c.tp + c.p
    at_edge = 2 * t / (t + c.fp + c.n + c.positives)
    best = np.where(c.mixed, 2 * t / (t + c.fp + c.positives), at_edge)
    return _between(at_edge.max(), best.max())


def _aupro(c: _Curve, limit: float) -> Estimate:
    # Over a bin the false positive rate rises by n / N and the overlap by w. One value: a straight line. Several
    # values: an unknown rising line in that rectangle, so its area is between those of the lower and the upper edge.
    begin, width = c.fp / c.negatives, c.n / c.negatives
    used = np.clip(limit - begin, 0, width)
    rise = np.divide(used, width, out=np.zeros_like(used), where=width > 0) * c.w
    return _bounds(c.mixed, used * (c.overlap + rise / 2), used * c.overlap, used * (c.overlap + c.w), scale=limit)
