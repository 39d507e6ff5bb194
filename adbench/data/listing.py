"""The image files of a folder: one listing for datasets, `adbench score` and the data doctor.

Hidden files and folders hold no data, nor does what systems leave behind (`@eaDir`, `@Recycle`, `Thumbs.db`, ...).
Links to folders are followed; a folder that several links lead to is read once. What has an image's name but can't be
read as a file, such as a broken link or a pipe, is an error: no image is lost without a word. No file is opened here,
except for the first bytes of those without an ending, which may be DICOM.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from adbench.data.decode import IMAGES
from adbench.data.dicom import is_dicom
from adbench.errors import DataError
from adbench.system.text import counted

# Of Synology, QNAP, NetApp, macOS, Windows and Linux; DICOMDIR is an index of DICOM files, without pixels.
LITTER = frozenset({
    "@eadir", "@tmp", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "@__thumb", "~snapshot", "__macosx",
    "network trash folder", "temporary items", "thevolumesettingsfolder", "icon\r", "thumbs.db", "ehthumbs.db",
    "ehthumbs_vista.db", "desktop.ini", "$recycle.bin", "recycler", "system volume information", "dfsrprivate",
    "lost+found", "dicomdir",
})  # fmt: skip
PACKED = (".gz", ".bz2", ".xz", ".zst")  # an ending that says little without the one before it, as in .nii.gz
MOST_TEXT = 1024  # bytes of a link that was copied as text

Identity = tuple[int, int]  # device and inode


@dataclass
class Listing:
    """What a folder holds, each list sorted by path.

    images: files that are read as images: by their ending, or as DICOM without an ending.
    others: visible files of other kinds.
    skipped: subfolders left out by their names.
    repeated: links to folders that are read already under another path, or that lie above.
    hidden_files, hidden_folders: numbers of hidden entries.
    folders: the folders that were read, by device and inode.
    """

    images: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)
    repeated: list[Path] = field(default_factory=list)
    hidden_files: int = 0
    hidden_folders: int = 0
    folders: dict[Identity, Path] = field(default_factory=dict)


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or left behind by a system.

    >>> [is_hidden(name) for name in ("._scan.png", ".ipynb_checkpoints", "@eaDir", "Thumbs.db", "scan.png")]
    [True, True, True, True, False]
    """
    return name.startswith(".") or name.lower() in LITTER


def stem_of(name: str) -> str:
    """Return a name or path without the ending that is read; other dots stay.

    >>> stem_of("p1/scan.1.PNG"), stem_of("IM000001")
    ('p1/scan.1', 'IM000001')
    """
    stem, ending = os.path.splitext(name)
    if ending.lower() in IMAGES:
        return stem
    two = os.path.splitext(stem)[1] + ending  # as in .nii.gz
    return name.removesuffix(two) if two.lower() in IMAGES else name


def below(path: Path, folder: Path) -> str:
    """Return a path relative to a folder that it begins with, `/` between its parts; faster than `Path.relative_to`."""
    base = os.fspath(folder)
    inner = os.fspath(path)[0 if base == os.curdir else len(base.rstrip(os.sep)) + 1 :]
    return inner.replace(os.sep, "/")


def ending_of(name: str) -> str:
    """Return the ending of a name in lower case; empty where there is none, as in `IM000001` or `1.2.840.5`.

    >>> ending_of("a.GIF"), ending_of("sub-0.nii.gz"), ending_of("1.2.840.5")
    ('.gif', '.nii.gz', '')
    """
    stem, ending = os.path.splitext(name.lower())
    if ending in PACKED:
        ending = os.path.splitext(stem)[1] + ending
    return ending if any(character.isalpha() for character in ending) else ""


def endings(paths: Iterable[Path]) -> str:
    """List the endings of files with their numbers, the most frequent first.

    >>> endings([Path("a.gif"), Path("b.webp"), Path("c.gif"), Path("README")])
    '.gif (2), .webp (1), none (1)'
    """
    numbers = Counter(ending_of(path.name) or "none" for path in paths)
    return ", ".join(f"{ending} ({number})" for ending, number in numbers.most_common())


def is_folder(path: Path) -> bool:
    """Whether a path is a folder or a link to one; raises DataError where that can't be found out."""
    try:
        return path.is_dir()
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def subfolders(folder: Path) -> list[Path]:
    """Return the visible subfolders, links to folders too, sorted; raises DataError for links that lead nowhere."""
    found = []
    for entry in _scan(os.fspath(folder)):
        if is_hidden(entry.name):
            continue
        if _is_dir(entry):
            found.append(folder / entry.name)
        elif not _is_file(entry) and not ending_of(entry.name):
            raise _no_file(entry)
    return sorted(found)


