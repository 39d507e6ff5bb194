"""Measurements of image and mask files, decoded once and remembered while a file is unchanged."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from adbench.data.decode import ImageFormat, open_image
from adbench.data.fingerprint import digest
from adbench.data.frames import ImagePath, located
from adbench.data.items import DatasetConfig
from adbench.data.levels import IntensityRange
from adbench.data.masks import UnclearMask, frames_the_rest, read_mask
from adbench.data.shrink import resized
from adbench.data.stamps import Row, measured
from adbench.errors import DataError

THUMB = 16
VERSION = 6  # of the measurements; raising it reads all files again


@dataclass(frozen=True)
class ImageStats:
    """One decoded image: its size in pixels, Pillow's mode, whether a pixel has colour, and grey levels (0 to 255).

    mean, spread: mean and standard deviation of the grey levels.
    content: a hash of the pixels as adbench reads them (8-bit RGB), the same for a re-compressed PNG, or for a grey
        image saved as RGB.
    thumb: the image at THUMB x THUMB grey pixels, two hexadecimal digits each.
    error: why the file can't be read; everything else is then empty.
    """

    width: int = 0
    height: int = 0
    mode: str = ""
    colour: bool = False
    mean: float = 0.0
    spread: float = 0.0
    content: str = ""
    thumb: str = ""
    error: str = ""


@dataclass(frozen=True)
class MaskStats:
    """One decoded mask.

    width, height: its size in pixels.
    values, highest: the number of different values that it is read by, and the highest.
    above: share of the pixels (0 to 1) that are abnormal.
    between: share of the pixels (0 to 1) that have neither the lowest nor the highest value.
    kept: lesion regions that keep one pixel at evaluation size, because nearest neighbour would lose them.
    how, levels: see `masks.MaskReading`.
    frames: see `masks.frames_the_rest`.
    unclear: why it is not clear which of its pixels are abnormal; everything else is then empty.
    error: why the file can't be read; everything else is then empty.
    """

    width: int = 0
    height: int = 0
    values: int = 0
    highest: int = 0
    above: float = 0.0
    between: float = 0.0
    kept: int = 0
    how: str = ""
    levels: str = ""
    frames: bool = False
    unclear: str = ""
    error: str = ""


def image_stats(path: ImagePath, intensity_range: IntensityRange | None = None) -> ImageStats:
    """Measure one image; `error` is set where it can't be read."""
    try:
        image = open_image(path, intensity_range)
    except DataError as error:
        return ImageStats(error=str(error))
    pixels = np.asarray(image.convert("RGB"))
    content = hashlib.sha256(f"{pixels.shape}".encode())
    content.update(pixels.tobytes())
    colour = bool((pixels[..., 0] != pixels[..., 1]).any() or (pixels[..., 1] != pixels[..., 2]).any())
    flat = image.convert("L")
    grey = np.asarray(flat, dtype=np.float32)
    mean, spread = round(float(grey.mean()), 4), round(float(grey.std()), 4)
    thumb = flat.resize((THUMB, THUMB), Image.Resampling.BOX).tobytes().hex()
    return ImageStats(image.width, image.height, image.mode, colour, mean, spread, content.hexdigest(), thumb)


def mask_stats(path: ImagePath, dataset: DatasetConfig) -> MaskStats:
    """Measure one mask as a run of the dataset reads it; `unclear` or `error` is set where it doesn't."""
    try:
        reading = read_mask(path, dataset.mask_threshold, dataset.mask_background)
    except UnclearMask as unclear:
        return MaskStats(unclear=str(unclear))
    except DataError as error:
        return MaskStats(error=str(error))
    levels, counts = np.unique(reading.values, return_counts=True)
    total, size = reading.values.size, ImageFormat().eval_size
    ends = counts[0] + (counts[-1] if len(levels) > 1 else 0)
    height, width = reading.pixels.shape
    _, kept = resized(reading.pixels, size, size)
    return MaskStats(
        width, height, len(levels), int(levels[-1]), reading.covered, float((total - ends) / total), kept, reading.how,
        reading.levels, frames_the_rest(reading.pixels),
    )  # fmt: skip


def measure_images(
    paths: Sequence[ImagePath], cache: Path, what: str, intensity_range: IntensityRange | None = None
) -> dict[ImagePath, ImageStats]:
    """Measure every image, decoding in parallel; each takes some hundred bytes of memory."""
    scale = "" if intensity_range is None else f" {list(intensity_range)}"
    memory = _memory(paths, cache, f"images {what}{scale}")
    measure = image_stats if intensity_range is None else partial(image_stats, intensity_range=intensity_range)
    found = measured(paths, lambda path: astuple(measure(path)), memory, f"reading {what}", _readable)
    return {path: ImageStats(*row) for path, row in found.rows.items()}


def measure_masks(
    paths: Sequence[ImagePath], dataset: DatasetConfig, cache: Path, what: str
) -> dict[ImagePath, MaskStats]:
    """Measure every mask as a run of the dataset reads it."""
    memory = _memory(paths, cache, f"masks {what} {dataset.facets()}")
    found = measured(paths, lambda path: astuple(mask_stats(path, dataset)), memory, f"reading masks {what}", _readable)
    return {path: MaskStats(*row) for path, row in found.rows.items()}


def _readable(row: Row) -> bool:
    return not row[-1]


def _memory(paths: Sequence[ImagePath], cache: Path, what: str) -> Path:
    folder = located(paths[0])[0].resolve().parent if paths else ""
    return cache / "facts" / f"{digest(f'{VERSION} {folder} {what}')[:16]}.json"
