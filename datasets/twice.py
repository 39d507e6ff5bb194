"""Images that are there twice in class folders: by links to a folder or a file, or under one name with two endings."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from adbench.data.listing import Identity, below, identity_of, stem_of
from adbench.errors import DataError
from adbench.system.text import counted

from .class_folders import ClassFolder, files_in
from .splits import SPLIT_NAMES


def check_apart(classes: Sequence[ClassFolder]) -> list[str]:
    """Return notes on images that are there twice: by links, or by names that differ in their ending alone.

    Raises DataError where links put one folder into two class folders, or one file into both classes.
    """
    _check_folders(classes)
    return [*_same_files(classes), *(note for group in classes for note in _same_names(group))]


def _check_folders(classes: Iterable[ClassFolder]) -> None:
    seen: dict[Identity, Path] = {}
    for group in classes:
        for identity, folder in group.read.items():
            other = seen.setdefault(identity, folder)
            if other != folder:
                raise DataError(f"{other} and {folder} are the same folder. Remove one of the links.")


def _same_files(classes: Iterable[ClassFolder]) -> list[str]:
    """Return notes on images of one class that are one file."""
    seen: dict[Identity, tuple[ClassFolder, Path]] = {}
    within, across = list[tuple[Path, Path]](), list[tuple[Path, Path]]()
    for group in classes:
        for path in group.images:
            other, first = seen.setdefault(identity_of(path), (group, path))
            if first == path or not _linked(first, path):
                continue
            if other.label != group.label:
                raise DataError(
                    f"{first} and {path} are the same file, by a link: it can't be both normal and abnormal. Remove "
                    "one of them."
                )
            (within if _split(other) == _split(group) else across).append((first, path))
    notes = []
    if within:
        first, path = within[0]
        notes.append(
            f"{counted(len(within), 'image')} {'is' if len(within) == 1 else 'are'} the same file as another of the "
            f"class, by a link, and {'counts' if len(within) == 1 else 'count'} twice: for example {path} and {first}."
        )
    if across:
        first, path = across[0]
        notes.append(
            f"{counted(len(across), 'image')} {'is' if len(across) == 1 else 'are'} the same file as one of another "
            f"split, by a link: for example {path} and {first}."
        )
    return notes


def _linked(first: Path, second: Path) -> bool:
    """Whether two paths of one identity are one file: some systems give several files the same inode."""
    return os.stat(second).st_nlink > 1 or os.path.realpath(first) == os.path.realpath(second)


def _split(group: ClassFolder) -> str | None:
    return SPLIT_NAMES.get(group.folder.parent.name.lower())


def _same_names(group: ClassFolder) -> list[str]:
    """Return a note on images of a class folder whose names differ in their ending alone."""
    named: dict[str, list[Path]] = defaultdict(list)
    for path in group.images:
        named[stem_of(below(path, group.folder))].append(path)
    several = [paths for paths in named.values() if len(paths) > 1]
    if not several:
        return []
    number, (first, second, *_) = sum(map(len, several)), several[0]
    return [
        f"{files_in(number, group.folder)} the name of another but for the ending, and each is read as an image of "
        f"its own: for example {first.name} and {second.name}."
    ]
