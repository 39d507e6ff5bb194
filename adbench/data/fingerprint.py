"""Content hashes of files, cached by size and modification time, and the fingerprint of a dataset."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from adbench.data.items import Item, check_ids
from adbench.data.stamps import measured
from adbench.errors import DataError


def digest(text: str) -> str:
    """Return the SHA-256 of a text as 64 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def hash_files(paths: Iterable[Path], memory: Path, title: str, keep: bool = True) -> dict[Path, str]:
    """Return the SHA-256 of every file; those that are unchanged since the last call are read from the cache `memory`.

    `keep`: update the cache.
    """
    return {
        path: str(row[0]) for path, row in measured(paths, _hash_file, memory, f"hashing {title}", write=keep).items()
    }


def _hash_file(path: Path) -> tuple[str]:
    try:
        with path.open("rb") as file:
            return (hashlib.file_digest(file, "sha256").hexdigest(),)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error


def hash_items(items: Sequence[Item], cache: Path, title: str, keep: bool = True) -> dict[str, str]:
    """Return by item id the content hash of its image, followed by those of its masks; ids must be unique.

    `keep`: update the cache.
    """
    check_ids(items)
    files = [path for item in items for path in (item.path, *(item.mask or ()))]
    memory = cache / "hashes" / f"{digest(str(items[0].path.parent) + title)[:16]}.json" if items else cache / "none"
    sums = hash_files(files, memory, title, keep)
    return {item.id: "".join(sums[path] for path in (item.path, *(item.mask or ()))) for item in items}


def fingerprint(items: Sequence[Item], hashes: dict[str, str]) -> str:
    """Return one hash of a dataset's ids, labels, patients, subgroups, images and masks, independent of its layout."""
    rows = (
        f"{i.id}\t{i.label}\t{i.patient or ''}\t{hashes[i.id]}" + (f"\t{i.subgroup}" if i.subgroup else "")
        for i in sorted(items, key=lambda item: item.id)
    )
    return digest("\n".join(rows))
