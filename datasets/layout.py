"""What the layouts share: finding the folder of a set below data_root, listing images, pairing masks, phantoms."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from adbench.data.decode import IMAGES
from adbench.data.items import CLASSES, DatasetConfig, Item, Split
from adbench.errors import DataError
from adbench.system.progress import counting

MASK_STEM = re.compile(r"(?P<image>.+?)_mask(?:_\d+)?")


class Layout(ABC):
    """A set in a layout of its own: `looks` tells its folder, `read` lists its items, `write` draws its phantom."""

    expected: ClassVar[str]  # the tree, for error messages
    reads: ClassVar[tuple[str, ...]] = ("folders",)  # the optional keys of the configuration that have an effect
    phantom_images: ClassVar[dict[str, int]] = {"train": 60, "test": 120}

    def __init__(self, name: str, config: DatasetConfig) -> None:
        self.name = name
        self.config = config
        self.folders = config.folders or [name]
        self.unused: dict[str, str] = {}  # filled by `read`: optional keys without effect on these files, and why

    @abstractmethod
    def looks(self, folder: Path) -> bool:
        """Whether a folder is laid out as this set."""

    @abstractmethod
    def read(self, folder: Path) -> list[Item]:
        """Return the items of all splits."""

    @abstractmethod
    def write(self, folder: Path, counts: dict[str, int]) -> Iterator[None]:
        """Draw the phantom into an empty folder, yielding after each image; `counts`: images in each split."""

    def index(self, root: Path) -> list[Item]:
        """Return the items of all splits, or raise DataError saying what was expected and found."""
        folder = self.folder(root)
        items = self.read(folder)
        if not items:
            raise DataError(f"{folder} holds no image of {self.config.title}: expected {self.expected}")
        return items

    def folder(self, root: Path) -> Path:
        """Return the folder of the set: `root` itself, or the one below it that has the set's name and layout."""
        names = self.folders
        if not root.is_dir():
            raise DataError(f"data_root={root} is not a folder. Give the one of {self.config.title}: {self.expected}")
        if self.looks(root):
            return root
        wanted = {name.lower() for name in names}
        named = [path for path in sorted(root.iterdir()) if path.name.lower() in wanted and path.is_dir()]
        found = [path for path in named if self.looks(path)]
        if len(found) > 1:
            raise DataError(
                f"{root} holds {found[0].name} and {found[1].name}, both of which are {self.name}. Keep one."
            )
        if not found:
            place = named[0] if named else root
            raise DataError(
                f"data_root={root} holds no {self.config.title}: expected it to hold, or to be, a folder called one of "
                f"{', '.join(names)} with {self.expected}; found {entries(place)} in {place}."
            )
        return found[0]

    def phantom_version(self) -> str:
        """Name the version of the phantoms."""
        from .phantoms.scenes import version

        return version(self.phantom_images, self.config.category)

    def draw_phantom(self, root: Path, counts: dict[str, int] | None = None) -> None:
        """Draw the phantom of this set below `root`; `counts`: images in train, valid and test."""
        from .phantoms.write import whole

        counts = self.phantom_images | (counts or {})
        with (
            whole(root / self.folders[0]) as folder,
            counting(f"drawing {self.name} phantoms", sum(counts.values())) as count,
        ):
            for done, _ in enumerate(self.write(folder, counts), 1):
                count(done)

    def is_phantom(self, root: Path) -> bool:
        """Whether the set was drawn: its folder then says so."""
        from .phantoms import MARK

        return (self.folder(root) / MARK).is_file()


def item(
    split: Split,
    label: int,
    path: Path,
    name: str | None = None,
    mask: tuple[Path, ...] | None = None,
    patient: str | None = None,
    subgroup: str | None = None,
) -> Item:
    """Return an item whose id is `<split>/<normal|abnormal>/<name>`; `name` is by default the file's."""
    return Item(f"{split}/{CLASSES[label]}/{name or path.name}", split, label, path, mask, patient, subgroup)


def chosen(config: DatasetConfig) -> list[str]:
    """Return the categories that are asked for."""
    return list(config.categories) if config.category in (None, "all") else [str(config.category)]


def image_files(folder: Path, deep: bool = False) -> list[Path]:
    """Return the image files in a folder, or below it, in the order of their names; hidden ones are left out."""
    if not folder.is_dir():
        return []
    found = folder.rglob("*") if deep else folder.iterdir()
    return sorted(p for p in found if p.suffix.lower() in IMAGES and not p.name.startswith(".") and p.is_file())


def pair_masks(paths: Iterable[Path], base: Path) -> dict[str, tuple[Path, ...]]:
    """Return mask files by their image: its path below `base` without ending.

    A mask is called as its image, or `<image>_mask`, or for several of one image `<image>_mask_1`, `<image>_mask_2`.

    >>> found = pair_masks([Path("m/p1/a_mask.png"), Path("m/p1/a_mask_1.png"), Path("m/b.png")], Path("m"))
    >>> {image: [mask.name for mask in masks] for image, masks in found.items()}
    {'p1/a': ['a_mask.png', 'a_mask_1.png'], 'b': ['b.png']}
    """
    found: dict[str, list[Path]] = {}
    for path in paths:
        match = MASK_STEM.fullmatch(path.stem)
        stem = match["image"] if match else path.stem
        found.setdefault(path.relative_to(base).with_name(stem).as_posix(), []).append(path)
    return {image: tuple(masks) for image, masks in found.items()}


def need_mask(masks: Mapping[str, tuple[Path, ...]], image: str, path: Path, where: str) -> tuple[Path, ...]:
    """Return the masks of an abnormal image, or raise DataError saying which file was expected."""
    if image not in masks:
        raise DataError(f"the abnormal image {path} has no mask: expected {where}. Without masks: dataset.masks=false")
    return masks[image]


def patient_of(pattern: str | None, text: str) -> str | None:
    """Return the group `patient` of a pattern that matches at the start of `text`, or none."""
    match = re.match(pattern, text) if pattern is not None else None
    return match["patient"] if match else None


def entries(folder: Path) -> str:
    """Name what a folder holds, for an error message."""
    names = sorted(path.name for path in folder.iterdir())
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "") if names else "nothing"
