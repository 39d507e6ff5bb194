"""Content hashes of files, remembered while a file is unchanged, and the fingerprint of a dataset."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from adbench.data.items import Item, check_ids
from adbench.data.stamps import Measured, Stamp, measured, stamp_of
from adbench.errors import DataError

CONTENT = "sha256:"  # stands before the hash of a file or folder where a parameter names one
CONTENTS = "contents.json"  # remembers the hashes of such files, in the folder `hashes` of the cache
CHUNK = 1 << 16  # bytes read at a time: most images are one or two
DIGITS = 64  # of a SHA-256


def digest(text: str) -> str:
    """Return the SHA-256 of a text as 64 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


class Hashes(dict[str, str]):
    """Content hashes by item id.

    stamps: of the files when they were hashed, where a stamp tells a later change; see `check_unchanged`.
    """

    stamps: Mapping[Path, Stamp] = MappingProxyType({})


def hash_files(
    paths: Iterable[Path], memory: Path, title: str, keep: bool = True, since: float = 0.0
) -> Measured[Path]:
    """Return the SHA-256 of every file, rows of one text; those that are unchanged are read from the cache `memory`.

    `keep`: update the cache. `since`: see `measured`.
    """
    return measured(paths, _hash_file, memory, f"hashing {title}", write=keep, since=since)


def _hash_file(path: Path) -> tuple[str]:
    try:
        content = hashlib.sha256()
        with path.open("rb", buffering=0) as file:
            while part := file.read(CHUNK):
                content.update(part)
        return (content.hexdigest(),)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error


def content_of(path: Path, cache: Path, keep: bool = True, since: float = 0.0) -> str:
    """Return `sha256:` and a hash of a file's content, or of the names and contents of all files of a folder.

    The same for a copy at another place. `keep`, `since`: as for `hash_files`. Raises DataError where there is neither
    a file nor a folder.
    """
    if not path.is_dir():
        if not path.is_file():
            raise DataError(f"{path} is neither a file nor a folder.")
        return CONTENT + str(hash_files([path], cache / "hashes" / CONTENTS, path.name, keep, since).rows[path][0])
    files = sorted(file for file in path.rglob("*") if file.is_file())
    memory = cache / "hashes" / f"{digest(ascii(path.absolute()))[:20]}.json"
    found = hash_files(files, memory, path.name, keep, since).rows
    return CONTENT + digest("".join(f"{file.relative_to(path).as_posix()}\0{found[file][0]}\n" for file in files))


def hash_items(items: Sequence[Item], cache: Path, title: str, keep: bool = True, since: float = 0.0) -> Hashes:
    """Return by item id the content hash of its file, followed by those of its masks and by its frame.

    Ids must be unique. A file that holds many images is hashed once.

    `keep`: update the cache. `since`: see `measured`.
    """
    check_ids(items)
    files = dict.fromkeys(path for item in items for path in (item.path, *item.mask_files))
    where = ascii(f"{items[0].path.parent.absolute()} {title}") if items else ""
    found = hash_files(files, cache / "hashes" / f"{digest(where)[:20]}.json", title, keep, since)

    def content(item: Item) -> str:
        sums = "".join(found.rows[path][0] for path in (item.path, *item.mask_files))
        return sums + item.frame.content if item.frame else sums

    hashes = Hashes({item.id: content(item) for item in items})
    hashes.stamps = found.stamps
    return hashes


def file_hash(content: str) -> str:
    """Return the hash of the image's file alone, from an item's content as `hash_items` gives it."""
    return content[:DIGITS]


def image_content(item: Item, content: str) -> str:
    """Return what of an item's content, as `hash_items` gives it, belongs to the image: its file and its frame."""
    return file_hash(content) + (item.frame.content if item.frame else "")


def check_unchanged(item: Item, hashes: Mapping[str, str], of: Literal["image", "masks"]) -> None:
    """Raise DataError where the image or a mask of an item has another content than when `hashes` were made.

    A file with the stamp of that time is not read again.
    """
    stamps = hashes.stamps if isinstance(hashes, Hashes) else {}
    paths, content = (item.path, *item.mask_files), hashes[item.id]
    files = [(path, content[DIGITS * place : DIGITS * (place + 1)]) for place, path in enumerate(paths)]
    for path, expected in files[:1] if of == "image" else files[1:]:
        stamp = stamps.get(path)
        if (stamp is None or stamp_of(path) != stamp) and _hash_file(path)[0] != expected:
            raise DataError(f"{path} changed after this command had hashed it. Run the command again.")


def fingerprint(items: Sequence[Item], hashes: dict[str, str], splits: bool = True) -> str:
    """Return one hash of a dataset's ids, labels, patients, subgroups, images and masks, whatever its layout.

    splits: whether the splits are hashed too. They stand in the id, or where a package's dataset has other ids, after
    it; without them the hash is the same for all ways to split the images.
    """
    names = {item.id: _name(item, splits) for item in items}
    rows = (
        f"{names[i.id]}\t{i.label}\t{i.patient or ''}\t{hashes[i.id]}" + (f"\t{i.subgroup}" if i.subgroup else "")
        for i in sorted(items, key=lambda item: names[item.id])
    )
    return digest("\n".join(rows))


def _name(item: Item, splits: bool) -> str:
    start = f"{item.split}/"
    if item.id.startswith(start):
        return item.id if splits else item.id.removeprefix(start)
    return f"{item.id} {item.split}" if splits else item.id
