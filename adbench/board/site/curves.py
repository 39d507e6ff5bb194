"""ROC curves, precision-recall curves and score distributions, from counts of normal and abnormal items per score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adbench.metrics.arrays import require_both_classes
from adbench.metrics.keys import to_floats

Column = NDArray[np.float64]


class Counts(NamedTuple):
    """Abnormal and normal images or pixels per distinct score, each (B,), the highest score first."""

    scores: Column
    positive: Column
    negative: Column


def of_images(scores: Any, labels: Any) -> Counts:
    """Count images: `scores` (N,) finite, `labels` (N,) 0 or 1.

    Raises:
        AdbenchError: one class is missing.

    >>> of_images([0.1, 0.4, 0.4], [0, 0, 1]).positive.tolist()
    [1.0, 0.0]

    """
    distinct, at = np.unique(np.asarray(scores, np.float64), return_inverse=True)
    truth = np.asarray(labels) == 1
    positive = np.bincount(at[truth], minlength=distinct.size)
    negative = np.bincount(at[~truth], minlength=distinct.size)
    require_both_classes("curves of images", int(positive.sum()), int(negative.sum()), "images")
    return Counts(distinct[::-1], positive[::-1].astype(np.float64), negative[::-1].astype(np.float64))


def of_pixels(arrays: Mapping[str, NDArray[Any]], most: int = 4096) -> Counts:
    """Count pixels: `keys`, `positive` and `negative` of a record's histogram, lowest first.

    Neighbouring bins are merged until at most `most` are left. A merged bin holds at most 2 / (`most` - 1) of a class.
    The score of a bin is its left edge, and curves are straight within a bin.
    """
    positive, negative = np.cumsum(arrays["positive"][::-1]), np.cumsum(arrays["negative"][::-1])
    require_both_classes("curves of pixels", int(positive[-1]), int(negative[-1]), "pixels")
    last = np.arange(positive.size)
    if positive.size > most:
        along = positive / positive[-1] + negative / negative[-1]
        last = np.unique(np.searchsorted(along, np.linspace(0, 2, most)).clip(max=positive.size - 1))
    keys = (np.asarray(arrays["keys"][::-1][last], np.uint32) ^ np.uint32(0x80000000)).view(np.int32)
    p, n = (np.diff(column[last], prepend=0).astype(np.float64) for column in (positive, negative))
    return Counts(to_floats(keys).astype(np.float64), p, n)


def roc(counts: Counts) -> tuple[Column, Column]:
    """Return false and true positive rate, (B + 1,), from (0, 0) to (1, 1).

    >>> x, y = roc(of_images([0.1, 0.4, 0.4, 0.8], [0, 0, 1, 1]))
    >>> x.tolist(), y.tolist()
    ([0.0, 0.0, 0.5, 1.0], [0.0, 0.5, 1.0, 1.0])
    """
    x, y = np.cumsum(counts.negative), np.cumsum(counts.positive)
    return np.append(0, x / x[-1]), np.append(0, y / y[-1])


def precision_recall(counts: Counts) -> tuple[Column, Column]:
    """Return recall and precision, (B,), as the score falls; average precision is the area under its steps.

    >>> x, y = precision_recall(of_images([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]))
    >>> x.tolist(), y.round(2).tolist()
    ([0.5, 0.5, 1.0, 1.0], [1.0, 0.5, 0.67, 0.5])
    """
    detected = np.cumsum(counts.positive)
    return detected / detected[-1], detected / np.cumsum(counts.positive + counts.negative)


def at(x: Column, y: Column, where: float) -> float:
    """Return the height of a rising curve at `where`: the largest y with x <= where.

    >>> at(np.array([0.0, 0.2, 1.0]), np.array([0.0, 0.7, 1.0]), 0.5)
    0.7
    """
    return float(y[x <= where].max())


def thin(x: Column, y: Column, most: int = 240) -> tuple[Column, Column]:
    """Keep at most `most` points of a curve in the unit square, evenly along it, both ends included.

    Steps between kept points are at most (length of the curve) / (`most` - 1), finer than a line's width.

    >>> len(thin(np.linspace(0, 1, 10_000), np.linspace(0, 1, 10_000))[0])
    240
    """
    if x.size <= most:
        return x, y
    along = np.append(0, np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y))))
    chosen = np.unique(np.searchsorted(along, np.linspace(0, along[-1], most)))
    chosen = np.unique(np.append(chosen, [0, x.size - 1]))[: x.size]
    return x[chosen], y[chosen]


def distribution(counts: Counts, bins: int = 40, cut: float = 0.0) -> tuple[Column, Column, Column]:
    """Return edges (bins + 1,) and the shares of normal and of abnormal in each bin, (bins,), both summing to 1.

    `cut` is the share of each class that may lie beyond the outermost edges; it is counted in the outermost bins.
    """
    low, high = _span(counts, cut)
    edges = np.linspace(low, high, bins + 1)
    which = np.clip(np.searchsorted(edges, counts.scores, side="right") - 1, 0, bins - 1)
    shares = (
        np.bincount(which, column, minlength=bins) / column.sum() for column in (counts.negative, counts.positive)
    )
    normal, abnormal = shares
    return edges, normal, abnormal


def quantile(counts: Counts, column: Column, level: float) -> float:
    """Return the score that a share `level` of one class, `counts.positive` or `counts.negative`, lies at or below."""
    below = np.cumsum(column[::-1]) / column.sum()
    return float(counts.scores[::-1][min(int(np.searchsorted(below, level)), below.size - 1)])


def _span(counts: Counts, cut: float) -> tuple[float, float]:
    classes = (counts.negative, counts.positive)
    low = min(quantile(counts, column, cut) for column in classes)
    high = max(quantile(counts, column, 1 - cut) for column in classes)
    return (low, high) if high > low else (low - 0.5, low + 0.5)
