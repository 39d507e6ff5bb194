"""The folders of `dataset=folder`: which hold classes and masks, what is in those of classes, and what is left out.

Nothing is left out without a word: what may be an image of a class that the configuration doesn't name is an error, and
the rest is a note.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from adbench.data.decode import IMAGES
from adbench.data.items import CLASSES, DatasetConfig
from adbench.data.listing import Identity, Listing, below, ending_of, endings, list_images, subfolders
from adbench.errors import DataError
from adbench.system.text import counted

from .pairing import masks_among, names_masks
from .splits import TABLE_SPLITS

TEXTS = ("", ".txt", ".md", ".pdf", ".html", ".rst", ".log")  # files next to class folders that say nothing of images

Nearby = Literal["classes", "splits", "images"]


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
    listing = list_folder(folder, config, notes)
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
        use = "left out" if config.masks is False else "read as their masks"
        empty = "" if label or config.masks is False else ", which must be empty where masks are used"
        example = next(iter(found))
        notes.append(
            f"{files_in(len(found), folder)} the name of a mask of another image there, and "
            f"{'is' if len(found) == 1 else 'are'} {use}{empty}: for example {example.name}."
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


def check_ignored(places: Iterable[Path], classes: Iterable[ClassFolder], config: DatasetConfig) -> None:
    """Raise DataError where `ignored_folders` names a folder that is nowhere."""
    there = {path.name.lower() for place in places for path in subfolders(place)}
    there |= {path.name.lower() for group in classes for path in group.skipped}
    for name in config.ignored_folders:
        if name.lower() not in there:
            raise DataError(f"dataset.ignored_folders names {name}, but there is no such folder; leave it out.")


def left_aside(place: Path, read: Collection[Path], config: DatasetConfig, what: Nearby = "classes") -> list[str]:
    """Return notes on what lies in a place next to the folders that are read, but for adbench's records and texts.

    what: whether the folders that are read hold classes or splits, or all images.

    Raises DataError for a file with the name of a class or of masks, and for another folder that holds images.
    """
    ignored = {name.lower() for name in config.ignored_folders}
    others = [path for path in subfolders(place) if path not in read and path.name.lower() not in ignored]
    others = [path for path in others if not any(path.glob("*/record.json"))]  # adbench's own runs
    images = {path: len(list_images(path, deep=True).images) for path in others}
    filled = {path: number for path, number in images.items() if number}
    if filled:
        raise DataError(_unknown(place, filled, config, what))
    listing = list_images(place)
    names = {name.lower() for name in (*config.normal_folders, *config.abnormal_folders, *config.mask_folders)}
    for path in (*listing.images, *listing.others):
        if path.name.lower() in names:
            raise DataError(f"{path} is a file; a folder of images is expected there.")
    name, notes = place.absolute().name, []  # of `.` too
    if others:
        few = ", ".join(f"{path.name}/" for path in others[:3]) + (", …" if len(others) > 3 else "")
        notes.append(f"{name}/ holds {counted(len(others), 'other folder')} without images: {few}.")
    if listing.images:
        number = len(listing.images)
        notes.append(
            f"{counted(number, 'image')} in {name}/ {'lies' if number == 1 else 'lie'} in no class folder and "
            f"{'is' if number == 1 else 'are'} left out: for example {listing.images[0].name}."
        )
    if loose := [path for path in listing.others if ending_of(path.name) not in TEXTS]:
        few = ", ".join(path.name for path in loose[:3]) + (", …" if len(loose) > 3 else "")
        are = "is" if len(loose) == 1 else "are"
        notes.append(f"{counted(len(loose), 'other file')} in {name}/ {are} not read: {few}.")
    return notes


def word(key: str, names: Iterable[str]) -> str:
    """Return the word of a command line that sets a list of folders."""
    plain = {name: re.fullmatch(r"[\w\-]+", name) is not None for name in names}
    listed = ",".join(name if simple else f'"{name}"' for name, simple in plain.items())
    return f"dataset.{key}=[{listed}]" if all(plain.values()) else f"'dataset.{key}=[{listed}]'"


def files_in(number: int, folder: Path) -> str:
    """Begin a note on files in a folder: `2 files in masks/ have`, or `masks/test/` where the name is a split's."""
    name = f"{folder.parent.name}/{folder.name}" if folder.name.lower() in TABLE_SPLITS else folder.name
    return f"{counted(number, 'file')} in {name}/ {'has' if number == 1 else 'have'}"


def list_folder(folder: Path, config: DatasetConfig, notes: list[str]) -> Listing:
    """List a folder of images or masks at any depth, and add to `notes` what is not read."""
    listing = list_images(folder, deep=True, skip={name.lower() for name in config.ignored_folders})
    others = listing.others
    if others:
        listed = f"{endings(others)}, for example {others[0].relative_to(folder)}"
        notes.append(f"{files_in(len(others), folder)} no ending that is read: {listed}.")
    notes += [
        f"{path} leads to a folder that is read already or lies above, and isn't read." for path in listing.repeated
    ]
    return listing


def _unknown(place: Path, filled: dict[Path, int], config: DatasetConfig, what: Nearby) -> str:
    names = [path.name for path in filled]
    listed = " and ".join(f"{path.name}/ with {counted(number, 'image')}" for path, number in filled.items())
    leave = f"Leave out: {word('ignored_folders', [*config.ignored_folders, *names])}"
    masks = [name for name in names if names_masks(name)]
    as_masks = f"Read: {word('mask_folders', [*config.mask_folders, *masks])}. " if masks else ""
    others = len(masks) < len(names)
    if what == "splits":
        read = "Splits are called train, valid (or val) and test, and each holds its own classes and masks. "
        return f"{place} holds {listed}, which would be left out. {as_masks}{read if others else ''}{leave}"
    if what == "images":
        read = "Next to images/ only masks are read: move other images into its class folders. "
        return f"{place} holds {listed}, which would be left out. {as_masks}{read if others else ''}{leave}"
    if not masks:
        as_masks = (
            f"Read: {word('abnormal_folders', [*config.abnormal_folders, *names])} (or normal_folders, mask_folders). "
        )
    return f"{place} holds {listed}, which is no class folder and would be left out. {as_masks}{leave}"
