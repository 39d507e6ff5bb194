"""Content hashes of files, remembered by size and modification time, and the fingerprint of a dataset."""

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


def hash_files(paths: Iterable[Path], memory: Path, what: str, keep: bool = True) -> dict[Path, str]:
    """Return the SHA-256 of every file. `memory` (JSON) spares reading those whose size and time are unchanged.

    `keep`: write what was read into it.
    """
    return {
        path: str(row[0]) for path, row in measured(paths, _hash_file, memory, f"hashing {what}", write=keep).items()
    }


def _hash_file(path: Path) -> tuple[str]:
    try:
        with path.open("rb") as file:
            return (hashlib.file_digest(file, "sha256").hexdigest(),)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error


def hash_items(items: Sequence[Item], cache: Path, what: str, keep: bool = True) -> dict[str, str]:
    """Return by item id the content hash of its image, followed by those of its masks; ids must be unique.

    `keep`: remember the hashes in the cache.
    """
    check_ids(items)
    files = [path for item in items for path in (item.path, *(item.mask or ()))]
    memory = cache / "hashes" / f"{digest(str(items[0].path.parent) + what)[:16]}.json" if items else cache / "none"
    sums = hash_files(files, memory, what, keep)
    return {item.id: "".join(sums[path] for path in (item.path, *(item.mask or ()))) for item in items}


def fingerprint(items: Sequence[Item], hashes: dict[str, str]) -> str:
    """Return one hash of what a dataset holds: ids, labels, patients, subgroups, images, masks; whatever the layout."""
    rows = (
        f"{i.id}\t{i.label}\t{i.patient or ''}\t{hashes[i.id]}" + (f"\t{i.subgroup}" if i.subgroup else "")
        for i in sorted(items, key=lambda item: item.id)
    )
    return digest("\n".join(rows))
