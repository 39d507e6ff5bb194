"""Connected abnormal regions and the weight their pixels carry in the per-region overlap."""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from adbench.errors import AdbenchError
from adbench.metrics.arrays import Bools

EIGHT_NEIGHBOURS = np.ones((3, 3), bool)


def label_regions(mask: Bools) -> tuple[tuple[slice, slice], npt.NDArray[np.int32], int]:
    """Label the 8-connected regions of a mask (H, W) with an abnormal pixel.

    Returns the box around them, the labels in that box (0: healthy), and their number. Lesions are small: labelling
    the box alone saves most of the time.

    >>> label_regions(np.array([[0, 1, 0, 1]], bool))
    ((slice(0, 1, None), slice(1, 4, None)), array([[1, 0, 2]], dtype=int32), 2)
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    labels, count = ndimage.label(mask[box], EIGHT_NEIGHBOURS)
    return box, labels, count


def region_weights(
    masks: Bools, regions: npt.NDArray[np.integer[Any]] | None = None
) -> tuple[npt.NDArray[np.float64], int]:
    """Weigh every abnormal pixel by 1 / area of its region.

    Args:
        masks: (N, H, W), true where abnormal.
        regions: (N, H, W) integer labels, 0 outside the mask; by default the 8-connected components of each mask.

    Returns:
        One weight per true pixel, in the order of `masks.ravel()`, and the number of regions. The weights of a
        region sum to 1.

    >>> masks = np.array([[[1, 1, 0, 1]]], bool)
    >>> region_weights(masks)
    (array([0.5, 0.5, 1. ]), 2)

    """
    weights = [np.empty(0)]
    count = 0
    for i in np.flatnonzero(masks.reshape(len(masks), -1).any(axis=1)):
        mask = masks[i]
        if regions is None:
            box, found, _ = label_regions(mask)
            labels = found[mask[box]] - 1
        else:
            labels = np.unique(regions[i][mask], return_inverse=True)[1]
        area = np.bincount(labels)
        count += area.size
        weights.append((1 / area)[labels])
    return np.concatenate(weights), count


def check_regions(regions: npt.NDArray[Any], masks: Bools) -> None:
    """Raise an `AdbenchError` unless `regions` are integer labels, positive exactly where the mask is true."""
    if regions.dtype.kind not in "iu":
        raise AdbenchError(f"regions must be integer labels, got dtype {regions.dtype}")
    if regions.shape != masks.shape:
        raise AdbenchError(f"regions have shape {regions.shape} but masks {masks.shape}; they must be equal")
    if not np.array_equal(regions > 0, masks):
        raise AdbenchError("regions must be positive where the mask is true and 0 elsewhere; label the same masks")