def list_images(folder: Path, deep: bool = False, skip: Collection[str] = ()) -> Listing:
    """List a folder, with `deep` also its subfolders, except for those whose lower-case name is in `skip`.

    Raises DataError, naming the path, for a folder that can't be read; for broken links, links to themselves, pipes,
    sockets and devices that have an image's name, or none that tells what they are; for a folder with an image's name
    that holds no image; and for a link to a folder that was copied as text.
    """
    base = os.fspath(folder)
    listing = Listing()
    files: list[str] = []
    others: list[str] = []
    named: list[str] = []  # folders with an image's name
    above = _above(base)
    waiting, links = [base], list[str]()
    while waiting or links:
        if not waiting:  # links come last, so that a folder is read under its own path
            links.sort(key=_parts, reverse=True)
        place = waiting.pop() if waiting else links.pop()
        identity = identity_of(place)
        if identity in listing.folders or identity in above:
            listing.repeated.append(Path(place))
            continue
        listing.folders[identity] = Path(place)
        for entry in _scan(place):
            name = entry.name
            if is_hidden(name):
                if entry.is_dir(follow_symlinks=False):
                    listing.hidden_folders += 1
                else:
                    listing.hidden_files += 1
            elif _is_file(entry):
                is_image = name.lower().endswith(IMAGES) or _is_dicom(entry)
                (files if is_image else others).append(entry.path)
            elif _is_dir(entry):
                if name.lower().endswith(IMAGES):
                    named.append(entry.path)
                if name.lower() in skip:
                    listing.skipped.append(Path(entry.path))
                elif deep:
                    (links if entry.is_symlink() else waiting).append(entry.path)
            elif name.lower().endswith(IMAGES) or (deep and not ending_of(name)):
                raise _no_file(entry)
            else:
                others.append(entry.path)
    for path in named:
        if not any(file.startswith(path + os.sep) for file in files):
            raise DataError(f"{path} has the name of an image, but is a folder without images. Rename or remove it.")
    check_names(files)
    listing.images = [Path(path) for path in sorted(files, key=_parts)]
    listing.others = [Path(path) for path in sorted(others, key=_parts)]
    listing.repeated.sort()
    return listing


def identity_of(path: str | Path) -> Identity:
    """Return the device and inode of a file or folder, or of what a link leads to."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise _unreadable(Path(path), error) from error
    return status.st_dev, status.st_ino


def left_out(listing: Listing) -> list[str]:
    """Return what a listing leaves out, each in a few words with its number.

    >>> left_out(Listing(others=[Path("a.gif")], hidden_files=3))
    ['1 file without a known ending: .gif (1)', '3 hidden files']
    """
    others = f"{counted(len(listing.others), 'file')} without a known ending: {endings(listing.others)}"
    links = f"{counted(len(listing.repeated), 'link')} to folders that are read already or lie above"
    return [
        words
        for number, words in (
            (len(listing.others), others),
            (listing.hidden_files, counted(listing.hidden_files, "hidden file")),
            (listing.hidden_folders, counted(listing.hidden_folders, "hidden folder")),
            (len(listing.repeated), f"{links}: {', '.join(map(str, listing.repeated[:3]))}"),
        )
        if number
    ]


def check_file(path: Path) -> None:
    """Raise DataError, saying what it is, for a path that is no regular file; nothing is opened."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    if not stat.S_ISREG(mode):
        raise DataError(f"{path} is {_kind(mode)}, not a file with an image. Remove it, or replace it by the file.")


def _parts(path: str) -> list[str]:
    return path.split(os.sep)


def _scan(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise _unreadable(Path(folder), error) from error


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError as error:
        raise _unreadable(Path(entry.path), error) from error


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        raise _unreadable(Path(entry.path), error) from error


def _above(folder: str) -> set[Identity]:
    """The folders above, by the path given and by the real one: a link to one of them leads round in a circle."""
    paths = {parent for path in (os.path.abspath(folder), os.path.realpath(folder)) for parent in Path(path).parents}
    return {identity_of(os.fspath(path)) for path in paths}


def _is_dicom(entry: os.DirEntry[str]) -> bool:
    """Whether a file without an ending is DICOM; raises DataError where it is a link that was copied as text."""
    if ending_of(entry.name):
        return False
    path = Path(entry.path)
    try:
        if is_dicom(path):
            return True
        text = path.read_bytes() if entry.stat().st_size <= MOST_TEXT else b""
    except OSError as error:
        raise _unreadable(path, error) from error
    target = os.fsdecode(text)
    if "/" in target and "\n" not in target and "\0" not in target and os.path.exists(path.parent / target):
        raise DataError(
            f"{path} is a link to {target} that was copied as text. Put the link, or what it leads to, in its place."
        )
    return False


def check_names(paths: Iterable[str]) -> None:
    """Raise DataError for a name that is no text: an image's id is one, and so is the row of its scores."""
    for path in paths:
        if not path.isascii() and any("\ud800" <= character <= "\udfff" for character in path):
            shown = os.fsencode(path).decode("utf-8", "backslashreplace")
            raise DataError(f"{shown} has a name that is not UTF-8. Rename it.")


def _no_file(entry: os.DirEntry[str]) -> DataError:
    path = Path(entry.path)
    if entry.is_symlink() and not path.exists():
        return _unreadable(path, FileNotFoundError())
    return DataError(f"{path} is {_kind(entry.stat().st_mode)}, not a file. Remove it, or replace it by the file.")


def _kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def _unreadable(path: Path, error: Exception) -> DataError:
    if isinstance(error, FileNotFoundError):
        if os.path.islink(path):
            return DataError(f"{path} is a link to {os.readlink(path)}, which does not exist. Restore or remove it.")
        return DataError(f"{path} does not exist.")
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return DataError(f"{path} cannot be read: {reason}.")
