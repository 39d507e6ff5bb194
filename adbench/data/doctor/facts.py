"""What image and mask files hold, decoded once and remembered by size and modification time."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from adbench.data.decode import open_image
from adbench.data.fingerprint import digest
from adbench.data.stamps import Row, measured
from adbench.errors import DataError

THUMB = 16
VERSION = 1  # of the figures below: another one reads the files again


@dataclass(frozen=True)
class ImageFacts:
    """One decoded image: its size in pixels, Pillow's mode, whether a pixel has colour, and grey levels (0 to 255).

    `content` is a hash of the pixels as adbench reads them (8-bit RGB): the same for a PNG packed anew, or for a grey
    image saved as RGB. `thumb` is the image in THUMB x THUMB grey pixels, two hexadecimal digits each. `error` says why
    the file can't be read; everything else is then empty.
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
class MaskFacts:
    """One decoded mask: its size, the grey values it holds, and the shares of its pixels (0 to 1).

    `above`: share above the dataset's threshold. `between`: share that is neither the lowest nor the highest value.
    """

    width: int = 0
    height: int = 0
    values: int = 0
    highest: int = 0
    above: float = 0.0
    between: float = 0.0
    error: str = ""


def image_facts(path: Path) -> ImageFacts:
    """Decode one image and measure it; a file that can't be read gives its reason instead."""
    try:
        image = open_image(path)
    except DataError as error:
        return ImageFacts(error=str(error))
    pixels = np.asarray(image.convert("RGB"))
    content = hashlib.sha256(f"{pixels.shape}".encode())
    content.update(pixels.tobytes())
    colour = bool((pixels[..., 0] != pixels[..., 1]).any() or (pixels[..., 1] != pixels[..., 2]).any())
    flat = image.convert("L")
    grey = np.asarray(flat, dtype=np.float32)
    mean, spread = round(float(grey.mean()), 4), round(float(grey.std()), 4)
    thumb = flat.resize((THUMB, THUMB), Image.Resampling.BOX).tobytes().hex()
    return ImageFacts(image.width, image.height, image.mode, colour, mean, spread, content.hexdigest(), thumb)


def mask_facts(path: Path, threshold: int) -> MaskFacts:
    """Decode one mask and measure it; a file that can't be read gives its reason instead."""
    try:
        image = open_image(path).convert("L")
    except DataError as error:
        return MaskFacts(error=str(error))
    counts = np.bincount(np.asarray(image).ravel(), minlength=256)
    levels, total = np.flatnonzero(counts), counts.sum()
    above, ends = counts[threshold + 1 :].sum(), counts[levels[0]] + (counts[levels[-1]] if len(levels) > 1 else 0)
    return MaskFacts(
        image.width, image.height, len(levels), int(levels[-1]), float(above / total), float((total - ends) / total)
    )


def images(paths: Sequence[Path], cache: Path, what: str) -> dict[Path, ImageFacts]:
    """Return the facts of every image, decoding in parallel; memory grows by some hundred bytes for each."""
    memory = _memory(paths, cache, f"images {what}")
    rows = measured(paths, lambda path: astuple(image_facts(path)), memory, f"reading {what}", _readable)
    return {path: ImageFacts(*row) for path, row in rows.items()}


def masks(paths: Sequence[Path], threshold: int, cache: Path, what: str) -> dict[Path, MaskFacts]:
    """Return the facts of every mask under one threshold (0 to 255)."""
    memory = _memory(paths, cache, f"masks {what} {threshold}")
    rows = measured(
        paths, lambda path: astuple(mask_facts(path, threshold)), memory, f"reading masks {what}", _readable
    )
    return {path: MaskFacts(*row) for path, row in rows.items()}


def _readable(row: Row) -> bool:
    return not row[-1]


def _memory(paths: Sequence[Path], cache: Path, what: str) -> Path:
    place = paths[0].resolve().parent if paths else ""
    return cache / "facts" / f"{digest(f'{VERSION} {place} {what}')[:16]}.json"
