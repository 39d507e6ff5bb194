"""Lesion masks: mask files to boolean arrays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adbench.data.decode import decoded, image_size, open_raw
from adbench.data.levels import SIXTEEN_BITS
from adbench.errors import DataError


def open_mask(path: Path) -> Image.Image:
    """Decode one mask at its own size as 8-bit grey; of 16 bits, 0 to 65535 becomes 0 to 255: it is never stretched."""
    image, _ = open_raw(path)
    return decoded(image, str(path), SIXTEEN_BITS).convert("L")


def read_mask(path: Path, size: int | None, threshold: int, image: Path | None = None) -> NDArray[np.bool_]:
    """Read one mask, resize it to (size, size) by nearest neighbour, and keep what exceeds `threshold` (0 to 255).

    With `image` given, a mask of another size than its image is an error.
    """
    mask = open_mask(path)
    if image is not None:
        width, height = image_size(image)
        if mask.size != (width, height):
            raise DataError(
                f"mask {path} is {mask.width} x {mask.height} pixels, its image {image.name} {width} x {height}. "
                "A mask must have the size of its image."
            )
    if size is not None and mask.size != (size, size):
        mask = mask.resize((size, size), Image.Resampling.NEAREST)
    return np.asarray(mask, dtype=np.uint8) > threshold


def read_masks(paths: Sequence[Path], size: int | None, threshold: int, image: Path | None = None) -> NDArray[np.bool_]:
    """Read the masks of one image, at least one, and return their union; see `read_mask`."""
    union = read_mask(paths[0], size, threshold, image)
    for path in paths[1:]:
        mask = read_mask(path, size, threshold, image)
        if mask.shape != union.shape:
            raise DataError(
                f"the masks {paths[0]} and {path} of one image are {union.shape[1]} x {union.shape[0]} and "
                f"{mask.shape[1]} x {mask.shape[0]} pixels; they must have the same size."
            )
        union |= mask
    return union
