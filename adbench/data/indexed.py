"""Indexed datasets: the items of a dataset on disk and the content hash of each."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

from adbench.config import layers
from adbench.config.schema import NO_WORDS, Overrides, RunConfig
from adbench.data.counts import counts_of, differences, is_published, without_claims
from adbench.data.depth import damage_notes, depth_notes
from adbench.data.fingerprint import fingerprint, hash_items
from adbench.data.items import (
    MASK_KEYS,
    OPTIONAL_KEYS,
    Dataset,
    DatasetConfig,
    Item,
    PhantomDataset,
    decide_masks,
)
from adbench.data.phantoms import drawn
from adbench.data.returned import fault_in
from adbench.data.splits import of_split
from adbench.errors import AdbenchError, PluginError
from adbench.plugins import registry
from adbench.plugins.blame import blaming
from adbench.system.session import Session


@dataclass(frozen=True, eq=False)
class IndexedDataset:
    """A dataset on disk.

    items, hashes: its images, and by item id the content hash of image and masks.
    phantom: drawn by adbench.
    notes: what was left out or read in an unusual way, in sentences.
    set_aside: ids of test images that are learned from; the test split is without them.
    dealt: whether adbench split the images, by `split_seed` and by `split_shares` or `folds`.
    published: whether its counts are those of the published set; None: phantoms, and sets whose counts are unknown.
    """

    name: str
    config: DatasetConfig
    root: Path
    items: tuple[Item, ...]
    hashes: dict[str, str]
    phantom: bool
    notes: tuple[str, ...] = ()
    set_aside: frozenset[str] = frozenset()
    dealt: bool = False
    published: bool | None = None

    @cached_property
    def fingerprint(self) -> str:
        """One hash of the dataset's content, independent of its layout."""
        return fingerprint(self.items, self.hashes)

    def splitting(self) -> dict[str, object] | None:
        """Return how adbench split the images, and a hash of them that is the same in every split; None: it didn't."""
        if not self.dealt:
            return None
        config, whole = self.config, fingerprint(self.items, self.hashes, splits=False)
        shares = config.split_shares if config.folds is None else None
        return {
            "seed": config.split_seed,
            "shares": shares,
            "folds": config.folds,
            "fold": config.fold,
            "images": whole,
        }

    def split(self, name: str) -> list[Item]:
        """Return the items of a split; raises DataError where it is empty, or is `test` and lacks a class."""
        if name not in self._splits:
            config = self.config if self.dealt or name != "test" else None
            items = [item for item in self.items if item.id not in self.set_aside] if self.set_aside else self.items
            self._splits[name] = of_split(items, name, self.name, self.root, config)
        return self._splits[name]

    def check_split(self, name: str) -> None:
        """Raise DataError where a split is empty, or is `test` and lacks a class."""
        self.split(name)

    @cached_property
    def _splits(self) -> dict[str, list[Item]]:
        return {}


def dataset_class(name: str) -> type[Dataset]:
    """Return the registered class of a dataset."""
    loaded: type[Dataset] = registry.find("dataset", name).load()
    if not isinstance(loaded, type) or not callable(getattr(loaded, "index", None)):
        raise PluginError(f"the dataset {name!r} is no class with a function index(root).")
    return loaded


def dataset_config(name: str, words: Overrides = NO_WORDS) -> DatasetConfig:
    """Return the configuration of a dataset with its `dataset.X=` words; raises for a word that has no effect on it."""
    config = layers.section(DatasetConfig, "dataset", name, words)
    reads: tuple[str, ...] | None = getattr(dataset_class(name), "reads", None)
    for key in words:
        if reads is not None and key in OPTIONAL_KEYS and key not in reads:
            raise AdbenchError(
                f"dataset.{key} has no effect on {name}; leave it out. Of such keys {name} reads: {', '.join(reads)}."
            )
    if "folds" in words and "split_shares" in words:
        raise AdbenchError(
            "dataset.folds and dataset.split_shares exclude each other: with folds one is the test split, and the "
            "others are train. Keep one."
        )
    if config.folds is not None and config.support_split != "train":
        raise AdbenchError(
            f"dataset.support_split={config.support_split} has no images with dataset.folds={config.folds}: each fold "
            "is tested, and the others are train. Leave it out."
        )
    if "expected" in words and not config.own_images:
        raise AdbenchError(f"dataset.expected= can't be set: it states the published counts of {name}. Leave it out.")
    if "own_images" in words:
        raise AdbenchError(f"dataset.own_images= can't be set: the YAML of {name} states it. Leave it out.")
    _check_mask_words(config, words)
    return config


def _check_mask_words(config: DatasetConfig, words: Overrides) -> None:
    for key in (*MASK_KEYS, "mask_folders"):
        if key in words and config.masks is False:
            why = "with dataset.masks=false" if words.get("masks") is False else "on a dataset without masks"
            raise AdbenchError(f"dataset.{key} has no effect {why}; leave it out.")
    if words.get("mask_background") and words.get("mask_threshold") is not None:
        raise AdbenchError(
            "dataset.mask_background and dataset.mask_threshold both say which mask pixels are abnormal; give one."
        )


def index_items(
    name: str, config: DatasetConfig, root: Path, words: Overrides, cache: Path
) -> tuple[list[Item], tuple[str, ...]]:
    """List the items of a dataset, with the notes of its class.

    cache: the folder of what its files were found to hold.
    Raises AdbenchError where a `dataset.X=` word has no effect on these files.
    """
    return _list_items(name, new_dataset(name, config), config, root, words, cache)


