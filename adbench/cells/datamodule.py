"""The data module: the support, the held-out images and the test split of a dataset, each opened once.

`open_test_images` is the only place that opens a test split to be scored.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from adbench.cells.cell import Cell, Holdout, TrainingSet
from adbench.cells.holdout import left_over
from adbench.cells.operating import HeldOutItems, held_out_of
from adbench.cells.overlap import content_of, contents_of
from adbench.cells.protocols import SUPPORT_LABELS, training_set, without_support
from adbench.config.schema import RunConfig
from adbench.config.words import config_of
from adbench.data import arrays
from adbench.data.decode import ImageFormat
from adbench.data.image_set import ImageSet, open_images, to_tensor
from adbench.data.indexed import IndexedDataset, open_dataset
from adbench.data.items import Item
from adbench.data.mask_facts import notes
from adbench.errors import AdbenchError, did_you_mean
from adbench.method import Support
from adbench.system.lightning import pl
from adbench.system.session import Session


class DataModule(pl.LightningDataModule):
    """A registered dataset with a numbered few-shot support, for any Lightning or torch code.

    `train_dataloader` gives the support in shuffled batches, `val_dataloader` the other images of the support's split
    whose patients are not in the support, and `test_dataloader` the test split. Each batch is a dictionary:

    image: uint8 (B, 3, S, S), S being `input_size`.
    label: int64 (B,), 0 normal, 1 abnormal.
    mask: uint8 (B, 1, M, M) in {0, 1}, only where the dataset has masks; M is `input_size` in training batches and
        `eval_size` in the others.
    id, dataset, object_name: lists of B texts.

    After `setup()` the same images are in `support`, `holdouts` and `test` as arrays.

    dataset: a name from `adbench list datasets`.
    data_root: its folder, or "phantom".
    shots, draw, classes: the support: images per class ("full": all), number of the draw, and "both" classes, "normal"
        or "none".
    support: a file that lists the support images; replaces shots and draw.
    batch_size, seed: images per batch, and the seed of the shuffling.
    input_size, eval_size: side in pixels of images, and of masks in evaluation.
    resize, grey: "bicubic" or "bilinear"; whether the colour is dropped.
    cache: folder of decoded images and phantoms; None: that of a run without `cache=`.
    overrides: keys of the dataset, as in `{"dataset.category": "bottle"}`.

    Raises AdbenchError for a value that is not possible, and in `setup()` for images that can't be found or read.

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
        cache: str | Path | None = None,
        overrides: Mapping[str, Any] | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__()
        for name in unknown:
            names = [key for key in inspect.signature(DataModule).parameters if key not in ("dataset", "unknown")]
            raise AdbenchError(f"unknown keyword {name!r} for DataModule: {did_you_mean(name, names)}")
        for key in overrides or {}:
            if not key.startswith("dataset."):
                raise AdbenchError(
                    f"overrides: {key} has no effect on a DataModule; dataset.X is possible, as in dataset.category."
                )
        if classes not in SUPPORT_LABELS:
            raise AdbenchError(f"classes={classes!r} is not possible: choose from {', '.join(SUPPORT_LABELS)}.")
        if resize not in ("bicubic", "bilinear"):
            raise AdbenchError(f"resize={resize!r} is not possible: choose from bicubic, bilinear.")
        config = config_of(
            {
                "dataset": dataset, "data_root": data_root, "shots": shots, "draw": draw, "support": support,
                "batch_size": batch_size, "input_size": input_size, "eval_size": eval_size, "seed": seed,
                "cache": cache, "overrides": overrides or {},
            }
        )  # fmt: skip
        self.classes = classes
        self._configure(
            config, ImageFormat(input_size, "bilinear" if resize == "bilinear" else "bicubic", grey, eval_size)
        )

    def _configure(self, config: RunConfig, how: ImageFormat) -> None:
        self.config, self.format = config, how
        self.batch_size, self.seed, self.cache = config.batch_size, config.seed, config.cache_dir
        self.target: IndexedDataset | None = None
        self.training_sets: tuple[TrainingSet, ...] = ()
        self.holdout_items: tuple[Holdout, ...] = ()
        self.held_out_items: HeldOutItems | None = None

    @classmethod
    def of_cell(cls, cell: Cell) -> Self:
        """Return the images of a cell, as a run opens them."""
        data = cls.__new__(cls)  # its keywords would be parsed again, and only some of a cell's keys are among them
        super(DataModule, data).__init__()
        data._configure(cell.config, cell.format)
        data.target, data.training_sets, data.holdout_items = cell.target, cell.training_sets, cell.holdouts
        data.held_out_items = held_out_of(cell)
        return data

    def setup(self, stage: str | None = None) -> None:
        """Index the dataset, draw the support, and decode all images; raises for the first that can't be read."""
        if self.target is None:
            session = Session()
            self.target = target = open_dataset(self.config.dataset, self.config, session)
            labels = SUPPORT_LABELS[self.classes]
            if labels and (self.config.support or self.config.shots):
                drawn = training_set(target, target.config.support_split, self.config, labels, session)
                self.training_sets = (drawn,)
                self.target = without_support(target, self.training_sets)
                self.holdout_items = (Holdout(target, drawn.split, left_over(drawn, drawn.split)),)
        _ = self.test, self.support, self.holdouts, self.held_out  # decodes all images

    @cached_property
    def test(self) -> ImageSet:
        """The test split."""
        return open_test_images(self._check_set_up(), self.format, self.cache)

    @cached_property
    def support(self) -> Support:
        """What a method learns from, at network resolution; ids of several datasets read `dataset:id`."""
        self._check_set_up()
        return load_support(self.training_sets, self.format, self.cache)

    @cached_property
    def holdouts(self) -> tuple[ImageSet, ...]:
        """Labelled images that choose an epoch, by training set."""
        self._check_set_up()
        return tuple(
            open_images(held.dataset, held.items, self.format, self.cache, f"{held.dataset.name} {held.split}")
            for held in self.holdout_items
            if held.items
        )

    @cached_property
    def test_contents(self) -> set[bytes]:
        """A hash of each test image as the network sees it."""
        return contents_of(self.test)

    @property
    def held_out(self) -> ImageSet | None:
        """Images, without masks, that fix thresholds; None where a cell has none.

        An image that the network sees alike in the test split or in the support is not among them.
        """
        return self._held_out[0]

    @property
    def held_out_in_test(self) -> int:
        """How many images are not held out because the test split has them, or their patients."""
        return self._held_out[1] + (self.held_out_items.in_test if self.held_out_items else 0)

    @cached_property
    def _held_out(self) -> tuple[ImageSet | None, int]:
        target, chosen = self._check_set_up(), self.held_out_items
        if chosen is None or not chosen.items:
            return None, 0
        title, how = f"{target.name} held out", self.format
        claimed = [item for item in chosen.items if not item.label and item.mask_files]
        if target.config.masks and claimed:  # the mask of a normal image must be empty
            arrays.masks(claimed, target.hashes, self.cache, how.eval_size, target.config, title)
        images = open_images(target, chosen.items, how, self.cache, title, masks=False)
        contents = [content_of(image) for image in images.images]
        learned = {content_of(np.moveaxis(image.numpy(), 0, 2)) for image in self.support.images}
        tested = sum(content in self.test_contents for content in contents)
        new = np.array([content not in self.test_contents and content not in learned for content in contents])
        if new.all():
            return images, 0
        items = tuple(item for item, kept in zip(images.items, new, strict=True) if kept)
        return replace(images, items=items, images=images.images[new]) if items else None, tested

    def mask_notes(self) -> list[str]:
        """What was unusual about the masks of test split, support and holdouts, in sentences."""
        said = [*self.test.notes]
        for one in self.training_sets:
            if one.dataset.config.masks:
                title = f"the support of {one.dataset.name}"
                where = one.dataset.hashes, self.cache, self.format.input_size
                _, facts = arrays.masks(one.support, *where, one.dataset.config, title)
                said += notes(facts, one.support, title, self.format.input_size)
        return said + [note for images in self.holdouts for note in images.notes]

    def learned_images(self) -> list[ImageSet]:
        """Return the images of the training sets, without masks, and the holdouts."""
        supports = [
            open_images(one.dataset, one.support, self.format, self.cache, f"{one.dataset.name} support", masks=False)
            for one in self.training_sets
        ]
        return [*supports, *self.holdouts]

    def train_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Return the support in shuffled batches."""
        generator = torch.Generator().manual_seed(self.seed)
        return DataLoader(
            _SupportRows(self.support), self.batch_size, shuffle=len(self.support) > 0, generator=generator
        )

    def val_dataloader(self) -> list[DataLoader[dict[str, Any]]]:
        """Return the held-out images in batches, a loader for each training set."""
        return [DataLoader(_Rows(images), self.batch_size) for images in self.holdouts]

    def test_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Return the test split in batches."""
        return DataLoader(_Rows(self.test), self.batch_size)

    def _check_set_up(self) -> IndexedDataset:
        if self.target is None:
            raise AdbenchError("DataModule: call setup() first; Lightning's Trainer does so by itself.")
        return self.target


