"""Frozen features of a support, by row: held in memory where they fit, else read back for each batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from adbench.blocks.training import shuffled
from adbench.system.progress import track

HELD = 4 * 2**30  # bytes of features that are held in memory
CHUNK = 32  # images that are read at once


class FrozenRows:
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
        chunks = self.images.split(CHUNK)
        parts = [self.read(images) for images in track(chunks, "encoding the support", len(chunks))]
        return [torch.cat(columns) for columns in zip(*parts, strict=True)]

    def __getitem__(self, rows: Tensor) -> list[Tensor]:
        """Return the tensors of some rows (n,), on the CPU."""
        rows = rows.cpu()
        return [part[rows] for part in self.held] if self.held is not None else list(self.read(self.images[rows]))

    def loader(self, batch_size: int, least: int, generator: torch.Generator) -> DataLoader[tuple[Tensor, ...]]:
        """Return a loader of batches [row numbers (n,)]: a new order each epoch, repeated until `least` are shown."""
        return shuffled(TensorDataset(torch.arange(len(self.images))), batch_size, least, generator)