def new_dataset(name: str, config: DatasetConfig) -> Dataset:
    """Return a dataset of the registered class."""
    with naming_the_dataset(name, "__init__"):
        return dataset_class(name)(name, config)


def naming_the_dataset(name: str, function: str) -> contextlib.AbstractContextManager[None]:
    """Turn what a dataset of another package raises in the block into a PluginError that names it and `function`.

    The datasets that adbench brings raise sentences of their own.
    """
    foreign = registry.find("dataset", name).foreign
    return blaming(f"the dataset {name}", function) if foreign else contextlib.nullcontext()


def _list_items(
    name: str, dataset: Dataset, config: DatasetConfig, root: Path, words: Overrides, cache: Path, keep: bool = True
) -> tuple[list[Item], tuple[str, ...]]:
    for key, value in (("cache", cache), ("keep", keep)):
        if hasattr(dataset, key):
            setattr(dataset, key, value)
    items = items_of(name, dataset, root)
    unused: dict[str, str] = getattr(dataset, "unused", {})
    for key in words:
        if key in unused:
            raise AdbenchError(f"dataset.{key} has no effect on the images of {root}: {unused[key]}; leave it out.")
    return items, (*getattr(dataset, "notes", ()), *depth_notes(items, config, "intensity_range" in words))


def items_of(name: str, dataset: Dataset, root: Path) -> list[Item]:
    """Return what `index` of a dataset lists; PluginError where that of another package returns something else."""
    with naming_the_dataset(name, "index"):
        items = dataset.index(root)
    if registry.find("dataset", name).foreign and (fault := fault_in(items)):
        raise PluginError(f"index() of the dataset {name} returned {fault}.")
    return items


def is_phantom(name: str, config: DatasetConfig, root: Path) -> bool:
    """Whether the images at `root` were drawn by the dataset's class; False for one that draws no phantoms."""
    dataset = new_dataset(name, config)
    if not callable(getattr(dataset, "is_phantom", None)):
        return False
    with naming_the_dataset(name, "is_phantom"):
        return bool(cast(PhantomDataset, dataset).is_phantom(root))


def phantom_drawer(name: str, config: DatasetConfig) -> PhantomDataset:
    """Return a dataset that draws phantoms of itself; PluginError where its class does not."""
    dataset = new_dataset(name, config)
    if not callable(getattr(dataset, "draw_phantom", None)):
        raise PluginError(f"{name} draws no phantoms: name the folder of its images with data_root=DIR.")
    if not isinstance(dataset, PhantomDataset):
        raise PluginError(
            f"the class of the dataset {name} has draw_phantom(), which also needs phantom_version() and is_phantom(). "
            "Write them, or name the folder of its images with data_root=DIR."
        )
    with naming_the_dataset(name, "phantom_version"):
        version: object = dataset.phantom_version()
    if not isinstance(version, str):
        raise PluginError(f"phantom_version() of the dataset {name} returned {version!r}, where a text is needed.")
    return dataset


def _is_dealt(dataset: Dataset) -> bool:
    """Whether a dataset that has listed its items split them by `split_seed`."""
    return "split_seed" in getattr(dataset, "reads", ()) and "split_seed" not in getattr(dataset, "unused", {})


def open_dataset(name: str, config: RunConfig, session: Session) -> IndexedDataset:
    """Find a dataset on disk; the `dataset.X=` words apply to the tested dataset alone."""
    words = config.words("dataset") if name == config.dataset else NO_WORDS
    return session.once(_index, name, words, config.data_root, config.cache_dir, session, config.force)


def _index(name: str, words: Overrides, data_root: str, cache: Path, session: Session, again: bool) -> IndexedDataset:
    config = dataset_config(name, words)
    root = find_root(name, config, data_root, cache, session.offline)
    dataset = new_dataset(name, config)
    items, notes = _list_items(name, dataset, config, root, words, cache, keep=not session.offline)
    config = decide_masks(config, items)
    _check_mask_words(config, words)
    hashes = hash_items(items, cache, name, not session.offline, session.since(again))
    phantom = is_phantom(name, config, root)
    notes += damage_notes(items, cache, name, keep=not session.offline)
    config, published, unlike = as_published(name, config, items, phantom)
    notes += unlike
    return IndexedDataset(
        name, config, root, tuple(items), hashes, phantom, notes, published=published, dealt=_is_dealt(dataset)
    )


def as_published(
    name: str, config: DatasetConfig, items: Sequence[Item], phantom: bool
) -> tuple[DatasetConfig, bool | None, tuple[str, ...]]:
    """Return the configuration, without title and source of what it is not, whether it is published, and notes."""
    counts = counts_of(items)
    published = None if phantom else is_published(config.expected, counts)
    if published is not False:
        return config, published, ()
    note = f"{name} is not the published set: {differences(config.expected, counts)}."
    return without_claims(config), published, (note,)


def find_root(name: str, dataset: DatasetConfig, data_root: str, cache: Path, offline: bool = False) -> Path:
    """Return the folder of the images; for `phantom`, draw the phantoms unless they are there."""
    if data_root != "phantom":
        return Path(data_root)
    if dataset.own_images:
        raise AdbenchError(
            f"dataset={name} reads your own images: name their folder with data_root=DIR. "
            "docs/datasets.md describes its layout."
        )
    drawer = phantom_drawer(name, dataset)
    with naming_the_dataset(name, "draw_phantom"):
        return drawn(drawer, name, cache, offline)
