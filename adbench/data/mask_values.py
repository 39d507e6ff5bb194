"""Which values of a lesion mask are abnormal: two values, soft edges and JPEG noise, or several classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Kind = Literal["two values", "soft edges", "classes"]
MOST_CLASSES = 32  # different values of a mask of classes; one with more is noisy, or no mask
SOFT, BLOCK = 2, 8  # pixels from an edge within which values between are its blur; within which they are JPEG noise
FEWEST_SOFT, STRAY = 4, 0.1  # with more values, so large a part of the soft pixels may lie elsewhere: tips of spikes


class UnclearMaskError(ValueError):
    """Which values of a mask are abnormal is not clear; the text says why, beginning with a verb."""


@dataclass(frozen=True)
class Levels:
    """The different values of a mask.

    values: the values that occur, ascending.
    top: the highest possible value: 255, 65535, or the largest that occurs where that is higher.
    """

    values: NDArray[np.int64]
    top: int

    @property
    def half(self) -> int:
        """What a bright pixel exceeds: 127 of 255."""
        return self.top // 2

    @property
    def floor(self) -> int:
        """How bright noise of the background may be: 16 of 255."""
        return (self.top + 1) // 16

    def text(self) -> str:
        """The values, the middle of many left out.

        >>> Levels(np.array([0, 1, 15]), 255).text(), Levels(np.arange(0, 250, 2), 255).text()
        ('0, 1, 15', '125 values, 0, 2, 4 to 248')
        """
        if len(self.values) <= 6:
            return ", ".join(map(str, self.values))
        return f"{len(self.values)} values, {', '.join(map(str, self.values[:3]))} to {self.values[-1]}"


def levels_of(values: NDArray[np.integer]) -> Levels:
    """Return the different values, none negative, of a mask (H, W)."""
    if values.dtype == np.uint8:
        return Levels(np.flatnonzero(Image.fromarray(values).histogram()), 255)
    different = np.unique(values).astype(np.int64)
    highest = int(different[-1])
    return Levels(different, next((top for top in (255, 65535) if highest <= top), highest))


def abnormal(
    values: NDArray[np.integer], jpeg: bool = False, most_labels: int = MOST_CLASSES
) -> tuple[NDArray[np.bool_], Kind]:
    """Return the abnormal pixels (H, W) of a mask, and as what it was read.

    values: whole numbers (H, W), none negative: grey values or palette indices.
    jpeg: from a JPEG file, whose values are inexact.
    most_labels: the highest value that is a label where the highest possible value is used too, which then marks what
        is to be ignored ("void") and not a class.

    Two values: the higher is abnormal. With more, values above 0 and up to half of the range are soft edges, or JPEG
    noise, where they lie next to brighter pixels only (within 2 pixels, in noisy masks 8) and nowhere form an area of
    one value: then what exceeds half of the range is abnormal, as in masks of two values. Otherwise they are classes,
    and whatever is above 0 is abnormal.

    Raises UnclearMaskError for two values without a background, for labels next to void, and for values that are
    neither noise nor few enough to be classes.

    >>> abnormal(np.array([[0, 0, 1], [0, 2, 2]], np.uint8))[0].astype(int).tolist()
    [[0, 0, 1], [0, 1, 1]]
    """
    levels = levels_of(values)
    lowest, highest = int(levels.values[0]), int(levels.values[-1])
    if len(levels.values) == 1:
        return values > 0, "two values"
    if len(levels.values) == 2:
        if lowest and not lowest <= levels.floor < levels.half < highest:
            raise UnclearMaskError(f"holds the values {levels.text()} and no 0, which would be the background")
        return values == highest, "two values"
    numbered = levels.top > 255 and highest <= levels.half and len(levels.values) > MOST_CLASSES  # not noise of black
    if not numbered and not _classes(values, levels, jpeg).any():
        return values > levels.half, "soft edges"
    if jpeg or len(levels.values) > MOST_CLASSES:
        what = "a JPEG, in which classes are inexact" if jpeg else "too many for classes"
        raise UnclearMaskError(f"holds {levels.text()}: {what}, and more than the noise of black and white")
    if highest == levels.top and levels.values[-2] <= most_labels:
        raise UnclearMaskError(
            f"holds the values {levels.text()}, where {highest} may mark what is to be ignored (void)"
        )
    return values > 0, "classes"


def hides_classes(values: NDArray[np.uint8], jpeg: bool) -> bool:
    """Whether 8-bit values up to 127 and above 0, healthy under the threshold 127, look like classes of their own."""
    levels = levels_of(values)
    return len(levels.values) > 2 and bool(_classes(values, levels, jpeg).any())


def _classes(values: NDArray[np.integer], levels: Levels, jpeg: bool) -> NDArray[np.bool_]:
    """Return the pixels of the lower half of the range that are neither background, soft edge nor noise."""
    found, floor = levels.values, levels.floor
    low, high = (found > 0) & (found <= floor), (found >= levels.top - floor) & (found < levels.top)
    noisy = jpeg or len(found) > MOST_CLASSES or (low.any() and high.any())
    lowest = floor if noisy else 0
    dark = (values > lowest) & (values <= levels.half)
    if not dark.any():
        return dark
    flat = dark & (ndimage.maximum_filter(values, 3) == ndimage.minimum_filter(values, 3))
    if noisy and flat.any():  # a block of JPEG without detail is flat too, and smaller than an area worth the name
        regions, _ = ndimage.label(flat)
        flat &= (np.bincount(regions.ravel()) > 2 * BLOCK**2)[regions]
    reach = BLOCK if noisy else SOFT
    edges = ndimage.maximum_filter(values > levels.half, 2 * reach + 1, mode="constant")
    far: NDArray[np.bool_] = dark & ~edges
    if not jpeg and len(found) > FEWEST_SOFT and far.sum() <= STRAY * dark.sum():
        far[:] = False
    return far | flat
