"""The folders of `dataset=folder`: which hold classes and masks, what is in them, and what is left out.

Nothing is left out without a word: what may be an image of a class that the configuration doesn't name is an error, and
the rest is a note.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from adbench.data.decode import IMAGES
from adbench.data.items import CLASSES, DatasetConfig
from adbench.data.listing import Identity, Listing, below, ending_of, endings, list_images, stem_of, subfolders
from adbench.errors import DataError
from adbench.system.text import counted, folded

from .pairing import add_masks, masks_among, meant, names_masks, pair_masks
from .splits import TABLE_SPLITS

TEXTS = ("", ".txt", ".md", ".pdf", ".html", ".rst", ".log")  # files next to class folders that say nothing of images


@dataclass(frozen=True)
class ClassFolder:
    """A class folder.

    images: its images, at any depth, sorted.
    masks: mask files that lie among them, with the images of each.
    read: the folders that were read, by device and inode.
    skipped: folders that `ignored_folders` leaves out.
    """

    label: int
    folder: Path
    images: list[Path]
    masks: dict[Path, tuple[Path, ...]]
    read: dict[Identity, Path]
    skipped: list[Path]


def class_folders(place: Path, config: DatasetConfig) -> list[tuple[int, Path]]:
    """Return the class folders in a place as (label, folder), sorted by name."""
    names = {name.lower(): 0 for name in config.normal_folders}
    names |= {name.lower(): 1 for name in config.abnormal_folders}
    return [(names[path.name.lower()], path) for path in subfolders(place) if path.name.lower() in names]


def mask_folders(place: Path, config: DatasetConfig) -> list[Path]:
    """Return the folders of masks in a place, whether they are read or not."""
    names = {name.lower() for name in config.mask_folders}
    return [path for path in subfolders(place) if path.name.lower() in names]


def read_class(label: int, folder: Path, config: DatasetConfig, notes: list[str]) -> ClassFolder:
    """List a class folder, and add to `notes` what is left out.

    Raises DataError where it holds files but no image, or among its images a folder of masks, of the other class, or of
    a split.
    """
    listing = _listing(folder, config, notes)
    named = {name.lower() for name in config.mask_folders}
    inside = {os.path.dirname(below(path, folder)) for path in listing.images}
    for inner in sorted(inside):
        _check_inside(label, folder, inner, config)
        masks = [name for name in inner.split("/") if names_masks(name) or name.lower() in named]
        if masks:
            raise DataError(
                f"{folder / inner} lies in the class folder {folder.name}/ and has a name of masks, but its files "
                f"would be read as images. Move it next to {folder.name}/, or leave it out: "
                f"{word('ignored_folders', [*config.ignored_folders, masks[0]])}"
            )
    if listing.others and not listing.images:
        raise DataError(
            f"{folder} holds no image that is read, but {counted(len(listing.others), 'other file')}: "
            f"{endings(listing.others)}, for example {listing.others[0].name}. Read are {', '.join(IMAGES)}, and DICOM "
            "files without an ending."
        )
    found = masks_among(listing.images, folder)
    if found:
        use = "read as their masks" if label and config.masks is not False else "left out"
        example = next(iter(found))
        notes.append(
            f"{_files(len(found), folder)} the name of a mask of another image there, and "
            f"{'is' if len(found) == 1 else 'are'} {use}: for example {example.name}."
        )
    images = [path for path in listing.images if path not in found]
    return ClassFolder(label, folder, images, found, listing.folders, listing.skipped)


def _check_inside(label: int, folder: Path, inner: str, config: DatasetConfig) -> None:
    """Raise DataError for a folder of images within a class folder whose name is that of the other class or a split."""
    other = config.normal_folders if label else config.abnormal_folders
    for name in inner.split("/") if inner else ():
        leave = f"leave it out: {word('ignored_folders', [*config.ignored_folders, name])}"
        if name.lower() in {one.lower() for one in other}:
            raise DataError(
                f"{folder / inner} lies in the class folder {folder.name}/ and has the name of the other class, but "
                f"its images would be read as {CLASSES[label]}. Move {name}/ next to {folder.name}/, or {leave}"
            )
        if name.lower() in TABLE_SPLITS and folder.parent.name.lower() not in TABLE_SPLITS:
            raise DataError(
                f"{folder / inner} has the name of a split and lies in the class folder {folder.name}/, where it would "
                f"be no split. Move it to {name}/{folder.name}/, as splits hold classes, give the splits in a table "
                f"images.csv, or {leave}"
            )


def check_apart(classes: Iterable[ClassFolder]) -> None:
    """Raise DataError where links put one folder into two class folders: its images would be read twice."""
    seen: dict[Identity, Path] = {}
    for group in classes:
        for identity, folder in group.read.items():
            other = seen.setdefault(identity, folder)
            if other != folder:
                raise DataError(f"{other} and {folder} are the same folder. Remove one of the links.")


def check_ignored(places: Iterable[Path], classes: Iterable[ClassFolder], config: DatasetConfig) -> None:
    """Raise DataError where `ignored_folders` names a folder that is nowhere."""
    there = {path.name.lower() for place in places for path in subfolders(place)}
    there |= {path.name.lower() for group in classes for path in group.skipped}
    for name in config.ignored_folders:
        if name.lower() not in there:
            raise DataError(f"dataset.ignored_folders names {name}, but there is no such folder; leave it out.")


def left_aside(place: Path, read: Collection[Path], config: DatasetConfig, splits: bool = False) -> list[str]:
    """Return notes on what lies in a place next to the folders that are read, but for adbench's records and texts.

    Raises DataError for a file with the name of a class or of masks, and for another folder that holds images.
    """
    ignored = {name.lower() for name in config.ignored_folders}
    others = [path for path in subfolders(place) if path not in read and path.name.lower() not in ignored]
    others = [path for path in others if not any(path.glob("*/record.json"))]  # adbench's own runs
    images = {path: len(list_images(path, deep=True).images) for path in others}
    filled = {path: number for path, number in images.items() if number}
    if filled:
        raise DataError(_unknown(place, filled, config, splits))
    listing = list_images(place)
    names = {name.lower() for name in (*config.normal_folders, *config.abnormal_folders, *config.mask_folders)}
    for path in (*listing.images, *listing.others):
        if path.name.lower() in names:
            raise DataError(f"{path} is a file; a folder of images is expected there.")
    notes = []
    if others:
        few = ", ".join(f"{path.name}/" for path in others[:3]) + (", …" if len(others) > 3 else "")
        notes.append(f"{place.name}/ holds {counted(len(others), 'other folder')} without images: {few}.")
    if listing.images:
        number = len(listing.images)
        notes.append(
            f"{counted(number, 'image')} in {place.name}/ {'lies' if number == 1 else 'lie'} in no class folder and "
            f"{'is' if number == 1 else 'are'} left out: for example {listing.images[0].name}."
        )
    if loose := [path for path in listing.others if ending_of(path.name) not in TEXTS]:
        few = ", ".join(path.name for path in loose[:3]) + (", …" if len(loose) > 3 else "")
        are = "is" if len(loose) == 1 else "are"
        notes.append(f"{counted(len(loose), 'other file')} in {place.name}/ {are} not read: {few}.")
    return notes


def find_masks(
    place: Path, classes: Sequence[ClassFolder], config: DatasetConfig, notes: list[str]
) -> dict[Path, tuple[Path, ...]]:
    """Return the masks of images in a place, in its mask folders or among the abnormal images; adds to `notes`.

    A mask of a normal image must be empty, which a run checks.

    Raises DataError for a mask folder of which nothing fits, and for an image with masks in two places.
    """
    masks: dict[Path, tuple[Path, ...]] = {}
    abnormal = [group for group in classes if group.label]
    for group in abnormal:
        add_masks(masks, _masks_inside(group))
    normal = [group for group in classes if not group.label]
    for folder in mask_folders(place, config):
        listing = _listing(folder, config, notes)
        names = _names(abnormal, folder)
        if not names:
            if listing.images:
                notes.append(
                    f"{_files(len(listing.images), folder)} no use: there is no abnormal image in {place.name}/."
                )
            continue
        pairs = pair_masks(listing.images, folder, names)
        add_masks(masks, pairs.masks)
        if not pairs.masks and (listing.images or listing.others):
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
        of_normal = pair_masks(unclaimed, folder, _names(normal, folder))
        add_masks(masks, of_normal.masks)
        checked = {mask for files in of_normal.masks.values() for mask in files}
        if unused := [path for path in pairs.unused if path not in checked]:
            notes.append(
                f"{_files(len(unused), folder)} the name of no abnormal image, and no use: for example "
                f"{unused[0].relative_to(folder)}."
            )
    return masks


def _masks_inside(group: ClassFolder) -> dict[Path, tuple[Path, ...]]:
    """Return the masks among the images of a class folder, by their image."""
    pairs = pair_masks(group.masks, group.folder, [(below(path, group.folder), path) for path in group.images])
    masks, more = pairs.masks, defaultdict[Path, tuple[Path, ...]](tuple)
    exact = {mask for files in masks.values() for mask in files}
    for mask, images in group.masks.items():
        for image in images if mask not in exact and not set(images) & set(pairs.masks) else ():
            more[image] += (mask,)
    return masks | more


def word(key: str, names: Iterable[str]) -> str:
    """Return the word of a command line that sets a list of folders."""
    plain = {name: re.fullmatch(r"[\w\-]+", name) is not None for name in names}
    listed = ",".join(name if simple else f'"{name}"' for name, simple in plain.items())
    return f"dataset.{key}=[{listed}]" if all(plain.values()) else f"'dataset.{key}=[{listed}]'"


def _names(groups: Iterable[ClassFolder], masks: Path) -> list[tuple[str, Path]]:
    """Images by the paths at which their masks may be in a mask folder: with or without their class folder."""
    names = []
    for group in groups:
        names += [(below(path, group.folder), path) for path in group.images]
        if (masks / group.folder.name).is_dir():
            names += [(f"{group.folder.name}/{name}", path) for name, path in names[-len(group.images) :]]
    return names


def _files(number: int, folder: Path) -> str:
    return f"{counted(number, 'file')} in {folder.name}/ {'has' if number == 1 else 'have'}"


def _listing(folder: Path, config: DatasetConfig, notes: list[str]) -> Listing:
    """List a folder of images or masks at any depth, and add to `notes` what is not read."""
    listing = list_images(folder, deep=True, skip={name.lower() for name in config.ignored_folders})
    others = listing.others
    if others:
        listed = f"{endings(others)}, for example {others[0].relative_to(folder)}"
        notes.append(f"{_files(len(others), folder)} no ending that is read: {listed}.")
    notes += [
        f"{path} leads to a folder that is read already or lies above, and isn't read." for path in listing.repeated
    ]
    return listing


def _unknown(place: Path, filled: dict[Path, int], config: DatasetConfig, splits: bool) -> str:
    names = [path.name for path in filled]
    listed = " and ".join(f"{path.name}/ with {counted(number, 'image')}" for path, number in filled.items())
    leave = word("ignored_folders", [*config.ignored_folders, *names])
    if splits:
        read = "Splits are called train, valid (or val) and test, and each holds its own classes and masks"
        return f"{place} holds {listed}, which would be left out. {read}. Leave out: {leave}"
    masks = [name for name in names if names_masks(name)]
    key, known = ("mask_folders", config.mask_folders) if masks else ("abnormal_folders", config.abnormal_folders)
    other = "" if masks else " (or normal_folders, mask_folders)"
    return (
        f"{place} holds {listed}, which is no class folder and would be left out. Read: "
        f"{word(key, [*known, *(masks or names)])}{other}. Leave out: {leave}"
    )
