"""Image files to 8-bit arrays: PNG, JPEG, TIFF, BMP and DICOM; 1-bit, palette, grey, RGB(A) and 16-bit."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from adbench.data import dicom
from adbench.errors import DataError

Filter = Literal["bicubic", "bilinear"]
_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", *dicom.ENDINGS)
_SIXTEEN_BIT = ("I;16", "I;16B", "I;16L", "I")
_BROKEN = (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError, EOFError)


@dataclass(frozen=True)
class ImageFormat:
    """How images are decoded: squares of `input_size` pixels, of masks `eval_size`; `grey` drops the colour."""

    input_size: int = 224
    resize: Filter = "bicubic"
    grey: bool = False
    eval_size: int = 240


# PIL refuses an image at twice the number of pixels at which it warns; below that, the warning is of no use here.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def read_image(path: Path, size: int, resize: Filter = "bicubic", grey: bool = False) -> NDArray[np.uint8]:
    """Read one image as RGB and squash it to (size, size, 3), uint8; `grey` drops the colour first."""
    return squashed(_open(path), size, resize, grey)


def squashed(image: Image.Image, size: int, resize: Filter = "bicubic", grey: bool = False) -> NDArray[np.uint8]:
    """Squash a decoded image to (size, size, 3) RGB, uint8; `grey` drops the colour first."""
    image = image.convert("L").convert("RGB") if grey else image.convert("RGB")
    if image.size != (size, size):
        image = image.resize((size, size), _FILTERS[resize])
    return np.asarray(image, dtype=np.uint8)


def open_image(path: Path) -> Image.Image:
    """Decode one file at its own size and in its own mode; 16-bit pixels become 8-bit, as for every run."""
    return _open(path)


def image_size(path: Path) -> tuple[int, int]:
    """Return (width, height) from the file's header."""
    if dicom.is_dicom(path):
        return dicom.image_size(path)
    try:
        with Image.open(path) as image:
            return image.size
    except _BROKEN as error:
        raise _unreadable(path, error) from error


def _open(path: Path) -> Image.Image:
    if dicom.is_dicom(path):
        return Image.fromarray(dicom.read_pixels(path))
    try:
        with Image.open(path) as file:
            pages = getattr(file, "n_frames", 1)
            if file.format == "TIFF" and pages > 1:
                raise DataError(f"{path} holds {pages} pages; save the right one as a separate file.")
            return eight_bit(file, str(path)).copy()
    except _BROKEN as error:
        raise _unreadable(path, error) from error


def eight_bit(image: Image.Image, name: str) -> Image.Image:
    """Return an image with 8 bit a channel: 0 to 65535 becomes 0 to 255; `name` is for errors."""
    image.load()
    if image.mode == "F":
        raise DataError(f"{name} holds floating-point pixels, whose range is unknown. Save it with 8 or 16 bit.")
    return _to_8_bit(image, name) if image.mode in _SIXTEEN_BIT else image


def _to_8_bit(image: Image.Image, name: str) -> Image.Image:
    # PIL clips 16-bit pixels at 255 when it converts; the full range 0..65535 is meant.
    pixels = np.asarray(image).astype(np.int64)
    if pixels.min() < 0 or pixels.max() > 65535:
        raise DataError(f"{name} holds pixels from {pixels.min()} to {pixels.max()}; 0 to 65535 is possible.")
    return Image.fromarray(((pixels + 128) // 257).astype(np.uint8))


def _unreadable(path: Path, error: Exception) -> DataError:
    if not path.exists():
        return DataError(f"{path} does not exist.")
    if isinstance(error, Image.DecompressionBombError):
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        return DataError(f"{path} has more than {most:,} pixels, the most that is read. Save it smaller.")
    size = path.stat().st_size
    reason = "it has zero bytes" if size == 0 else str(error).rstrip(".") or type(error).__name__
    return DataError(f"{path} cannot be read as an image: {reason}. Replace or remove the file.")