def open_test_images(target: IndexedDataset, how: ImageFormat, cache: Path) -> ImageSet:
    """Decode the test split of a dataset: the only place that opens it to be scored."""
    return open_images(target, target.split("test"), how, cache, f"{target.name} test")


def test_items(target: IndexedDataset) -> tuple[Item, ...]:
    """Return the test split's items, in the order of a record's predictions, for a person who looks at them one by one.

    `adbench serve` shows them and scores one at a time; nothing is chosen or computed from their labels.
    """
    return tuple(target.split("test"))


def load_support(sets: Sequence[TrainingSet], how: ImageFormat, cache: Path) -> Support:
    """Decode what a method learns from, images and masks at network resolution."""
    rows = [(training.dataset, item) for training in sets for item in training.support]
    n, size = len(rows), how.input_size
    images = torch.empty(n, 3, size, size, dtype=torch.uint8)
    masks = torch.zeros(1, 1, 1, dtype=torch.bool).expand(n, size, size)  # no memory where no dataset has masks
    if any(training.dataset.config.masks for training in sets):
        masks = torch.zeros(n, size, size, dtype=torch.bool)
    start = 0
    for training in sets:
        part, title = slice(start, start + len(training.support)), f"the support of {training.dataset.name}"
        hashes, config = training.dataset.hashes, training.dataset.config
        decoded = arrays.images(
            training.support, hashes, cache, size, how.resize, how.grey, title, config.intensity_range
        )
        images.numpy()[part] = np.moveaxis(decoded, 3, 1)
        if config.masks:
            masks.numpy()[part], _ = arrays.masks(training.support, hashes, cache, size, config, title)
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
        images, item = self.images, self.images.items[row]
        content: dict[str, Any] = {"image": to_tensor(images.images[row : row + 1])[0], "label": item.label}
        if images.masks is not None:
            content["mask"] = torch.from_numpy(np.array(images.masks[row]))[None]
        return content | {"id": item.id, "dataset": images.dataset, "object_name": images.object_name}


class _SupportRows(Dataset[dict[str, Any]]):
    """The rows of a support as dictionaries."""

    def __init__(self, support: Support) -> None:
        self.support = support

    def __len__(self) -> int:
        return len(self.support)

    def __getitem__(self, row: int) -> dict[str, Any]:
        support = self.support
        content: dict[str, Any] = {"image": support.images[row], "label": support.labels[row]}
        if bool(support.has_mask.all()):
            content["mask"] = support.masks[row].to(torch.uint8)[None]
        names = {"dataset": support.datasets[row], "object_name": support.object_names[row]}
        return content | {"id": support.ids[row]} | names
