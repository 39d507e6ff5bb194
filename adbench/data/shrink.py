"""Resizing lesion masks: nearest neighbour, as in the papers, but no lesion region is lost."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

EIGHT = np.ones((3, 3), np.int8)  # pixels that touch at a corner are of one region, as for AUPRO


def resized(mask: NDArray[np.bool_], height: int, width: int) -> tuple[NDArray[np.bool_], int]:
    """Resize a mask (H, W) to (height, width), and count the regions that keep one pixel because all would be lost.

    The result is Pillow's nearest neighbour, bit for bit, with one addition: a region (8-connected) of which nearest
    neighbour takes no pixel keeps one, that which covers most of its pixels; of several the first in reading order.

    >>> mask = np.zeros((9, 9), bool)
    >>> mask[0, 0] = True  # nearest neighbour takes the rows and columns 1, 4 and 7
    >>> resized(mask, 3, 3)[0].astype(int).tolist(), resized(mask, 3, 3)[1]
    ([[1, 0, 0], [0, 0, 0], [0, 0, 0]], 1)
    """
    rows, columns = taken(mask.shape[0], height), taken(mask.shape[1], width)
    small = mask[np.ix_(rows, columns)]
    if mask.shape[0] <= height and mask.shape[1] <= width:  # every pixel is taken
        return small, 0
    used = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(used[0]):
        return small, 0
    top, left = int(used[0][0]), int(used[1][0])
    bottom, right = int(used[0][-1]) + 1, int(used[1][-1]) + 1
    regions, count = ndimage.label(mask[top:bottom, left:right], EIGHT)
    rows, columns = (at[(at >= start) & (at < end)] - start for at, start, end in ((rows, top, bottom),
                                                                                  (columns, left, right)))  # fmt: skip
    lost = np.ones(count + 1, np.bool_)
    lost[regions[np.ix_(rows, columns)]] = lost[0] = False
    if lost.any():
        y, x = np.nonzero(lost[regions])
        down, across = (
            (2 * (y + top) + 1) * height // (2 * mask.shape[0]),
            (2 * (x + left) + 1) * width // (2 * mask.shape[1]),
        )
        small.ravel()[_most_covering(regions[y, x], down * width + across)] = True
    return small, int(lost.sum())


@lru_cache(maxsize=256)
def taken(length: int, size: int) -> NDArray[np.intp]:
    """Return the rows, or columns, of `length` that Pillow's nearest neighbour takes to make `size` of them.

    >>> taken(9, 3).tolist(), taken(2, 4).tolist()
    ([1, 4, 7], [0, 0, 1, 1])
    """
    ramp = Image.fromarray(np.arange(length, dtype=np.int32)[None])
    return np.asarray(ramp.resize((size, 1), Image.Resampling.NEAREST))[0].astype(np.intp)


def _most_covering(regions: NDArray[np.int32], pixels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return of each region the one of its `pixels` that occurs most often, of several the first."""
    pairs, counts = np.unique(np.stack([regions, pixels]), axis=1, return_counts=True)
    order = np.lexsort((pairs[1], -counts, pairs[0]))
    first = np.diff(pairs[0][order], prepend=-1) > 0
    most: NDArray[np.int64] = pairs[1][order][first]
    return most
