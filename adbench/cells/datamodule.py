"""The images of a cell, opened once: the support, the held-out images and the test split.

`open_test_images` is the only place that opens a test split to be scored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from adbench.cells.cell import Cell, Holdout, TrainingSet
from adbench.cells.holdout import left_over
from adbench.cells.protocols import SUPPORT_LABELS, training_set
from adbench.config.words import config_of
from adbench.data import arrays
from adbench.data.decode import ImageFormat
from adbench.data.image_set import ImageSet, open_images, to_tensor
from adbench.data.indexed import IndexedDataset, open_dataset
from adbench.errors import AdbenchError
from adbench.method import Support
from adbench.system.session import Session


class DataModule(pl.LightningDataModule):
    """A registered dataset with a numbered few-shot support, for any Lightning or torch code.

    `train_dataloader` gives the support in batches, `val_dataloader` the rest of its split, without its patients, and
    `test_dataloader` the test split. Each batch is a dictionary: `image` uint8 (B, 3, S, S), `label` int64 (B,), `mask`
    uint8 (B, 1, M, M) where the dataset has masks, and the lists `id`, `dataset`, `object_name`. After `setup()` the
    same sets are there as arrays: `support`, `holdouts` and `test`.

    dataset: a name of `adbench list datasets`.
    data_root: its folder, or "phantom".
    shots, draw, classes: the support: images per class, number of the draw, and "both" classes, "normal" or "none".
    support: a file that lists its images instead.
    keys: `cache="DIR"`, and `overrides={"dataset.category": "bottle"}` for `dataset.X=`.

    >>> data = DataModule("brainmri", shots=2, draw=1, input_size=112)
    >>> data.setup()
    >>> len(data.support), next(iter(data.test_dataloader()))["image"].shape
    (4, torch.Size([32, 3, 112, 112]))
    """

    def __init__(
        self,
        dataset: str,
        *,
        data_root: str | Path = "phantom",
        shots: int | str = 16,
        draw: int = 0,
        support: str | Path | None = None,
        classes: str = "both",
        batch_size: int = 32,
        input_size: int = 224,
        eval_size: int = 240,
        resize: str = "bicubic",
        grey: bool = False,
        seed: int = 0,
        **keys: Any,
    ) -> None:
        super().__init__()
        if classes not in SUPPORT_LABELS:
            raise AdbenchError(f"classes={classes!r} is not possible: choose from {', '.join(SUPPORT_LABELS)}.")
        if resize not in ("bicubic", "bilinear"):
            raise AdbenchError(f"resize={resize!r} is not possible: choose from bicubic, bilinear.")
        self.config = config_of(
            {"dataset": dataset, "data_root": data_root, "shots": shots, "draw": draw, "support": support} | keys
        )
        self.classes = classes
        self.batch_size, self.seed = batch_size, seed
        self.format = ImageFormat(input_size, "bilinear" if resize == "bilinear" else "bicubic", grey, eval_size)
        self.cache = self.config.cache_dir
        self.target: IndexedDataset | None = None
        self.training_sets: tuple[TrainingSet, ...] = ()
        self.holdout_items: tuple[Holdout, ...] = ()

    @classmethod
    def of_cell(cls, cell: Cell) -> Self:
        """Return the images of a cell, as a run opens them."""
        how, config = cell.format, cell.config
        data = cls(
            config.dataset, batch_size=config.batch_size, input_size=how.input_size, eval_size=how.eval_size,
            resize=how.resize, grey=how.grey, seed=config.seed, cache=str(config.cache_dir),
        )  # fmt: skip
        data.config = config
        data.target, data.training_sets, data.holdout_items = cell.target, cell.training_sets, cell.holdouts
        return data

    def setup(self, stage: str | None = None) -> None:
        """Index the dataset, draw the support, and decode all images; raises for the first that can't be read."""
        if self.target is None:
            session = Session()
            self.target = target = open_dataset(self.config.dataset, self.config, session)
            labels = SUPPORT_LABELS[self.classes]
            if labels and self.config.shots:
                drawn = training_set(target, target.config.support_split, self.config, labels, session)
                self.training_sets = (drawn,)
                self.holdout_items = (Holdout(target, drawn.split, left_over(drawn, drawn.split)),)
        assert self.test is not None
        assert self.support is not None
        assert self.holdouts is not None

    @cached_property
    def test(self) -> ImageSet:
        """The test split."""
        return open_test_images(self._target, self.format, self.cache)

    @cached_property
    def support(self) -> Support:
        """What a method learns from, at network resolution; ids of several datasets read `dataset:id`."""
        return load_support(self.training_sets, self.format, self.cache)

    @cached_property
    def holdouts(self) -> tuple[ImageSet, ...]:
        """Labelled images that choose an epoch, by training set."""
        return tuple(
            open_images(one.dataset, one.items, self.format, self.cache, f"{one.dataset.name} {one.split}")
            for one in self.holdout_items
            if one.items
        )

    def learned_images(self) -> list[ImageSet]:
        """Return the images of the training sets and of the holdouts, without masks."""
        sets = [(one.dataset, one.support, "support") for one in self.training_sets]
        sets += [(one.dataset, one.items, one.split) for one in self.holdout_items if one.items]
        return [
            open_images(dataset, items, self.format, self.cache, f"{dataset.name} {role}", masks=False)
            for dataset, items, role in sets
        ]

    def train_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Return the support in shuffled batches."""
        generator = torch.Generator().manual_seed(self.seed)
        return DataLoader(
            _SupportRows(self.support), self.batch_size, shuffle=len(self.support) > 0, generator=generator
        )

    def val_dataloader(self) -> list[DataLoader[dict[str, Any]]]:
        """Return the held-out images in batches, a loader for each training set."""
        return [DataLoader(_Rows(one), self.batch_size) for one in self.holdouts]

    def test_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Return the test split in batches."""
        return DataLoader(_Rows(self.test), self.batch_size)

    @property
    def _target(self) -> IndexedDataset:
        if self.target is None:
            raise AdbenchError("DataModule: call setup() first; Lightning's Trainer does so by itself.")
        return self.target


