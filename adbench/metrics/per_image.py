"""What each image contributes to the pixel metrics: a sparse histogram an image, on bins that all images share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from adbench.errors import AdbenchError
from adbench.metrics.arrays import as_float32, as_maps
from adbench.metrics.keys import to_keys
from adbench.metrics.regions import region_weights
from adbench.metrics.table import fitting_shift, starts

BINS = 4096  # at most, over all images
COLUMNS = ("image", "bin", "positive", "negative", "region_weight")


@dataclass(frozen=True)
class Contributions:
    """One row per image and bin that holds some of its pixels, sorted by both.

    image: (R,) int32, from 0. bin: (R,) int32, rising with the score; the bin of a key is key >> `shift`.
    positive, negative: (R,) int32, abnormal and normal pixels. region_weight: (R,) float64, of the abnormal ones.
    regions: (N,) int32, abnormal regions of each of N images.
    """

    shift: int
    image: npt.NDArray[np.int32]
    bin: npt.NDArray[np.int32]
    positive: npt.NDArray[np.int32]
    negative: npt.NDArray[np.int32]
    region_weight: npt.NDArray[np.float64]
    regions: npt.NDArray[np.int32]


class ImageHistograms:
    """Collects the contributions of images; the result does not depend on batches, processes or their order.

    Each image is counted on the finest bins of which its scores need no more than `bins`; at the end all are brought to
    the finest bins of which the scores of all images need no more. Counts add up to those of `Histogram`, coarsened.

    >>> collected = ImageHistograms()
    >>> collected.update(0, [[[0.5, 0.5], [2.0, 0.5]]], [[[0, 1], [1, 0]]])
    >>> whole = collected.total()
    >>> whole.positive.tolist(), whole.negative.tolist(), whole.region_weight.tolist(), whole.regions.tolist()
    ([1, 1], [2, 0], [0.5, 0.5], [1])
    """

    def __init__(self, bins: int = BINS) -> None:
        if bins < 2:
            raise AdbenchError(f"ImageHistograms needs at least 2 bins, got {bins}")
        self.bins = bins
        self.parts: dict[int, Contributions] = {}  # by the image's number

    def update(self, first: int, scores: Any, masks: Any) -> None:
        """Add images number `first`, `first` + 1, ...: scores and masks (N, H, W), as in `Histogram.update`.

        Raises AdbenchError for other shapes, and NumericalError for a score that is not finite.
        """
        maps, truth = as_maps(scores, masks)
        for number, (own, mask) in enumerate(zip(maps, truth, strict=True), first):
            self.parts[number] = _count(number, own, mask, self.bins)

    def merge(self, other: ImageHistograms) -> None:
        """Add the images of another process."""
        self.parts |= other.parts

    def total(self) -> Contributions:
        """Return the contributions of all images, numbered from 0 without a gap, on the bins that they share."""
        parts = [self.parts[number] for number in sorted(self.parts)]
        if [int(number) for number in sorted(self.parts)] != list(range(len(parts))):
            raise AdbenchError(f"{len(parts)} images were added, but not the numbers 0 to {len(parts) - 1}")
        filled = [part for part in parts if part.bin.size]
        if not filled:
            none = np.empty(0, np.int32)
            return Contributions(0, none, none, none, none, np.empty(0), np.zeros(len(parts), np.int32))
        low = min(int(part.bin[0]) << part.shift for part in filled)
        high = max(int(part.bin[-1]) << part.shift for part in filled)
        shift = fitting_shift(low, high, self.bins, max(part.shift for part in filled))
        coarse = [coarsened(part, shift) for part in filled]
        columns = {name: np.concatenate([getattr(part, name) for part in coarse]) for name in COLUMNS}
        return Contributions(shift, regions=np.concatenate([part.regions for part in parts]), **columns)


def to_columns(whole: Contributions) -> dict[str, npt.NDArray[Any]]:
    """Return the columns of a record's table; `shift` and the number of images are kept elsewhere."""
    return {name: getattr(whole, name) for name in COLUMNS}


def from_columns(table: Mapping[str, npt.NDArray[Any]], shift: int, images: int) -> Contributions:
    """Rebuild contributions from `to_columns`.

    Raises AdbenchError for a missing column, and for an image that is not among so many.
    """
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        raise AdbenchError(f"stored image histograms lack {', '.join(missing)}; they must hold {', '.join(COLUMNS)}")
    image, bins, positive, negative = (np.asarray(table[name], np.int32) for name in COLUMNS[:-1])
    weight = np.asarray(table["region_weight"], np.float64)
    if image.size and not 0 <= image.min() <= image.max() < images:
        raise AdbenchError(f"stored image histograms name the images {image.min()} to {image.max()} of {images}")
    # The weights of a region's pixels add up to 1.
    regions = np.rint(np.bincount(image, weight, images)).astype(np.int32)
    return Contributions(shift, image, bins, positive, negative, weight, regions)


def _count(number: int, scores: npt.NDArray[Any], mask: npt.NDArray[np.bool_], bins: int) -> Contributions:
    values, _ = as_float32(scores)
    keys, truth = to_keys(values).ravel(), mask.ravel()
    weights, regions = region_weights(mask[None])
    low, high = (int(keys.min()), int(keys.max())) if keys.size else (0, 0)
    shift = fitting_shift(low, high, bins)
    base = low >> shift
    at = (keys >> shift) - np.int32(base)
    total = np.bincount(at)
    positive = np.bincount(at[truth], minlength=total.size)
    weight = np.bincount(at[truth], weights, minlength=total.size)
    used = np.flatnonzero(total)
    return Contributions(
        shift,
        np.full(used.size, number, np.int32),
        (used + base).astype(np.int32),
        positive[used].astype(np.int32),
        (total - positive)[used].astype(np.int32),
        weight[used].astype(np.float64),
        np.array([regions], np.int32),
    )


def coarsened(part: Contributions, shift: int) -> Contributions:
    """Return the contributions of one image on the wider bins of `shift`, which is at least the part's own."""
    bins = part.bin >> (shift - part.shift)
    start = starts(bins)
    positive, negative, weight = (
        np.add.reduceat(column, start) for column in (part.positive, part.negative, part.region_weight)
    )
    return Contributions(shift, part.image[start], bins[start], positive, negative, weight, part.regions)
