"""The masks of the images in class folders: those among the images, and those in mask folders.

Mask folders lie next to class folders, or next to the folder `images/` that holds these, and have the paths of the
images. Next to splits they hold the splits: `masks/test/a.png` is the mask of `test/abnormal/a.png`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adbench.data.items import DatasetConfig, Split
from adbench.data.listing import below, list_images, stem_of, subfolders
from adbench.errors import DataError
from adbench.system.text import counted, folded

from .class_folders import ClassFolder, files_in, left_aside, list_folder, mask_folders
from .pairing import add_masks, meant, pair_masks
from .splits import SPLIT_NAMES

ALL_IMAGES = "images"  # a folder that is called after what it holds, and not after a dataset


@dataclass(frozen=True)
class SplitMasks:
    """The mask folders of a dataset in splits.

    of_split: by the folder of a split, those in it and those called like it, as `masks/test/`.
    loose: those next to the splits that are not sorted by split.
    """

    of_split: Mapping[Path, Sequence[Path]]
    loose: Sequence[Path]


def masks_apart(folder: Path, outer: Path | None, config: DatasetConfig) -> tuple[list[Path], list[str]]:
    """Return the mask folders next to the folder `images/` of a dataset, with notes on what is left out there.

    outer: the folder that holds it; None: it is the dataset itself. One that `dataset.folders` calls otherwise may be
    one of several datasets there, so masks next to it are named in a note.

    Raises DataError where other images lie next to `images/`.
    """
    if outer is None:
        return [], []
    if folder.name.lower() == ALL_IMAGES:
        masks = mask_folders(outer, config)
        return masks, left_aside(outer, [folder, *masks], config, "images")
    filled = [path for path in mask_folders(outer, config) if list_images(path, deep=True).images]
    return [], [
        f"{path} lies next to {folder.name}/ and is not read: its masks are looked for in {folder.name}/."
        for path in filled
        if config.masks is not False
    ]


def masks_by_split(
    near: Iterable[Path], splits: Mapping[Path, Split], config: DatasetConfig, notes: list[str]
) -> SplitMasks:
    """Sort mask folders by split: those within splits, and the folders within those `near` to them.

    Adds to `notes` what is called like a split that isn't there.
    """
    found = {place: mask_folders(place, config) for place in splits}
    loose = []
    for folder in near:
        inner = _split_folders(folder, config)
        if not inner:
            loose.append(folder)
        for path in inner:
            place = _place(path.name, splits)
            if place is not None:
                found[place].append(path)
            elif config.masks is not False and (images := list_images(path, deep=True).images):
                notes.append(f"{files_in(len(images), path)} no use: there is no such split.")
    return SplitMasks(found, loose)


def find_masks(
    place: Path, folders: Iterable[Path], classes: Sequence[ClassFolder], config: DatasetConfig, notes: list[str]
) -> dict[Path, tuple[Path, ...]]:
    """Return the masks of images in a place, in mask folders or among the images; adds to `notes`.

    A mask of a normal image must be empty, which a run checks.

    Raises DataError for a mask folder of which nothing fits, and for an image with masks in two places.
    """
    masks: dict[Path, tuple[Path, ...]] = {}
    for group in classes:
        add_masks(masks, _masks_inside(group))
    for folder in folders:
        listing = list_folder(folder, config, notes)
        notes += _spelled_twice(subfolders(folder), classes)
        inner = {folded(path.name) for path in subfolders(folder)}
        names = _names((group for group in classes if group.label), inner)
        pairs = pair_masks(listing.images, folder, names)
        add_masks(masks, pairs.masks)
        if names and not pairs.masks and (listing.images or listing.others):
            image, example = names[0][0], (listing.images or listing.others)[0]
            raise DataError(
                f"{folder} holds {counted(len(listing.images or listing.others), 'file')}, none of which has the name "
                f"of an abnormal image: expected {stem_of(image)}.* or {stem_of(image)}_mask.*, found "
                f"{example.relative_to(folder)}. Without masks: dataset.masks=false"
            )
        if pairs.affix:
            notes.append(
                f"Masks in {folder.name}/ are those of the images whose names they have, but for {pairs.affix}."
            )
        of_abnormal = {folded(stem_of(name)) for name, _ in names}
        unclaimed = [path for path in pairs.unused if not of_abnormal & set(meant(below(path, folder)))]
        of_normal = pair_masks(unclaimed, folder, _names((group for group in classes if not group.label), inner))
        add_masks(masks, of_normal.masks)
        checked = {mask for files in of_normal.masks.values() for mask in files}
        unused = [path for path in pairs.unused if path not in checked]
        if unused and not names:
            notes.append(
                f"{files_in(len(unused), folder)} no use: there is no abnormal image in {place.absolute().name}/."
            )
        elif unused:
            notes.append(
                f"{files_in(len(unused), folder)} the name of no abnormal image, and no use: for example "
                f"{unused[0].relative_to(folder)}."
            )
    return masks


def _split_folders(folder: Path, config: DatasetConfig) -> list[Path]:
    """Return the folders in a folder of masks if all are called like splits and no image lies next to them."""
    ignored = {name.lower() for name in config.ignored_folders}
    inner = [path for path in subfolders(folder) if path.name.lower() not in ignored]
    by_split = all(path.name.lower() in SPLIT_NAMES for path in inner)
    return inner if by_split and not list_images(folder).images else []


def _place(name: str, splits: Mapping[Path, Split]) -> Path | None:
    """Return the folder of the split that a name means, with its very spelling if there is one."""
    named = [place for place, split in splits.items() if split == SPLIT_NAMES[name.lower()]]
    return next((place for place in named if place.name == name), next(iter(named), None))


def _masks_inside(group: ClassFolder) -> dict[Path, tuple[Path, ...]]:
    """Return the masks among the images of a class folder, by their image."""
    pairs = pair_masks(group.masks, group.folder, [(below(path, group.folder), path) for path in group.images])
    masks, more = pairs.masks, defaultdict[Path, tuple[Path, ...]](tuple)
    exact = {mask for files in masks.values() for mask in files}
    for mask, images in group.masks.items():
        for image in images if mask not in exact and not set(images) & set(pairs.masks) else ():
            more[image] += (mask,)
    return masks | more


def _names(groups: Iterable[ClassFolder], inner: Collection[str]) -> list[tuple[str, Path]]:
    """Images by the paths at which their masks may be in a mask folder: with or without their class folder.

    inner: the folders in the mask folder, in any letter case.
    """
    names = []
    for group in groups:
        own = [(below(path, group.folder), path) for path in group.images]
        names += own
        if folded(group.folder.name) in inner:
            names += [(f"{group.folder.name}/{name}", path) for name, path in own]
    return names


def _spelled_twice(inner: Iterable[Path], classes: Iterable[ClassFolder]) -> list[str]:
    """Return notes on folders of masks that belong to one class folder and differ in letter case alone."""
    kinds = Counter(folded(group.folder.name) for group in classes)
    spelled: dict[str, list[Path]] = defaultdict(list)
    for path in inner:
        spelled[folded(path.name)].append(path)
    return [
        f"{paths[0].parent.name}/ holds {paths[0].name}/ and {paths[1].name}/, which differ only in letter case, "
        "and both are read."
        for name, paths in spelled.items()
        if len(paths) > kinds[name] > 0
    ]
