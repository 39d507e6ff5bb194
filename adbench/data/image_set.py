"""Image sets: decoded images of one dataset with labels and masks, as evaluation uses them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adbench.data import arrays
from adbench.data.decode import ImageFormat
from adbench.data.indexed import IndexedDataset
from adbench.data.items import Item
from adbench.data.mask_facts import MaskFacts, notes


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images of one dataset with labels and masks. They are opened once for all uses, and never given to a method.

    name: its name in progress bars, as in "brainmri test".
    images: (N, S, S, 3) uint8 at network resolution, memory-mapped.
    masks: (N, M, M) uint8 in {0, 1} at evaluation size, memory-mapped; None where the dataset has no masks.
    mask_facts: what is to be said about each mask; empty where there are none.
    """

    name: str
    dataset: str
    object_name: str
    items: tuple[Item, ...]
    images: NDArray[np.uint8]
    masks: NDArray[np.uint8] | None
    mask_facts: tuple[MaskFacts, ...] = ()

    def __len__(self) -> int:
        return len(self.items)

    @property
    def ids(self) -> list[str]:
        """The ids of the images."""
        return [item.id for item in self.items]

    @property
    def labels(self) -> NDArray[np.int8]:
        """The labels (N,): 0 normal, 1 abnormal."""
        return np.array([item.label for item in self.items], np.int8)

    @property
    def notes(self) -> list[str]:
        """What was unusual about the masks, in sentences."""
        return [] if self.masks is None else notes(self.mask_facts, self.items, self.name, self.masks.shape[1])


def open_images(
    dataset: IndexedDataset, items: Sequence[Item], how: ImageFormat, cache: Path, name: str, masks: bool = True
) -> ImageSet:
    """Decode some images of a dataset, and with `masks` their masks; raises DataError for the first that can't be read.

    What was decoded before, by content, is read from the cache.
    """
    scale = dataset.config.intensity_range
    images = arrays.images(items, dataset.hashes, cache, how.input_size, how.resize, how.grey, name, scale)
    true, facts = None, tuple[MaskFacts, ...]()
    if masks and dataset.config.masks:
        true, facts = arrays.masks(items, dataset.hashes, cache, how.eval_size, dataset.config, name)
    return ImageSet(name, dataset.name, dataset.config.object_name, tuple(items), images, true, facts)


def to_tensor(images: NDArray[np.uint8]) -> Tensor:
    """Copy (N, H, W, 3) uint8 into a tensor (N, 3, H, W)."""
    return torch.from_numpy(np.array(np.moveaxis(images, 3, 1), order="C"))
