"""The images that the page shows: dropped ones, those of a folder, and the test images of a cell.

The browser names an image by a short key, as in `folder-12`; no path comes from it.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adbench.data.decode import IMAGES, image_size, open_image
from adbench.data.frames import ImagePath, located
from adbench.data.items import DatasetConfig, Item
from adbench.data.levels import IntensityRange
from adbench.data.listing import ending_of
from adbench.data.masks import read_masks
from adbench.data.stacks import images_in
from adbench.errors import AdbenchError, DataError
from adbench.system.text import counted, printable

MOST_VOLUMES = 4  # files with several images whose frames are remembered
MOST_KEPT = 64  # dropped files; the oldest goes when another comes


@dataclass(frozen=True)
class Shown:
    """An image that the page can show.

    key: its name between browser and server. name: what people read. image: where it is.
    item: of a dataset, with label, mask and patient; None: nobody labelled it.
    """

    key: str
    name: str
    image: ImagePath
    item: Item | None = None

    @property
    def id(self) -> str:
        """What names it in files: the item's id, which tells its label too, or the name."""
        return self.name if self.item is None else self.item.id


def shown_of(images: Sequence[ImagePath], key: str, name: str) -> list[Shown]:
    """Return the images of one file, whose keys and names are the file's with their own place and frame behind."""
    return [Shown(f"{key}-{place}", f"{name}{located(image)[1] or ''}", image) for place, image in enumerate(images)]


class Dropped:
    """Files that the browser sent, in a temporary folder that goes with the server."""

    def __init__(self) -> None:
        self.folder = TemporaryDirectory(prefix="adbench-serve-")
        self.files: OrderedDict[int, tuple[Path, list[Shown]]] = OrderedDict()
        self.count = 0
        self.lock = threading.Lock()

    def add(self, content: bytes, name: str, axis: str, window: Sequence[float]) -> list[Shown]:
        """Keep a file, and return its images: several of a volume or of a file with frames.

        Of `name` only a known ending reaches the disk. Raises DataError, with the name alone, for what is no image.
        """
        shown = printable(name.replace("\\", "/").rpartition("/")[2])[:120] or "image"
        if not content:
            raise DataError(f"{shown} cannot be read as an image: it has zero bytes.")
        ending = ending_of(shown).lower()
        with self.lock:
            self.count += 1
            number = self.count
        file = Path(self.folder.name) / f"{number}{ending if ending in IMAGES else ''}"
        file.write_bytes(content)
        try:
            images = images_in(file, axis, window)
            open_image(images[0])
        except AdbenchError as error:
            file.unlink()
            raise DataError(str(error).replace(str(file), shown)) from error
        found = shown_of(images, f"dropped-{number}", shown)
        with self.lock:
            self.files[number] = file, found
            while len(self.files) > MOST_KEPT:
                _, (old, _) = self.files.popitem(last=False)
                old.unlink()
        return found

    def images(self, number: int) -> list[Shown]:
        """Return the images of a file; raises AdbenchError for one that is gone."""
        found = self.files.get(number)
        if found is None:
            raise AdbenchError(
                f"that image is gone: the last {counted(MOST_KEPT, 'dropped file')} are kept. Drop it again."
            )
        return found[1]


class Listed:
    """The files of a folder, by number; a file is opened when somebody looks at it."""

    def __init__(self, folder: Path, paths: Sequence[Path]) -> None:
        self.folder, self.paths = folder, paths
        self._several: OrderedDict[int, list[Shown]] = OrderedDict()  # measuring a volume reads all of it

    def find(self, text: str, after: int) -> int | None:
        """Return the number of the next file behind `after` whose path below the folder holds a text, in any case."""
        wanted, count = text.lower(), len(self.paths)
        for step in range(1, count + 1):
            number = (after + step) % count
            if wanted in self.paths[number].relative_to(self.folder).as_posix().lower():
                return number
        return None

    def images(self, number: int, axis: str, window: Sequence[float]) -> list[Shown]:
        """Return the images of a file; raises AdbenchError where there is no such file, or it can't be read."""
        if not 0 <= number < len(self.paths):
            raise AdbenchError(
                f"the folder has {counted(len(self.paths), 'image')}; there is none with number {number}."
            )
        if (kept := self._several.get(number)) is not None:
            return kept
        path = self.paths[number]
        name = path.relative_to(self.folder).as_posix()
        found = shown_of(images_in(path, axis, window), f"folder-{number}", name)
        if len(found) > 1:
            self._several[number] = found
            while len(self._several) > MOST_VOLUMES:
                self._several.popitem(last=False)
        return found


def content_of(shown: Shown) -> str:
    """Return 16 hexadecimal digits of the SHA-256 of an image's file; `Shown.name` tells the frame."""
    file = Path(os.fspath(shown.image))
    try:
        status = file.stat()
        return _content(file, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise DataError(f"{shown.name} cannot be read: {error.strerror}.") from error


@lru_cache(MOST_VOLUMES)  # each frame of a volume asks
def _content(file: Path, size: int, changed: int) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()[:16]


def png(pixels: Image.Image | NDArray[np.uint8]) -> bytes:
    """Return pixels as a PNG, written fast rather than small."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = BytesIO()
    image = image if image.mode in ("L", "RGB") else image.convert("RGB")
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def picture(shown: Shown, intensity_range: IntensityRange | None = None, side: int | None = None) -> bytes:
    """Return the PNG of an image, upright and with 8 bits as adbench reads it; `side`: its largest size."""
    image = open_image(shown.image, intensity_range)
    if side is not None:
        image = image if image.mode in ("L", "RGB") else image.convert("RGB")
        image.thumbnail((side, side))
    return png(image)


def size_of(shown: Shown) -> tuple[int, int]:
    """Return the width and height of an upright image."""
    return image_size(shown.image)


def truth(shown: Shown, config: DatasetConfig) -> bytes | None:
    """Return the PNG of an image's true mask, white where it is abnormal; None where there is none."""
    if shown.item is None or not shown.item.mask:
        return None
    reading = read_masks(shown.item.mask_images, config, shown.image)
    return png((reading.pixels * 255).astype(np.uint8))
