"""What image and mask files hold, decoded once and remembered by size and modification time."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from adbench.data.decode import open_image
from adbench.data.fingerprint import digest
from adbench.errors import DataError
from adbench.files import write_atomically
from adbench.progress import track

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
    return _remembered(paths, image_facts, ImageFacts, memory, f"reading {what}")


def masks(paths: Sequence[Path], threshold: int, cache: Path, what: str) -> dict[Path, MaskFacts]:
    """Return the facts of every mask under one threshold (0 to 255)."""

    def measure(path: Path) -> MaskFacts:
        return mask_facts(path, threshold)

    memory = _memory(paths, cache, f"masks {what} {threshold}")
    return _remembered(paths, measure, MaskFacts, memory, f"reading masks {what}")


def _memory(paths: Sequence[Path], cache: Path, what: str) -> Path:
    place = paths[0].resolve().parent if paths else ""
    return cache / "facts" / f"{digest(f'{VERSION} {place} {what}')[:16]}.json"


def _remembered(
    paths: Sequence[Path], measure: Callable[[Path], Any], schema: type[Any], memory: Path, what: str
) -> dict[Path, Any]:
    known: dict[str, list[object]] = json.loads(memory.read_text()) if memory.exists() else {}
    found: dict[Path, Any] = {}
    measured: dict[Path, Any] = {}
    stale: list[tuple[Path, list[int]]] = []
    for path in paths:
        stamp = _stamp(path)
        entry = known.get(str(path))
        if entry and entry[:2] == stamp:
            found[path] = schema(*entry[2:])
        else:
            stale.append((path, stamp))
    if stale:
        # Pillow decodes and hashlib hashes outside the interpreter lock, so threads are enough.
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            facts = pool.map(measure, [path for path, _ in stale])
            for fact in track(facts, what, len(stale)):
                path, stamp = stale[len(measured)]
                measured[path] = fact
                if not fact.error:
                    known[str(path)] = [*stamp, *dataclasses.astuple(fact)]
        write_atomically(memory, json.dumps(known).encode())
    return found | measured


def _stamp(path: Path) -> list[int]:
    try:
        stat = path.stat()
    except OSError:
        return []  # told by the decoder
    return [stat.st_size, stat.st_mtime_ns]
