"""What lies in the folder of a dataset and is no image or mask of it: images that no table names, in folders that the
layout does not have, or of other kinds. No image is left out without a word.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from adbench.data.items import Item
from adbench.data.listing import below, ending_of, endings, list_images, stem_of
from adbench.data.volumes import is_volume
from adbench.errors import DataError
from adbench.system.text import counted, folded

from .class_folders import TEXTS
from .pairing import meant, names_masks, readings

MOST = 3  # places that a note names


def unread(
    folder: Path, places: Iterable[Path], items: Sequence[Item], masks: bool, deep: bool = True,
    known: Iterable[Path] = (),
) -> list[str]:  # fmt: skip
    """Return notes on files in some places of a dataset's folder that are no item and no item's mask.

    masks: whether masks are read; if not, those that are there are no loss. Nor is the mask of a normal image, or a
    second one. deep: whether subfolders of the places are looked through too. known: files that are read otherwise.
    adbench's own records are passed over. Nothing is raised: what a dataset doesn't need may be damaged.
    """
    used = {os.path.normpath(path) for item in items for path in (item.path, *item.mask_files)}
    images, others, notes = list[Path](), list[Path](), list[str]()
    otherwise = used | {os.path.normpath(path) for path in known}
    for place in places:
        try:
            listing = list_images(place, deep=deep)
        except DataError as error:
            notes.append(f"{place} was not looked through for images that are not read: {error}")
            continue
        images += [path for path in listing.images if os.path.normpath(path) not in used]
        others += [
            path
            for path in listing.others
            if os.path.normpath(path) not in otherwise and ending_of(path.name) not in TEXTS
        ]
    if images:  # a link may lead to a file that is read by its own name
        real = {os.path.realpath(path) for path in used}
        images = [path for path in _no_records(images, folder) if os.path.realpath(path) not in real]
    drawn = {path for path in images if _is_mask(path, folder)}
    names = {folded(stem_of(item.path.name)) for item in items}
    orphans = [path for path in sorted(drawn) if masks and not names & set(meant(path.name))]
    homes = {os.path.dirname(path) for path in used}
    strange = [path for path in others if os.path.dirname(os.path.normpath(path)) in homes]
    return [
        *notes,
        *_images([path for path in images if path not in drawn], folder),
        *_masks(orphans, folder),
        *_strange(strange, folder),
    ]


def _images(paths: Sequence[Path], folder: Path) -> Iterator[str]:
    if paths:
        more = " dataset=folder reads volumes." if any(map(is_volume, paths)) else ""
        yield f"{counted(len(paths), 'image')} in {folder.name}/ {_are(paths)} not read: {_where(paths, folder)}.{more}"


def _masks(paths: Sequence[Path], folder: Path) -> Iterator[str]:
    if paths:
        yield (
            f"{counted(len(paths), 'mask')} in {folder.name}/ {_are(paths)} not read, as no image has the name: "
            f"{_where(paths, folder)}."
        )


def _strange(paths: Sequence[Path], folder: Path) -> Iterator[str]:
    if paths:
        has = "has" if len(paths) == 1 else "have"
        yield (
            f"{counted(len(paths), 'file')} among the images {has} no ending that is read: {endings(paths)}, for "
            f"example {below(paths[0], folder)}."
        )


def _where(paths: Sequence[Path], folder: Path) -> str:
    """Name the folders that hold most of some files, and one of the files."""
    numbers = Counter(os.path.dirname(below(path, folder)) for path in paths)
    few = [f"{number} in {name or '.'}/" for name, number in numbers.most_common(MOST)]
    more = ", …" if len(numbers) > MOST else ""
    return f"{', '.join(few)}{more}, for example {paths[0].name}"


def _are(paths: Sequence[Path]) -> str:
    return "is" if len(paths) == 1 else "are"


def _is_mask(path: Path, folder: Path) -> bool:
    """Whether a file has the name of a mask, or lies in a folder that has one."""
    *folders, _ = below(path, folder).split("/")
    return any(map(names_masks, folders)) or any(affix for affix, _ in readings(stem_of(path.name)))


def _no_records(paths: Sequence[Path], folder: Path) -> list[Path]:
    """Leave out the pictures of adbench's own records."""
    known: dict[Path, bool] = {}

    def of_record(place: Path) -> bool:
        if place not in known:
            above = place != folder and folder in place.parents and of_record(place.parent)
            known[place] = above or (place / "record.json").is_file()
        return known[place]

    return [path for path in paths if not of_record(path.parent)]
