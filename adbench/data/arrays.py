"""Decoded images and masks at network resolution: memory-mapped uint8 arrays in the cache, shared by all runs."""

from __future__ import annotations

import contextlib
import math
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adbench.data.decode import DECODING, Filter, read_image
from adbench.data.fingerprint import check_unchanged, digest, image_content
from adbench.data.items import DatasetConfig, Item
from adbench.data.levels import IntensityRange
from adbench.data.mask_facts import MaskFacts, remembered
from adbench.data.masks import check_mask, read_masks
from adbench.data.shrink import resized
from adbench.errors import AdbenchError, DataError
from adbench.system import cores
from adbench.system.files import alone, atomic, discard
from adbench.system.progress import track

AHEAD = 64  # decoded images that may wait in memory to be written


def images(
    items: Sequence[Item], hashes: Mapping[str, str], cache: Path, size: int, resize: Filter, grey: bool, title: str,
    intensity_range: IntensityRange | None = None,
) -> NDArray[np.uint8]:  # fmt: skip
    """Return (N, size, size, 3) uint8, memory-mapped from the cache, whose key is the images' content.

    hashes: content hashes by item id. resize, grey, intensity_range: see `read_image`. title: the text of the progress
    bar.
    """
    scale = [] if intensity_range is None else [str(list(map(float, intensity_range)))]
    settings = ["images", str(DECODING), str(size), resize, str(grey), *scale]
    key = digest("\n".join([*settings, *(image_content(i, hashes[i.id]) for i in items)]))

    def decode(item: Item) -> NDArray[np.uint8]:
        pixels = read_image(item.image, size, resize, grey, intensity_range)
        check_unchanged(item, hashes, "image")
        return pixels

    return _cached(cache / "decoded" / f"{key[:32]}.npy", items, (size, size, 3), decode, f"decoding {title}")


def masks(
    items: Sequence[Item], hashes: Mapping[str, str], cache: Path, size: int, config: DatasetConfig, title: str
) -> tuple[NDArray[np.uint8], tuple[MaskFacts, ...]]:
    """Return (N, size, size) uint8 in {0, 1}, 1 where a pixel is abnormal, and what is to be said about each mask.

    Normal images are all zero. See `read_masks` and `resized` for how a mask is read and shrunk.

    Raises DataError for an abnormal image without a mask, and for a mask that `check_mask` refuses.
    """
    labels = [str(i.label) for i in items]
    refusals = config.empty_masks, config.full_masks, str(config.own_images)
    settings = [str(DECODING), str(size), str(config.facets()), *refusals]
    key = digest("\n".join(["masks", *settings, *labels, *(hashes[i.id] for i in items)]))
    path = cache / "decoded" / f"{key[:32]}.npy"
    facts: dict[str, MaskFacts] = {}

    def decode(item: Item) -> NDArray[np.uint8]:
        mask, facts[item.id] = _mask(item, size, config)
        check_unchanged(item, hashes, "masks")
        return mask.astype(np.uint8)

    def measure() -> list[MaskFacts]:
        if len(facts) < len(items):  # the masks come from the cache
            with ThreadPoolExecutor(cores.available()) as pool:
                for _ in track(_ahead(pool, decode, items), f"measuring masks {title}", len(items)):
                    pass
        return [facts[item.id] for item in items]

    pixels = _cached(path, items, (size, size), decode, f"decoding masks {title}")
    return pixels, remembered(path.with_suffix(".json"), len(items), measure)


def _mask(item: Item, size: int, config: DatasetConfig) -> tuple[NDArray[np.bool_], MaskFacts]:
    if item.label and item.mask is None:
        raise DataError(f"the abnormal image {item.image} has no mask; a file of the same name was expected.")
    if not item.mask_files:
        return np.zeros((size, size), np.bool_), MaskFacts()
    reading = read_masks(item.mask_images, config, image=item.image)
    check_mask(reading, item.mask_images, item.image, item.label, config)
    small, kept = resized(reading.pixels, size, size)
    if not item.label:
        return np.zeros_like(small), MaskFacts(0, reading.covered, "plain")
    levels = "" if reading.how == "plain" else reading.levels
    return small, MaskFacts(kept, reading.covered, reading.how, levels)


def _cached(
    path: Path, items: Sequence[Item], shape: tuple[int, ...], decode: Callable[[Item], NDArray[np.uint8]], title: str
) -> NDArray[np.uint8]:
    whole = (len(items), *shape)
    array = _opened(path, whole)
    if array is None:
        with alone(path):
            array = _opened(path, whole)
            if array is None:
                _decode_all(path, items, whole, decode, title)
                array = _opened(path, whole)
    if array is None:
        raise AdbenchError(f"{path} can't be read back. Is its disk in order? Another place: cache=DIR.")
    with contextlib.suppress(OSError):  # the cache may belong to another user
        os.utime(path)
    return array


def _opened(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    """Map the decoded images of a file, which is removed where it can't hold so many; none where there is no file.

    Header and length are checked, the pixels are not: that would read the whole file.
    """
    header = _header(shape)
    try:
        with path.open("rb") as file:
            there, size = file.read(len(header)), os.fstat(file.fileno()).st_size
            if there == header and size == len(header) + math.prod(shape):
                return np.memmap(file, np.uint8, "r", len(header), shape)
        why = "its header or length is another"
    except FileNotFoundError as error:
        if not path.is_symlink():
            return None
        why = str(error)
    except (OSError, ValueError) as error:
        why = str(error)
    discard(path, why)
    return None


def _header(shape: tuple[int, ...]) -> bytes:
    header = BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return header.getvalue()


def _decode_all(
    path: Path, items: Sequence[Item], shape: tuple[int, ...], decode: Callable[[Item], NDArray[np.uint8]], title: str
) -> None:
    # Written in order, not through a memory map: a full disk is then an error and not a crash.
    # Pillow decodes outside the interpreter lock, so threads are enough.
    with atomic(path) as temporary, temporary.open("wb") as file, ThreadPoolExecutor(cores.available()) as pool:
        file.write(_header(shape))
        for pixels in track(_ahead(pool, decode, items), title, len(items)):
            file.write(pixels.tobytes())


def _ahead(
    pool: ThreadPoolExecutor, decode: Callable[[Item], NDArray[np.uint8]], items: Sequence[Item]
) -> Iterator[NDArray[np.uint8]]:
    """Yield the decoded items in order; no more than `AHEAD` are decoded before they are asked for."""
    waiting: deque[Future[NDArray[np.uint8]]] = deque()
    for item in items:
        if len(waiting) == AHEAD:
            yield waiting.popleft().result()
        waiting.append(pool.submit(decode, item))
    while waiting:
        yield waiting.popleft().result()
