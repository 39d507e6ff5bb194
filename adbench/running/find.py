"""The images that `adbench score` and `adbench serve` take from files and folders, and what is left out of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from adbench.config import layers
from adbench.data import dicom
from adbench.data.decode import IMAGES
from adbench.data.items import SPLITS, DatasetConfig
from adbench.data.listing import below, check_file, check_names, is_folder, left_out, list_images
from adbench.data.series import NO_IMAGES
from adbench.errors import AdbenchError, DataError
from adbench.exports.results import RESULTS, files_of
from adbench.system.text import counted

IMAGE_FOLDERS = ("images", "img")  # with masks next to them


def find_images(words: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Return the image files that the words name, and sentences about what was left out.

    A word is a file, which is read whatever its name, or a folder, see `images_below`. An image that is named twice,
    say by itself and by its folder, is returned once. Raises DataError for what can't be read, and for a folder without
    images.
    """
    paths: dict[tuple[str, str], Path] = {}
    left: list[str] = []
    twice = 0
    for word in words:
        path = Path(word).expanduser()
        if is_folder(path):
            inside, sentences = images_below(path)
            left += sentences
        elif os.path.lexists(path):
            check_file(path)
            check_names([str(path)])
            inside = [path]
        else:
            raise DataError(f"{path} does not exist. Give image files or folders of images.")
        for file in inside:
            key = os.path.realpath(file.parent), file.name
            twice += key in paths
            paths.setdefault(key, file)
    if not paths:
        raise AdbenchError("no image given. Example: adbench score runs/<key> scan1.png folder/")
    if twice:
        left.append(f"{counted(twice, 'image')} named twice {'is' if twice == 1 else 'are'} scored once.")
    return list(paths.values()), left


def images_below(folder: Path) -> tuple[list[Path], list[str]]:
    """Return the images of a folder at any depth, and sentences about what was left out.

    Besides what `list_images` leaves out these are folders of masks, see `_masks`, DICOM objects that belong to images,
    such as segmentations and reports, and what `adbench score` wrote there. Raises DataError for a folder without
    images.
    """
    listing = list_images(folder, deep=True)
    masks = _masks(listing.images, folder)
    rest = [path for path in listing.images if path not in masks]
    objects = {path: kind for path in rest if (kind := _object(path))}
    ours = {path for path in rest if objects.get(path) == "adbench"} | _results(rest)
    others = {path: kind for path, kind in objects.items() if path not in ours}
    images = [path for path in rest if path not in ours and path not in others]
    parts = left_out(listing)
    if masks:
        parts.append(f"{counted(len(masks), 'mask')}, such as {below(min(masks), folder)}")
    if ours:
        parts.append(f"{counted(len(ours), 'file')} that adbench score wrote, such as {below(min(ours), folder)}")
    if others:
        kinds = " or ".join(sorted(set(others.values())))
        parts.append(f"{counted(len(others), 'DICOM object')} ({kinds}), no image: {below(min(others), folder)}")
    skipped = "; ".join(parts)
    if not images:
        found = f"; found {skipped}" if skipped else ""
        raise DataError(f"{folder} holds no image ({', '.join(IMAGES)}, DICOM without an ending){found}.")
    return images, [f"Left out in {folder}: {skipped}."] if skipped else []


def _masks(paths: Iterable[Path], folder: Path) -> set[Path]:
    """Return the files in folders of masks: those that `dataset=folder` knows, next to classes, splits or `images/`."""
    known = layers.section(DatasetConfig, "dataset", "folder")
    names = {name.lower() for name in known.mask_folders}
    siblings = {*known.normal_folders, *known.abnormal_folders, *SPLITS, *IMAGE_FOLDERS}
    parts = {path: below(path.parent, folder).split("/") for path in paths}
    filled = {(*inner[:depth], name.lower()) for inner in parts.values() for depth, name in enumerate(inner)}
    return {
        path
        for path, inner in parts.items()
        for depth, name in enumerate(inner)
        if name.lower() in names and any((*inner[:depth], one) in filled for one in siblings)
    }


def _object(path: Path) -> str:
    """Return the modality of a DICOM object that is no image, "adbench" for one of its own; else nothing."""
    if not dicom.is_dicom(path):
        return ""
    try:
        header = dicom.opened(path, stop_before_pixels=True, specific_tags=["Modality", "Manufacturer"])
        modality, maker = (str(header.get(name) or "").strip() for name in ("Modality", "Manufacturer"))
    except Exception:  # pydicom raises all kinds of errors for damaged files, and decoding will name the damage
        return ""
    return "adbench" if maker == "adbench" else modality if modality in NO_IMAGES else ""


def _results(paths: Iterable[Path]) -> set[Path]:
    """Return the files that a results.json next to them says were written by `adbench score`."""
    names: dict[Path, set[str]] = {}
    found = set()
    for path in paths:
        if path.parent not in names:
            try:
                names[path.parent] = files_of((path.parent / RESULTS).read_text(encoding="utf-8"))
            except (OSError, ValueError):
                names[path.parent] = set()
        if path.name in names[path.parent]:
            found.add(path)
    return found