def open_test_images(target: IndexedDataset, how: ImageFormat, cache: Path) -> ImageSet:
    """Decode the test split of a dataset: the only place that opens it to be scored."""
    return open_images(target, target.split("test"), how, cache, f"{target.name} test")


def load_support(sets: Sequence[TrainingSet], how: ImageFormat, cache: Path) -> Support:
    """Decode what a method learns from, images and masks at network resolution."""
    rows = [(one.dataset, item) for one in sets for item in one.support]
    n, size = len(rows), how.input_size
    images = torch.empty(n, 3, size, size, dtype=torch.uint8)
    masks = torch.zeros(1, 1, 1, dtype=torch.bool).expand(n, size, size)  # no memory where no dataset has masks
    if any(one.dataset.config.masks for one in sets):
        masks = torch.zeros(n, size, size, dtype=torch.bool)
    start = 0
    for one in sets:
        part, name = slice(start, start + len(one.support)), f"the support of {one.dataset.name}"
        hashes, config = one.dataset.hashes, one.dataset.config
        decoded = arrays.images(one.support, hashes, cache, size, how.resize, how.grey, name)
        images.numpy()[part] = np.moveaxis(decoded, 3, 1)
        if config.masks:
            masks.numpy()[part] = arrays.masks(one.support, hashes, cache, size, config, name)
        start = part.stop
    return Support(
        images=images,
        labels=torch.tensor([item.label for _, item in rows], dtype=torch.int64),
        masks=masks,
        has_mask=torch.tensor([bool(dataset.config.masks) for dataset, _ in rows], dtype=torch.bool),
        ids=tuple(f"{dataset.name}:{item.id}" if len(sets) > 1 else item.id for dataset, item in rows),
        datasets=tuple(dataset.name for dataset, _ in rows),
        object_names=tuple(dataset.config.object_name for dataset, _ in rows),
    )


class _Rows(Dataset[dict[str, Any]]):
    """The rows of an image set as dictionaries."""

    def __init__(self, images: ImageSet) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> dict[str, Any]:
        one, item = self.images, self.images.items[row]
        content: dict[str, Any] = {"image": to_tensor(one.images[row : row + 1])[0], "label": item.label}
        if one.masks is not None:
            content["mask"] = torch.from_numpy(np.array(one.masks[row]))[None]
        return content | {"id": item.id, "dataset": one.dataset, "object_name": one.object_name}


class _SupportRows(Dataset[dict[str, Any]]):
    """The rows of a support as dictionaries."""

    def __init__(self, support: Support) -> None:
        self.support = support

    def __len__(self) -> int:
        return len(self.support)

    def __getitem__(self, row: int) -> Mapping[str, Any]:  # type: ignore[override]
        one = self.support
        content: dict[str, Tensor | str] = {"image": one.images[row], "label": one.labels[row]}
        if bool(one.has_mask.all()):
            content["mask"] = one.masks[row].to(torch.uint8)[None]
        return content | {"id": one.ids[row], "dataset": one.datasets[row], "object_name": one.object_names[row]}
