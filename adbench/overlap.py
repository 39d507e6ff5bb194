"""How much of what a method learns from, or is chosen by, is in the test split too."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from adbench.cell import Cell
from adbench.data import arrays
from adbench.scorer import test_images


def overlap(cell: Cell) -> int:
    """Return how many images of the support and of `Cell.held` are a test image, or show a patient of the test split.

    Images are compared as the network sees them, decoded and resized: a PNG packed anew is the same image.
    """
    if not cell.sources:
        return 0
    seen = {_content(image) for image in test_images(cell)}
    patients = {item.patient for item in cell.test if item.patient is not None}
    found, can = 0, cell.capability
    parts = [(source.opened, source.support) for source in cell.sources]
    for opened, items in parts + [(held.opened, held.items) for held in cell.held]:
        images = arrays.images(
            items, opened.hashes, cell.config.cache_dir, cell.input_size, can.resize, can.grey, opened.name
        )
        same_people = patients if opened.name == cell.target.name else set()
        for item, image in zip(items, images, strict=True):
            found += _content(image) in seen or item.patient in same_people
    return found


def _content(image: NDArray[np.uint8]) -> bytes:
    return hashlib.blake2b(image.tobytes(), digest_size=16).digest()
