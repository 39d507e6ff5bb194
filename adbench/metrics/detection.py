"""Lesions found and false positives, counted as regions: what a reader of the maps would see.

A *lesion* is an 8-connected region of a mask. It is found at a threshold if any pixel of it scores at least that much,
so its highest score says at which thresholds. A *false positive* is an 8-connected region of the pixels at or above the
threshold that contains no pixel of the mask; how many an image has is counted at thresholds that are known beforehand.
Together they are the two axes of a free-response ROC curve.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from adbench.metrics.arrays import as_maps
from adbench.metrics.regions import EIGHT_NEIGHBOURS, label_regions


class Lesions(NamedTuple):
    """One row a lesion: number of its image (L,), its area in pixels (L,), and its highest score (L,)."""

    image: npt.NDArray[np.int32]
    area: npt.NDArray[np.int32]
    score: npt.NDArray[np.float32]


def lesions(scores: Any, masks: Any, first: int = 0) -> Lesions:
    """Return the lesions of images number `first`, `first` + 1, ..., from scores and masks (N, H, W).

    Raises AdbenchError for other shapes, and NumericalError for a score that is not finite.

    >>> lesions([[[0.1, 0.9, 0.2, 0.4]]], [[[1, 1, 0, 1]]])
    Lesions(image=array([0, 0], dtype=int32), area=array([2, 1], dtype=int32), score=array([0.9, 0.4], dtype=float32))
    """
    maps, truth = as_maps(scores, masks)
    image, area, highest = [np.empty(0, np.int32)], [np.empty(0, np.int32)], [np.empty(0, np.float32)]
    for i in np.flatnonzero(truth.reshape(len(truth), -1).any(axis=1)):
        box, labels, count = label_regions(truth[i])
        numbers = np.arange(1, count + 1)
        image.append(np.full(count, first + i, np.int32))
        area.append(np.bincount(labels.ravel())[1:].astype(np.int32))
        highest.append(np.asarray(ndimage.maximum(maps[i][box], labels, numbers), np.float32))
    return Lesions(np.concatenate(image), np.concatenate(area), np.concatenate(highest))


def joined(parts: Sequence[Lesions]) -> Lesions:
    """Return the lesions of several parts as one, in the order of their images."""
    image, area, score = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    order = np.argsort(image, kind="stable")
    return Lesions(image[order], area[order], score[order])


def false_positives(scores: Any, masks: Any, thresholds: Sequence[float]) -> npt.NDArray[np.int32]:
    """Return the number of false positive regions of each image at each of K thresholds, (N, K).

    scores, masks: (N, H, W); score >= threshold is abnormal. Raises as `lesions` does.

    >>> false_positives([[[0.9, 0.1, 0.8, 0.1, 0.6]]], [[[1, 0, 0, 0, 0]]], [0.5, 0.7]).tolist()
    [[2, 1]]
    """
    maps, truth = as_maps(scores, masks)
    counts = np.zeros((len(maps), len(thresholds)), np.int32)
    for i, (own, mask) in enumerate(zip(maps, truth, strict=True)):
        for k, threshold in enumerate(thresholds):
            above = own >= threshold
            if above.any():
                labels, count = ndimage.label(above, EIGHT_NEIGHBOURS)
                touching = np.unique(labels[mask])
                counts[i, k] = count - np.count_nonzero(touching)
    return counts
