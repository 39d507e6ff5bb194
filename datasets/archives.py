"""Where the parts of a BMAD set are, in every layout that is passed around; letter case does not matter.

    <set>/<split>/<class>/[img/]<image>        masks in <set>/<split>/<class>/{anomaly_mask,label}/
    <set>/<split>/img/<class>/<image>          masks in <set>/<split>/{anomaly_mask,label}/<class>/

`<split>` is train, valid (or val) and test, `<class>` good and Ungood. The folder of the set may lie in others, as in
`Liver_AD/hist_DIY` or `Liver/Train/hist_DIY`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from adbench.data.items import Split
from adbench.errors import DataError

SPLIT_FOLDERS: dict[Split, tuple[str, ...]] = {"train": ("train",), "valid": ("valid", "val"), "test": ("test",)}
CLASS_FOLDERS = ("good", "ungood")
MASK_FOLDERS = ("anomaly_mask", "label")
DEEPEST = 3  # folders between one with the set's name and its splits


class Folders(dict[str, list[Path]]):
    """The folders in a folder by their name in lower case; it is scanned once."""

    def __init__(self, folder: Path | None) -> None:
        super().__init__()
        if folder is None or not folder.is_dir():
            return
        try:
            with os.scandir(folder) as entries:
                paths = sorted(entry.path for entry in entries if entry.is_dir())
        except OSError as error:
            raise DataError(f"{folder} cannot be read: {error.strerror}.") from error
        for path in map(Path, paths):
            self.setdefault(path.name.lower(), []).append(path)

    def one(self, *names: str) -> Path | None:
        """Return the folder that has one of some names, or None; raises DataError where two have."""
        found = [path for name in names for path in self.get(name, [])]
        if len(found) > 1:
            raise DataError(f"{found[0]} and {found[1]} both hold {names[0]} images. Keep one, or join them.")
        return found[0] if found else None


def places(folder: Path, split: Split, label: int) -> tuple[Path, list[Path]] | None:
    """Return the folder of a split's images of one class, and the folders of their masks; None where there is none.

    Raises DataError where the class is there in two layouts.
    """
    base, name = Folders(Folders(folder).one(*SPLIT_FOLDERS[split])), CLASS_FOLDERS[label]
    own, turned = base.one(name), Folders(base.one("img")).one(name)
    if own and turned:
        raise DataError(f"{own} and {turned} both hold {split} images of {name}. Keep one.")
    if own:
        inner = Folders(own)
        masks = [inner.one(kind) for kind in MASK_FOLDERS]
        images = inner.one("img") or own
    elif turned:
        images, masks = turned, [Folders(base.one(kind)).one(name) for kind in MASK_FOLDERS]
    else:
        return None
    return images, [mask for mask in masks if mask]


def has_splits(folder: Path) -> bool:
    """Whether a folder has a class folder in a split."""
    return any(places(folder, split, label) for split in SPLIT_FOLDERS for label in (0, 1))


def sets_below(folder: Path, depth: int = DEEPEST) -> Iterator[Path]:
    """Yield the folders with splits in a folder, itself included, down to `depth` folders below it."""
    if has_splits(folder):
        yield folder
    elif depth:
        for path in (path for paths in Folders(folder).values() for path in paths):
            if not path.name.startswith("."):
                yield from sets_below(path, depth - 1)


def candidates(root: Path, names: Sequence[str]) -> list[Path]:
    """Return the folders that may be a set, known by one of some names: `root`, or below a folder of such a name.

    >>> candidates(Path("/nowhere"), ["Brain"])
    []
    """
    wanted = {name.lower() for name in names}
    named = [path for name, paths in Folders(root).items() if name in wanted for path in paths]
    # `.` has no name of its own.
    itself = [root] if {root.name.lower(), os.path.basename(os.path.abspath(root)).lower()} & wanted else []
    found = [path for start in (*itself, *named) for path in sets_below(start)]
    return list(dict.fromkeys(found))
