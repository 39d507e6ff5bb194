"""Leakage: how many support or held-out images are also in the test split."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from adbench.data.image_set import ImageSet


def overlap(test: ImageSet, learned: Sequence[ImageSet], contents: Collection[bytes] | None = None) -> int:
    """Return how many images of the sets that are learned from are a test image, or show a patient of the test split.

    Images are compared as the network sees them, decoded and resized: a PNG saved again is the same image. `contents`:
    those of the test images, where they are known already.
    """
    if not learned:
        return 0
    seen = contents_of(test) if contents is None else contents
    patients = {item.patient for item in test.items if item.patient is not None}
    count = 0
    for images in learned:
        same_people = patients if images.dataset == test.dataset else set()
        for item, image in zip(images.items, images.images, strict=True):
            count += content_of(image) in seen or item.patient in same_people
    return count


def contents_of(images: ImageSet) -> set[bytes]:
    """Return a hash of each image as the network sees it."""
    return {content_of(image) for image in images.images}


def content_of(image: NDArray[np.uint8]) -> bytes:
    """Return the hash of one image (S, S, 3)."""
    return hashlib.blake2b(image.tobytes(), digest_size=16).digest()
