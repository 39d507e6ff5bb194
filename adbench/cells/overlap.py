"""Leakage: how many support or held-out images are also in the test split."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from adbench.data.image_set import ImageSet


def overlap(test: ImageSet, learned: Sequence[ImageSet]) -> int:
    """Return how many images of the sets that are learned from are a test image, or show a patient of the test split.

    Images are compared as the network sees them, decoded and resized: a PNG saved again is the same image.
    """
    if not learned:
        return 0
    seen = {_content(image) for image in test.images}
    patients = {item.patient for item in test.items if item.patient is not None}
    count = 0
    for images in learned:
        same_people = patients if images.dataset == test.dataset else set()
        for item, image in zip(images.items, images.images, strict=True):
            count += _content(image) in seen or item.patient in same_people
    return count


def _content(image: NDArray[np.uint8]) -> bytes:
    return hashlib.blake2b(image.tobytes(), digest_size=16).digest()
