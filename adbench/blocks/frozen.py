"""Frozen features of a support, by row: held in memory where they fit, else read back for each batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from adbench.blocks.rows import GB, Rows, size_of
from adbench.blocks.training import shuffled
from adbench.system.progress import track

HELD = 4 * 2**30  # bytes of features that are held in memory
CHUNK = 32  # images that are read at once


class FrozenRows(Dataset[list[Tensor]]):
    """What `read` makes of images (N, 3, H, W), uint8, for training that never changes the images.

    read: returns tensors (n, ...) for n images, as a method makes them of `Method.encode`. Where all of them take more
    than `most` bytes they are read again for each batch: at the speed of the disk from the cache of features, through
    the backbone without one.
    """

    def __init__(self, read: Callable[[Tensor], Sequence[Tensor]], images: Tensor, most: int = HELD) -> None:
        self.read, self.images = read, images
        size = sum(part.numel() * part.element_size() for part in read(images[:1])) * len(images)
        self.held = self._all() if size <= most else None

    def _all(self) -> list[Tensor]:
        chunks, start = self.images.split(CHUNK), 0
        held: list[Tensor] = []  # filled chunk by chunk: joining chunks would take the memory twice
        for images in track(chunks, "encoding the support", len(chunks)):
            parts = self.read(images)
            held = held or [part.new_empty(len(self.images), *part.shape[1:]) for part in parts]
            for whole, part in zip(held, parts, strict=True):
                whole[start : start + len(part)] = part
            start += len(images)
        return held

    def placed(self, device: torch.device, gb: float) -> Self:
        """Keep what is held in the memory of a device, if `gb` GB hold all of it."""
        if self.held is not None and sum(map(size_of, self.held)) <= gb * GB:
            self.held = [part.to(device) for part in self.held]
        return self

    def __getitem__(self, rows: Tensor) -> list[Tensor]:
        """Return the tensors of some rows (n,), where they lie."""
        if self.held is not None:
            return [part[rows.to(part.device)] for part in self.held]
        return list(self.read(self.images[rows.cpu()]))

    def loader(self, batch_size: int, least: int, generator: torch.Generator) -> DataLoader[list[Tensor]]:
        """Return a loader of batches [row numbers (n,)]: a new order each epoch, repeated until `least` are shown."""
        return shuffled(Rows(torch.arange(len(self.images))), batch_size, least, generator)
